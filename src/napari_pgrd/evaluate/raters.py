"""Samples against several raters: whether the model parts where the raters part, and as much as they do.

``masks (M, *spatial)`` are samples, ``truths (R, *spatial)`` raters' masks, both class indices with 0 the background;
the foreground is everything above 0. An empty mask is an opinion like any other.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Floats = NDArray[np.float64]
Indices = NDArray[np.integer]


class Agreement(NamedTuple):
    """How samples and raters lie to each other; None where there is no pair of one kind."""

    ged2: float
    hm_iou: float
    diversity: float | None
    rater_diversity: float | None
    empty_samples: float
    empty_raters: float


def majority(truths: Indices) -> Indices:
    """One map ``(*spatial)`` of what at least half of the raters marked.

    A voxel is foreground if at least half of the raters say so; its class is the one most of them chose, the lowest
    of equals. One rater's map comes back as it is.
    """
    if len(truths) == 1:
        return truths[0]
    votes = np.stack([np.count_nonzero(truths == k, axis=0) for k in range(1, max(int(truths.max()), 1) + 1)])
    out: Indices = np.where(2 * votes.sum(0) >= len(truths), votes.argmax(0) + 1, 0).astype(truths.dtype)
    return out


def iou_matrix(a: Indices, b: Indices) -> Floats:
    """IoU of the foregrounds of every mask of ``a (n, *spatial)`` with every one of ``b (m, *spatial)``, ``(n, m)``.

    Two empty masks have 1. The intersections come from one matrix product, which is exact in float32 up to 2^24
    voxels of foreground.
    """
    x, y = ((masks > 0).reshape(len(masks), -1) for masks in (a, b))
    somewhere = x.any(0) | y.any(0)
    x, y = x[:, somewhere], y[:, somewhere]
    both = (x.astype(np.float32) @ y.astype(np.float32).T).astype(np.float64)
    either = x.sum(1)[:, None] + y.sum(1)[None] - both
    out: Floats = np.where(either > 0, both / np.maximum(either, 1), 1.0)
    return out


def agreement(masks: Indices, truths: Indices) -> Agreement:
    """GED^2, HM-IoU, diversity and share of empty masks.

    References
    ----------
    GED^2: Szekely and Rizzo 2013, as used by Kohl et al. 2018. HM-IoU: Kohl et al. 2019, with Kuhn's assignment.
    """
    across, samples, raters = iou_matrix(masks, truths), iou_matrix(masks, masks), iou_matrix(truths, truths)
    return Agreement(
        2 * float((1 - across).mean()) - float((1 - samples).mean()) - float((1 - raters).mean()),
        hm_iou(across),
        _distinct(samples),
        _distinct(raters),
        _empty(masks),
        _empty(truths),
    )


def perfect_ged2(rater_diversity: float, samples: int, raters: int) -> float:
    """What samples score on average that come from the very distribution of the raters; not 0, for both are few.

    With delta the mean distance of two raters, the three terms are 2 delta, delta (1 - 1 / M) and delta (1 - 1 / R).
    """
    return rater_diversity * (1 / samples + 1 / raters)


def hm_iou(iou: Floats) -> float:
    """Mean IoU of the best one-to-one matching, both sets repeated to the least common multiple of their sizes."""
    m, r = iou.shape
    both = math.lcm(m, r)
    repeated = iou.repeat(both // m, 0).repeat(both // r, 1)
    return float(repeated[linear_sum_assignment(repeated, maximize=True)].mean())


def _distinct(iou: Floats) -> float | None:
    """Mean distance over distinct pairs."""
    n = len(iou)
    return float((1 - iou[np.triu_indices(n, 1)]).mean()) if n > 1 else None


def _empty(masks: Indices) -> float:
    return float(np.mean([not mask.any() for mask in masks]))
