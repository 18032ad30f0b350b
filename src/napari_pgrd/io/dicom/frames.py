"""The slices that DICOM objects hold: one, or one a frame, each with its own place and scaling."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.errors import InputError, require

if TYPE_CHECKING:
    from pydicom import Dataset

Vector = NDArray[np.float64]
MAX_FRAMES = 2**16
MAX_SIDE = 2**15  # pixels along a row or a column


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
    slope: float = 1.0
    intercept: float = 0.0


def frames_of(dataset: Dataset, file: Path, series: str) -> list[Frame]:
    """Every frame of an object.

    Raises
    ------
    InputError
        Naming the series and the image, if it has no size, place or scaling that can be used.
    """
    number = whole(dataset.get("InstanceNumber"))
    text = "an image without number" if number is None else f"image {number}"
    count = whole(dataset.get("NumberOfFrames")) or 1
    rows, columns = whole(dataset.get("Rows")) or 0, whole(dataset.get("Columns")) or 0
    require(
        0 < rows <= MAX_SIDE and 0 < columns <= MAX_SIDE and 0 < count <= MAX_FRAMES,
        InputError,
        f"In {series}, {text} claims {count} frames of {columns} x {rows} pixels; from 1 to {MAX_FRAMES} frames and "
        f"{MAX_SIDE} pixels a side can be read. The file is damaged; export it again.",
    )
    per_frame = _items(dataset, "PerFrameFunctionalGroupsSequence")
    shared = _items(dataset, "SharedFunctionalGroupsSequence")
    several = count > 1 or bool(per_frame)
    require(
        not per_frame or len(per_frame) == count,
        InputError,
        f"In {series}, {text} claims {count} frames, but describes {len(per_frame)}. The file is damaged; export it "
        "again.",
    )
    out = []
    for index in range(count):
        groups = [*per_frame[index : index + 1], *shared[:1]]
        name = f"{text}, frame {index + 1}" if several else text
        look = _Lookup(dataset, groups, several)
        position, orientation, spacing = (_numbers(look(*w), n) for *w, n in _GEOMETRY)
        require(
            position is not None and orientation is not None and spacing is not None,
            InputError,
            f"In {series}, {name} does not say where it lies in the patient (position, orientation and pixel "
            "spacing). Only slices of a scan can be read, no projections, photographs or derived pictures.",
        )
        assert position is not None and orientation is not None and spacing is not None
        across, down = orientation[:3], orientation[3:]
        lengths = np.linalg.norm(across), np.linalg.norm(down)
        require(
            bool(abs(lengths[0] - 1) < 1e-2 and abs(lengths[1] - 1) < 1e-2 and abs(across @ down) < 1e-2)
            and 1e-4 < spacing.min() <= spacing.max() < 1e3
            and float(np.abs(position).max()) < 1e6,
            InputError,
            f"In {series}, {name} has an impossible geometry (directions that are not at right angles, or a pixel "
            "size or place beyond any scanner). The file is damaged; export it again.",
        )
        slope = _number(look("PixelValueTransformationSequence", "RescaleSlope"), 1.0)
        intercept = _number(look("PixelValueTransformationSequence", "RescaleIntercept"), 0.0)
        require(
            slope is not None and slope != 0 and intercept is not None,
            InputError,
            f"In {series}, {name} has no usable rescale slope and intercept. The file is damaged; export it again.",
        )
        assert slope is not None and intercept is not None
        out.append(
            Frame(
                dataset,
                file,
                name,
                index,
                index + 1 if several else 0,
                position,
                across / lengths[0],
                down / lengths[1],
                (float(spacing[1]), float(spacing[0])),  # DICOM names the distance of rows first
                (columns, rows),
                slope,
                intercept,
            )
        )
    return out


_GEOMETRY = (
    ("PlanePositionSequence", "ImagePositionPatient", 3),
    ("PlaneOrientationSequence", "ImageOrientationPatient", 6),
    ("PixelMeasuresSequence", "PixelSpacing", 2),
)


class _Lookup:
    """Finds an attribute in the frame's functional groups, then in the shared ones, then in the object itself."""

    def __init__(self, dataset: Dataset, groups: list[Dataset], several: bool) -> None:
        self.dataset, self.groups, self.several = dataset, groups, several

    def __call__(self, sequence: str, keyword: str) -> Any:
        for group in self.groups:
            for item in _items(group, sequence)[:1]:
                if (value := _get(item, keyword)) is not None:
                    return value
        place = sequence == "PlanePositionSequence"  # one place for all frames is none
        return None if self.several and place else _get(self.dataset, keyword)


def _get(dataset: Dataset, keyword: str) -> Any:
    try:
        value = dataset.get(keyword)
    except Exception:  # values are decoded when they are looked at, and a damaged one raises anything
        return None
    return None if value is None or value == "" else value


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    value = _get(dataset, keyword)
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, (str, bytes)) else []


def whole(value: Any) -> int | None:
    """A whole number, or None."""
    number = _number(value, None)
    return int(number) if number is not None and number == int(number) else None


def _number(value: Any, default: float | None) -> float | None:
    """A finite number; the default where there is no value, None where it is no number."""
    if value is None:
        return default
    numbers = _numbers([value] if not hasattr(value, "__len__") or isinstance(value, str) else value, 1)
    return None if numbers is None else float(numbers[0])


def _numbers(value: Any, count: int) -> Vector | None:
    try:
        numbers = np.array([float(v) for v in value], np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if len(numbers) == count and bool(np.isfinite(numbers).all()) else None
