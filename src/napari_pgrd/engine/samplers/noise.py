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

    ``v = (eps - sqrt(1 - rhobar_t) r_t) / sqrt(rhobar_t)`` follows from the definitions of v and of r_t; it needs
    rhobar_T above 0, which the linear schedule has.
    """

    def denoise(s: Tensor, image: Tensor, pi: Tensor, t: int, rb: float, *hint: Any) -> Tensor:
        eps = net(s - sqrt(rb), image, torch.zeros_like(s), t, rb)
        return (eps - sqrt(1 - rb) * s) / sqrt(rb)

    return denoise
