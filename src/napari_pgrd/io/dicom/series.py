"""A DICOM series as a volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.dicom.elements import value_of
from napari_pgrd.io.dicom.files import read_header
from napari_pgrd.io.dicom.frames import Frame, frames_of
from napari_pgrd.io.dicom.geometry import stack
from napari_pgrd.io.dicom.listing import SeriesInfo, choose
from napari_pgrd.io.dicom.pixels import values
from napari_pgrd.io.dicom.source import DicomSource

if TYPE_CHECKING:
    import os

__all__ = ["DicomSource", "load_series", "read_series"]


def read_series(path: str | os.PathLike[str], series: str | None = None) -> Volume:
    """Read one series: of a folder and the folders in it, or the one that a file belongs to.

    Parameters
    ----------
    path : path
        A folder, or any file of a series, whose neighbours in its folder are read with it.
    series : str, optional
        Which one, where there are several: its number as listed, or its SeriesInstanceUID.

    Returns
    -------
    Volume
        As :func:`load_series`.

    Raises
    ------
    SeveralSeriesError
        If a folder holds several scans and none was named.
    InputError
        If there is none, or it cannot be read as one volume.
    """
    return load_series(choose(path, series))


def load_series(info: SeriesInfo) -> Volume:
    """Read a listed series.

    Returns
    -------
    Volume
        ``(1, column, row, slice)`` float32 real values with an affine to RAS+ mm; slices in the order of their places
        along the normal (rows x columns). ``source`` is a :class:`DicomSource`; ``name`` is made of modality and
        series number. Where there is one slice, nothing says how thick it is, so its spacing counts as unknown.

    Raises
    ------
    InputError
        Naming the series and the image, if it is no evenly spaced stack of parallel grey-scale slices of one size, or
        a file is damaged.
    """
    frames: list[Frame] = []
    for file in info.files:
        header = read_header(file)
        require(
            header is not None,
            InputError,
            f"A file of {info.name} can no longer be read. Check that the folder is still there and whole.",
        )
        assert header is not None
        frames += frames_of(header, file, info.name)
    ordered, affine = stack(frames, info.name)
    data = values(ordered, info.name)
    first = ordered[0].dataset
    study, place = (str(value_of(first, key) or "") for key in ("StudyInstanceUID", "FrameOfReferenceUID"))
    source = DicomSource(
        tuple(f.dataset for f in ordered),
        tuple(f.number for f in ordered),
        info.uid,
        study,
        place,
        tuple(f.file for f in ordered),
    )
    return Volume(data[None], affine, len(ordered) > 1, info.title, source)
