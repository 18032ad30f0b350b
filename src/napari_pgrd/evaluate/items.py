"""What is measured: whole cases, or single slices of them, with one or more raters."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.cases import BLOCKS, CaseFiles, choose, load_readers, read_names

SAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Item:
    """A case, or its slice ``slice`` along the third axis of the file."""

    case: CaseFiles
    slice: int | None = None

    @property
    def name(self) -> str:
        """For tables and sentences."""
        return self.case.name if self.slice is None else f"{self.case.name}, slice {self.slice}"

    def load(self, values: Mapping[int, int]) -> tuple[Volume, NDArray[np.int64]]:
        """The image, and class indices ``(R, x, y, z)`` of its raters."""
        volume, truths = load_readers(self.case, values)
        if self.slice is None:
            return volume, truths
        nx, ny, nz = volume.shape
        require(
            self.slice < nz,
            InputError,
            f"{self.case.name} has the slices 0 to {nz - 1}, but slice {self.slice} is listed. Correct the list.",
        )
        part = slice(self.slice, self.slice + 1)
        return volume.crop(((0, nx), (0, ny), (part.start, part.stop))), truths[..., part]


def read_items(path: Path, block: str, found: Sequence[CaseFiles]) -> list[Item]:
    """The listed cases, in their order.

    The file is a split, a list of names, or, for single slices, JSON with ``{"case": name, "slice": number}`` (or the
    pair ``[name, number]``) in a list, or in the lists of a split's blocks.

    Raises
    ------
    InputError
        If the file cannot be read, names a case that is not in the data, or names one twice.
    """
    pairs = _slices(path, block)
    if pairs is None:
        items = [Item(case) for case in choose(found, read_names(path, block))]
    else:
        items = [Item(c, z) for c, (_, z) in zip(choose(found, [n for n, _ in pairs]), pairs, strict=True)]
    names = [item.name for item in items]
    require(bool(items), InputError, f"{path.name} lists no case. Give at least one.")
    twice = sorted({n for n in names if names.count(n) > 1})
    require(not twice, InputError, f"{path.name} lists {'; '.join(twice[:3])} more than once. Remove the repetition.")
    return items


def _slices(path: Path, block: str) -> list[tuple[str, int]] | None:
    """Pairs of case and slice, or None where the file lists whole cases."""
    if path.suffix.lower() != ".json":
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name} is no readable list of cases.") from error
    if isinstance(content, dict):
        keys = [block] if block in content else [k for k in ("slices", "cases") if k in content]
        if not keys and not set(content) & set(BLOCKS):
            raise InputError(f"{path.name} has no list {block!r}. Give --block with the name of one it has.")
        content = content[keys[0]] if keys else None
    if not isinstance(content, list) or not any(isinstance(entry, (dict, list)) for entry in content):
        return None
    return [_pair(entry, path.name) for entry in content]


def _pair(entry: Any, name: str) -> tuple[str, int]:
    case, z = (entry.get("case"), entry.get("slice")) if isinstance(entry, dict) else (None, None)
    if isinstance(entry, list) and len(entry) == 2:
        case, z = entry
    good = isinstance(case, str) and isinstance(z, int) and not isinstance(z, bool) and z >= 0
    require(good, InputError, f'{name}: {entry!r} is no slice; write {{"case": name, "slice": number from 0 on}}.')
    return str(case), int(z or 0)


def file_name(name: str) -> str:
    """A name as part of a path; names that would become one get a few letters of their hash."""
    safe = SAFE.sub("-", name)
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
