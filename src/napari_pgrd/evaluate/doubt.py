"""Does uncertainty find errors? Rank correlation, and what is gained by leaving out what the model doubts.

``score (N,)`` is an uncertainty such as the entropy, ``error (N,)`` a number from 0 to 1, of the voxels in question.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

SHARES = np.arange(100) / 100  # of the voxels, left out

Floats = NDArray[np.floating]


class Sparsification(NamedTuple):
    """Mean error of what stays, at every share of ``SHARES`` left out (Ilg et al. 2018; AURG: Poggi et al. 2020).

    ``curve`` leaves out by uncertainty, ``oracle`` by the error itself; ``ause`` is the area between them, ``aurg`` the
    area between the mean error and the curve.
    """

    curve: Floats
    oracle: Floats
    ause: float
    aurg: float


def spearman(score: Floats, error: Floats) -> float | None:
    """Spearman's rank correlation; None where either is constant."""
    if error.size < 2 or error.min() == error.max() or score.min() == score.max():
        return None
    return float(spearmanr(score, error).statistic)


def sparsify(score: Floats, error: Floats) -> Sparsification | None:
    """Sparsification curves and their areas; None without a voxel."""
    if error.size == 0:
        return None
    curve, oracle = remaining_error(score, error), remaining_error(error, error)
    gap, gain = (float(np.trapezoid(y, SHARES)) for y in (curve - oracle, curve[0] - curve))
    return Sparsification(curve, oracle, gap, gain)


def remaining_error(score: Floats, error: Floats) -> Floats:
    """Mean error of what stays when the highest scores are left out, ``(100,)``.

    Equal scores are left out in random order; the mean over those orders is taken exactly, so that the order of voxels
    in memory does not matter.
    """
    _, group, sizes = np.unique(score, return_inverse=True, return_counts=True)
    expected = np.bincount(group.ravel(), error.ravel().astype(np.float64)) / sizes
    total = np.cumsum(np.repeat(expected, sizes))  # from the surest on
    stay = error.size - error.size * np.arange(len(SHARES)) // len(SHARES)
    out: Floats = total[stay - 1] / stay
    return out
