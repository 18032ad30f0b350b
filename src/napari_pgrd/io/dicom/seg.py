"""Masks and probabilities as DICOM Segmentation objects, made with highdicom.

Segments are the bundle's labels without the background, by name and code. Every segment has a frame for each slice from
the first to the last on which anything is marked: programs that read a volume back take a gap for a larger distance of
slices. Every frame refers to the slice it was drawn on, in multi-frame objects by frame number.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_pgrd import __version__
from napari_pgrd.engine.codes import UNCODED, Code
from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.spec import BundleSpec, Label
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.dicom.belonging import MAKER, MODEL, NOTE, Ownership, own, text
from napari_pgrd.io.dicom.elements import value_of, whole
from napari_pgrd.io.dicom.files import quiet
from napari_pgrd.io.dicom.planes import Plane, planes, source_of, spacing_between, thickness
from napari_pgrd.io.nifti import write_atomically

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription
    from pydicom import Dataset

Kind = Literal["BINARY", "LABELMAP", "FRACTIONAL"]
How = Literal["AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"]
FULL = 255  # the stored value of probability 1
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"


@dataclass(frozen=True)
class Making:
    """How a mask came to be.

    Attributes
    ----------
    how : str
        "AUTOMATIC" (nobody touched it), "SEMIAUTOMATIC" (a program and a hand) or "MANUAL".
    algorithm, version : str
        What computed it; nothing is said of them where it is manual.
    parameters : mapping
        Of the algorithm: the hash of the model first of all.
    title : str
        For the series: what this is, and nothing about the patient.
    """

    how: How
    algorithm: str
    version: str = __version__
    parameters: Mapping[str, str] = field(default_factory=dict)
    title: str = "Segmentation"


def write_seg(
    path: str | os.PathLike[str],
    values: NDArray[Any],
    kind: Kind,
    volume: Volume,
    spec: BundleSpec,
    making: Making,
    ownership: Ownership | None = None,
) -> Path:
    """Write a DICOM Segmentation that belongs to the series a volume was read from.

    Parameters
    ----------
    values : numpy.ndarray
        On the whole grid of the volume: label values ``(x, y, z)``; for FRACTIONAL the probabilities of every class
        ``(K, x, y, z)``, background first, from 0 to 1. They are kept in steps of 1/255.

    Raises
    ------
    InputError
        If the values do not fit volume or bundle.
    ExportError
        If the volume did not come from DICOM, or the file cannot be written; an earlier one is then untouched.
    """
    path = Path(path)
    dataset = seg(values, kind, volume, spec, making, ownership or Ownership())
    with quiet():
        write_atomically(path, lambda temporary: dataset.save_as(temporary, enforce_file_format=True), ".dcm")
    return path


def seg(
    values: NDArray[Any], kind: Kind, volume: Volume, spec: BundleSpec, making: Making, ownership: Ownership
) -> Dataset:
    """As :func:`write_seg`, the object itself."""
    from highdicom.seg import Segmentation
    from pydicom.uid import generate_uid

    source, slices, moment = source_of(volume), planes(volume), datetime.now()
    pixels = _pixels(values, kind, volume, spec)
    marked = np.flatnonzero(pixels.any(axis=tuple(range(1, pixels.ndim))))
    part = slice(int(marked[0]), int(marked[-1]) + 1) if len(marked) else slice(0, len(slices))
    stand_ins = _stand_ins(slices, volume)
    numbered = {label.value if kind == "LABELMAP" else k: label for k, label in enumerate(spec.labels[1:], 1)}
    with quiet():
        dataset = Segmentation(
            source_images=stand_ins[part],
            pixel_array=pixels[part],
            omit_empty_frames=False,
            segmentation_type=kind,
            segment_descriptions=[_segment(numbered[number], number, making) for number in sorted(numbered)],
            series_instance_uid=generate_uid(),
            series_number=_number(source.datasets[0]),
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer=MAKER,
            manufacturer_model_name=MODEL,
            software_versions=text(making.version),
            device_serial_number=text(making.parameters.get("model_sha256", "") or making.version),
            max_fractional_value=FULL,
            content_label="SEGMENTATION",
            content_description=NOTE,
            series_description=text(making.title),
        )
        _refer(dataset, stand_ins, slices)
    own(dataset, source.datasets[0], ownership, moment)
    return dataset


def code_item(code: Code) -> Dataset:
    """A code as an item of a sequence."""
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme, code.meaning
    return item


def _pixels(values: NDArray[Any], kind: Kind, volume: Volume, spec: BundleSpec) -> NDArray[Any]:
    """``(slice, row, column)`` segment numbers, or ``(slice, row, column, segment)`` probabilities."""
    classes = len(spec.labels)
    wanted = (classes, *volume.shape) if kind == "FRACTIONAL" else volume.shape
    require(
        values.shape == wanted,
        InputError,
        f"A {kind} segmentation of this image needs an array of shape {wanted}, not {values.shape}.",
    )
    if kind == "FRACTIONAL":
        inside = bool(np.isfinite(values).all() and values.min() >= -1e-6 and values.max() <= 1 + 1e-6)
        require(inside, InputError, "Probabilities must lie between 0 and 1.")
        return np.ascontiguousarray(np.clip(values[1:], 0, 1).T.astype(np.float32))
    unknown = np.setdiff1d(np.unique(values), spec.values)
    require(
        not len(unknown),
        InputError,
        f"The mask holds the label values {unknown.tolist()}, which {spec.name} does not know.",
    )
    if kind == "LABELMAP":
        return np.ascontiguousarray(values.T.astype(np.uint8))
    index = np.zeros(256, np.uint8)
    index[spec.values] = np.arange(classes)
    return np.ascontiguousarray(index[values.T.astype(np.uint8)])


def _segment(label: Label, number: int, making: Making) -> SegmentDescription:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from highdicom.sr import CodedConcept

    algorithm = None
    if making.how != "MANUAL":
        family = CodedConcept("123110", "DCM", "Artificial Intelligence")
        parameters = {key: value for key, value in making.parameters.items() if value}
        algorithm = AlgorithmIdentificationSequence(
            text(making.algorithm), family, text(making.version), source=MAKER, parameters=parameters or None
        )
    coded = label.coded or UNCODED
    red, green, blue = (int(label.colour[i : i + 2], 16) for i in (1, 3, 5))
    item = SegmentDescription(
        segment_number=number,
        segment_label=text(label.name),
        segmented_property_category=_concept(coded.category),
        segmented_property_type=_concept(coded.type),
        algorithm_type=making.how,
        algorithm_identification=algorithm,
        display_color=CIELabColor.from_rgb(red, green, blue),
    )
    if coded.modifiers:
        narrowed = [code_item(code) for code in coded.modifiers]
        item.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = narrowed
    return item


def _concept(code: Code) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(code.value, code.scheme, code.meaning)


def _stand_ins(slices: list[Plane], volume: Volume) -> list[Dataset]:
    """A header of one frame for each slice, with its geometry and nothing of the patient.

    highdicom takes either single frames or one multi-frame object whole, and logs the values that it finds odd; the
    slices of a volume may be some frames of several objects, in any order, and no name may be logged.
    """
    from pydicom import Dataset
    from pydicom.uid import generate_uid
    from pydicom.valuerep import format_number_as_ds

    source, distance, thick = source_of(volume), spacing_between(volume, slices), thickness(volume)
    out = []
    for plane in slices:
        place, header = plane.place, Dataset()
        header.SOPClassUID, header.SOPInstanceUID = CT_IMAGE, generate_uid()
        header.StudyInstanceUID, header.SeriesInstanceUID = source.study_uid, source.series_uid
        header.FrameOfReferenceUID = source.frame_of_reference_uid
        header.PositionReferenceIndicator = ""
        header.Modality = "OT"
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber"):
            setattr(header, keyword, "")
        header.StudyDate, header.StudyTime = None, None
        header.Columns, header.Rows = place.size
        header.ImagePositionPatient = [format_number_as_ds(float(v)) for v in place.position]
        directions = np.concatenate([slices[0].place.across, slices[0].place.down])  # one for all, to rounding
        header.ImageOrientationPatient = [format_number_as_ds(float(v)) for v in directions]
        header.PixelSpacing = [format_number_as_ds(float(v)) for v in reversed(slices[0].place.spacing)]
        header.SliceThickness = format_number_as_ds(float(thick or distance))
        if len(slices) > 1:
            header.SpacingBetweenSlices = format_number_as_ds(distance)
        out.append(header)
    return out


def _refer(dataset: Dataset, stand_ins: list[Dataset], slices: list[Plane]) -> None:
    """Let references to stand-ins be to the slices themselves."""
    plane_of = {str(header.SOPInstanceUID): plane for header, plane in zip(stand_ins, slices, strict=True)}
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        for derivation in frame.get("DerivationImageSequence", []):
            for item in derivation.SourceImageSequence:
                # Frames of several segments share their items, which are then right already.
                if (plane := plane_of.get(str(item.ReferencedSOPInstanceUID))) is not None:
                    item.update(plane.reference())
    dataset.ReferencedSeriesSequence = referenced_series(slices)
    if "SourceImageSequence" in dataset:
        del dataset.SourceImageSequence


def referenced_series(slices: list[Plane]) -> list[Dataset]:
    """One item a series, naming each instance once."""
    from pydicom import Dataset

    out: dict[str, Dataset] = {}
    named = set()
    for plane in slices:
        if plane.series not in out:
            out[plane.series] = Dataset()
            out[plane.series].SeriesInstanceUID = plane.series
            out[plane.series].ReferencedInstanceSequence = []
        if plane.instance not in named:
            named.add(plane.instance)
            item = plane.reference()
            if "ReferencedFrameNumber" in item:
                del item.ReferencedFrameNumber
            out[plane.series].ReferencedInstanceSequence.append(item)
    return list(out.values())


def _number(image: Dataset) -> int:
    """A series number beside that of the images; numbers need not be unique."""
    number = whole(value_of(image, "SeriesNumber"))
    return 1000 + number if number is not None and 0 <= number < 10**6 else 1000
