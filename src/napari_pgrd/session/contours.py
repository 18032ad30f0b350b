"""A label's outline on one slice as polygons with few vertices to drag, and back.

Points are (row, column) in pixels of the slice, pixel centres at whole numbers. A pixel belongs to a polygon if its
centre lies inside or on its exterior, and not inside or on one of its holes. Where a border crosses itself, the
even-odd rule decides.

Pieces that were dragged over each other become one: the label is their union, and a hole of one piece is filled where
another lies over it. A reader who moves one onto the other means that, and the order of the pieces changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import draw, measure

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.session.change import Change, Labels, Mask, Scope, Steps, checked_steps, lengths, rewrite
from napari_pgrd.session.simplify import Ring, simple, simplified

TOLERANCE = 0.75  # of a pixel side: a tenth of the vertices, and Dice above 0.98 for round shapes
FAITHFUL = 0.95  # least Dice between a piece and its simplified outline, drawn again


@dataclass(frozen=True, eq=False)
class Polygon:
    """One piece of a label on a slice: its outer border and those of its holes.

    Raises
    ------
    InputError
        If a border has fewer than three vertices or one that is not finite.
    """

    exterior: Ring
    holes: tuple[Ring, ...] = ()

    def __post_init__(self) -> None:
        for ring in (self.exterior, *self.holes):
            right = ring.ndim == 2 and len(ring) >= 3 and ring.shape[1] == 2 and bool(np.isfinite(ring).all())
            require(
                right, InputError, f"An outline of shape {ring.shape} is no area; give three or more (row, column)."
            )


def slice_to_polygons(
    mask: NDArray[Any], spacing: Sequence[float] | None = None, tolerance: float | None = None
) -> list[Polygon]:
    """Outlines of a slice, half-way between pixels, simplified.

    Pixels that share an edge or a corner are one piece, each piece one polygon.

    Parameters
    ----------
    mask : numpy.ndarray
        ``(rows, columns)``, true inside.
    spacing : sequence of float, optional
        mm along rows and columns; voxels where unknown.
    tolerance : float, optional
        How far, in the unit of the spacing, an outline may pass from the exact one; 0.75 of the smaller pixel side
        unless given. It is halved for a piece whose outline would cross or touch itself, or, drawn again, would differ
        in a pixel that does not lie at its border, half a pixel off, or whose Dice with it would fall below 0.95. At 0
        nothing is simplified and :func:`polygons_to_slice` gives back the very mask.

    Returns
    -------
    list of Polygon
        Empty for an empty slice.
    """
    steps = lengths(spacing, 2)
    limit = TOLERANCE * float(steps.min()) if tolerance is None else tolerance
    require(limit >= 0, InputError, f"A tolerance of {limit} cannot be used; give 0 or more.")
    pieces = measure.label(mask.astype(bool), connectivity=2)
    boxes = enumerate(ndimage.find_objects(pieces), start=1)
    return [_moved(_outline(pieces[box] == i, steps, limit), [s.start for s in box]) for i, box in boxes]


def polygons_to_slice(polygons: Sequence[Polygon], shape: tuple[int, int]) -> Mask:
    """Pixels whose centres lie in any of the polygons; parts beyond the slice are left out."""
    mask = np.zeros(shape, bool)
    for polygon in polygons:
        inside = draw.polygon2mask(shape, polygon.exterior)
        for hole in polygon.holes:
            inside &= ~draw.polygon2mask(shape, hole)
        mask |= inside
    return mask


def outline(
    labels: Labels,
    label: int,
    axis: int,
    index: int,
    spacing: Sequence[float] | None = None,
    tolerance: float | None = None,
) -> list[Polygon]:
    """Polygons of one label on one slice of a map; see :func:`slice_to_polygons`. ``spacing`` is the map's, mm."""
    steps = checked_steps(labels, label, spacing)
    window = Scope(axis, index).window(labels.shape)
    return slice_to_polygons(np.squeeze(labels[window], axis) == label, np.delete(steps, axis).tolist(), tolerance)


def redraw(
    labels: Labels,
    label: int,
    axis: int,
    index: int,
    polygons: Sequence[Polygon],
    before: Sequence[Polygon] | None = None,
    *,
    preserve: bool = True,
) -> Change:
    """Make a label on one slice what its polygons say.

    Parameters
    ----------
    polygons : sequence of Polygon
        As the reader left them; none clears the label on this slice.
    before : sequence of Polygon, optional
        As the reader was given them by :func:`outline`. Only pixels between the two then change: where an outline was
        not touched, what its simplification left out stays.
    preserve : bool
        Whether voxels of other labels stay theirs.
    """
    checked_steps(labels, label, None)
    window = Scope(axis, index).window(labels.shape)
    held = np.squeeze(labels[window], axis) == label
    wanted = polygons_to_slice(polygons, held.shape)
    if before is not None:
        wanted = np.where(wanted == polygons_to_slice(before, held.shape), held, wanted)
    return rewrite(labels, label, np.expand_dims(wanted, axis), window, preserve=preserve)


def _outline(piece: Mask, steps: Steps, tolerance: float) -> Polygon:
    """Outline of one piece, as simple as it may be."""
    # They come in the order of their first places: the exterior of a piece in one part before its holes.
    contours = measure.find_contours(np.pad(piece, 1), 0.5, fully_connected="high")
    exact = [ring[:-1] - 1 for ring in contours]  # the first point comes again as the last
    inside = np.pad(piece, 1)
    border = (ndimage.binary_dilation(inside) & ~ndimage.binary_erosion(inside))[1:-1, 1:-1]
    for limit in [*(tolerance / 2**n for n in range(6)), 0.0]:
        rings = [simplified(ring, limit, steps) for ring in exact]
        if all(len(ring) >= 3 for ring in rings) and (limit == 0 or simple(rings)):
            polygon = Polygon(rings[0], tuple(rings[1:]))
            drawn = polygons_to_slice([polygon], piece.shape)
            faithful = 2 * (drawn & piece).sum() >= FAITHFUL * (drawn.sum() + piece.sum())
            if faithful and not ((drawn != piece) & ~border).any():
                break
    return polygon


def _moved(polygon: Polygon, by: Sequence[int]) -> Polygon:
    return Polygon(polygon.exterior + by, tuple(hole + by for hole in polygon.holes))
