"""Corrections as a reader might have made them, told to the denoiser in training.

A network that hears them as input channels can agree with them in one forward pass a step, with no gradients.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MOST_SLICES = 3
MOST_BALLS = 5
RADII = (1.5, 4.0)  # voxels


def draw_hints(y: Tensor, pi: Tensor, rng: np.random.Generator, share: float) -> Tensor | None:
    """Random hints for a batch: whole slices, or balls around the prior's errors, or nothing.

    Parameters
    ----------
    y, pi : Tensor
        ``(B, K, *spatial)``: one-hot truth and scaled prior.
    share : float
        Part of the batch, on average, that gets a hint.

    Returns
    -------
    Tensor or None
        ``(B, K, *spatial)``: y where told, zero elsewhere; None if ``share`` is 0.
    """
    if share == 0:
        return None
    known = []
    for truth, prior in zip(y.argmax(1).cpu().numpy(), pi.argmax(1).cpu().numpy(), strict=True):
        if rng.random() >= share:
            known.append(np.zeros(truth.shape, bool))
        elif rng.random() < 0.5:
            known.append(_slices(truth, prior, rng))
        else:
            known.append(_balls(truth, prior, rng))
    return y * torch.from_numpy(np.stack(known))[:, None].to(y.device)


def _slices(truth: NDArray[np.int64], prior: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """One to three whole slices along one axis, among those that hold something."""
    known = np.zeros(truth.shape, bool)
    axis = int(rng.integers(truth.ndim))
    others = tuple(a for a in range(truth.ndim) if a != axis)
    there = np.flatnonzero(((truth > 0) | (prior > 0)).any(others))
    if len(there):
        chosen = rng.choice(there, min(int(rng.integers(1, MOST_SLICES + 1)), len(there)), replace=False)
        np.moveaxis(known, axis, 0)[chosen] = True
    return known


def _balls(truth: NDArray[np.int64], prior: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """One to five balls around voxels that the prior has wrong, or of the structure where it has none wrong."""
    known = np.zeros(truth.shape, bool)
    wrong = np.argwhere(truth != prior)
    middles = wrong if len(wrong) else np.argwhere(truth > 0)
    if not len(middles):
        return known
    grid = np.ogrid[tuple(slice(n) for n in truth.shape)]
    for at in middles[rng.integers(len(middles), size=int(rng.integers(1, MOST_BALLS + 1)))]:
        known |= sum((g - c) ** 2 for g, c in zip(grid, at, strict=True)) <= rng.uniform(*RADII) ** 2
    return known
