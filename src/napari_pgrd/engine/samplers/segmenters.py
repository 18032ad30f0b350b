"""Samplers of networks that segment by themselves: dropout, ensembles, several heads, a latent.

Each yields, once, the softmax of its networks' logits at a fitted temperature; a sample's mask is its largest class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_pgrd.engine.sampler import Case, noise


@dataclass(frozen=True)
class DropoutSampler:
    """The network, each time with other units silenced.

    ``net`` is ``(image (m, C, ...), rngs) -> logits (m, K, ...)``.
    """

    net: Callable[..., Tensor]
    temperature: float = 1.0
    steps: int = 1

    @torch.no_grad()
    def draw(self, case: Case, rngs: Sequence[np.random.Generator]) -> Iterator[Tensor]:
        """Yield probabilities ``(m, K, *spatial)`` once."""
        image = case.image.expand(len(rngs), *case.image.shape[1:])
        yield torch.softmax(self.net(image, rngs) / self.temperature, 1)


@dataclass(frozen=True)
class EnsembleSampler:
    """Sample i is the answer of member i modulo their number, so every member is asked as often as any other.

    ``members`` are ``image -> logits (1, K, ...)``.
    """

    members: Sequence[Callable[[Tensor], Tensor]]
    temperature: float = 1.0
    steps: int = 1

    @torch.no_grad()
    def draw(self, case: Case, rngs: Sequence[np.random.Generator]) -> Iterator[Tensor]:
        """Yield probabilities ``(m, K, *spatial)`` once."""
        chosen = [i % len(self.members) for i in case.numbers(len(rngs))]
        said = {k: self.members[k](case.image) for k in set(chosen)}
        yield torch.softmax(torch.cat([said[k] for k in chosen]) / self.temperature, 1)


@dataclass(frozen=True)
class HeadsSampler:
    """Sample i is the answer of head i modulo their number; heads have no probabilities of their own.

    ``net`` is ``image -> logits (1, M, K, ...)``.
    """

    net: Callable[[Tensor], Tensor]
    temperature: float = 1.0
    steps: int = 1

    @torch.no_grad()
    def draw(self, case: Case, rngs: Sequence[np.random.Generator]) -> Iterator[Tensor]:
        """Yield probabilities ``(m, K, *spatial)`` once."""
        logits = self.net(case.image)[0]
        chosen = [i % len(logits) for i in case.numbers(len(rngs))]
        yield torch.softmax(logits[chosen] / self.temperature, 1)


@dataclass(frozen=True)
class LatentSampler:
    """The answer under a latent drawn from what the image lets one expect; each slice of a 2D network has its own.

    ``net`` is ``(image (1, C, ...), draws (m, slices, latent)) -> logits (m, K, ...)``, the draws standard normal.
    """

    net: Callable[..., Tensor]
    latent: int = 6
    flat: bool = False
    temperature: float = 1.0
    steps: int = 1

    @torch.no_grad()
    def draw(self, case: Case, rngs: Sequence[np.random.Generator]) -> Iterator[Tensor]:
        """Yield probabilities ``(m, K, *spatial)`` once."""
        slices = case.image.shape[-1] if self.flat else 1
        z = noise(rngs, (self.latent, slices), case.image.device).movedim(1, 2)  # slices last, as in any noise
        yield torch.softmax(self.net(case.image, z) / self.temperature, 1)
