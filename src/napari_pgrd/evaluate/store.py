"""Rows on disk, one a system and case, so that a stopped comparison goes on and nothing is computed twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.evaluate.definitions import DEFINITIONS
from napari_pgrd.evaluate.items import file_name
from napari_pgrd.io.nifti import write_atomically

Row = dict[str, Any]
MEANING = hashlib.sha256(json.dumps(dict(DEFINITIONS)).encode()).hexdigest()[:16]  # other definitions, other numbers


class Rows:
    """``FOLDER/ENTRY/STEPS/CASE.json`` (and ``.npz`` for what a picture needs).

    A row holds the key it was computed under: networks, request, digests of image and truth. A row under
    another key counts as missing and is replaced when the case is computed again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, entry: str, steps: int | None, item: str) -> Path:
        """Where a row lies; a system without steps has a folder of its own for that."""
        return self.folder / file_name(entry) / f"steps-{steps or 0}" / f"{file_name(item)}.json"

    def get(self, path: Path, key: Mapping[str, Any], picture: bool) -> Row | None:
        """The row under this key, or None if it, or the picture that is asked for, is not there."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # absent, or cut short by a full disk
            return None
        if not isinstance(found, dict) or found.get("key") != _plain(key):
            return None
        return None if picture and self.picture(path, key) is None else found

    def put(self, path: Path, key: Mapping[str, Any], row: Row, picture: Mapping[str, NDArray[Any]] | None) -> Row:
        """Write a row, and its picture first, so that a row never promises one that is not there."""
        stored = {"key": _plain(key), **row}
        if picture is not None:
            arrays: dict[str, Any] = {**picture, "digest": np.frombuffer(_digest(key), np.uint8)}
            write_atomically(path.with_suffix(".npz"), lambda where: np.savez_compressed(where, **arrays), ".npz")
        text = json.dumps(stored, indent=1, allow_nan=False) + "\n"
        write_atomically(path, lambda where: where.write_text(text, encoding="utf-8"))
        return stored

    @staticmethod
    def picture(path: Path, key: Mapping[str, Any]) -> dict[str, NDArray[Any]] | None:
        """The arrays that were kept for a picture under this key."""
        try:
            with np.load(path.with_suffix(".npz")) as stored:
                arrays = {name: stored[name] for name in stored.files}
        except (OSError, ValueError, EOFError, BadZipFile):
            return None
        return arrays if arrays.pop("digest").tobytes() == _digest(key) else None


def _plain(key: Mapping[str, Any]) -> Row:
    """As JSON gives it back."""
    out: Row = json.loads(json.dumps({**key, "meaning": MEANING}))
    return out


def _digest(key: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(json.dumps(_plain(key), sort_keys=True).encode()).digest()
