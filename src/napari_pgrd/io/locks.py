"""Locks from two files: a corrected label map, and a mask of the voxels in it that are sure."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.locks import Locks
from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.cases import to_indices
from napari_pgrd.io.nifti import read_labels


def read_locks(
    correction: str | os.PathLike[str], locked: str | os.PathLike[str], volume: Volume, spec: BundleSpec
) -> Locks:
    """Lock what the mask marks at the label that the correction gives it.

    Parameters
    ----------
    correction : path
        NIfTI label map on the volume's grid, in the bundle's label values; read only where the mask is set.
    locked : path
        NIfTI mask on the same grid; every value but 0 locks.

    Raises
    ------
    InputError
        If a file lies on another grid, holds a value the bundle does not know where it counts, or locks nothing.
    """
    labels, mask = _on(volume, correction), _on(volume, locked) != 0
    require(
        bool(mask.any()), InputError, f"{Path(locked).name} is 0 everywhere, so no voxel is locked. Mark what is sure."
    )
    index = {label.value: k for k, label in enumerate(spec.labels)}
    return Locks(mask, to_indices(np.where(mask, labels, 0), index, Path(correction).name))


def _on(volume: Volume, path: str | os.PathLike[str]) -> NDArray[np.int32]:
    values, grid = read_labels(path)
    require(
        grid.shape == volume.shape and bool(np.allclose(grid.affine, volume.affine, atol=1e-2)),
        InputError,
        f"{Path(path).name} has another grid (shape {grid.shape}) than the image (shape {volume.shape}). "
        "Give a mask that was drawn on this image.",
    )
    return values
