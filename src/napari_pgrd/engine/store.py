"""Arrays that stay while others come and go: small ones in memory, large ones on disk.

What is on disk has no name there: the file is deleted as soon as it is open, and its space is free again when the last
array on it is gone or the program has ended, however it ended.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

LARGE = 2**22  # bytes of one mask: a box on a structure is far below, a whole brain above
MOST = 32  # masks in one file, as each needs an open file that a program may have about a thousand of


def outside_the_heap(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A copy in pages of its own.

    Masks stay, the tensors around them come and go: masks among them left the heap in pieces that fit nothing else,
    0.3 MB for every sample of 0.06 MB.
    """
    out = np.frombuffer(mmap.mmap(-1, mask.size), np.uint8).reshape(mask.shape)
    out[...] = mask
    return out


class Store:
    """Keeps masks of one shape."""

    def __init__(self) -> None:
        self._map: mmap.mmap | None = None
        self._free: list[NDArray[np.uint8]] = []
        self._kept = 0

    def keep(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A copy that stays; on disk where it is large, unless the disk is full."""
        if mask.nbytes < LARGE:
            return outside_the_heap(mask)
        if not self._free:
            count = min(max(1, self._kept), MOST)  # as many again, so that one sample takes the space of one
            try:
                self._map = _file(count * mask.nbytes)
            except OSError:
                return outside_the_heap(mask)
            self._free = list(np.frombuffer(self._map, np.uint8).reshape(count, *mask.shape))
        out = self._free.pop(0)
        out[...] = mask
        out.flags.writeable = False
        self._kept += 1
        _let_go(self._map)
        return out


def stacked(masks: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """``np.stack(masks)``, on disk where it is large."""
    first = masks[0]
    out = room((len(masks), *first.shape), first.dtype)
    for at, mask in enumerate(masks):
        out[at] = mask
    return out


def room(shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
    """Zeros to write into, on disk where they are many, unless the disk is full."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size >= LARGE:
        try:
            return np.frombuffer(_file(size), dtype).reshape(shape)
        except OSError:
            pass
    return np.zeros(shape, dtype)


def _file(size: int) -> mmap.mmap:
    """So many zeros in a nameless file; an OSError where the disk has no room, which must not show later."""
    with tempfile.TemporaryFile(prefix="pgrd-", dir=_folder()) as stream:
        _reserve(stream, size)
        return mmap.mmap(stream.fileno(), size)  # it holds the file open


def _reserve(stream: IO[bytes], size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(stream.fileno(), 0, size)
        return
    zeros = bytes(2**20)
    for start in range(0, size, len(zeros)):
        stream.write(zeros[: size - start])
    stream.flush()


def _folder() -> str | None:
    """Where a reader wants temporary files; else, on Linux, a folder that is on disk where /tmp often is not."""
    lasting = Path("/var/tmp")
    chosen = any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    return str(lasting) if not chosen and os.access(lasting, os.W_OK) else None


def _let_go(held: mmap.mmap | None) -> None:
    """Leave what was written to the disk alone, so that it does not count as this program's memory."""
    if held is not None and hasattr(held, "madvise") and hasattr(mmap, "MADV_DONTNEED"):
        held.madvise(mmap.MADV_DONTNEED)
