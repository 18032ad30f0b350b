"""Which samples belong together: distances between masks, groups of near ones, and how clear the groups are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

CHUNK = 2**18  # voxels at once: bounds memory, and float32 counts them exactly

Matrix = NDArray[np.float64]


def differing(values: NDArray[np.uint8]) -> Matrix:
    """``(M, M)`` number of voxels in which two of ``values (M, n)`` differ."""
    same = np.zeros((len(values), len(values)))
    for part in _chunks(values):
        for k in np.unique(part):
            hot = (part == k).astype(np.float32)
            same += hot @ hot.T
    return values.shape[1] - same


def iou_distance(values: NDArray[np.uint8], shared: int = 0) -> Matrix:
    """``(M, M)`` matrix of ``1 - intersection / union`` of the foreground, class 0 being background; both empty is 0.

    A voxel is in the intersection of two masks where both give it one and the same label, in the union where either is
    foreground. With one label it is the usual IoU.

    Parameters
    ----------
    values : numpy.ndarray
        ``(M, n)`` class indices; voxels in which all masks are background may be left out.
    shared : int
        Voxels, left out, to which all masks give the same label.
    """
    both, either_way = np.zeros((2, len(values), len(values)))
    for part in _chunks(values):
        for k in np.unique(part[part > 0]):
            hot = (part == k).astype(np.float32)
            both += hot @ hot.T
        foreground = (part > 0).astype(np.float32)
        either_way += foreground @ foreground.T
    size = np.diag(either_way)
    union = size[:, None] + size[None] - either_way + shared
    return np.where(union > 0, 1 - (both + shared) / np.maximum(union, 1), 0.0)


def groups(distance: Matrix, count: int) -> NDArray[np.int64]:
    """``(M,)`` group of each of M samples, from 0: Ward's method, cut into at most ``count`` groups.

    Both distances here are squared Euclidean ones (of one-hot masks; for one label, of the embedding that belongs to
    the Jaccard index), which is what Ward's method minimises. Average linkage would split off single outliers first.
    """
    if len(distance) < 2 or count < 2:
        return np.zeros(len(distance), np.int64)
    tree = linkage(squareform(np.sqrt(distance), checks=False), "ward")
    return fcluster(tree, count, "maxclust").astype(np.int64) - 1


def medoid(distance: Matrix, members: NDArray[np.int64]) -> int:
    """The member with the smallest sum of distances to the others; ties go to the lowest index."""
    return int(members[distance[np.ix_(members, members)].sum(1).argmin()])


def silhouette(distance: Matrix, group: NDArray[np.int64]) -> float:
    """Mean silhouette (Rousseeuw 1987): 1 for tight groups far apart, 0 or less for none; needs two groups.

    A sample alone in its group counts 0.
    """
    hot = group[:, None] == np.unique(group)  # (M, groups)
    size, total = hot.sum(0), distance @ hot
    mates = (hot * (size - 1)).sum(1)
    within = (hot * total).sum(1) / np.maximum(mates, 1)
    nearest = np.where(hot, np.inf, total / size).min(1)
    score = (nearest - within) / np.maximum(np.maximum(within, nearest), 1e-12)
    return float(np.where(mates > 0, score, 0.0).mean())


def _chunks(values: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, values.shape[1], CHUNK):
        yield values[:, start : start + CHUNK]
