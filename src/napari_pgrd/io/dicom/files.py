"""Finding DICOM files and reading their headers, without trusting either."""

from __future__ import annotations

import logging
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_pgrd.engine.errors import InputError, require

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_FILES = 20_000  # in a folder
PEEK = 2000  # files that are looked at to learn whether a folder is one of DICOM
MAX_BYTES = 2**32  # of one file
MAX_INFLATED = 2**30  # of one that is stored deflated
DEFER = 2**24  # a longer value stays on disk until somebody asks for it
_VRS = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
)


def is_dicom(path: str | os.PathLike[str]) -> bool:
    """Whether a file is DICOM by its first bytes; its name says nothing."""
    try:
        with open(path, "rb") as stream:
            start = stream.read(132)
    except (OSError, ValueError):
        return False
    return _marked(start) or _bare(start)


def is_marked(path: Path) -> bool:
    """Whether a file bears DICOM's own mark."""
    with open(path, "rb") as stream:
        return _marked(stream.read(132))


def _marked(start: bytes) -> bool:
    return start[128:] == b"DICM"


def _bare(start: bytes) -> bool:
    """Whether bytes begin a data set of group 2 or 8 without mark, as some old programs store it."""
    if len(start) < 16:
        return False
    group, element, length = struct.unpack("<HHI", start[:8])
    return group in (2, 8) and element <= 0x18 and (start[4:6] in _VRS or length <= 64)


def holds_dicom(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a DICOM file, or a folder with one among its first files and those of its folders."""
    if not os.path.isdir(path):
        return is_dicom(path)
    return any(is_dicom(file) for _, file in zip(range(PEEK), _walk(Path(path)), strict=False))


def dicom_files(folder: Path) -> list[Path]:
    """Every DICOM file in a folder and the folders in it, in the order of their names; linked folders are not followed.

    Raises
    ------
    InputError
        If there are more files than a study can have.
    """
    found: list[Path] = []
    for seen, path in enumerate(_walk(folder), 1):
        require(
            seen <= MAX_FILES,
            InputError,
            f"The folder holds more than {MAX_FILES} files. Give the folder of one study or series.",
        )
        if is_dicom(path):
            found.append(path)
    return found


def neighbours(file: Path) -> list[Path]:
    """The DICOM files in the folder of a file, and that file whatever it is."""
    try:
        inside = sorted(file.parent.iterdir())
    except OSError:  # a folder that may be entered but not listed
        inside = [file]
    return [p for p in inside if p == file or (not p.name.startswith(".") and p.is_file() and is_dicom(p))]


def _walk(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(n for n in folders if not n.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            if not name.startswith(".") and path.is_file():  # no pipe, which would be waited for
                yield path


_lock = threading.RLock()
_open: list[None] = []  # one for each that asked for quiet and has not left
_undo = ExitStack()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom's remarks, which quote the values they are about, out of logs and terminals."""
    with _lock:
        if not _open:
            _silence(_undo)
        _open.append(None)
    try:
        yield
    finally:
        with _lock:  # whoever leaves last, in whichever thread
            _open.pop()
            if not _open:
                _undo.close()


def _silence(stack: ExitStack) -> None:
    from pydicom import config

    logger = logging.getLogger("pydicom")
    stack.callback(logger.setLevel, logger.level)
    logger.setLevel(logging.CRITICAL + 1)
    stack.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")
    stack.enter_context(config.disable_value_validation())


def read_header(path: Path, tags: Sequence[str] | None = None) -> Dataset | None:
    """The header of a DICOM file, without pixel data, or those of its elements that are named; None if unreadable."""
    return _read(path, specific_tags=None if tags is None else list(tags), stop_before_pixels=True)


def read_object(path: Path) -> Dataset | None:
    """A DICOM file with its pixel data; None if unreadable."""
    return _read(path)


def _read(path: Path, **options: Any) -> Dataset | None:
    from pydicom import dcmread
    from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        with quiet():
            deflated = _is_deflated(path)
            if deflated and not _inflates(path):
                return None
            # What is deferred is looked up in the file by its place, and in a deflated one there is none.
            defer = None if deflated or "stop_before_pixels" not in options else DEFER
            dataset = dcmread(path, force=True, defer_size=defer, **options)
            if not len(dataset) and not len(dataset.file_meta):
                return None
            syntax = dataset.file_meta.get("TransferSyntaxUID")
            if not (isinstance(syntax, UID) and syntax):
                implicit = dataset.original_encoding[0]
                dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
            return dataset
    except Exception:  # a damaged file raises whatever its bytes lead the library to
        return None


def _is_deflated(path: Path) -> bool:
    from pydicom.filereader import read_file_meta_info
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    try:
        return bool(read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian)
    except Exception:  # no mark, or damaged
        return False


def _inflates(path: Path) -> bool:
    """Whether a deflated file stays within the limit; read at once it would fill the memory."""
    from pydicom.filereader import _read_file_meta_info, read_preamble

    with open(path, "rb") as stream:
        read_preamble(stream, force=False)
        _read_file_meta_info(stream)
        inflate, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while block := inflate.unconsumed_tail or stream.read(2**16):
            size += len(inflate.decompress(block, 2**20))
            if size > MAX_INFLATED:
                return False
    return True
