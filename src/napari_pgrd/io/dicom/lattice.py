"""Frames of another object on the voxels of an image: which of them they are, with nothing interpolated."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.dicom.frames import Frame
from napari_pgrd.io.dicom.geometry import LPS_TO_RAS

NEAR = 0.1  # of a voxel: how far a corner of a frame may lie off
ALIKE = 0.01  # of a voxel's side: how much its size and direction may differ

Where = tuple[tuple[slice, slice, slice], tuple[int, ...], tuple[slice, slice]]


def place(frame: Frame, volume: Volume, name: str) -> Where:
    """Where a frame goes: which voxels of the volume, how to turn ``(row, column)``, and which of its pixels.

    Raises an InputError unless its pixels are voxels of the volume's lattice.
    """
    pixel = np.eye(4)  # (column, row, 0) of the frame to LPS mm
    pixel[:3, 0] = frame.across * frame.spacing[0]
    pixel[:3, 1] = frame.down * frame.spacing[1]
    pixel[:3, 2] = np.cross(frame.across, frame.down)
    pixel[:3, 3] = frame.position
    there = np.linalg.solve(volume.affine, LPS_TO_RAS @ pixel)
    turn = np.rint(there[:3, :2]).astype(int)
    start = np.rint(there[:3, 3]).astype(int)
    corners = np.array([(i, j, 0, 1) for i in (0, frame.size[0] - 1) for j in (0, frame.size[1] - 1)], float).T
    off = there[:3] @ corners - (turn @ corners[:2] + start[:, None])
    lattice = sorted(np.abs(turn).sum(0)) == [1, 1] and int(np.abs(turn).sum(1).max()) == 1
    fits = lattice and np.abs(there[:3, :2] - turn).max() <= ALIKE and np.abs(off).max() <= NEAR
    require(bool(fits), InputError, f"{name} {_difference(frame, volume)}")
    out: list[slice] = [slice(int(start[a]), int(start[a]) + 1) for a in range(3)]
    axes = [int(np.abs(turn[:, i]).argmax()) for i in (0, 1)]  # of columns, of rows
    cut: list[slice] = []
    for axis, count, step in zip(axes, frame.size, (int(turn[a, i]) for i, a in enumerate(axes)), strict=True):
        lo = int(start[axis]) if step > 0 else int(start[axis]) - count + 1
        first, last = max(lo, 0), min(lo + count, volume.shape[axis])
        inside = slice(first - lo, max(last, first) - lo)  # in the order of the volume's axis
        if step < 0:
            inside = slice(count - inside.stop, count - inside.start)
        cut.append(inside)
        out[axis] = slice(first, max(last, first))
    third = 3 - axes[0] - axes[1]
    if not 0 <= start[third] < volume.shape[third]:
        out, cut = [slice(0, 0)] * 3, [slice(0, 0)] * 2
    flips = tuple(int(turn[a, i]) for i, a in enumerate(axes))
    return (out[0], out[1], out[2]), (*axes, *flips), (cut[1], cut[0])


def turned(plane: NDArray[Any], where: Where) -> NDArray[Any]:
    """The pixels ``(row, column)`` that lie in the volume, as the block of it that they fill."""
    _, (columns, rows, right, down), (row, column) = where
    part = plane[row, column][:: 1 if down > 0 else -1, :: 1 if right > 0 else -1]
    part = part if rows < columns else part.T  # the volume's axes in their order
    return np.expand_dims(part, 3 - columns - rows)


def _difference(frame: Frame, volume: Volume) -> str:
    columns, rows = frame.size
    x, y, z = volume.spacing
    return (
        f"does not lie on the image's voxels: its {frame.text.split(', ')[-1]} has {columns} x {rows} pixels of "
        f"{frame.spacing[0]:.4g} x {frame.spacing[1]:.4g} mm, the image {' x '.join(map(str, volume.shape))} voxels of "
        f"{x:.4g} x {y:.4g} x {z:.4g} mm, or it is shifted or turned. Give a segmentation that was drawn on this "
        "image, or resample it first."
    )
