"""Agreement lines: where 25, 50 and 75 % of the samples draw their border, to a fraction of a voxel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import find_contours

LEVELS = (0.25, 0.5, 0.75)


@dataclass(frozen=True, eq=False)
class Lines:
    """Line segments on one slice.

    Attributes
    ----------
    vectors : numpy.ndarray
        ``(N, 2, 3)``: start and direction in display voxels (z, y, x), as napari's Vectors take them.
    classes : numpy.ndarray
        ``(N,)`` class index of each segment.
    levels : numpy.ndarray
        ``(N,)`` fraction of samples the segment stands for.
    """

    vectors: NDArray[np.float32]
    classes: NDArray[np.int64]
    levels: NDArray[np.float32]


def agreement_lines(
    votes: NDArray[Any], axis: int, index: int, levels: Sequence[float] = LEVELS, samples: int = 1
) -> Lines:
    """Contours of the vote fractions of every foreground class on one slice.

    Parameters
    ----------
    votes : numpy.ndarray
        ``(K, z, y, x)`` how many of ``samples`` chose each class, or fractions of one; class 0 the background.
    axis, index : int
        The sliced display axis (0, 1, 2 for z, y, x) and the slice.
    """
    vectors, classes, kept = [], [], []
    for k in range(1, len(votes)):
        plane = np.take(votes[k], index, axis=axis) / samples
        padded = np.pad(plane, 1)  # a structure that touches the edge still gets a closed line
        for level in levels:
            for path in find_contours(padded, level):
                points = np.insert(path - 1, axis, index, axis=1)
                vectors.append(np.stack([points[:-1], np.diff(points, axis=0)], axis=1))
                classes += [k] * (len(points) - 1)
                kept += [level] * (len(points) - 1)
    joined = np.concatenate(vectors) if vectors else np.zeros((0, 2, 3))
    return Lines(joined.astype(np.float32), np.array(classes, np.int64), np.array(kept, np.float32))


def sample_outlines(masks: Sequence[NDArray[np.uint8]], axis: int, index: int, classes: int) -> Lines:
    """Outlines of every sample on one slice, for the view that shows all of them at once."""
    parts = []
    for mask in masks:
        plane = np.take(mask, index, axis=axis)
        hot = np.stack([plane == k for k in range(classes)]).astype(np.float32)
        parts.append(agreement_lines(np.expand_dims(hot, axis + 1), axis, 0, (0.5,)))
    if not parts:
        return Lines(np.zeros((0, 2, 3), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))
    vectors = np.concatenate([p.vectors for p in parts])
    vectors[:, 0, axis] = index
    return Lines(vectors, np.concatenate([p.classes for p in parts]), np.concatenate([p.levels for p in parts]))
