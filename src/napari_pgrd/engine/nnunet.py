"""nnU-Net v2's preprocessing, for priors that were trained by it.

Unlike ours it crops to what is not zero, scales intensities before it resamples, resamples by cubic splines (but thick
slices one by one, and from slice to slice by the nearest), and pads with zeros. Written from the published description
(Isensee et al., Nat Methods 18:203, 2021, supplementary notes); ``benchmarks/nnunet_check.py`` compares with nnU-Net's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.netspec import Foreground, NnUNetPreparation
from napari_pgrd.engine.volume import Box

Floats = NDArray[np.floating]
THICK = 3.0  # a voxel longer than this many times its shortest side makes a stack of slices
TINY = 1e-8


def inside(data: Floats) -> tuple[NDArray[np.bool_], Box]:
    """Where any channel of ``(C, x, y, z)`` is not 0, holes filled, and the smallest box around it.

    Raises
    ------
    InputError
        If the image is 0 everywhere.
    """
    mask: NDArray[np.bool_] = ndimage.binary_fill_holes((data != 0).any(0))
    require(
        bool(mask.any()),
        InputError,
        "The image is 0 everywhere, so there is nothing to segment. Choose another image or another box.",
    )
    out = []
    for axis in range(3):
        there = np.flatnonzero(mask.any(tuple(a for a in range(3) if a != axis)))
        out.append((int(there[0]), int(there[-1]) + 1))
    return mask, (out[0], out[1], out[2])


def scaled(data: Floats, mask: NDArray[np.bool_], spec: NnUNetPreparation) -> NDArray[np.float32]:
    """Each channel of ``(C, x, y, z)`` at its intensity scale."""
    rows = zip(data, spec.schemes, spec.foreground, strict=True)
    return np.stack([_scaled(channel.astype(np.float32), mask, how, of) for channel, how, of in rows])


def _scaled(x: NDArray[np.float32], mask: NDArray[np.bool_], scheme: str, of: Foreground | None) -> Any:
    if scheme == "zscore":
        return (x - x.mean()) / max(x.std(), TINY)
    if scheme == "zscore-inside":
        known = x[mask]
        x[mask] = (known - known.mean()) / max(known.std(), TINY)
        return x
    if scheme == "ct":
        assert of is not None
        return (np.clip(x, of.low, of.high) - of.mean) / max(of.std, TINY)
    if scheme == "rescale":
        x = x - x.min()
        return x / max(x.max(), TINY)
    if scheme == "colour":
        require(
            float(x.min(initial=0)) >= 0 and float(x.max(initial=0)) <= 255,
            InputError,
            f"The values go from {x.min():.4g} to {x.max():.4g}, but the prior reads colours from 0 to 255. Choose "
            "another image.",
        )
        return x / 255
    return x


def resampled(
    data: NDArray[np.float32], shape: tuple[int, int, int], have: Sequence[float], want: Sequence[float]
) -> NDArray[np.float32]:
    """``(C, x, y, z)`` at another size; ``have`` and ``want`` are the sides of the voxels, in mm."""
    if data.shape[1:] == shape:
        return data
    axis = thick_axis(have, want)
    return np.stack([_cubic(channel, shape) if axis is None else _slices(channel, shape, axis) for channel in data])


def thick_axis(have: Sequence[float], want: Sequence[float]) -> int | None:
    """The axis of thick slices: that of the voxels there are, else that of those that are wanted."""
    axis = _thick_axis(have)
    return _thick_axis(want) if axis is None else axis


def nearest_slices(n: int, m: int) -> NDArray[np.int64]:
    """``(m,)``: which of n slices lies nearest to each of m on the same length."""
    return np.floor((np.arange(m) + 0.5) * n / m).astype(np.int64)


def _thick_axis(sides: Sequence[float]) -> int | None:
    """The axis along which the voxels are thick slices, if there is one and no second is as long."""
    longest = max(sides)
    if longest / min(sides) <= THICK or list(sides).count(longest) > 1:
        return None
    return list(sides).index(longest)


def _cubic(x: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    """Cubic spline through the middles of the voxels; no value beyond those that were there."""
    factors = [m / n for m, n in zip(shape, x.shape, strict=True)]
    out = ndimage.zoom(x.astype(np.float64), factors, order=3, mode="nearest", grid_mode=True)
    held: NDArray[np.float32] = np.clip(out, x.min(), x.max()).astype(np.float32)
    return held


def _slices(x: NDArray[np.float32], shape: tuple[int, int, int], axis: int) -> NDArray[np.float32]:
    in_plane = [n for i, n in enumerate(shape) if i != axis]
    planes = np.stack([_cubic(plane, in_plane) for plane in np.moveaxis(x, axis, 0)])
    return np.moveaxis(planes[nearest_slices(len(planes), shape[axis])], 0, axis)
