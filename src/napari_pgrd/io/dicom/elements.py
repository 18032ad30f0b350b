"""Values of DICOM elements, which may be anything or raise anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.io.dicom.files import quiet

if TYPE_CHECKING:
    from pydicom import Dataset

Vector = NDArray[np.float64]


def value_of(dataset: Dataset, keyword: str) -> Any:
    """The value of an element; None if it is not there, empty or cannot be read."""
    try:
        with quiet():
            value = dataset.get(keyword)
    except Exception:  # values are decoded when they are looked at, and a damaged one raises anything
        return None
    return None if value is None or value == "" else value


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; none if it is none."""
    from pydicom import Sequence

    value = value_of(dataset, keyword)
    return list(value) if isinstance(value, Sequence) else []


def numbers(value: Any, count: int) -> Vector | None:
    """So many finite numbers, or None."""
    try:
        found = np.array([float(v) for v in value], np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if len(found) == count and bool(np.isfinite(found).all()) else None


def number(value: Any) -> float | None:
    """A finite number, or None."""
    found = numbers([value], 1)
    return None if found is None else float(found[0])


def whole(value: Any) -> int | None:
    """A whole number, or None."""
    found = number(value)
    return int(found) if found is not None and found == int(found) and abs(found) < 2**53 else None
