"""A denoiser of masks alone: what is left of a mask in noise, when nothing else is known.

The state is ``s = sqrt(rhobar) b y + sqrt(1 - rhobar) eps``, y one-hot: the process of the denoiser with pi = 0, and no
image. If voxels were independent, the chance of class k in a voxel would be known without learning,

    P(k | s) = softmax_k (sqrt(rhobar) b s_k / (1 - rhobar) + log share of class k)

The network adds to these logits what the other voxels say. So it is right from the first step where there is little
noise, and its few parameters learn shapes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn

from napari_pgrd.engine import process
from napari_pgrd.engine.schedule import Array
from napari_pgrd.train.config import MaskNetwork
from napari_pgrd.train.loop import Batch
from napari_pgrd.train.weighting import Times

TURNS = 6.0
"""How fast the fastest wave of the network's clock turns, in radians for a radian of noise."""
SUREST = 1e4
"""Largest factor on s: at t -> 0 it has no bound, and the class is certain long before."""


class MaskDenoiser(nn.Module):
    """``s, rhobar -> yhat``, the mean of all masks that s may be a noisy copy of.

    The network hears how much noise there is, as an angle (:func:`~napari_pgrd.train.weighting.noise_angle`), by slow
    waves alone: from fast ones it would learn ripples in t that the masks do not have, and the derivative shows ripples
    first.

    Parameters
    ----------
    shares : sequence of float
        How often each of the K classes is met in a voxel.
    scale : float
        The residual scale b.
    """

    log_shares: Tensor

    def __init__(self, config: MaskNetwork, dims: int, shares: Sequence[float], scale: float = 1.0) -> None:
        super().__init__()
        self.scale, classes, levels = scale, len(shares), len(config.widths)
        self.unet = DiffusionModelUNet(
            spatial_dims=dims,
            in_channels=2 * classes,
            out_channels=classes,
            num_res_blocks=config.blocks,
            channels=config.widths,
            attention_levels=[False] * levels,
            norm_num_groups=config.groups,
            num_head_channels=config.groups,
        )
        log_shares = torch.tensor(shares).clamp_min(1e-6).log().float()
        self.register_buffer("log_shares", log_shares.reshape(1, -1, *[1] * dims))

    def forward(self, s: Tensor, rb: Tensor) -> Tensor:
        """``s (B, K, *spatial)`` and its rhobar ``rb (B,)`` to probabilities ``(B, K, *spatial)``, float32."""
        return torch.softmax(self.logits(s, rb), 1)

    def logits(self, s: Tensor, rb: Tensor) -> Tensor:
        """The probabilities' logits, float32."""
        angle = torch.atan2((1 - rb.float()).sqrt(), self.scale * rb.float().sqrt())
        rb = rb.float().reshape(-1, *[1] * (s.ndim - 1))
        factor = (rb.sqrt() * self.scale / (1 - rb).clamp_min(1e-12)).clamp(max=SUREST)
        alone: Tensor = factor * s + self.log_shares
        size = (rb * self.scale**2 / s.shape[1] + 1 - rb).rsqrt()  # a one-hot vector has mean square 1 / K
        seen = torch.cat([size * s, torch.softmax(alone, 1)], 1)
        return alone + self.unet(seen, TURNS * angle).float()


class MaskLoss:
    """Cross-entropy of the denoiser at random times; like the squared error, the true mean alone makes it smallest."""

    def __init__(self, rhobar: Array, scale: float, seed: int) -> None:
        self.rhobar, self.scale, self.seed = torch.from_numpy(rhobar).float(), scale, seed
        self.times = Times(len(rhobar) - 1)

    def __call__(self, model: nn.Module, batch: Batch, step: int) -> Tensor:
        """Loss of one batch; its times and noise depend on seed and step alone."""
        assert isinstance(model, MaskDenoiser)
        _, y = batch
        rng = np.random.default_rng((self.seed, 11, step))
        t = torch.from_numpy(self.times(rng, len(y))).to(y.device)
        eps = torch.from_numpy(rng.standard_normal(tuple(y.shape), dtype=np.float32)).to(y.device)
        rb = self.rhobar.to(y.device)[t]
        s = process.diffuse(self.scale * y, eps, rb.reshape(-1, *[1] * (y.ndim - 1)))
        return F.cross_entropy(model.logits(s, rb), y.argmax(1))
