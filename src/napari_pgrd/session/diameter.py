"""Diameters of a label in mm, with end points to draw.

The surface runs half-way between a voxel of the label and its neighbour outside, as in the mesh that radiomics measures
its maximum diameter on; a voxel alone measures its own side. Beyond concave parts a diameter may leave the label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from napari_pgrd.session.change import Labels, Mask, Scope, Steps, checked_steps, label_window

ROUNDING = 1e-9
TICK = 1.5  # mm, how far the ends of a drawn diameter reach to both sides

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Diameter:
    """A straight line through a label.

    Attributes
    ----------
    length : float
        In mm; in voxels where the spacing is unknown.
    start, end : tuple of float
        Its ends in voxels of the map, voxel centres at whole numbers.
    """

    length: float
    start: Point
    end: Point


def long_axis(labels: Labels, label: int, spacing: Sequence[float] | None = None) -> Diameter:
    """The longest distance between two points of a label's surface in 3D, exact.

    Raises
    ------
    InputError
        If the label has no voxel.
    """
    steps = checked_steps(labels, label, spacing)
    window = label_window(labels, label)
    hull = _hull(labels[window] == label, steps)
    start, end = hull[_furthest(hull)] / steps + [s.start for s in window]
    return _diameter(start, end, steps)


@dataclass(frozen=True)
class Measure:
    """One label of a mask: its value, its voxels, and its long axis, None where it has no voxel."""

    value: int
    voxels: int
    axis: Diameter | None


def measure(labels: Labels, values: Sequence[int], spacing: Sequence[float] | None = None) -> tuple[Measure, ...]:
    """Size and long axis of every label value."""
    counts = [int(np.count_nonzero(labels == value)) for value in values]
    return tuple(
        Measure(value, count, long_axis(labels, value, spacing) if count else None)
        for value, count in zip(values, counts, strict=True)
    )


def drawn(line: Diameter, spacing: Sequence[float], axis: int | None = None, index: int = 0) -> NDArray[np.float64]:
    """A diameter as ``(N, 2, 3)`` starts and directions in voxels: in 3D, or its shadow on a slice with ticks as ends.

    Parameters
    ----------
    spacing : sequence of float
        Of the axes of the map; ones where it is unknown.
    axis, index : int, optional
        The slice.
    """
    start, end = np.array(line.start), np.array(line.end)
    if axis is None:
        return np.array([[start, end - start]])
    steps = np.asarray(spacing, float)
    start[axis] = end[axis] = index
    rows, columns = (i for i in range(3) if i != axis)
    along = (end - start) * steps
    aside = np.zeros(3)
    aside[rows], aside[columns] = -along[columns], along[rows]
    if not np.linalg.norm(aside) > ROUNDING:  # seen from its end
        aside[rows] = 1.0
    tick = TICK * aside / np.linalg.norm(aside) / steps
    return np.array([[start, end - start], [start - tick, 2 * tick], [end - tick, 2 * tick]])


def slice_axes(
    labels: Labels, label: int, axis: int, index: int, spacing: Sequence[float] | None = None
) -> tuple[Diameter, Diameter]:
    """The longest diameter of a label on one slice, and the longest across it at a right angle, as RECIST takes them.

    The short one is the longest such line within the convex hull of the label.

    Raises
    ------
    InputError
        If the label has no voxel on the slice.
    """
    steps = checked_steps(labels, label, spacing)
    window = label_window(labels, label, Scope(axis, index))
    flat = np.delete(steps, axis)
    corner = np.delete([s.start for s in window], axis)
    hull = _hull(np.squeeze(labels[window], axis) == label, flat)
    ends = hull[_furthest(hull)]
    lines = (np.insert(line / flat + corner, axis, index, axis=1) for line in (ends, _across(hull, ends)))
    long, short = (_diameter(start, end, steps) for start, end in lines)
    return long, short


def _hull(mask: Mask, steps: Steps) -> NDArray[np.float64]:
    """Corners, in mm, of the convex hull of the points half-way across the surface; never flat.

    Of every line of voxels only the two ends can be corners.
    """
    points = []
    for axis in range(mask.ndim):
        lines = mask.any(axis)
        first, last = mask.argmax(axis), mask.shape[axis] - 1 - np.flip(mask, axis).argmax(axis)
        for end in (first[lines] - 0.5, last[lines] + 0.5):
            points.append(np.insert(np.argwhere(lines).astype(float), axis, end, axis=1))
    surface = np.concatenate(points) * steps
    return surface[ConvexHull(surface).vertices]


def _furthest(points: NDArray[np.float64]) -> list[int]:
    """Indices of the two points furthest from each other."""
    partners = [int(np.linalg.norm(points - point, axis=1).argmax()) for point in points]
    i = int(np.linalg.norm(points - points[partners], axis=1).argmax())
    return [i, partners[i]]


def _across(hull: NDArray[np.float64], ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ends of the longest line within a convex polygon at a right angle to its longest diameter."""
    start, end = ends
    length = np.linalg.norm(end - start)
    along = (end - start) / length
    aside = np.array([-along[1], along[0]])
    u, w = (hull - start) @ along, (hull - start) @ aside
    # No corner lies beyond the ends of the diameter, which so cuts the border into two functions of u. Their difference
    # is concave and straight between corners: it is largest at a corner.
    sides = []
    for half in (w >= -ROUNDING * length, w <= ROUNDING * length):  # both hold both ends
        order = np.argsort(u[half])
        sides.append(np.interp(u, u[half][order], w[half][order]))
    widest = int(np.argmax(sides[0] - sides[1]))
    return start + u[widest] * along + np.outer([sides[0][widest], sides[1][widest]], aside)


def _diameter(start: NDArray[np.float64], end: NDArray[np.float64], steps: Steps) -> Diameter:
    a, b = ((float(p[0]), float(p[1]), float(p[2])) for p in (start, end))
    return Diameter(float(np.linalg.norm((end - start) * steps)), a, b)
