"""Arrays from a review folder, refused before they take more memory than its image allows."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.prediction import Prediction
from napari_pgrd.engine.request import MAX_SAMPLES

CLASSES = 256
# Four arrays of single precision and one of half, for as many classes as a label has values, and the samples.
A_VOXEL = 18 * CLASSES + MAX_SAMPLES + 4
HEADERS = 2**16  # bytes of an archive that are no voxels
_SIZED = ("probability", "votes", "prior", "total")  # (K, x, y, z)


def read_archive(path: Path, voxels: int) -> dict[str, NDArray[Any]]:
    """The arrays of an ``.npz`` about an image of so many voxels.

    Raises
    ------
    ValueError
        If they are larger than anything that a review says of such an image. What is damaged raises whatever its bytes
        lead zipfile and numpy to; pickles are refused by numpy.
    """
    with zipfile.ZipFile(path) as archive:
        # No more is ever inflated than is stated here.
        stated = sum(member.file_size for member in archive.infolist())
    if stated > voxels * A_VOXEL + HEADERS:
        raise ValueError("larger than its image allows")
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Hash of arrays with their names, types and shapes."""
    total = hashlib.blake2b(digest_size=16)
    for name, array in arrays.items():
        total.update(f"{name} {array.dtype.str} {array.shape}".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def fits(shape: tuple[int, ...], image: tuple[int, ...]) -> bool:
    """Whether an array of this shape can lie on an image, or on a box in it."""
    return len(shape) == len(image) and all(1 <= n <= most for n, most in zip(shape, image, strict=True))


def check_prediction(prediction: Prediction, image: tuple[int, ...]) -> None:
    """A ValueError unless the arrays of a prediction are what one on this image, or on a box in it, has."""
    p, grid = prediction.probability, prediction.probability.shape[1:]
    arrays = [getattr(prediction, name) for name in _SIZED]
    good = fits(grid, image) and 2 <= len(p) <= CLASSES and all(a.shape == p.shape for a in arrays)
    good = good and prediction.sample_entropy.shape == grid
    floats = (p, prediction.prior, prediction.total, prediction.sample_entropy)
    good = good and all(a.dtype == np.float32 and bool(np.isfinite(a).all()) for a in floats)
    good = good and prediction.votes.dtype == np.uint16 and float(p.min()) >= 0 and float(p.max()) <= 1 + 1e-3
    good = good and all(m.shape == grid and m.dtype == np.uint8 and int(m.max()) < len(p) for m in prediction.masks)
    if not good:
        raise ValueError("arrays that do not belong to each other or to the image")


def pack(value: Any) -> Any:
    """A key as JSON; bytes as hexadecimal."""
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, (tuple, list)):
        return [pack(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def unpack(value: Any) -> Any:
    """What :func:`pack` packed."""
    if isinstance(value, dict):
        return bytes.fromhex(value["bytes"])
    return tuple(unpack(v) for v in value) if isinstance(value, list) else value
