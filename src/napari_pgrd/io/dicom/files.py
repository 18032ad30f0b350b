"""Finding DICOM files and reading their headers, without trusting either."""

from __future__ import annotations

import logging
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_pgrd.engine.errors import InputError, require

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_FILES = 20_000  # in a folder
MAX_BYTES = 2**32  # of one file, inflated where it is stored deflated
DEFER = 2**24  # a longer value stays on disk until somebody asks for it
_VRS = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
)


def is_dicom(path: str | os.PathLike[str]) -> bool:
    """Whether a file is DICOM by its first bytes; its name says nothing."""
    try:
        with open(path, "rb") as stream:
            start = stream.read(132)
    except OSError:
        return False
    return start[128:] == b"DICM" or _bare(start)


def _bare(start: bytes) -> bool:
    """Whether bytes begin a data set of group 2 or 8 without preamble, as some old programs store it."""
    if len(start) < 16:
        return False
    group, element, length = struct.unpack("<HHI", start[:8])
    return group in (2, 8) and element <= 0x18 and (start[4:6] in _VRS or length <= 64)


def dicom_files(folder: Path) -> list[Path]:
    """Every DICOM file in a folder and the folders in it, in the order of their names; links are not followed.

    Raises
    ------
    InputError
        If there are more files than a study can have.
    """
    found: list[Path] = []
    seen = 0
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(n for n in folders if not n.startswith("."))
        for name in sorted(names):
            seen += 1
            require(
                seen <= MAX_FILES,
                InputError,
                f"The folder holds more than {MAX_FILES} files. Give the folder of one study or series.",
            )
            path = Path(root, name)
            if not name.startswith(".") and path.is_file() and is_dicom(path):
                found.append(path)
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom's remarks, which quote the values they are about, out of logs and terminals."""
    from pydicom import config

    logger = logging.getLogger("pydicom")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(), config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def read_header(path: Path, tags: list[str] | None = None) -> Dataset | None:
    """The header of a DICOM file, without pixel data, or those of its elements that are named; None if unreadable."""
    return _read(path, specific_tags=tags, stop_before_pixels=True)


def read_object(path: Path) -> Dataset | None:
    """A DICOM file with its pixel data; None if unreadable."""
    return _read(path)


def _read(path: Path, **options: Any) -> Dataset | None:
    from pydicom import dcmread
    from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        with quiet():
            deflated = _syntax(path) == DeflatedExplicitVRLittleEndian
            if deflated and not _inflates(path):
                return None
            dataset = dcmread(path, force=True, defer_size=None if deflated else DEFER, **options)
            if not dataset or not hasattr(dataset, "file_meta"):
                return None
            if not isinstance(dataset.file_meta.get("TransferSyntaxUID"), UID):
                implicit = dataset.original_encoding[0]
                dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
            return dataset
    except Exception:  # a damaged file raises whatever its bytes lead the library to
        return None


def _syntax(path: Path) -> Any:
    from pydicom.filereader import read_file_meta_info

    try:
        return read_file_meta_info(path).get("TransferSyntaxUID")
    except Exception:  # no preamble, or damaged
        return None


def _inflates(path: Path) -> bool:
    """Whether a deflated file stays within the limit; zlib itself would fill the memory."""
    from pydicom.filereader import _read_file_meta_info, read_preamble

    with open(path, "rb") as stream:
        read_preamble(stream, force=False)
        _read_file_meta_info(stream)
        inflate, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while block := inflate.unconsumed_tail or stream.read(2**16):
            size += len(inflate.decompress(block, 2**20))
            if size > MAX_BYTES // 4:
                return False
    return True
