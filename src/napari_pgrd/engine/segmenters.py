"""Networks that segment in more than one way: the prior's backbone with dropout, several heads, or a latent.

All take ``X (B, C, *spatial)``; a 2D one also takes stacks of slices ``(B, C, x, y, z)``, each slice on its own. What
is random comes in from outside, so that a sample depends on its own generator alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from monai.networks.blocks.convolutions import Convolution
from torch import Tensor, nn

from napari_pgrd.engine.nets import backbone
from napari_pgrd.engine.netspec import DropoutConfig, HeadsConfig, LatentConfig, PriorConfig

Rngs = Sequence[np.random.Generator]


class DropoutNet(nn.Module):
    """The prior's network whose deepest blocks lose units at random, each hypothesis others (Gal & Ghahramani 2016).

    The blocks are those of Bayesian SegNet (Kendall et al. 2017), the coarsest levels of encoder and decoder. Nothing
    else has to be held still: instance normalisation is the same in training and in use.
    """

    def __init__(self, config: DropoutConfig) -> None:
        super().__init__()
        self.config = config
        self.net = backbone(config, config.classes)
        beside = config.dropped_levels - 1  # levels whose encoder and decoder blocks are dropped from, too
        deepest = [*reversed(self.net.downsamples)][:beside] + [*self.net.upsamples][:beside]
        for block in (self.net.bottleneck, *deepest):
            block.register_forward_hook(self._drop)
        self._rngs: Rngs | None = None
        self._quantile = NormalDist().inv_cdf(config.dropout)

    def forward(self, x: Tensor, rngs: Rngs | None = None) -> Tensor:
        """Logits ``(B, K, *spatial)`` with dropout drawn from B generators, or without dropout."""
        self._rngs = rngs
        try:
            return sliced(self.net, x, self.config)
        finally:
            self._rngs = None

    def _drop(self, block: nn.Module, inputs: Any, out: Tensor) -> Tensor | None:
        if self._rngs is None:
            return None
        each = len(out) // len(self._rngs)  # slices of a hypothesis, or one
        # Normal draws, of which a share lies below their quantile: a slice of a stack has normal noise of its own.
        draws = [rng.standard_normal((*out.shape[1:], each), dtype=np.float32) for rng in self._rngs]
        mask = torch.from_numpy(np.concatenate([np.moveaxis(z, -1, 0) for z in draws]) >= self._quantile)
        return out * mask.to(out.device) / (1 - self.config.dropout)


class MultiHeadNet(nn.Module):
    """One trunk, M last layers: ``X -> logits (B, M, K, *spatial)`` (Rupprecht et al. 2017)."""

    def __init__(self, config: HeadsConfig) -> None:
        super().__init__()
        self.config = config
        self.net = backbone(config, config.heads * config.classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of every head; under deep supervision ``(B, scales, M, K, *spatial)``."""
        out = sliced(self.net, x, self.config)
        at = out.ndim - x.ndim + 1
        return out.unflatten(at, (self.config.heads, self.config.classes))


class LatentNet(nn.Module):
    """The Probabilistic U-Net (Kohl et al. 2018) on the prior's backbone.

    A draw z of the Gaussian that :meth:`prior` sees in the image is laid over the backbone's last features, and 1x1
    convolutions make logits of both. In training z comes from the posterior, which sees the truth too.
    """

    def __init__(self, config: LatentConfig) -> None:
        super().__init__()
        self.config = config
        width = config.filters[0]
        conv = nn.Conv3d if config.dims == 3 else nn.Conv2d
        self.net = backbone(config.model_copy(update={"deep_supervision": 0}), width)
        self.encoder = _Encoder(config, config.channels)
        self.posterior = _Encoder(config, config.channels + config.classes)
        self.last = nn.Sequential(
            conv(width + config.latent, width, 1), nn.ReLU(), conv(width, width, 1), nn.ReLU(),
            conv(width, config.classes, 1),
        )  # fmt: skip

    def prior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance ``(B, latent)`` of what may be, seen in the image alone."""
        return self._gaussian(self.encoder, x)

    def after(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The same, seen in image and truth ``(B, K, *spatial)``."""
        return self._gaussian(self.posterior, torch.cat([x, y.to(x.dtype)], 1))

    def decode(self, x: Tensor, z: Tensor) -> Tensor:
        """Logits ``(B, K, *spatial)`` of the image under a latent ``(B, latent)``."""
        features = self.net(x)
        wide = z.to(features.dtype).reshape(*z.shape, *[1] * (features.ndim - 2)).expand(-1, -1, *features.shape[2:])
        out: Tensor = self.last(torch.cat([features, wide], 1))
        return out

    def forward(self, x: Tensor, draws: Tensor) -> Tensor:
        """Logits ``(m, K, *spatial)`` for one image ``(1, C, *spatial)`` under m standard normal draws.

        ``draws`` is ``(m, slices, latent)``; a volume is one slice.
        """
        each = draws.shape[1]
        flat = self.config.dims == 2 and x.ndim == 5
        parts = x[0].movedim(-1, 0) if flat else x  # (slices, C, ...)
        mean, log_variance = self.prior(parts)
        z = mean + (log_variance / 2).exp() * draws  # (m, slices, latent)
        features = self.net(parts)
        out = []
        for one in z:  # the backbone is asked once: only the last layers hear the latent
            wide = one.to(features.dtype).reshape(each, -1, *[1] * (features.ndim - 2))
            wide = wide.expand(-1, -1, *features.shape[2:])
            y = self.last(torch.cat([features, wide], 1))
            out.append(y.movedim(0, -1)[None] if flat else y)
        return torch.cat(out)

    def _gaussian(self, encoder: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = encoder(x).float().chunk(2, 1)
        return mean, log_variance.clamp(-10, 10)


class _Encoder(nn.Module):
    """Convolutions, halving at each level, and their average over the image: ``(B, 2 latent)``.

    Without normalisation, as published: it would hide how much of the image a mask fills.
    """

    def __init__(self, config: LatentConfig, channels: int) -> None:
        super().__init__()
        widths = [channels, *config.encoder]
        self.levels = nn.Sequential(
            *(
                Convolution(config.dims, a, b, strides=1 if i == 0 else 2, norm=None, act="RELU")
                for i, (a, b) in enumerate(pairwise(widths))
            )
        )
        self.out = nn.Linear(widths[-1], 2 * config.latent)

    def forward(self, x: Tensor) -> Tensor:
        h = self.levels(x)
        out: Tensor = self.out(h.flatten(2).mean(2))
        return out


def slices_of(x: Tensor, config: PriorConfig) -> int:
    """How many images ``(B, C, *spatial)`` are to the network, each: the slices of a stack, or one."""
    return int(x.shape[-1]) if config.dims == 2 and x.ndim == 5 else 1


def sliced(net: Callable[[Tensor], Tensor], x: Tensor, config: PriorConfig) -> Tensor:
    """Apply a network; stacks of slices (2D networks only) slice by slice."""
    if slices_of(x, config) == 1 and x.ndim == config.dims + 2:
        return net(x)
    flat = net(x.movedim(-1, 1).flatten(0, 1))  # (B z, ..., x, y)
    return flat.unflatten(0, (x.shape[0], x.shape[-1])).movedim(1, -1)
