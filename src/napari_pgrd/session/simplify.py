"""Rings of points with fewer points, and whether rings cross.

A ring is an array ``(N, 2)`` of points in order; the last joins the first, which is not repeated. scikit-image can
simplify too, but brings half of scipy along: seconds of a frozen window at the first outline.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.float64]
BLOCK = 256  # edges compared with all others at once


def simplified(ring: Ring, tolerance: float, steps: Sequence[float] | NDArray[np.float64] = (1.0, 1.0)) -> Ring:
    """Some of a ring's own points, such that no point of it lies further than the tolerance from the new one.

    Parameters
    ----------
    ring : numpy.ndarray
        ``(N, 2)``.
    tolerance : float
        In the unit of the steps.
    steps : sequence of float
        Length of a unit of the first and of the second coordinate.

    Notes
    -----
    Douglas and Peucker 1973, on the two halves between a corner of the ring and the point furthest from it.
    """
    points = ring * steps
    start = int(np.linalg.norm(points - points.mean(0), axis=1).argmax())  # a corner: that point always stays
    ring, points = np.roll(ring, -start, axis=0), np.roll(points, -start, axis=0)
    closed = np.vstack([points, points[:1]])
    middle = int(np.linalg.norm(points - points[0], axis=1).argmax())
    keep = np.zeros(len(closed), bool)
    keep[[0, middle]] = True
    spans = [(0, middle), (middle, len(points))]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        away = _distances(closed[first + 1 : last], closed[first], closed[last])
        furthest = int(away.argmax())
        if away[furthest] > tolerance:
            split = first + 1 + furthest
            keep[split] = True
            spans += [(first, split), (split, last)]
    return ring[keep[:-1]]


def simple(rings: Sequence[Ring]) -> bool:
    """Whether no edge of any ring crosses, touches or folds back on another; neighbours share their point only."""
    starts = np.vstack(rings)
    ends = np.vstack([np.roll(ring, -1, axis=0) for ring in rings])
    sizes = np.cumsum([0, *(len(ring) for ring in rings)])
    following = np.concatenate([np.roll(np.arange(a, b), -1) for a, b in pairwise(sizes)])
    before = np.argsort(following)
    here, after = ends - starts, (ends - starts)[following]
    folded = (_cross(here, after) == 0) & ((here * after).sum(1) <= 0)
    if folded.any():
        return False
    low, high = np.minimum(starts, ends), np.maximum(starts, ends)
    for at in range(0, len(starts), BLOCK):
        block = np.arange(at, min(at + BLOCK, len(starts)))
        a, b = starts[block, None], ends[block, None]
        meet = ((low[block, None] <= high) & (low <= high[block, None])).all(-1)
        meet &= _cross(b - a, starts - a) * _cross(b - a, ends - a) <= 0
        meet &= _cross(ends - starts, a - starts) * _cross(ends - starts, b - starts) <= 0
        meet[np.arange(len(block)), block] = False
        meet[np.arange(len(block)), following[block]] = False
        meet[np.arange(len(block)), before[block]] = False
        if meet.any():
            return False
    return True


def _distances(points: Ring, start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """From points to the segment between two others."""
    along = end - start
    length = float(along @ along)
    share = np.clip((points - start) @ along / length, 0, 1) if length > 0 else np.zeros(len(points))
    out: NDArray[np.float64] = np.linalg.norm(points - start - share[:, None] * along, axis=1)
    return out


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    out: NDArray[np.float64] = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return out
