"""From samples to probabilities: running sums, so that memory does not grow with the number of samples.

One map feeds consensus, entropy, metrics and export alike, the mean over samples of

    ``p_i = (1 - w) softmax(yhat_i / tau) + w mean_i``

where ``mean_i`` is what the first network call of sample i, at t = T, already says of the mean: a few finished
samples estimate the mean coarsely, that call estimates it finely and costs nothing more. It is made from noise alone,
so around locks ``mean_i`` is the average over all calls of sample i, whose states have heard of them. tau and w are
fitted on the calibration block; w = 0 is the map of the samples alone. Where a method's yhat is a probability already
there is no tau: ``p_i = (1 - w) yhat_i + w mean_i``.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_pgrd.engine.locks import Locks
from napari_pgrd.engine.prediction import Floats, Prediction, entropy_of
from napari_pgrd.engine.store import Store

__all__ = ["Aggregate", "Prediction", "entropy_of", "hard", "on_simplex"]


def on_simplex(y: Tensor) -> Tensor:
    """``(K, ...)`` estimates as probabilities: below zero counts as zero, then renormalised."""
    y = y.float().clamp_min(0) + 1e-6
    return y / y.sum(0, keepdim=True)


def hard(y: Tensor) -> NDArray[np.uint8]:
    """``(K, ...)`` to class indices ``(...)``; ties go to the lowest index."""
    out: NDArray[np.uint8] = y.argmax(0).to(torch.uint8).cpu().numpy()
    return out


class Aggregate:
    """Running sums over samples, on the grid of the source (or of its box); what is locked there is kept exactly."""

    def __init__(
        self,
        prior: Floats,
        tau: float | None,
        key: tuple[object, ...] = (),
        so_far: Prediction | None = None,
        mean_weight: float = 0.0,
        locks: Locks | None = None,
    ) -> None:
        self.locks, self._store = locks, Store()
        self.prior, self.tau, self.key, self.mean_weight = prior, tau, key, mean_weight
        if so_far is not None:
            self.total, self.votes = so_far.total.copy(), so_far.votes.copy()
            self.sample_entropy, self.masks = so_far.sample_entropy.copy(), list(so_far.masks)
        else:
            self.total = np.zeros(prior.shape, np.float32)
            self.votes = np.zeros(prior.shape, np.uint16)
            self.sample_entropy = np.zeros(prior.shape[1:], np.float32)
            self.masks = []

    def add(self, y: Tensor, mean: Tensor | None = None) -> NDArray[np.uint8]:
        """Take in one sample; returns its mask. Order and grouping of calls do not matter.

        Parameters
        ----------
        y, mean : Tensor
            ``(K, x, y, z)``: the sample's yhat, and what its network calls say of the mean, which may be left out only
            if ``mean_weight`` is 0.
        """
        return self.take(hard(y), self.soft(y, mean))

    def soft(self, y: Tensor, mean: Tensor | None = None) -> Floats:
        """``(K, x, y, z)``: what one sample says of every class, p_i above."""
        p = y.float() if self.tau is None else torch.softmax(y.float() / self.tau, 0)
        if self.mean_weight > 0:
            assert mean is not None
            p = (1 - self.mean_weight) * p + self.mean_weight * on_simplex(mean)
        out: Floats = p.cpu().numpy()
        return out

    def take(self, mask: NDArray[np.uint8], soft: Floats) -> NDArray[np.uint8]:
        """Take in the class indices ``(x, y, z)`` and :meth:`soft` of one sample, wherever they were computed.

        Returns its mask with everything kept that is locked.
        """
        if self.locks is not None:
            mask = self.locks.settle_sample(mask, len(self.masks))
        entropy = entropy_of(soft)
        chosen = [mask == k for k in range(len(self.votes))]
        mask = self._store.keep(mask)  # last: a mask on disk that is read again is back in memory
        # Nothing is added before everything is computed: a sample retried after memory ran out must not count twice.
        self.total += soft
        self.sample_entropy += entropy
        for k, where in enumerate(chosen):
            self.votes[k] += where
        self.masks.append(mask)
        return mask

    def snapshot(self) -> Prediction:
        """An immutable copy of the present state; before the first sample, p is the prior."""
        n = len(self.masks)
        p = self.total / n if n else self.prior
        p, entropy = p / p.sum(0, keepdims=True), self.sample_entropy.copy()
        if self.locks is not None:
            p, entropy = self.locks.settle_probability(p), self.locks.settle_entropy(entropy, n)
        return Prediction(p, self.votes.copy(), tuple(self.masks), self.prior, self.total.copy(), entropy, self.key)
