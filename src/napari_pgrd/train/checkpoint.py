"""The one file of the package that opens a pickle: nnU-Net keeps no other record of its weights.

PyTorch's reader of weights alone calls nothing but what makes tensors and, from a list of our own, numbers; anything
else is refused before it is made.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch

from napari_pgrd.engine.errors import InputError, require

DAMAGED = (OSError, RuntimeError, ValueError, TypeError, KeyError, EOFError, AttributeError, IndexError)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What nnU-Net's checkpoint holds, nothing of it run.

    Raises
    ------
    InputError
        If it is missing, damaged, or holds anything beyond tensors, numbers, texts and their lists.
    """
    require(path.is_file(), InputError, f"{path.parent.name} holds no {path.name}. Finish that training first.")
    damaged = (
        f"{path.name} in {path.parent.name} is no checkpoint that nnU-Net v2 writes, or is damaged. Copy it again."
    )
    try:
        with zipfile.ZipFile(path) as archive:
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
        require(stored, InputError, damaged)  # packed, it could claim any size
        with torch.serialization.safe_globals(_numbers()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        found = str(error).partition("Unsupported global: GLOBAL ")[2].split(" ")[0] or "something that is no number"
        raise InputError(
            f"{path.name} holds {found}: opening it could run code, so it is refused. Only tensors, numbers and "
            "texts are read; save the weights without the rest."
        ) from error
    except (*DAMAGED, zipfile.BadZipFile) as error:
        raise InputError(damaged) from error
    require(isinstance(content, dict) and isinstance(content.get("network_weights"), dict), InputError, damaged)
    return dict(content)


def _scalar(kind: Any, data: Any = b"") -> Any:
    """A number as NumPy stores one."""
    if not isinstance(kind, np.dtype) or kind.kind not in "biuf" or not isinstance(data, bytes):
        raise UnpicklingError("a NumPy object that is no number")
    return np.frombuffer(data, kind, 1)[0]


def _dtype(name: Any, *flags: Any) -> Any:
    """The type of such a number."""
    kind = np.dtype(name) if isinstance(name, str) and len(name) <= 3 else None
    if kind is None or kind.kind not in "biuf":
        raise UnpicklingError("a NumPy type that is none of a number")
    return kind


def _numbers() -> list[Any]:
    """What the checkpoint may call beside PyTorch's own: numbers as nnU-Net's log holds them, and their types."""
    made = [(_scalar, f"numpy.{module}.multiarray.scalar") for module in ("core", "_core")]
    kinds = {type(np.dtype(code)) for code in "?bBhHiIlLqQefd"}
    return [*made, (_dtype, "numpy.dtype"), *sorted(kinds, key=lambda kind: kind.__name__)]
