"""Ordinary diffusion of the mask (DDPM: Ho et al. 2020) as a case of the residual's.

Without a prior the residual is the mask itself, ``r_0 = b y``. At b = 2 it is a mask in {0, 2}, whose diffusion differs
from that of a mask in {-1, 1} by ``sqrt(rhobar_t)``, which is known: each step of one is the same step of the other. So
ancestral sampling is the residual's ``ddpm`` solver, and a network that predicts eps becomes one that predicts v.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import torch
from torch import Tensor

from napari_pgrd.engine.sampler import Denoise


def from_noise(net: Denoise) -> Denoise:
    """The velocity from a network ``(y_t, image, 0, t, rhobar_t) -> eps``, y in {-1, 1}.

    The mask that eps leaves is held to [-1, 1], as Ho et al. hold their images: near T an error in eps comes a
    hundredfold out of the division by ``sqrt(rhobar_t)``. Then, by the definitions of v and of r_t,
    ``v = (sqrt(rhobar_t) r_t - r_0) / sqrt(1 - rhobar_t)``; both divisions need the linear schedule's 0 < rhobar < 1.
    """

    def denoise(s: Tensor, image: Tensor, pi: Tensor, t: int, rb: float, *hint: Any) -> Tensor:
        eps = net(s - sqrt(rb), image, torch.zeros_like(s), t, rb)
        r_0 = ((s - sqrt(1 - rb) * eps) / sqrt(rb)).clamp(0, 2)
        return (sqrt(rb) * s - r_0) / sqrt(1 - rb)

    return denoise
