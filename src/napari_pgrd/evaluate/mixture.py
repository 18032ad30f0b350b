"""The temperature of networks whose probabilities are averaged over samples.

Guo et al. (2017) fit one to a single answer; here the negative log-likelihood is that of the mean over samples, since
that mean is what consensus, entropy and metrics see.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.evaluate.calibration import FLOOR

TEMPERATURES = np.geomspace(0.2, 10, 48)


class MixtureFit(NamedTuple):
    """The fitted temperature, and the negative log-likelihood, in nats, with it and at temperature 1."""

    temperature: float
    nll: float
    nll_at_1: float


def mixture_nll(probability: NDArray[np.floating], labels: NDArray[np.integer], temperature: float) -> float:
    """NLL of ``mean over M of softmax(log p / temperature)``: ``p (M, K, N)``, labels ``(N,)`` or ``(readers, N)``."""
    true = np.zeros(np.atleast_2d(labels).shape)
    for p in probability:
        scaled = np.exp(log_softmax(np.log(np.maximum(p, 1e-12)) / temperature, 0))
        true += np.take_along_axis(scaled, np.atleast_2d(labels), 0)
    return float(-np.log(np.maximum(true / len(probability), FLOOR)).mean())


def fit_mixture(cases: Iterable[tuple[NDArray[np.floating], NDArray[np.integer]]]) -> MixtureFit:
    """The temperature with the lowest NLL, in one pass over cases of ``(probability (M, K, N), labels)``.

    ``probability`` is the softmax at temperature 1, whose logarithm stands for the logits.
    """
    grid = np.append(TEMPERATURES, 1.0)
    table = [[mixture_nll(p, labels, t) for t in grid] for p, labels in cases]
    require(len(table) > 0, InputError, "A temperature needs calibration cases, but none were given.")
    curve = np.mean(table, 0)
    best = int(np.argmin(curve))
    return MixtureFit(float(grid[best]), float(curve[best]), float(curve[-1]))
