"""A region of a slice as closed polygons, each of one piece without holes.

A polygon runs half-way between the pixels inside and those outside. So every pixel centre inside the region is inside
exactly one polygon and no other centre is, whatever rule fills it, and no point lies further than half a pixel from the
edge between two pixels. Pixels that touch at a corner alone are two pieces.

A hole is reached through a keyhole: the outer border is cut open, the border of the hole is run through the other way
round, and the two are joined by a channel without width, there and back. It lies half-way between two rows of pixel
centres, so it passes through none. Other ways to write a hole, as a polygon of its own, are read differently by
different programs; a keyhole is one polygon to all of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure

Ring = NDArray[np.int64]
"""``(n, 2)`` (row, column) in half pixels from the centre of the first one; the last point is joined to the first."""

_EDGES = ndimage.generate_binary_structure(2, 1)


def polygons(mask: NDArray[Any]) -> list[NDArray[np.float64]]:
    """Closed polygons ``(n, 2)``, (row, column) in pixels, that hold exactly the true pixels of ``(rows, columns)``."""
    pieces, _ = ndimage.label(np.asarray(mask, bool), _EDGES)
    out = []
    for number, box in enumerate(ndimage.find_objects(pieces), 1):
        rings = _rings(pieces[box] == number)
        corner = np.array([s.start for s in box])
        out.append(_straight(_joined(rings)) / 2 + corner)
    return out


def _rings(piece: NDArray[np.bool_]) -> list[Ring]:
    """The outer border of one piece, then those of its holes."""
    found = measure.find_contours(np.pad(piece, 1).astype(float), 0.5, fully_connected="low")
    rings = [np.rint(2 * (ring[:-1] - 1)).astype(np.int64) for ring in found]
    return sorted(rings, key=lambda ring: -np.ptp(ring[:, 1]))  # nothing is as wide as what holds it


def _joined(rings: list[Ring]) -> Ring:
    """One polygon of an outer border and its holes, those furthest to the right first.

    From the rightmost point of a hole's border that lies between two rows, the channel runs along that line to the
    right until it meets a border that is joined already: a hole in its way reaches further right, so came before.
    """
    whole, *holes = rings
    starts = [max(ring[ring[:, 0] % 2 == 1].tolist(), key=lambda p: p[1]) for ring in holes]
    for (row, column), hole in sorted(zip(starts, holes, strict=True), key=lambda item: -item[0][1]):
        after, meets = _next_border(whole, row, column)
        at = int(np.flatnonzero((hole == (row, column)).all(1))[0])
        there = np.array([[row, meets]])
        round_it = np.concatenate([np.roll(hole, -at, axis=0), [[row, column]]])
        whole = np.concatenate([whole[: after + 1], there, round_it, there, whole[after + 1 :]])
    return whole


def _next_border(ring: Ring, row: int, column: int) -> tuple[int, int]:
    """After which point of a ring, and at which column, a line between two rows first meets it right of a column."""
    a, b = ring, np.roll(ring, -1, axis=0)
    ends = (a[:, 0] == row) & (a[:, 1] > column)
    crosses = (np.minimum(a[:, 0], b[:, 0]) < row) & (row < np.maximum(a[:, 0], b[:, 0])) & (a[:, 1] > column)
    # A side that crosses without a corner on the line joins (row - 1) and (row + 1) in one column.
    which = np.flatnonzero(ends | crosses)
    best = which[np.argmin(a[which, 1])]
    return int(best), int(a[best, 1])


def _straight(ring: Ring) -> Ring:
    """Without the points that lie on the way from the one before to the one after; channels stay."""
    ring = ring[(ring != np.roll(ring, 1, axis=0)).any(1)]
    into, out = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    cross = into[:, 0] * out[:, 1] - into[:, 1] * out[:, 0]
    onwards = (into * out).sum(1) > 0
    kept: Ring = ring[(cross != 0) | ~onwards]
    return kept
