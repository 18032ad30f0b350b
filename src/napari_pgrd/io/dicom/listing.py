"""Which series a folder holds, told without a word about the patient."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.io.dicom.elements import items, value_of, whole
from napari_pgrd.io.dicom.files import dicom_files, is_marked, neighbours, quiet, read_header

if TYPE_CHECKING:
    import os

    from pydicom import Dataset

TAGS = (
    "ImageType",
    "ImageOrientationPatient",
    "Modality",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "SeriesDescription",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SharedFunctionalGroupsSequence",
    "SOPClassUID",
    "StudyInstanceUID",
)
DIRECTORY = "1.2.840.10008.1.3.10"
NO_IMAGES = {
    "SEG": "a segmentation",
    "RTSTRUCT": "contours",
    "RTDOSE": "a dose",
    "RTPLAN": "a plan",
    "REG": "a registration",
    "SR": "a report",
    "DOC": "a document",
    "PR": "a presentation state",
    "KO": "a selection of images",
}
MASK = "To correct it, open its scan in the window, then choose it with Correct > From file."
SCANS = ("CT", "MR", "PT", "NM", "US", "XA", "RF", "CR", "DX", "MG", "OPT", "OT", "SC")
# A description is free text, in which anything may stand. These words of it are nobody's name.
_HARMLESS = """
t1 t1w t2 t2w pd pdw flair dwi adc swi mprage spgr fspgr bravo space tse fse tirm stir dixon vibe lava thrive haste gre
epi dti asl tof mra cta cor sag ax tra axial coronal sagittal transversal ce gd post pre contrast native venous arterial
portal delayed late bone soft lung brain head neck chest abdomen pelvis spine liver hippocampus kernel iso recon mpr mip
2d 3d fs fat water thin thick scout
"""
_WORDS = frozenset(_HARMLESS.split())


class SeveralSeriesError(InputError):
    """A folder holds several series of which one must be chosen."""

    def __init__(self, series: Sequence[SeriesInfo]) -> None:
        self.series = tuple(series)
        listed = "; ".join(one.text for one in series)
        super().__init__(
            f"The folder holds {len(series)} series: {listed}. Choose one by its number, with --series on the command "
            "line."
        )


@dataclass(frozen=True, eq=False)
class SeriesInfo:
    """One series as it is listed.

    Attributes
    ----------
    key : str
        By which it is chosen: its number, made unique where several share one; "none" without a number.
    modality : str
        "CT", "MR", ...; "" if it is none that scanners write.
    images : int
        Files, or frames where files hold several.
    size : tuple of int
        Columns and rows of the first.
    description : str
        The words of the description that can be about no patient.
    kind : str
        What it is if it is no scan ("a segmentation"), else "".
    uid : str
        SeriesInstanceUID.
    """

    key: str
    modality: str
    images: int
    size: tuple[int, int]
    description: str
    kind: str
    uid: str = field(repr=False)
    files: tuple[Path, ...] = field(repr=False)

    @property
    def name(self) -> str:
        """What sentences call it."""
        return "the series without a number" if self.key == "none" else f"series {self.key}"

    @property
    def title(self) -> str:
        """The name of its layer."""
        title, number = f"{self.modality or 'DICOM'} series", self.key.removeprefix("none")
        return (
            f"{title} without number{number.replace('-', ' ')}" if self.key.startswith("none") else f"{title} {number}"
        )

    @property
    def text(self) -> str:
        """One line of a list."""
        columns, rows = self.size
        count = f"{self.images} image" + "s" * (self.images != 1)
        parts = [self.modality, f"{columns} x {rows} pixels", count, self.description]
        return f"{self.key}: " + ", ".join(filter(None, parts))


def list_series(path: str | os.PathLike[str]) -> list[SeriesInfo]:
    """Every series in a folder and the folders in it, or beside a file, in the order of their numbers.

    Raises
    ------
    InputError
        If there is nothing, no DICOM, or a DICOM file that cannot be read and may be a slice of any series.
    """
    path = Path(path)
    require(path.exists(), InputError, "There is no file or folder at the path given. Check the path.")
    found = dicom_files(path) if path.is_dir() else neighbours(path)
    heads: list[tuple[Path, Dataset]] = []
    damaged = 0
    for file in found:
        head = read_header(file, TAGS)
        if head is not None and str(value_of(head.file_meta, "MediaStorageSOPClassUID")) == DIRECTORY:
            require(
                file != path,
                InputError,
                "The file given is a DICOMDIR, a table of contents without images. Give the folder that it lies in.",
            )
        elif head is not None and "SeriesInstanceUID" in head and not _cut_off(head):
            heads.append((file, head))
        elif is_marked(file):
            damaged += 1
        else:
            require(file != path, InputError, "The file given is neither NIfTI nor DICOM. Give an image of a scan.")
    require(
        not damaged,
        InputError,
        f"{damaged} of {len(found)} DICOM files there cannot be read, and slices may be missing without them. Copy or "
        "export them again, or move away what does not belong.",
    )
    require(bool(heads), InputError, "There is no DICOM image at the path given. Give a folder or a file of a series.")
    return _grouped(heads)


def choose(path: str | os.PathLike[str], series: str | None = None) -> SeriesInfo:
    """The series that is meant: by number or SeriesInstanceUID, by a file of it, or the only scan of a folder.

    Raises
    ------
    SeveralSeriesError
        If several are there and none is named.
    InputError
        As :func:`list_series`; if the named series is not there or is no scan, or there is none.
    """
    path, listed = Path(path), list_series(path)
    scans = [one for one in listed if not one.kind]
    if series is not None:
        named = [one for one in listed if series.strip() in (one.key, one.uid) and series.strip()]
        require(
            len(named) == 1,
            InputError,
            f"There is no series {series if re.fullmatch(r'[0-9-]{1,12}|none', series) else 'of that name'} there. "
            + _offer(scans),
        )
        return _scan(named[0], scans)
    if not path.is_dir():
        return _scan(next(one for one in listed if path in one.files), scans)
    if len(scans) > 1:
        raise SeveralSeriesError(scans)
    return scans[0] if scans else _scan(listed[0], scans)


def _scan(one: SeriesInfo, scans: Sequence[SeriesInfo]) -> SeriesInfo:
    require(
        not one.kind,
        InputError,
        f"{one.name[0].upper()}{one.name[1:]} is {one.kind}, no stack of slices of a scan. "
        + (MASK if one.kind == NO_IMAGES["SEG"] and not scans else _offer(scans)),
    )
    return one


def _offer(scans: Sequence[SeriesInfo]) -> str:
    if not scans:
        return "There is no scan there that can be read."
    return f"Choose among: {'; '.join(one.text for one in scans)}."


def _cut_off(head: Dataset) -> bool:
    """Whether a file calls itself an image and ends before it says its size.

    The name of its series may then be cut off, too, so it would be missed nowhere.
    """
    from pydicom.uid import UID

    kind = value_of(head, "SOPClassUID") or value_of(head.file_meta, "MediaStorageSOPClassUID") or ""
    with quiet():  # of a damaged file it may be anything
        name = UID(str(kind)).name
    return name.endswith("Image Storage") and "Rows" not in head


def _grouped(heads: Sequence[tuple[Path, Dataset]]) -> list[SeriesInfo]:
    """Series by series, numbered; files whose series has no UID belong together if they share a folder."""

    def identity(one: tuple[Path, Dataset]) -> tuple[str, str, str]:
        uid = str(value_of(one[1], "SeriesInstanceUID") or "")
        return str(value_of(one[1], "StudyInstanceUID") or ""), uid, "" if uid else str(one[0].parent)

    groups = [list(group) for _, group in groupby(sorted(heads, key=identity), identity)]
    numbers = [whole(value_of(group[0][1], "SeriesNumber")) for group in groups]
    listed = [_info(group, "none" if n is None else str(n)) for group, n in zip(groups, numbers, strict=True)]
    order = sorted(range(len(groups)), key=lambda k: (numbers[k] is None, numbers[k] or 0, bool(listed[k].kind), k))
    given: Counter[str] = Counter()
    out = []
    for one in (listed[k] for k in order):
        given[one.key] += 1
        out.append(replace(one, key=f"{one.key}-{given[one.key]}") if given[one.key] > 1 else one)
    return out


def _info(group: Sequence[tuple[Path, Dataset]], key: str) -> SeriesInfo:
    heads = [head for _, head in group]
    first = next((h for h in heads if whole(value_of(h, "Rows"))), heads[0])
    modality = str(value_of(first, "Modality") or "")
    description = re.findall(r"[A-Za-z0-9]+", str(value_of(first, "SeriesDescription") or ""))
    return SeriesInfo(
        key,
        modality if modality in SCANS else "",
        sum(whole(value_of(h, "NumberOfFrames")) or 1 for h in heads),
        (whole(value_of(first, "Columns")) or 0, whole(value_of(first, "Rows")) or 0),
        " ".join(word for word in description if word.lower() in _WORDS),
        _kind(heads, first, modality),
        str(value_of(first, "SeriesInstanceUID") or ""),
        tuple(file for file, _ in group),
    )


def _kind(heads: Sequence[Dataset], first: Dataset, modality: str) -> str:
    """What a series is if it is no scan."""
    if modality in NO_IMAGES:
        return NO_IMAGES[modality]
    if not whole(value_of(first, "Rows")):
        return "no image"
    if all(is_localiser(head) for head in heads):
        return "a localiser"
    placed = value_of(first, "ImageOrientationPatient") is not None or items(first, "SharedFunctionalGroupsSequence")
    return "" if placed else "a picture without a place in the patient"


def is_localiser(head: Dataset) -> bool:
    """Whether an image is one on which the scan was planned."""
    kinds = value_of(head, "ImageType")
    return not isinstance(kinds, str) and "LOCALIZER" in [str(k) for k in kinds or ()]
