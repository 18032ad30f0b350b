"""A DICOM series as a volume."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.dicom.files import dicom_files, is_dicom, read_header
from napari_pgrd.io.dicom.frames import frames_of, whole
from napari_pgrd.io.dicom.geometry import stack
from napari_pgrd.io.dicom.pixels import values
from napari_pgrd.io.dicom.source import DicomSource

if TYPE_CHECKING:
    import os

__all__ = ["DicomSource", "read_series"]


def read_series(path: str | os.PathLike[str], series: str | None = None) -> Volume:
    """Read one series: of a folder, or of a file and its neighbours.

    Parameters
    ----------
    path : path
        A folder, searched with the folders in it, or any file of a series, whose own folder is searched.
    series : str, optional
        Which one, where a folder holds several: its number as listed, or its SeriesInstanceUID.

    Returns
    -------
    Volume
        ``(1, column, row, slice)`` float32 with an affine to RAS+ mm; slices in the order of their places along the
        normal. ``source`` is a :class:`DicomSource`. ``name`` is made of modality and number.

    Raises
    ------
    InputError
        If there is no series, or several and none was chosen, or it is no evenly spaced stack of parallel grey-scale
        slices of one size, or a file is damaged.
    """
    path = Path(path)
    found = dicom_files(path) if path.is_dir() else [p for p in sorted(path.parent.iterdir()) if is_dicom(p)]
    headers = [(file, header) for file in found if (header := read_header(file)) is not None]
    require(bool(headers), InputError, "There is no DICOM file in the folder given. Check the path.")
    number = whole(headers[0][1].get("SeriesNumber"))
    name = "the series without a number" if number is None else f"series {number}"
    frames = [frame for file, header in headers for frame in frames_of(header, file, name)]
    ordered, affine = stack(frames, name)
    data = values(ordered, name)
    first = ordered[0].dataset
    source = DicomSource(
        tuple(f.dataset for f in ordered),
        tuple(f.number for f in ordered),
        str(first.get("SeriesInstanceUID", "")),
        str(first.get("StudyInstanceUID", "")),
        str(first.get("FrameOfReferenceUID", "")),
        tuple(f.file for f in ordered),
    )
    title = f"{first.get('Modality', '') or 'DICOM'} series" + ("" if number is None else f" {number}")
    return Volume(data[None], affine, len(ordered) > 1, title, source)
