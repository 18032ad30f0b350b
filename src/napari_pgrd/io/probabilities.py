"""The probabilities of any other model, from NIfTI files of ``(x, y, z, class)``."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.given import GivenPrior
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.nifti import SUFFIXES, read_volume


def read_probabilities(path: str | os.PathLike[str], volume: Volume, classes: int) -> GivenPrior:
    """Read the map of one image.

    Parameters
    ----------
    path : path
        NIfTI ``(x, y, z, class)`` on the image's grid, the classes in the order of the labels, background first.

    Raises
    ------
    InputError
        If it cannot be read, lies on another grid, has another number of classes, or holds no probabilities.
    """
    name, read = Path(path).name, read_volume(path)
    try:
        given = GivenPrior(read.data)
        given.check(volume.shape, classes)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    require(
        bool(np.allclose(read.affine, volume.affine, atol=1e-2)),
        InputError,
        f"{name} lies elsewhere than the image: their affines differ. Give a map on the image's own grid.",
    )
    return given


def map_of(folder: Path, case: str) -> Path:
    """The map of a case in a folder of maps.

    Raises
    ------
    InputError
        If there is none.
    """
    for suffix in SUFFIXES:
        if (folder / f"{case}{suffix}").is_file():
            return folder / f"{case}{suffix}"
    raise InputError(f"{folder.name} holds no map for {case}; every case needs one, named {case}.nii.gz.")
