"""Ideal denoisers whose velocity is known in closed form, so that any error of a sample is the solver's own.

Nothing here calls the package: the velocity is derived from the posterior mean, ``v = (sqrt(rb) r - E[r_0 | r]) /
sqrt(1 - rb)``, which follows from ``r = sqrt(rb) r_0 + sqrt(1 - rb) eps`` and ``v = sqrt(rb) eps - sqrt(1 - rb) r_0``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Denoise = Callable[[Tensor, Tensor, Tensor, int, float], Tensor]


def knows_the_truth(y: Tensor, scale: float = 1.0) -> Denoise:
    """The true v of a case whose mask is y; float64 inside."""

    def denoise(s: Tensor, image: Tensor, pi: Tensor, t: int, rb: float) -> Tensor:
        r0 = (scale * (y.double() - pi.double())).expand(s.shape)
        v = (np.sqrt(rb) * (s.double() - pi.double()) - r0) / np.sqrt(1 - rb)
        return v.to(s.dtype)

    return denoise


def mixture(modes: Tensor, weights: Tensor, scale: float = 1.0, spread: float = 0.0) -> Denoise:
    """The ideal v where the mask is one of ``modes (J, K, *spatial)`` with these probabilities.

    ``spread`` is the standard deviation of a Gaussian around each mode (in units of the residual); 0 is the modes
    alone.
    """

    def denoise(s: Tensor, image: Tensor, pi: Tensor, t: int, rb: float) -> Tensor:
        r = (s - pi).double()
        centres = scale * (modes.double() - pi.double())  # (J, K, *spatial), pi being (1, K, *spatial)
        variance = rb * spread**2 + 1 - rb
        flat, away = r.flatten(1), centres.flatten(1)
        distance = ((flat[:, None] - np.sqrt(rb) * away[None]) ** 2).sum(-1)  # (m, J)
        chance = torch.softmax(weights.double().log() - distance / (2 * variance), 1)
        pulled = away[None] + spread**2 * np.sqrt(rb) / variance * (flat[:, None] - np.sqrt(rb) * away[None])
        r0 = (chance[..., None] * pulled).sum(1).reshape(r.shape)
        return ((np.sqrt(rb) * r - r0) / np.sqrt(1 - rb)).to(s.dtype)

    return denoise


def gaussian(covariance: Tensor) -> Denoise:
    """The ideal v where the residual ``(m, 1, N)`` is a Gaussian field of covariance ``(N, N)``; differentiable."""
    values, axes = torch.linalg.eigh(covariance.double())

    def denoise(s: Tensor, image: Tensor, pi: Tensor, t: int, rb: float) -> Tensor:
        r = s - pi
        gain = axes * (np.sqrt(rb) * values / (rb * values + 1 - rb)) @ axes.T
        return (np.sqrt(rb) * r - r @ gain) / np.sqrt(1 - rb)

    return denoise


def conditional_mean(covariance: Tensor, known: Tensor, value: float) -> Tensor:
    """``(N,)``: mean of a Gaussian field of mean 0, given that it has one value on ``known (N,)``."""
    c = covariance.double()
    return c[:, known] @ torch.linalg.solve(c[known][:, known], torch.full((int(known.sum()),), value).double())


def onehot(masks: np.ndarray, classes: int) -> Tensor:
    """``(J, *spatial)`` integers to ``(J, K, *spatial)`` float64."""
    return torch.nn.functional.one_hot(torch.from_numpy(masks).long(), classes).movedim(-1, 1).double()
