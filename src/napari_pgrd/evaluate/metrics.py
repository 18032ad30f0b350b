"""The numbers that say whether a segmentation, and its doubt, can be believed.

Every function is about one case. ``p (K, *spatial)`` are probabilities, ``truth`` and ``mask`` ``(*spatial)`` class
indices with 0 the background, ``masks (M, *spatial)`` sampled masks. DEFINITIONS states each number in a sentence; it
goes into every report.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from scipy.stats import rankdata

from napari_pgrd.evaluate.definitions import DEFINITIONS as DEFINITIONS

FLOOR = 1e-6
BINS = 15
DILATION = 3  # voxels
RANGE = (0.05, 0.95)

Floats = NDArray[np.floating]
Indices = NDArray[np.integer]
Bools = NDArray[np.bool_]


def dice(mask: Indices, truth: Indices, classes: int) -> list[float]:
    """Dice of every foreground class; 1 where both are empty."""
    out = []
    for k in range(1, classes):
        a, b = mask == k, truth == k
        total = np.count_nonzero(a) + np.count_nonzero(b)
        out.append(2 * np.count_nonzero(a & b) / total if total else 1.0)
    return out


def nll(p: Floats, truth: Indices) -> float:
    """Mean of ``-ln p(true)``, nats."""
    true = np.take_along_axis(p, truth[None], 0)
    return float(-np.log(np.clip(true, FLOOR, 1)).mean(dtype=np.float64))


def brier(p: Floats, truth: Indices) -> float:
    """Squared distance of p to the one-hot truth, summed over classes, mean over voxels."""
    return float(sum(((p[k] - (truth == k)) ** 2).mean(dtype=np.float64) for k in range(len(p))))


def top_label(p: Floats, truth: Indices) -> tuple[Floats, Bools]:
    """Confidence of the most probable class, and whether it is right."""
    return p.max(0), p.argmax(0) == truth


def ece(confidence: Floats, right: Bools) -> float:
    """Expected calibration error over ``BINS`` equal bins ``(lo, hi]`` of confidence (Guo et al. 2017)."""
    return _gap(confidence, right, equal_bins(confidence))


def equal_bins(confidence: Floats) -> NDArray[np.int_]:
    """Which of ``BINS`` equal bins ``(lo, hi]`` each confidence lies in, ``(N,)``."""
    out: NDArray[np.int_] = np.ceil(confidence.ravel().astype(np.float64) * BINS).astype(int) - 1
    return np.clip(out, 0, BINS - 1)


def adaptive_ece(confidence: Floats, right: Bools) -> float:
    """As :func:`ece`, with equally many voxels in every bin (Nixon et al. 2019)."""
    bins = np.empty(confidence.size, int)
    bins[np.argsort(confidence.ravel(), kind="stable")] = np.arange(confidence.size) * BINS // max(confidence.size, 1)
    return _gap(confidence, right, bins)


def _gap(confidence: Floats, right: Bools, bins: NDArray[np.int_]) -> float:
    surplus = np.bincount(bins, confidence.ravel().astype(np.float64) - right.ravel(), BINS)
    return float(np.abs(surplus).sum() / max(confidence.size, 1))


def region(truth: Indices, mask: Indices) -> Bools:
    """Where doubt matters: the union of both foregrounds, dilated by ``DILATION`` voxels."""
    union = (truth > 0) | (mask > 0)
    out: Bools = binary_dilation(union, iterations=DILATION) if union.any() else union
    return out


def auroc(score: Floats, positive: Bools) -> float | None:
    """Area under the ROC curve by rank sum, ties a half; None where one of the two groups is empty."""
    n1 = int(np.count_nonzero(positive))
    n0 = positive.size - n1
    if n1 == 0 or n0 == 0:
        return None
    ranks = rankdata(score)
    return float((ranks[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


def sample_dice(masks: Indices, truth: Indices, classes: int) -> float:
    """Mean Dice of the samples against the truth."""
    return float(np.mean([dice(m, truth, classes) for m in masks]))


def pairwise_dice(masks: Indices, classes: int) -> float | None:
    """Mean Dice over distinct pairs of samples; None for a single sample.

    All intersections of a class come from one matrix product, which is exact in float32 up to 2^24 voxels.
    """
    if len(masks) < 2:
        return None
    pairs = tuple(np.array(list(combinations(range(len(masks)), 2))).T)
    scores = []
    for k in range(1, classes):
        chosen = (masks == k).reshape(len(masks), -1)
        somewhere = chosen[:, chosen.any(0)].astype(np.float32)
        both = (somewhere @ somewhere.T).astype(np.float64)
        size = np.diag(both)
        total = size[pairs[0]] + size[pairs[1]]
        scores.append(np.where(total > 0, 2 * both[pairs] / np.maximum(total, 1), 1.0).mean())
    return float(np.mean(scores))


def volume_covered(masks: Indices, truth: Indices, k: int) -> bool:
    """Whether the true number of voxels of class k lies in the samples' 5-95 % range."""
    low, high = np.quantile([np.count_nonzero(m == k) for m in masks], RANGE)
    return bool(low <= np.count_nonzero(truth == k) <= high)


def unanimous_errors(masks: Indices, mask: Indices, truth: Indices) -> tuple[int, int]:
    """How many voxels of the consensus are wrong although all samples agree, and how many are wrong."""
    wrong = mask != truth
    agree = (masks[:, wrong] == masks[0][wrong]).all(0)
    return int(np.count_nonzero(agree)), int(np.count_nonzero(wrong))
