"""Whose a new object is: the patient and study of the images it was made on, or nobody's.

De-identifying follows the Basic Application Level Confidentiality Profile (DICOM PS3.15, Annex E) by leaving out rather
than by taking out: an object made here holds of its images only what is listed in ``SUBJECT``, and then not even that.
Dates go, and every UID that names something of this patient becomes another. The new UID is made from the old one
alone, by SHA-256, so that what belonged together still does, whenever and wherever it is exported; the old one cannot
be told from it, though who has it can make the same.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from napari_pgrd.io.dicom.files import quiet
from napari_pgrd.io.provenance import RESEARCH_USE

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.dataelem import DataElement

# Present in every object, if empty.
REQUIRED = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
SUBJECT = (
    *REQUIRED,
    "IssuerOfPatientID",
    "StudyDescription",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientSpeciesDescription",
    "PatientBreedDescription",
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialTimePointID",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified",
)
UTF8 = "ISO_IR 192"
STANDARD = "1.2.840.10008."  # UIDs of the standard itself name nothing of a patient
NO_DATE, NO_TIME = "19000101", "000000"  # where a date must stand
MAKER, MODEL = "napari-pgrd", "napari-pgrd"


@dataclass(frozen=True)
class Ownership:
    """What an object says of people.

    Attributes
    ----------
    deidentify : bool
        Whether to leave out patient, dates and creator, and to replace UIDs.
    creator : str
        Who made it, if they say so; left out where it is de-identified.
    """

    deidentify: bool = False
    creator: str = field(default="", repr=False)


def own(dataset: Dataset, image: Dataset, ownership: Ownership, moment: datetime) -> None:
    """Let an object, complete but for this, belong to the patient and study of an image, or to nobody.

    ``moment`` is when it was made.
    """
    with quiet():
        dataset.SpecificCharacterSet = UTF8
        dataset.StudyInstanceUID = str(image.StudyInstanceUID)
        for keyword in REQUIRED:
            setattr(dataset, keyword, "")
        dataset.InstanceCreationDate, dataset.InstanceCreationTime = _date(moment)
        if "ContentDate" in dataset:
            dataset.ContentDate, dataset.ContentTime = _date(moment)
            dataset.ContentCreatorName = ""
        if ownership.deidentify:
            _deidentify(dataset)
            return
        for keyword in SUBJECT:
            _copy(dataset, image, keyword)
        for keyword in ("ContentCreatorName", "OperatorsName"):  # of a Segmentation, of a structure set
            if ownership.creator and keyword in dataset:
                setattr(dataset, keyword, ownership.creator)


def new_uid(uid: str) -> str:
    """The UID that stands for another in de-identified objects; those of the standard stay."""
    if uid.startswith(STANDARD):
        return uid
    digest = hashlib.sha256(b"napari-pgrd " + uid.encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"


def _copy(dataset: Dataset, image: Dataset, keyword: str) -> None:
    try:
        element = image[keyword]
    except Exception:  # absent, or a value that cannot be decoded
        return
    if element.VR == "SQ":
        dataset[keyword] = element
    elif element.VR == "PN":  # as text, so that it is written in the character set of this object
        setattr(dataset, keyword, str(element.value or ""))
    else:
        setattr(dataset, keyword, element.value)


def _deidentify(dataset: Dataset) -> None:
    from pydicom import Dataset as Item

    dataset.walk(_replace_uid)
    if hasattr(dataset, "file_meta"):
        dataset.file_meta.walk(_replace_instance)
    for keyword in ("ContentDate", "ContentTime", "StructureSetDate", "StructureSetTime"):
        if keyword in dataset:
            setattr(dataset, keyword, NO_DATE if keyword.endswith("Date") else NO_TIME)
    for keyword in ("InstanceCreationDate", "InstanceCreationTime", "ContributingEquipmentSequence"):
        if keyword in dataset:
            delattr(dataset, keyword)
    name = f"PGRD-{str(dataset.StudyInstanceUID)[-12:]}"
    dataset.PatientName = dataset.PatientID = name
    dataset.PatientIdentityRemoved = "YES"
    dataset.LongitudinalTemporalInformationModified = "REMOVED"
    dataset.DeidentificationMethod = "PS3.15 Basic Profile; descriptors come from the model alone"
    items = []
    for value, meaning in (
        ("113100", "Basic Application Confidentiality Profile"),
        ("113105", "Clean Descriptors Option"),
    ):
        item = Item()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
        items.append(item)
    dataset.DeidentificationMethodCodeSequence = items


def _replace_uid(_: Dataset, element: DataElement) -> None:
    if element.VR == "UI" and element.value:
        several = isinstance(element.value, (list, tuple)) or element.VM > 1
        element.value = [new_uid(str(u)) for u in element.value] if several else new_uid(str(element.value))


def _replace_instance(_: Dataset, element: DataElement) -> None:
    if element.keyword == "MediaStorageSOPInstanceUID":
        element.value = new_uid(str(element.value))


def _date(moment: datetime) -> tuple[str, str]:
    return moment.strftime("%Y%m%d"), moment.strftime("%H%M%S")


def text(value: str, length: int = 64) -> str:
    """A value that fits where DICOM takes one line: no backslash, no control character, not too long."""
    clean = "".join(c if c.isprintable() and c != "\\" else " " for c in value)
    return clean[:length].strip()


NOTE = text(RESEARCH_USE)
