"""From the volumes of samples to an interval that holds the true volume as often as it says.

The samples' own 5-95 % range does not: samples of one model agree with each other more than with the truth.
Conformalised quantile regression (Romano, Patterson, Candes 2019) widens it on both sides by what the calibration cases
needed. For a new case like them, the widened interval then holds the truth with at least the level's probability,
whatever the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_pgrd.engine.errors import InputError, require

RANGE = (5, 95)  # percentiles of the samples' volumes
LEVEL = 0.9


def sample_range(volumes: ArrayLike) -> tuple[float, float]:
    """The 5th and 95th percentile (linear) of ``(M,)`` volumes, in their unit."""
    low, high = np.percentile(np.asarray(volumes, float), RANGE)
    return float(low), float(high)


def conformal_range(volumes: ArrayLike, widening: float) -> tuple[float, float]:
    """The samples' range, widened on both sides by ``widening`` times their median; never below zero."""
    low, high = sample_range(volumes)
    by = widening * float(np.median(np.asarray(volumes)))
    low, high = low - by, high + by
    if low > high:  # a negative widening may narrow a range to nothing
        low = high = (low + high) / 2
    return max(low, 0.0), max(high, 0.0)


def fit_widening(samples: Sequence[NDArray[np.number]], truths: Sequence[ArrayLike], level: float = LEVEL) -> float:
    """What to widen by, relative to the median volume.

    Readers of one case are not independent of each other, cases are. So the quantile is that of hierarchical conformal
    prediction (Lee, Barber, Willett 2023): a new case weighs as much as one of those at hand, however many readers each
    has. The interval then holds the volume that a reader of a new case finds, drawn at random, with the level's
    probability.

    Parameters
    ----------
    samples : sequence of (M,) arrays
        Volumes of the samples of each calibration case.
    truths : sequence of float or (readers,) arrays
        The true volume of each, by one reader or by several; as many for all.
    level : float
        How often the interval shall hold the truth.

    Raises
    ------
    InputError
        If there are too few cases for that level: it needs ``n >= level / (1 - level)``.
    """
    n = len(truths)
    readers = np.size(truths[0]) if n else 1
    # The quantile among n + 1, the new case being one of them; the tolerance because 0.9 * 10 is 9.000000000000002.
    rank = math.ceil((n + 1) * readers * level - 1e-9)
    require(
        rank <= n * readers,
        InputError,
        f"An interval that holds {level:.0%} of the volumes needs {math.ceil(level / (1 - level) - 1e-9)} calibration "
        f"cases or more; there are {n}.",
    )
    scores = []
    for volumes, truth in zip(samples, truths, strict=True):
        low, high = sample_range(volumes)
        true = np.atleast_1d(np.asarray(truth, float))
        scores.append(np.maximum(low - true, true - high) / max(float(np.median(volumes)), 1e-9))
    return float(np.sort(np.concatenate(scores))[rank - 1])
