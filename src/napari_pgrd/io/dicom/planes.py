"""The slices behind a volume as DICOM objects refer to them: where each lies, and in which instance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_pgrd.engine.errors import ExportError, require
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.dicom.elements import items, number, value_of
from napari_pgrd.io.dicom.files import quiet
from napari_pgrd.io.dicom.frames import Frame, frames_of
from napari_pgrd.io.dicom.source import DicomSource

if TYPE_CHECKING:
    from pydicom import Dataset

NOT_DICOM = (
    "This image did not come from DICOM, so there is no patient, study and frame of reference that a DICOM object "
    "could belong to. Export NIfTI, or open the DICOM series itself."
)


@dataclass(frozen=True, eq=False)
class Plane:
    """One slice.

    Attributes
    ----------
    place : Frame
        Its geometry: position and directions (LPS, mm), mm between columns and rows, columns and rows.
    sop_class, instance, series : str
        UIDs of the object that holds it.
    frame : int
        Its number in that object, from 1; 0 in an object of one frame.
    """

    place: Frame
    sop_class: str
    instance: str
    series: str
    frame: int

    def reference(self) -> Dataset:
        """An item that refers to this slice."""
        from pydicom import Dataset

        item = Dataset()
        item.ReferencedSOPClassUID = self.sop_class
        item.ReferencedSOPInstanceUID = self.instance
        if self.frame:
            item.ReferencedFrameNumber = self.frame
        return item


def source_of(volume: Volume) -> DicomSource:
    """What a volume remembers of its DICOM files.

    Raises
    ------
    ExportError
        If it came from something else, or its files lack what every DICOM object must state.
    """
    source = volume.source
    if not isinstance(source, DicomSource):
        raise ExportError(NOT_DICOM)
    for value, name in (
        (source.study_uid, "study"),
        (source.series_uid, "series"),
        (source.frame_of_reference_uid, "frame of reference"),
        (all(value_of(d, k) for d in source.datasets for k in ("SOPInstanceUID", "SOPClassUID")), "object identifier"),
    ):
        require(
            bool(value),
            ExportError,
            f"The files of this image state no {name}, which a DICOM object must refer to. Export NIfTI instead.",
        )
    return source


def planes(volume: Volume) -> list[Plane]:
    """Of every slice of a volume, in the order of its third axis; raises as :func:`source_of`."""
    source = source_of(volume)
    out = []
    known: dict[int, dict[int, Frame]] = {}
    with quiet():
        for dataset, frame_number in zip(source.datasets, source.frames, strict=True):
            if id(dataset) not in known:
                known[id(dataset)] = {frame.number: frame for frame in frames_of(dataset, Path(), "this image")}
            uids = (str(dataset.SOPClassUID), str(dataset.SOPInstanceUID), source.series_uid)
            out.append(Plane(known[id(dataset)][frame_number], *uids, frame_number))
    return out


def spacing_between(volume: Volume, slices: list[Plane]) -> float:
    """Distance of neighbouring slices along their normal, mm; of a lone slice its thickness, 1 where none is stated."""
    if len(slices) > 1:
        return volume.spacing[2]
    return thickness(volume) or 1.0


def thickness(volume: Volume) -> float | None:
    """Slice thickness in mm as the first slice states it, which says nothing of distances; None if it states none."""
    header, groups = source_of(volume).datasets[0], []
    for name in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        groups += [item for group in items(header, name)[:1] for item in items(group, "PixelMeasuresSequence")]
    for place in (*groups, header):
        value = number(value_of(place, "SliceThickness"))
        if value is not None and 0 < value < 1e4:
            return value
    return None
