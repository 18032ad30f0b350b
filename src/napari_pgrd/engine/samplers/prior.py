"""Samples that the prior gives alone: one segmentation, or its probability cut at many levels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_pgrd.engine.sampler import Case


@dataclass(frozen=True)
class DeterministicSampler:
    """The prior's probability as it is: every sample the same."""

    steps: int = 1

    def draw(self, case: Case, rngs: Sequence[np.random.Generator]) -> Iterator[Tensor]:
        """Yield ``pi (m, K, *spatial)`` once."""
        yield case.pi.expand(len(rngs), *case.pi.shape[1:])


@dataclass(frozen=True)
class ThresholdSampler:
    """The prior's probability of anything but background, cut at a level of each sample's own.

    Inside the cut a voxel belongs to its most probable label: a cut for each label would tear the borders between
    them. Sample i is cut at :func:`level`, so it does not depend on how many are drawn. A voxel's frequency over the
    samples is then its probability, to within the distance of neighbouring levels; the probability itself is told as
    the first estimate.
    """

    steps: int = 2

    def draw(self, case: Case, rngs: Sequence[np.random.Generator]) -> Iterator[Tensor]:
        """Yield ``pi``, then the one-hot masks ``(m, K, *spatial)``."""
        m, classes = len(rngs), case.pi.shape[1]
        pi = case.pi.expand(m, *case.pi.shape[1:])
        yield pi
        cuts = torch.tensor([level(i) for i in case.numbers(m)], dtype=pi.dtype, device=pi.device)
        inside = 1 - pi[:, 0] >= cuts.reshape(-1, *[1] * (pi.ndim - 2))
        label = torch.where(inside, 1 + pi[:, 1:].argmax(1), 0)
        yield F.one_hot(label, classes).movedim(-1, 1).to(pi.dtype)


def level(i: int) -> float:
    """Level of sample i: 1/2, 1/4, 3/4, 1/8, 5/8, ... (van der Corput 1935, in base 2).

    The first ``2^k - 1`` levels are evenly spaced, at the multiples of ``2^-k``; any other number of them is as even as
    levels can be that stay where they are when more are added.
    """
    out, step, n = 0.0, 0.5, i + 1
    while n:
        out += step * (n & 1)
        n, step = n >> 1, step / 2
    return out
