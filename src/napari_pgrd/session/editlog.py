"""The edit log of one correction: a file that only grows, whole up to its last record whatever ends the program.

After a first line that names the format, the file is a row of records ::

    bytes of the payload (uint32), CRC-32 of the payload (uint32), payload
    payload = bytes of the text (uint32), text (JSON of an Entry), body (zlib)

all little-endian. The first record is the start: its body is the mask that the correction began with, label values in
C order. The body of an edit is what it changed: flat C-order indices as differences (uint32), old values, new values.
Each record is written in one piece and synced before the program goes on, so that a crash can only tear the last one;
its length or checksum then disagrees, and it is left out.
"""

from __future__ import annotations

import json
import math
import os
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.errors import ExportError, InputError, require
from napari_pgrd.session.archive import fits

MAGIC = b"PGRD edit log 1\n"
EDITS = ("stroke", "operation", "accept", "undo", "redo", "edit")  # kinds that change voxels
KINDS = ("start", *EDITS, "place", "resume")
MAX_VOXELS = 2**30  # as for the images themselves; a forged log must not exhaust memory
LONGEST_S = 10.0**9  # since the start: thirty years
_FRAME = struct.Struct("<II")
_TEXT = struct.Struct("<I")

Mask = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Change:
    """The voxels that an edit touched: ascending flat C-order indices, and their label values before and after."""

    indices: NDArray[np.int64]
    old: Mask
    new: Mask

    @property
    def reversed(self) -> Change:
        """What takes it back."""
        return Change(self.indices, self.new, self.old)

    def same(self, other: Change) -> bool:
        """Whether two changes are equal in every voxel."""
        pairs = ((self.indices, other.indices), (self.old, other.old), (self.new, other.new))
        return all(np.array_equal(a, b) for a, b in pairs)

    def encode(self) -> bytes:
        """As the body of a record."""
        steps = np.diff(self.indices, prepend=0).astype("<u4")
        return zlib.compress(steps.tobytes() + self.old.tobytes() + self.new.tobytes(), 1)

    @classmethod
    def decode(cls, body: bytes, count: int, size: int) -> Change:
        """Read a body of ``count`` voxels in a mask of ``size``; raises ValueError if it is none."""
        if count > size:
            raise ValueError("more voxels than the mask has")
        raw = _inflate(body, 6 * count)
        indices = np.cumsum(np.frombuffer(raw, "<u4", count), dtype=np.int64)
        if count and (indices[-1] >= size or (np.diff(indices) <= 0).any()):
            raise ValueError("indices outside the mask")
        old, new = np.frombuffer(raw, np.uint8, offset=4 * count).reshape(2, count)
        return cls(indices, old, new)


@dataclass(frozen=True)
class Entry:
    """One thing the reader did.

    Attributes
    ----------
    kind : str
        One of ``KINDS``; "edit" is a change that no event explains.
    name : str
        Of an operation or a place; of the start, what the mask was copied from.
    seconds : float
        Since the start; the start's ``info["began"]`` is that moment in UTC.
    voxels : int
        How many it changed.
    """

    sequence: int
    kind: str
    name: str = ""
    seconds: float = 0.0
    voxels: int = 0
    info: Mapping[str, Any] = field(default_factory=dict)


class EditLog:
    """Append to a log and read it; one thread at a time may append, which a lock sees to.

    Attributes
    ----------
    entries : list of Entry
        What the file holds, without the voxels; :meth:`changes` reads those.
    dropped : int
        Bytes after the last whole record when the file was opened: 0 unless a crash tore one.
    """

    def __init__(self, path: Path, entries: list[Entry], end: int, dropped: int = 0) -> None:
        self.path, self.entries, self.dropped = path, entries, dropped
        self.shape: tuple[int, ...] = tuple(entries[0].info["shape"])
        self.began = datetime.fromisoformat(entries[0].info["began"])
        self._end = end
        self._file: FileIO | None = None
        self._lock = threading.Lock()

    @classmethod
    def create(cls, path: Path, mask: Mask, source: str = "") -> EditLog:
        """Begin a new file with the mask that the correction starts as; never replaces a file.

        Raises
        ------
        ExportError
            If the file cannot be written or is there already.
        """
        began = datetime.now(UTC).isoformat(timespec="milliseconds")
        start = Entry(0, "start", source, info={"shape": list(mask.shape), "began": began})
        content = MAGIC + _record(start, zlib.compress(np.ascontiguousarray(mask).tobytes(), 1))
        try:
            with open(path, "xb", buffering=0) as stream:
                _write(stream, content)
            sync_folder(path.parent)
        except OSError as error:
            raise ExportError(
                f"The edit log of this correction cannot be begun ({error.strerror}), so a crash would lose your "
                "strokes. Free some space or choose another folder, then start the correction again."
            ) from error
        return cls(path, [start], len(content))

    @classmethod
    def open(cls, path: Path, image: tuple[int, ...] | None = None) -> EditLog:
        """Read what is whole of a file; nothing is changed on disk before the next :meth:`append`.

        ``image`` is the shape of the image, if it is known: a larger mask is refused before it takes memory.

        Raises
        ------
        InputError
            If there is no such file, it is none of this version, or not even its start is whole.
        """
        data = _bytes_of(path)
        records, end = _scan(data)
        require(data.startswith(MAGIC), InputError, _not_a_log(path))
        require(bool(records) and records[0][0].kind == "start", InputError, _not_a_log(path))
        _start_mask(path, *records[0], image)
        return cls(path, [entry for entry, _ in records], end, len(data) - end)

    def append(self, kind: str, change: Change | None = None, name: str = "", **info: Any) -> Entry:
        """Write one record and sync it; when this returns, a crash can no longer lose it.

        Raises
        ------
        ExportError
            If it cannot be written; the log is then as it was.
        """
        require(kind in KINDS, InputError, f"{kind!r} is no kind of entry; choose one of {', '.join(KINDS)}.")
        with self._lock:
            seconds = max((datetime.now(UTC) - self.began).total_seconds(), self.entries[-1].seconds)
            voxels = 0 if change is None else len(change.indices)
            entry = Entry(len(self.entries), kind, name, round(seconds, 3), voxels, info)
            record = _record(entry, b"" if change is None else change.encode())
            try:
                if self._file is None:
                    self._file = self._reopen()
                self._file.seek(self._end)
                _write(self._file, record)
            except OSError as error:
                raise ExportError(
                    f"Your last edit could not be logged ({error.strerror}); it is on the screen only. "
                    "Free some space, and paint once more or save the review."
                ) from error
            self._end += len(record)
            self.entries.append(entry)
        return entry

    def changes(self) -> Iterator[tuple[Entry, Change | None]]:
        """Every entry with the voxels it changed, in order.

        Raises
        ------
        InputError
            If the file is gone or a body was altered.
        """
        size = int(np.prod(self.shape))
        for entry, body in _scan(_bytes_of(self.path)[: self._end])[0]:
            try:
                yield entry, Change.decode(body, entry.voxels, size) if entry.kind in EDITS else None
            except (ValueError, zlib.error) as error:
                raise InputError(_not_a_log(self.path)) from error

    def start(self) -> Mask:
        """The mask that the correction began with, a new array."""
        return _start_mask(self.path, *_scan(_bytes_of(self.path)[: self._end])[0][0])

    def content(self) -> bytes:
        """The whole records as bytes, for a copy."""
        with self._lock:
            end = self._end
        return _bytes_of(self.path)[:end]

    def describe(self) -> list[dict[str, Any]]:
        """Every entry as plain values, for a manifest."""
        return [asdict(entry) for entry in self.entries]

    def close(self) -> None:
        """Let go of the file; the next :meth:`append` opens it again."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _reopen(self) -> FileIO:
        stream = FileIO(self.path, "r+b")
        tail = stream.seek(0, os.SEEK_END) - self._end
        if tail > 0:  # kept beside: were it more than a torn record, somebody may still read it
            stream.seek(self._end)
            aside = self.path.with_name(f"{self.path.name}.torn-{self._end}")
            aside.write_bytes(stream.read(tail))
            stream.truncate(self._end)
        return stream


def sync_folder(folder: Path) -> None:
    """Make new names in a folder outlast a power cut, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _record(entry: Entry, body: bytes) -> bytes:
    text = json.dumps(asdict(entry), separators=(",", ":"), default=_plain).encode()
    payload = _TEXT.pack(len(text)) + text + body
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def _plain(value: Any) -> Any:
    return value.tolist()  # of numpy, scalars too


def _write(stream: FileIO, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[stream.write(rest) :]
    os.fsync(stream.fileno())


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"The edit log {path.name} cannot be read ({error.strerror}). Copy the whole review folder again."
        ) from error


def _scan(data: bytes) -> tuple[list[tuple[Entry, bytes]], int]:
    """Whole records in order, and where the last of them ends."""
    records: list[tuple[Entry, bytes]] = []
    at = len(MAGIC)
    while at + _FRAME.size <= len(data):
        length, crc = _FRAME.unpack_from(data, at)
        payload = data[at + _FRAME.size : at + _FRAME.size + length]
        # Length 0 too is torn: a power cut may leave zeros, whose checksum is right.
        if len(payload) < max(length, _TEXT.size) or zlib.crc32(payload) != crc:
            break
        text_end = _TEXT.size + _TEXT.unpack_from(payload)[0]
        try:
            entry = Entry(**json.loads(payload[_TEXT.size : text_end]))
            if not _sensible(entry) or entry.sequence != len(records):
                break
        except (ValueError, TypeError, RecursionError):
            break
        records.append((entry, payload[text_end:]))
        at += _FRAME.size + length
    return records, at


def _sensible(entry: Entry) -> bool:
    """Whether the values are of the kinds that they are taken for."""
    counts = type(entry.sequence) is int and type(entry.voxels) is int and 0 <= entry.voxels <= MAX_VOXELS
    words = isinstance(entry.kind, str) and isinstance(entry.name, str) and isinstance(entry.info, dict)
    return counts and words and type(entry.seconds) in (int, float) and 0 <= entry.seconds < LONGEST_S


def _start_mask(path: Path, entry: Entry, body: bytes, image: tuple[int, ...] | None = None) -> Mask:
    try:
        shape = tuple(entry.info["shape"])
        if not all(type(n) is int for n in shape):
            raise ValueError("a shape that is none")
        began = datetime.fromisoformat(entry.info["began"])
        size = math.prod(shape)
        if not 0 < size <= MAX_VOXELS or min(shape) < 1 or (image is not None and not fits(shape, image)):
            raise ValueError("an absurd shape")
        if began.tzinfo is None or not 2000 < began.year < 9000:
            raise ValueError("an absurd date")
        return np.frombuffer(_inflate(body, size), np.uint8).reshape(shape).copy()
    except (KeyError, TypeError, ValueError, OverflowError, zlib.error) as error:
        raise InputError(_not_a_log(path)) from error


def _inflate(body: bytes, size: int) -> bytes:
    raw = zlib.decompressobj().decompress(body, size + 1) if body or size else b""
    if len(raw) != size:
        raise ValueError("another number of bytes than stated")
    return raw


def _not_a_log(path: Path) -> str:
    return (
        f"{path.name} is no edit log that this version of napari-pgrd can read, or its beginning is damaged. "
        "Copy the whole review folder again, or update napari-pgrd."
    )
