"""A mask as a DICOM RT Structure Set: closed contours in the patient's millimetres, on the slices of the scan.

Every label but the background is a region of interest, also one without a voxel, which then has no contour. Contours
are CLOSED_PLANAR, lie on the very planes of the images that they refer to, and hold exactly the centres of the mask's
voxels: see :mod:`napari_pgrd.io.dicom.contours`, also for holes.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.codes import UNCODED
from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.spec import BundleSpec, Label
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.dicom.belonging import MAKER, MODEL, NOTE, Ownership, own, text
from napari_pgrd.io.dicom.contours import polygons
from napari_pgrd.io.dicom.files import quiet
from napari_pgrd.io.dicom.planes import Plane, planes, source_of
from napari_pgrd.io.dicom.seg import Making, code_item
from napari_pgrd.io.nifti import write_atomically

if TYPE_CHECKING:
    from pydicom import Dataset

RT_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
STUDY_MANAGEMENT = "1.2.840.10008.3.1.2.3.1"  # what a referenced study is said to be, by habit
DIGITS = 6  # of a millimetre: coordinates are text of at most 16 characters


def write_rtstruct(
    path: str | os.PathLike[str],
    labels: NDArray[Any],
    volume: Volume,
    spec: BundleSpec,
    making: Making,
    ownership: Ownership | None = None,
) -> Path:
    """Write a structure set that belongs to the series a volume was read from.

    Parameters
    ----------
    labels : numpy.ndarray
        ``(x, y, z)`` label values on the whole grid of the volume.

    Raises
    ------
    InputError
        If the mask does not fit volume or bundle.
    ExportError
        If the volume did not come from DICOM, or the file cannot be written; an earlier one is then untouched.
    """
    path = Path(path)
    dataset = rtstruct(labels, volume, spec, making, ownership or Ownership())
    with quiet():
        # Implicit VR: there alone a contour may take more than 64 KiB of text.
        options: dict[str, Any] = {"implicit_vr": True, "little_endian": True, "enforce_file_format": True}
        write_atomically(path, lambda temporary: dataset.save_as(temporary, **options), ".dcm")
    return path


def rtstruct(labels: NDArray[Any], volume: Volume, spec: BundleSpec, making: Making, ownership: Ownership) -> Dataset:
    """As :func:`write_rtstruct`, the object itself."""
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ImplicitVRLittleEndian, generate_uid

    require(
        labels.shape == volume.shape and not len(np.setdiff1d(np.unique(labels), spec.values)),
        InputError,
        f"The contours need a mask of shape {volume.shape} with the labels of {spec.name}; this one differs.",
    )
    source, slices, moment = source_of(volume), planes(volume), datetime.now()
    image = source.datasets[0]
    with quiet():
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UID(RT_STRUCTURE_SET)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.SeriesInstanceUID, dataset.SeriesNumber, dataset.InstanceNumber = generate_uid(), None, 1
        dataset.Modality, dataset.SeriesDescription = "RTSTRUCT", text(making.title)
        dataset.OperatorsName = ""
        dataset.Manufacturer, dataset.ManufacturerModelName = MAKER, MODEL
        dataset.SoftwareVersions = text(making.version)
        dataset.StructureSetLabel = text(making.title, 16)
        dataset.StructureSetDescription = f"{NOTE}. {_made_by(making)}".strip()
        dataset.StructureSetDate, dataset.StructureSetTime = moment.strftime("%Y%m%d"), moment.strftime("%H%M%S")
        dataset.FrameOfReferenceUID = source.frame_of_reference_uid
        dataset.PositionReferenceIndicator = ""
        dataset.ReferencedFrameOfReferenceSequence = [_frame_of_reference(source.frame_of_reference_uid, volume)]
        dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
        dataset.RTROIObservationsSequence = []
        for number, label in enumerate(spec.labels[1:], 1):
            dataset.StructureSetROISequence.append(_roi(number, label, source.frame_of_reference_uid, making))
            dataset.ROIContourSequence.append(_contours(number, label, labels == label.value, slices))
            dataset.RTROIObservationsSequence.append(_observation(number, label))
        dataset.ApprovalStatus = "UNAPPROVED"
    own(dataset, image, ownership, moment)
    return dataset


def _made_by(making: Making) -> str:
    if making.how == "MANUAL":
        return ""
    parameters = ", ".join(f"{key} {value}" for key, value in making.parameters.items() if value)
    return f"{making.algorithm} {making.version}" + (f" ({parameters})" if parameters else "")


def _frame_of_reference(uid: str, volume: Volume) -> Dataset:
    """The images that the contours lie on."""
    from pydicom import Dataset

    every: dict[str, list[Dataset]] = {}
    for plane in planes(volume):
        every.setdefault(plane.series, []).append(plane.reference())
    study = Dataset()
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = STUDY_MANAGEMENT, source_of(volume).study_uid
    study.RTReferencedSeriesSequence = []
    for series, images in every.items():
        item = Dataset()
        item.SeriesInstanceUID, item.ContourImageSequence = series, images
        study.RTReferencedSeriesSequence.append(item)
    frame = Dataset()
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = uid, [study]
    return frame


def _roi(number: int, label: Label, frame_of_reference: str, making: Making) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    item.ROINumber, item.ROIName = number, text(label.name)
    item.ReferencedFrameOfReferenceUID = frame_of_reference
    item.ROIGenerationAlgorithm = making.how
    if made := _made_by(making):
        item.ROIGenerationDescription = text(made)
    return item


def _observation(number: int, label: Label) -> Dataset:
    from pydicom import Dataset

    coded = label.coded or UNCODED
    item = Dataset()
    item.ObservationNumber = item.ReferencedROINumber = number
    item.ROIObservationLabel = text(label.name, 16)
    item.RTROIInterpretedType, item.ROIInterpreter = "", ""
    code = code_item(coded.type)
    if coded.modifiers:
        code.SegmentedPropertyTypeModifierCodeSequence = [code_item(c) for c in coded.modifiers]
    item.RTROIIdentificationCodeSequence = [code]
    return item


def _contours(number: int, label: Label, mask: NDArray[np.bool_], slices: list[Plane]) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    item.ReferencedROINumber = number
    item.ROIDisplayColor = [int(label.colour[i : i + 2], 16) for i in (1, 3, 5)]
    contours: list[Dataset] = []
    for k in np.flatnonzero(mask.any(axis=(0, 1))).tolist():
        for polygon in polygons(mask[:, :, k].T):
            points = _in_patient(polygon, slices[k])
            contour = Dataset()
            contour.ContourImageSequence = [slices[k].reference()]
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints = len(points)
            contour.ContourNumber = len(contours) + 1
            contour.ContourData = [_decimal(v) for v in points.ravel().tolist()]
            contours.append(contour)
    if contours:
        item.ContourSequence = contours
    return item


def _in_patient(polygon: NDArray[np.float64], plane: Plane) -> NDArray[np.float64]:
    """``(n, 2)`` (row, column) in pixels of a slice to ``(n, 3)`` LPS mm: DICOM PS3.3, C.7.6.2.1.1."""
    place = plane.place
    per_column, per_row = place.across * place.spacing[0], place.down * place.spacing[1]
    points: NDArray[np.float64] = place.position + polygon[:, 1:] * per_column + polygon[:, :1] * per_row
    return points


def _decimal(value: float) -> str:
    short = f"{value:.{DIGITS}f}".rstrip("0").rstrip(".")
    return "0" if short in ("-0", "") else short
