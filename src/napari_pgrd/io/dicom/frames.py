"""The slices that DICOM objects hold: one, or one a frame, each with its own place and scaling."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.io.dicom.elements import Vector, items, number, numbers, value_of, whole
from napari_pgrd.io.dicom.listing import is_localiser

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_FRAMES = 2**16
MAX_SIDE = 2**15  # pixels along a row or a column
SQUARE = 1e-3  # how far directions may be from unit length and right angles; files round them


@dataclass(frozen=True, eq=False)
class Frame:
    """One slice.

    Attributes
    ----------
    text : str
        What sentences call it: its image number, which is no patient data.
    index : int
        Of the frame in the object's pixel data, from 0.
    number : int
        The frame number, from 1; 0 in an object of one frame.
    position : numpy.ndarray
        ``(3,)``, LPS mm: centre of the first pixel.
    across, down : numpy.ndarray
        ``(3,)`` unit vectors, LPS, along which column and row indices grow.
    spacing : tuple of float
        mm between columns, mm between rows.
    size : tuple of int
        Columns, rows.
    slope, intercept : float
        From stored to real values.
    """

    dataset: Dataset = field(repr=False)
    file: Path = field(repr=False)
    text: str
    index: int
    number: int
    position: Vector
    across: Vector
    down: Vector
    spacing: tuple[float, float]
    size: tuple[int, int]
    slope: float
    intercept: float


def frames_of(dataset: Dataset, file: Path, series: str) -> list[Frame]:
    """Every frame of an object.

    Raises
    ------
    InputError
        Naming the series and the image, if it is no grey-scale slice, or has no size, place or scaling that can be
        used.
    """
    image = whole(value_of(dataset, "InstanceNumber"))
    text = "an image without number" if image is None else f"image {image}"
    where = f"In {series}, {text}"
    count = whole(value_of(dataset, "NumberOfFrames"))
    count = 1 if count is None else count
    rows, columns = (whole(value_of(dataset, keyword)) or 0 for keyword in ("Rows", "Columns"))
    require(
        0 < rows <= MAX_SIDE and 0 < columns <= MAX_SIDE and 0 < count <= MAX_FRAMES,
        InputError,
        f"{where} claims {count} frames of {columns} x {rows} pixels; 1 to {MAX_FRAMES} frames and 1 to {MAX_SIDE} "
        "pixels a side can be read. The file is cut off or damaged; export it again.",
    )
    _check_kind(dataset, where)
    per_frame = items(dataset, "PerFrameFunctionalGroupsSequence")
    shared = items(dataset, "SharedFunctionalGroupsSequence")[:1]
    several = count > 1 or bool(per_frame) or bool(shared)
    require(
        not per_frame or len(per_frame) == count,
        InputError,
        f"{where} claims {count} frames, but describes {len(per_frame)}. The file is damaged; export it again.",
    )
    out = []
    for index in range(count):
        name = f"{text}, frame {index + 1}" if several else text
        look = _Lookup(dataset, [*per_frame[index : index + 1], *shared], several)
        position, across, down, spacing = _place(look, f"In {series}, {name}")
        slope, intercept = _scaling(look, f"In {series}, {name}")
        frame = index + 1 if several else 0
        size = columns, rows
        out.append(Frame(dataset, file, name, index, frame, position, across, down, spacing, size, slope, intercept))
    return out


def _check_kind(dataset: Dataset, where: str) -> None:
    """A sentence unless it is a grey-scale slice whose bright pixels have high values."""
    require(
        not is_localiser(dataset),
        InputError,
        f"{where} is a localiser among the slices. Move it to another folder and open the series again.",
    )
    kinds = value_of(dataset, "ImageType")
    require(
        isinstance(kinds, str) or "MOSAIC" not in [str(k) for k in kinds or ()],
        InputError,
        f"{where} is a mosaic: all slices in one picture, without the place of each. Export the series as single "
        "slices or as an enhanced object.",
    )
    samples = whole(value_of(dataset, "SamplesPerPixel")) or 1
    shown = str(value_of(dataset, "PhotometricInterpretation") or "MONOCHROME2")
    require(
        samples == 1 and shown in ("MONOCHROME1", "MONOCHROME2"),
        InputError,
        f"{where} is a colour picture. Only grey-scale images of a scan can be segmented; choose another series.",
    )
    require(
        shown == "MONOCHROME2",
        InputError,
        f"{where} is stored inverted (MONOCHROME1: high values are dark), as X-ray pictures are and slices of a scan "
        "are not. Export the series as MONOCHROME2.",
    )
    require(
        not items(dataset, "ModalityLUTSequence"),
        InputError,
        f"{where} has a table from stored to real values (modality LUT) instead of slope and intercept. Export the "
        "series with a rescale slope and intercept.",
    )


class _Lookup:
    """Finds a value in the frame's functional groups, then in those of all frames, then in the object itself."""

    def __init__(self, dataset: Dataset, groups: list[Dataset], several: bool) -> None:
        self.dataset, self.groups, self.several = dataset, groups, several

    def __call__(self, sequence: str, keyword: str) -> Any:
        for group in self.groups:
            for item in items(group, sequence)[:1]:
                if (value := value_of(item, keyword)) is not None:
                    return value
        one_place_for_all = self.several and keyword == "ImagePositionPatient"
        return None if one_place_for_all else value_of(self.dataset, keyword)


def _place(look: _Lookup, where: str) -> tuple[Vector, Vector, Vector, tuple[float, float]]:
    """Position, the two directions, and the distances of columns and of rows."""
    position = numbers(look("PlanePositionSequence", "ImagePositionPatient"), 3)
    directions = numbers(look("PlaneOrientationSequence", "ImageOrientationPatient"), 6)
    spacing = numbers(look("PixelMeasuresSequence", "PixelSpacing"), 2)
    require(
        position is not None and directions is not None and spacing is not None,
        InputError,
        f"{where} does not say where it lies in the patient (position, orientation and pixel spacing). Only slices of "
        "a scan can be read; choose another series, or export this one again.",
    )
    assert position is not None and directions is not None and spacing is not None
    axes = directions.reshape(2, 3)
    lengths = np.linalg.norm(axes, axis=1)
    require(
        bool((np.abs(axes @ axes.T - np.eye(2)) < SQUARE).all())
        and bool(1e-4 < spacing.min() and spacing.max() < 1e3 and np.abs(position).max() < 1e6),
        InputError,
        f"{where} has an impossible geometry (directions that are not at right angles, or a pixel size or place beyond "
        "any scanner). The file is damaged; export it again.",
    )
    across, down = axes / lengths[:, None]
    return position, across, down, (float(spacing[1]), float(spacing[0]))  # DICOM names the distance of rows first


def _scaling(look: _Lookup, where: str) -> tuple[float, float]:
    given = [look("PixelValueTransformationSequence", keyword) for keyword in ("RescaleSlope", "RescaleIntercept")]
    slope, intercept = (
        default if value is None else number(value) for value, default in zip(given, (1.0, 0.0), strict=True)
    )
    if slope is None or intercept is None or slope == 0:
        raise InputError(f"{where} has no usable rescale slope and intercept. The file is damaged; export it again.")
    return slope, intercept
