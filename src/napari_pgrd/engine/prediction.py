"""What is known about a case after some samples: arrays and their definitions, importable without torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def entropy_of(p: NDArray[np.floating]) -> Floats:
    """``-sum_k p_k ln p_k`` in nats over axis 0."""
    safe = np.where(p > 0, p, 1)
    out: Floats = -(p * np.log(safe)).sum(0).astype(np.float32)
    return np.maximum(out, 0)


@dataclass(frozen=True, eq=False)
class Prediction:
    """Everything known about a case after some samples; never changed, only replaced.

    Attributes
    ----------
    probability : numpy.ndarray
        ``(K, x, y, z)`` float32.
    votes : numpy.ndarray
        ``(K, x, y, z)`` uint16: how many samples chose each class.
    masks : tuple of numpy.ndarray
        One ``(x, y, z)`` uint8 array of class indices a sample, in the order of their indices.
    prior : numpy.ndarray
        ``(K, x, y, z)`` float32: the scaled prior, pi.
    key : tuple
        What the samples depend on; further samples may be added only under an equal key.
    drawn_on : (str, str), optional
        Device and precision, where another machine drew the samples; None: this one.
    """

    probability: Floats
    votes: NDArray[np.uint16]
    masks: tuple[NDArray[np.uint8], ...]
    prior: Floats
    total: Floats
    sample_entropy: Floats
    key: tuple[object, ...] = ()
    drawn_on: tuple[str, str] | None = None

    @property
    def samples(self) -> int:
        """How many samples stand behind this."""
        return len(self.masks)

    @cached_property
    def consensus(self) -> NDArray[np.uint8]:
        """``argmax p``, class indices; ties go to the lowest index."""
        return self.probability.argmax(0).astype(np.uint8)

    @cached_property
    def entropy(self) -> Floats:
        """Entropy of p in nats."""
        return entropy_of(self.probability)

    @cached_property
    def variance(self) -> Floats:
        """Sum over classes of the population variance, over samples, of the one-hot sample masks."""
        f = self.votes.astype(np.float32) / max(self.samples, 1)
        return (f * (1 - f)).sum(0)

    @cached_property
    def mutual_information(self) -> Floats:
        """Entropy of p minus the mean entropy of the samples' own maps, nats."""
        return np.maximum(self.entropy - self.sample_entropy / max(self.samples, 1), 0)

    def agreement(self, k: int) -> Floats:
        """Fraction of samples that chose class k."""
        return self.votes[k].astype(np.float32) / max(self.samples, 1)
