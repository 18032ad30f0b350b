"""Prior-guided residual diffusion: the whole process on one screen.

Mao et al., "Prior-Guided Residual Diffusion: Calibrated and Efficient Medical Image Segmentation", in the
self-consistent form of ``docs/method.md``. The state is the residual around the prior, ``r = s - pi``, so every formula
below is that of ordinary diffusion and the prior enters only where a sample starts and ends.

Times: ``rb_t`` is ``rhobar[t]``; a reverse step goes from t to any u < t. Scalars may be floats or tensors that
broadcast against ``(B, K, *spatial)``.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import torch
from torch import Tensor

Scalar = Any  # float, or a tensor that broadcasts


def root(x: Scalar) -> Scalar:
    """Square root of a float or a tensor; rounding below zero counts as zero."""
    return x.clamp_min(0).sqrt() if isinstance(x, Tensor) else sqrt(max(x, 0.0))


def residual(y: Tensor, pi: Tensor, scale: float = 1.0) -> Tensor:
    """``r_0 = b (y - pi)``: what the network has to learn beyond the prior."""
    return scale * (y - pi)


def diffuse(r0: Tensor, eps: Tensor, rb_t: Scalar) -> Tensor:
    """Marginal: ``r_t = sqrt(rhobar_t) r_0 + sqrt(1 - rhobar_t) eps``."""
    return root(rb_t) * r0 + root(1 - rb_t) * eps


def forward_step(s: Tensor, pi: Tensor, z: Tensor, rho_t: Scalar) -> Tensor:
    """One noising step of the state itself, ``s_{t-1} -> s_t``; it drifts to the prior, not to zero."""
    return root(rho_t) * s + (1 - root(rho_t)) * pi + root(1 - rho_t) * z


def velocity(r0: Tensor, eps: Tensor, rb_t: Scalar) -> Tensor:
    """Target: ``v_t = sqrt(rhobar_t) eps - sqrt(1 - rhobar_t) r_0``; defined even at t = T."""
    return root(rb_t) * eps - root(1 - rb_t) * r0


def recover(r_t: Tensor, v: Tensor, rb_t: Scalar) -> tuple[Tensor, Tensor]:
    """``(r0hat, epshat)`` from the state and a velocity, without a division."""
    a, b = root(rb_t), root(1 - rb_t)
    return a * r_t - b * v, b * r_t + a * v


def clean(r0: Tensor, pi: Tensor, scale: float = 1.0) -> Tensor:
    """``yhat = pi + r0 / b``, clipped to [0, 1] and renormalised over classes (dimension 1)."""
    y = (pi + r0 / scale).clamp(0, 1)
    total = y.sum(1, keepdim=True)
    return torch.where(total > 0, y / total.clamp_min(1e-12), pi)


def ddpm_step(r_t: Tensor, r0: Tensor, z: Tensor, rb_t: float, rb_u: float) -> Tensor:
    """Draw from ``q(r_u | r_t, r_0)``."""
    q = rb_t / rb_u
    A = root(rb_u) * (1 - q) / (1 - rb_t)
    B = root(q) * (1 - rb_u) / (1 - rb_t)
    sigma = root((1 - rb_u) * (1 - q) / (1 - rb_t))
    return A * r0 + B * r_t + sigma * z


def ddim_step(r0: Tensor, eps: Tensor, z: Tensor | None, rb_t: float, rb_u: float, eta: float = 0.0) -> Tensor:
    """DDIM (Song et al. 2021) on the residual; eta = 0 is deterministic, eta = 1 has DDPM's variance."""
    sigma = eta * root((1 - rb_u) / (1 - rb_t)) * root(1 - rb_t / rb_u)
    r_u = root(rb_u) * r0 + root(1 - rb_u - sigma**2) * eps
    return r_u if z is None or sigma == 0 else r_u + sigma * z


def guidance(r_t: Tensor, r0: Tensor, r0_known: Tensor, mask: Tensor) -> Tensor:
    """The pull of known voxels K on all others, through the network (Chung et al. 2023).

    ``g = -grad_{r_t} 1/2 ||(r0hat - r0_K)[K]||^2 / ||(r0hat - r0_K)[K]||`` for each sample, and 0 on K itself, whose
    state is known. ``r0`` must have been computed from ``r_t`` with gradients.
    """
    miss = torch.where(mask, r0 - r0_known, 0)
    (gradient,) = torch.autograd.grad(miss.square().sum() / 2, r_t)
    norm = miss.detach().flatten(1).norm(dim=1).reshape(-1, *[1] * (r0.ndim - 1))
    return torch.where(mask, 0, -gradient / (norm + 1e-8))


def dpmpp2m_step(r_t: Tensor, r0: Tensor, previous: Tensor | None, lam: tuple[float, float, float]) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2), data prediction, variance-preserving.

    ``lam`` holds the half log-SNR of the previous time, of t and of u. Where one of them is infinite (the first two
    steps and the last) the step is of first order, which is DDIM's.
    """
    lam_s, lam_t, lam_u = (torch.tensor(x, dtype=torch.float64) for x in lam)
    alpha_u, sigma_t, sigma_u = (
        lam_u.mul(2).sigmoid().sqrt(),
        lam_t.mul(-2).sigmoid().sqrt(),
        lam_u.mul(-2).sigmoid().sqrt(),
    )
    h = lam_u - lam_t  # alpha_u * expm1(-h) stays finite at both infinities
    D = r0
    if previous is not None and torch.isfinite(lam_s) and torch.isfinite(lam_u):
        k = float(h / (lam_t - lam_s)) / 2  # 1 / (2 r) of the paper
        D = (1 + k) * r0 - k * previous
    return float(sigma_u / sigma_t) * r_t - float(alpha_u * torch.expm1(-h)) * D
