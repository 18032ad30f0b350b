"""Distributions of masks whose best possible denoiser, and its error, are known in closed form.

Nothing here calls the package. The state is ``s = sqrt(rb) b y + sqrt(1 - rb) eps`` with y one-hot; the error is that
of the posterior mean of y, summed over classes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]
NODES, CHANCES = np.polynomial.hermite_e.hermegauss(201)
CHANCES = CHANCES / CHANCES.sum()


def _doubt(separation: Array, p: float) -> Array:
    """``E P (1 - P)``, P being the posterior chance of the second of two masks, of prior chance p.

    The log-likelihood ratio is N(+-m / 2, m), m being the squared distance of the two means in units of the noise.
    """
    m = np.asarray(separation)[..., None]
    with np.errstate(invalid="ignore", over="ignore"):
        out = 0.0
        for chance, sign in ((p, 1), (1 - p, -1)):
            ratio = sign * m / 2 + np.sqrt(m) * NODES + np.log(p / (1 - p))
            posterior = 1 / (1 + np.exp(-ratio))
            out = out + chance * (CHANCES * posterior * (1 - posterior)).sum(-1)
    return np.where(np.isfinite(separation), out, 0.0)


def _power(rhobar: Array, scale: float) -> Array:
    with np.errstate(divide="ignore"):
        return scale**2 * np.asarray(rhobar) / (1 - np.asarray(rhobar))


def bernoulli_error(rhobar: Array, p: float, scale: float = 1.0) -> Array:
    """Error of a voxel where voxels are foreground independently, with chance p: two one-hot vectors 2 apart."""
    return 2 * _doubt(2 * _power(rhobar, scale), p)


def two_masks_error(rhobar: Array, differing: int, voxels: int, p: float, scale: float = 1.0) -> Array:
    """Error of a voxel where the whole mask is one of two, which differ in so many voxels."""
    return 2 * differing / voxels * _doubt(2 * differing * _power(rhobar, scale), p)


Estimate = Callable[[Tensor, Tensor], Tensor]


def bernoulli_estimate(p: float, scale: float = 1.0) -> Estimate:
    """The posterior mean of independent voxels, ``s (B, 2, *spatial), rb (B,)``."""

    def estimate(s: Tensor, rb: Tensor) -> Tensor:
        s, rb = s.double(), rb.double().reshape(-1, *[1] * (s.ndim - 1))
        apart = s[:, 1:] - s[:, :1]
        foreground = torch.sigmoid(np.log(p / (1 - p)) + apart * rb.sqrt() * scale / (1 - rb))
        return torch.cat([1 - foreground, foreground], 1)

    return estimate


def two_masks_estimate(first: Tensor, second: Tensor, p: float) -> Estimate:
    """The posterior mean where the mask is ``second (1, K, *spatial)`` with chance p, else ``first``."""
    halfway, apart = (first + second).double() / 2, (second - first).double()

    def estimate(s: Tensor, rb: Tensor) -> Tensor:
        a, variance = rb.double().sqrt(), 1 - rb.double()
        away = s.double() - a.reshape(-1, *[1] * (s.ndim - 1)) * halfway
        ratio = a / variance * (away * apart).flatten(1).sum(1) + np.log(p / (1 - p))
        return halfway + (torch.sigmoid(ratio) - 0.5).reshape(-1, *[1] * (s.ndim - 1)) * apart

    return estimate
