"""A mask that exists already, brought exactly onto the grid of an image or of a box on it.

Axes in another order or direction are put in order, which moves no voxel in the world. Anything else would need
interpolation, and a mask that is to be corrected must not change before the reader has seen it: it is refused.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.engine.volume import Affine, Box, Reorder, Volume
from napari_pgrd.io.dicom.files import is_dicom
from napari_pgrd.io.nifti import is_nifti, read_labels

# For files round their geometry:
NEAR = 0.1  # of a voxel: how far a corner may lie off
ALIKE = 0.01  # of a voxel's side: how much its size and direction may differ
NAMED = 8  # unknown values that a sentence lists


@dataclass(frozen=True, eq=False)
class Taken:
    """A mask on the grid that was asked for.

    Attributes
    ----------
    values : numpy.ndarray
        ``(x, y, z)`` uint8: the bundle's label values, a new array.
    outside : int
        Voxels of any label that lie outside the box and were left out.
    note : str
        What the reader should know about how a DICOM Segmentation was read: a sentence, or nothing.
    made : str
        How that one was made, as it says itself: "AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"; "" where nobody says.
    """

    values: NDArray[np.uint8]
    outside: int = 0
    note: str = ""
    made: str = ""


def read_mask(path: str | os.PathLike[str], volume: Volume, spec: BundleSpec, box: Box | None = None) -> Taken:
    """Read a mask of an image, or the part of it in a box.

    Parameters
    ----------
    path : path
        NIfTI with the bundle's label values, on the grid of the volume or on that of the box, its axes in any order; or
        a DICOM Segmentation with segments that the bundle knows, its frames in any order, see
        :func:`napari_pgrd.io.dicom.seg_read.read_seg`.

    Raises
    ------
    InputError
        If the file cannot be read, is no mask, lies on another grid, or holds a label that the bundle does not know.
    """
    name = Path(path).name
    if not is_nifti(path) and is_dicom(path):
        return _take_seg(Path(path), volume, spec, box)
    labels, grid = read_labels(path)
    require(
        grid.spacing_known or not volume.spacing_known,
        InputError,
        f"{name} does not say where it lies: it has no orientation and no voxel size. "
        "Give a mask that was saved with the geometry of this image.",
    )
    return take_mask(labels, grid.affine, volume, spec, box, name)


def take_mask(
    labels: NDArray[np.integer], affine: Affine, volume: Volume, spec: BundleSpec, box: Box | None, name: str
) -> Taken:
    """As :func:`read_mask`, for an array ``(x, y, z)`` of label values with its affine; ``name`` is for sentences."""
    taken = place_mask(labels, affine, volume, spec, box, name)
    _some(taken, box, name)
    return taken


def _take_seg(path: Path, volume: Volume, spec: BundleSpec, box: Box | None) -> Taken:
    from napari_pgrd.io.dicom.seg_read import read_seg

    read = read_seg(path, volume, spec)
    part = read.values if box is None else read.values[tuple(slice(lo, hi) for lo, hi in box)]
    outside = int(np.count_nonzero(read.values)) - int(np.count_nonzero(part))
    taken = Taken(np.array(part, np.uint8, order="C"), outside, read.note, read.made)
    _some(taken, box, path.name)
    return taken


def _some(taken: Taken, box: Box | None, name: str) -> None:
    where = " inside the box" if box else ""
    require(
        bool(taken.values.any()),
        InputError,
        f"{name} holds no label{where}, so there is nothing to correct. Choose another mask, or start from what the "
        "samples say.",
    )


def place_mask(
    labels: NDArray[np.integer], affine: Affine, volume: Volume, spec: BundleSpec, box: Box | None, name: str
) -> Taken:
    """As :func:`take_mask`, for a mask that may be empty: a reader's opinion that there is nothing."""
    grid = volume.crop(box) if box else volume
    outside = 0
    if (order := reordering(affine, labels.shape, grid)) is not None:
        part = order.apply(labels)
    else:
        order = reordering(affine, labels.shape, volume)
        require(order is not None, InputError, f"{name} {_difference(affine, labels.shape, volume)}")
        assert order is not None and box is not None
        whole = order.apply(labels)
        part = whole[tuple(slice(lo, hi) for lo, hi in box)]
        outside = int(np.count_nonzero(whole)) - int(np.count_nonzero(part))
    _check_values(part, spec, name)
    return Taken(np.array(part, np.uint8, order="C"), outside)


def reordering(affine: Affine, shape: tuple[int, ...], grid: Volume) -> Reorder | None:
    """What puts the axes of an array of this affine and shape into the order of a grid; None if it lies elsewhere.

    Every corner must then lie within a tenth of a voxel of where the grid has it, and voxels have its size.
    """
    turn = np.rint(np.linalg.solve(grid.affine, affine)[:3, :3]).astype(int)
    if len(shape) != 3 or not (np.abs(turn).sum(0) == 1).all() or not (np.abs(turn).sum(1) == 1).all():
        return None
    a, b, c = (int(axis) for axis in np.abs(turn).argmax(1))
    x, y, z = (bool(row.sum() < 0) for row in turn)
    order = Reorder((a, b, c), (x, y, z))
    if (shape[a], shape[b], shape[c]) != grid.shape:
        return None
    ordered = order.affine(affine, (shape[0], shape[1], shape[2]))
    off = np.linalg.solve(grid.affine, ordered) - np.eye(4)
    corners = np.array([(*corner, 1) for corner in np.ndindex(2, 2, 2)], float).T
    corners[:3] *= np.array(grid.shape)[:, None] - 1
    alike = np.abs(off[:3, :3]).max() <= ALIKE and np.abs(off @ corners).max() <= NEAR
    return order if alike else None


def _check_values(labels: NDArray[Any], spec: BundleSpec, name: str) -> None:
    unknown = np.unique(labels[~np.isin(labels, spec.values)]).tolist()
    if unknown:
        listed = ", ".join(map(str, unknown[:NAMED])) + (" ..." if len(unknown) > NAMED else "")
        known = ", ".join(f"{label.value} {label.name}" for label in spec.labels)
        raise InputError(
            f"{name} holds the label{'s' * (len(unknown) > 1)} {listed}, which the model {spec.name} does not know. "
            f"It knows {known}. Change the values in the file, or choose the model that it belongs to."
        )


def _difference(affine: Affine, shape: tuple[int, ...], volume: Volume) -> str:
    """The end of a sentence: what grid the mask has instead."""
    mine = Volume(np.broadcast_to(np.uint8(0), (1, *shape)), affine, volume.spacing_known)
    here, there = _grid(mine), _grid(volume)
    if sorted(shape) == sorted(volume.shape) and np.allclose(sorted(mine.spacing), sorted(volume.spacing), rtol=1e-3):
        say = f"has as many voxels as the image, {there}, but not in the same place: it is shifted or turned."
    else:
        say = f"lies on another grid: {here}, but the image has {there}."
    return f"{say} Give a mask that was drawn on this image, or resample it first; its axes may be in any order."


def _grid(volume: Volume) -> str:
    """``40 x 56 x 40 voxels of 1 x 1 x 1.5 mm``."""
    sizes = " x ".join(map(str, volume.shape))
    return f"{sizes} voxels" + f" of {' x '.join(f'{s:.4g}' for s in volume.spacing)} mm" * volume.spacing_known
