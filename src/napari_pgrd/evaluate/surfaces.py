"""Distances between surfaces, in mm. MONAI measures them; what an empty mask means is settled here."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1.0  # mm, or voxels where the spacing is unknown
PERCENTILE = 95

Indices = NDArray[np.integer]


class Surfaces(NamedTuple):
    """Means over the foreground classes of ``hd95`` (mm) and ``nsd`` (0 to 1)."""

    hd95: float
    nsd: float


def surfaces(mask: Indices, truth: Indices, classes: int, spacing: Sequence[float]) -> Surfaces:
    """Compare two label maps ``(*spatial)`` by their surfaces.

    A surface is the foreground voxels that have a background voxel among their neighbours (faces). An axis of one voxel
    is no direction to measure in: a single slice is compared in its plane. Two empty masks have distance 0 and surface
    Dice 1; if one alone is empty, the distance is the diagonal of the image and the surface Dice 0.

    Parameters
    ----------
    spacing : sequence of float
        Voxel size along each axis, mm.
    """
    axes = [i for i, n in enumerate(truth.shape) if n > 1]
    if len(axes) < 2:  # MONAI measures in two or three dimensions
        axes = list(range(truth.ndim))
    shape, steps = tuple(truth.shape[i] for i in axes), [float(spacing[i]) for i in axes]
    pairs = [_one(mask.reshape(shape) == k, truth.reshape(shape) == k, steps) for k in range(1, classes)]
    hd95, nsd = np.mean(pairs, 0)
    return Surfaces(float(hd95), float(nsd))


def _one(a: NDArray[np.bool_], b: NDArray[np.bool_], spacing: list[float]) -> tuple[float, float]:
    if not (a.any() and b.any()):
        both = not (a.any() or b.any())
        return (0.0, 1.0) if both else (float(np.linalg.norm(np.multiply(a.shape, spacing))), 0.0)
    import torch
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    x, y = (torch.from_numpy(np.ascontiguousarray(part))[None, None].float() for part in (a, b))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI calls a function of its own that it deprecated
        distance = compute_hausdorff_distance(x, y, include_background=True, percentile=PERCENTILE, spacing=spacing)
        share = compute_surface_dice(x, y, [TOLERANCE], include_background=True, spacing=spacing)
    return float(distance), float(share)
