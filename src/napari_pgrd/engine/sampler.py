"""What a sampler is, and the randomness of a sample. Which there are: :mod:`napari_pgrd.engine.methods`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

Denoise = Callable[..., Tensor]
"""``(s_t, image, pi, t, rhobar_t) -> v``, all ``(m, ., *spatial)``; a sampler knows no network class.

A sixth argument, ``Known.y``, comes only where the network hears what is known.
"""


@dataclass(frozen=True)
class Known:
    """What samples must keep.

    ``y (1 or m, K, *spatial)`` is one-hot where ``mask (1 or m, 1, *spatial)`` is set, and zero elsewhere.
    """

    y: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Case:
    """One prepared image ``(1, C, *spatial)``, the scaled prior ``pi (1, K, *spatial)`` and what is known already.

    ``indices`` says which samples are drawn, in the order of their generators; counted from 0 if it is left out.
    """

    image: Tensor
    pi: Tensor
    known: Known | None = None
    indices: Sequence[int] | None = None

    def numbers(self, m: int) -> Sequence[int]:
        """The indices of m samples."""
        return range(m) if self.indices is None else self.indices


class Sampler(Protocol):
    """Anything that turns a case into samples.

    ``steps`` is how many tensors :meth:`draw` yields.
    """

    @property
    def steps(self) -> int:
        """How many tensors are yielded for each group of samples."""
        ...

    def draw(self, case: Case, rngs: Sequence[np.random.Generator]) -> Iterator[Tensor]:
        """Refine ``m = len(rngs)`` hypotheses together.

        Yields ``(m, K, *spatial)`` probabilities once a step; the last tensor yielded holds the samples.
        """
        ...


class StackGenerator(np.random.Generator):
    """The generator of a sample of a stack whose slices are drawn each on its own.

    Normal noise has the slices as its last axis, and every slice has a generator of its own: its noise does not depend
    on how many slices follow.
    """

    def __init__(self, seed: int, index: int) -> None:
        super().__init__(np.random.PCG64(np.random.SeedSequence((seed, index))))
        self._seed, self._slices = (seed, index), list[np.random.Generator]()

    def standard_normal(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        """As numpy's; ``size (..., slices)``."""
        if not isinstance(size, tuple) or out is not None:
            return super().standard_normal(size, dtype, out)
        *plane, depth = size
        for z in range(len(self._slices), depth):
            self._slices.append(np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(z,))))
        return np.stack([rng.standard_normal(plane, dtype) for rng in self._slices[:depth]], -1)


def sample_rng(seed: int, index: int, stack: bool = False) -> np.random.Generator:
    """The generator that belongs to sample ``index`` alone, whatever else is drawn beside it.

    With ``stack``, of an image whose slices are drawn each on its own.
    """
    return StackGenerator(seed, index) if stack else np.random.default_rng(np.random.SeedSequence((seed, index)))


def noise(rngs: Sequence[np.random.Generator], shape: Sequence[int], device: torch.device) -> Tensor:
    """Standard normal ``(m, *shape)`` float32, drawn on the CPU so that it is the same on every device."""
    fields = [torch.from_numpy(rng.standard_normal(tuple(shape), dtype=np.float32)) for rng in rngs]
    return torch.stack(fields).to(device)
