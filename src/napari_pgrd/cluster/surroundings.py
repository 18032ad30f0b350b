"""What surrounds worker processes of our own: from where they may import, and where they keep files."""

from __future__ import annotations

import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SAFE_PATH = "PYTHONSAFEPATH"
_lock = threading.Lock()
_open: list[None] = []  # one for each that is inside
_before: str | None = None


@contextmanager
def safe_path() -> Iterator[None]:
    """Python processes that are started inside import nothing from the working directory.

    Multiprocessing starts its processes, and one that looks after their semaphores, with ``python -c``, for which the
    working directory comes first: a ``json.py`` in a folder of images would run. They take it from the environment
    alone that this is not so. Workers that die are started again, so it stays until the last one leaves.
    """
    global _before
    with _lock:
        if not _open:
            _before, os.environ[SAFE_PATH] = os.environ.get(SAFE_PATH), "1"
        _open.append(None)
    try:
        yield
    finally:
        with _lock:
            _open.pop()
            if not _open:
                if _before is None:
                    os.environ.pop(SAFE_PATH, None)
                else:
                    os.environ[SAFE_PATH] = _before


def scratch() -> str:
    """A folder for dask's files that nobody else can write to; it imports from there, and its own is open to all.

    The folder stays, so that dask finds and removes what processes that were killed have left there.
    """
    import dask

    where = Path(dask.config.get("temporary-directory", None) or tempfile.gettempdir())
    if not hasattr(os, "getuid"):  # Windows, where everybody has temporary files of their own
        return str(where)
    folder = where / f"pgrd-cluster-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
        return str(folder)
    return tempfile.mkdtemp(prefix="pgrd-cluster-", dir=where)  # somebody else was there first
