"""A label between edited slices, by shape-based interpolation of signed distances.

Raya and Udupa, "Shape-based interpolation of multidimensional objects", 1990: the distance to the outline, positive
inside, is interpolated between two slices, and the label is where it is positive. Here each piece of a slice is paired
with the nearest piece of the other, and the pair is moved onto a straight line between its centroids before distances
are mixed; otherwise shapes that do not overlap would vanish half-way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import cdist
from skimage import measure

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.session.change import Change, Labels, Mask, Scope, Steps, checked_steps, rewrite


def interpolate(
    labels: Labels,
    label: int,
    axis: int,
    keys: Sequence[int],
    spacing: Sequence[float] | None = None,
    *,
    preserve: bool = True,
) -> Change:
    """Redraw a label on the slices strictly between key slices; key slices stay as they are.

    Parameters
    ----------
    axis : int
        The axis that the slices are cut across.
    keys : sequence of int
        At least two slices that show the label as it shall be.
    spacing : sequence of float, optional
        mm per axis; only the two within a slice matter.

    Raises
    ------
    InputError
        If fewer than two key slices are given, none lies between them, or one does not show the label.
    """
    steps = checked_steps(labels, label, spacing)
    order = sorted(set(keys))
    require(len(order) > 1, InputError, "Interpolation needs two or more edited slices; edit another one.")
    require(
        order[-1] - order[0] >= len(order),
        InputError,
        f"No slice lies between slices {', '.join(map(str, order))}; edit one that is further away.",
    )
    shapes = [_shape(labels, label, Scope(axis, key)) for key in order]
    planes: list[Mask] = []
    for (lo, first), (hi, last) in pairwise(zip(order, shapes, strict=True)):
        planes += [first, *_between(first, last, hi - lo - 1, np.delete(steps, axis))]
    window = [slice(0, n) for n in labels.shape]
    window[axis] = slice(order[0], order[-1])
    return rewrite(labels, label, np.stack(planes, axis), (window[0], window[1], window[2]), preserve=preserve)


def _shape(labels: Labels, label: int, scope: Scope) -> Mask:
    """The label on one slice, 2D."""
    shape = np.squeeze(labels[scope.window(labels.shape)], scope.axis) == label
    sentence = f"Slice {scope.index} does not show label {label}; draw it there, or leave the slice out."
    require(bool(shape.any()), InputError, sentence)
    return shape


def _between(first: Mask, last: Mask, count: int, steps: Steps) -> NDArray[np.bool_]:
    """``count`` slices between two, evenly spaced: the union of what becomes of every pair of pieces."""
    planes = np.zeros((count, *first.shape), bool)
    for a, b in _pairs(first, last, steps):
        rows, columns = _box(a | b)
        for plane, part in zip(planes, _morph(a[rows, columns], b[rows, columns], count, steps), strict=True):
            plane[rows, columns] |= part
    return planes


def _pairs(first: Mask, last: Mask, steps: Steps) -> Iterator[tuple[Mask, Mask]]:
    """Yield every piece of either slice with the piece of the other that is nearest in place and size."""
    a, b = _pieces(first), _pieces(last)
    far = cdist(_places(a, steps), _places(b, steps))
    pairs = {*enumerate(far.argmin(1).tolist()), *((i, j) for j, i in enumerate(far.argmin(0).tolist()))}
    for i, j in sorted(pairs):
        yield a[i], b[j]


def _pieces(plane: Mask) -> list[Mask]:
    """The pieces of a slice; pixels that share an edge or a corner are one."""
    numbered, count = measure.label(plane, connectivity=2, return_num=True)
    return [numbered == i for i in range(1, count + 1)]


def _places(pieces: list[Mask], steps: Steps) -> NDArray[np.float64]:
    """Centroid and radius of each piece, in mm; the radius tells a ring from what it surrounds."""
    points = [np.argwhere(piece) * steps for piece in pieces]
    return np.array([[*p.mean(0), np.sqrt(p.var(0).sum())] for p in points])


def _box(plane: Mask) -> tuple[slice, slice]:
    """The box of a shape and one pixel more, as far as there is one."""
    rows, columns = ndimage.find_objects(plane.astype(np.uint8))[0]
    return (slice(max(rows.start - 1, 0), rows.stop + 1), slice(max(columns.start - 1, 0), columns.stop + 1))


def _morph(first: Mask, last: Mask, count: int, steps: Steps) -> Iterator[Mask]:
    """Yield shapes that move and change steadily from the first to the last."""
    way = np.subtract(ndimage.center_of_mass(last), ndimage.center_of_mass(first))
    room = [(r, r) for r in np.ceil(np.abs(way)).astype(int) + 1]
    inner = tuple(slice(r, -r) for r, _ in room)
    # Beyond the border of the image a shape is taken to carry on as it is at the border.
    a, b = (signed_distance(np.pad(shape, room, mode="edge"), steps) for shape in (first, last))
    for t in np.arange(1, count + 1) / (count + 1):
        moved = (ndimage.shift(d, by, order=1, mode="nearest") for d, by in ((a, t * way), (b, (t - 1) * way)))
        mixed = ((1 - t) * next(moved) + t * next(moved))[inner]
        size = ((1 - t) * math.sqrt(first.sum()) + t * math.sqrt(last.sum())) ** 2
        yield _inside(mixed, round(size))


def _inside(distance: NDArray[np.float64], size: int) -> Mask:
    """Where a distance is positive; where it never is (a ring that becomes a disc), the nearest to that."""
    if (distance > 0).any():
        return distance > 0
    size = min(max(size, 1), distance.size)
    return distance >= np.partition(distance.ravel(), -size)[-size]


def signed_distance(mask: Mask, steps: Steps) -> NDArray[np.float64]:
    """Exact distance of pixel centres to the outline, which runs between pixels; positive inside, in mm."""
    if mask.all():  # no outline: the border of the image serves
        return signed_distance(np.pad(mask, 1), steps)[1:-1, 1:-1]
    # On a grid of half steps even places are pixel centres; an odd one lies between the two or four pixels it sees.
    seen = sliding_window_view(mask.repeat(2, axis=0).repeat(2, axis=1), (2, 2))
    outline = seen.any((2, 3)) & ~seen.all((2, 3))
    distance = ndimage.distance_transform_edt(~outline, sampling=steps / 2)[::2, ::2]
    return np.where(mask, distance, -distance)
