"""Where small pictures of opinions and samples go, and which part of a slice they show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.session.planes import Rect

SPLITS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)  # of the width, for the opinions
ROUND = 0.25  # of the extent of what is marked, left free on each side
LEAST = 8.0  # pixels of the image, at least


class Block(NamedTuple):
    """A block of equal tiles: its left edge, its columns and the size of a tile, in screen pixels."""

    left: float
    columns: int
    width: float
    height: float

    def place(self, index: int, top: float) -> Rect:
        """The tile of that number, counted along rows."""
        row, column = divmod(index, self.columns)
        return self.left + column * self.width, top + row * self.height, self.width, self.height


def block(count: int, left: float, width: float, height: float, aspect: float) -> Block:
    """The columns that give ``count`` tiles of ``aspect`` (height over width) the largest size in a room."""
    best = Block(left, 1, 0.0, 0.0)
    for columns in range(1, count + 1):
        rows = -(-count // columns)
        side = min(width / columns, height / rows / aspect)
        if side > best.width:
            best = Block(left, columns, side, side * aspect)
    return best


def blocks(opinions: int, samples: int, width: float, height: float, aspect: float, gap: float) -> tuple[Block, Block]:
    """Opinions on the left, samples on the right of a gap; where there are but the one or the other, in all the room.

    Of the splits of the width, that with the largest samples among those whose opinions are no smaller.
    """
    if not opinions or not samples:
        left = block(opinions, 0, width, height, aspect)
        return left, block(samples, left.columns * left.width + gap if opinions else 0, width, height, aspect)
    found = []
    for split in SPLITS:
        left = block(opinions, 0, split * width - gap / 2, height, aspect)
        start = left.columns * left.width + gap
        right = block(samples, start, width - start, height, aspect)
        found.append((left.width >= right.width, min(left.width, right.width), left.width, left, right))
    *_, first, second = max(found, key=lambda one: one[:3])
    return first, second


def framed(marked: Iterable[tuple[NDArray[Any], Rect]], whole: Rect) -> Rect:
    """The part of a plane in which anything is marked, with some ground around it; all of it where nothing is.

    Parameters
    ----------
    marked : iterable
        Flat ``(rows, columns)`` masks, and what each covers in the world.
    whole : tuple
        What the image covers: left, top, width, height.
    """
    corners = []
    for mask, (left, top, width, height) in marked:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows):
            step_x, step_y = width / mask.shape[1], height / mask.shape[0]
            x0, x1 = left + columns[0] * step_x, left + (columns[-1] + 1) * step_x
            corners.append((x0, top + rows[0] * step_y, x1, top + (rows[-1] + 1) * step_y, max(step_x, step_y)))
    if not corners:
        return whole
    found = np.array(corners)
    (x0, y0), (x1, y1) = found[:, :2].min(0), found[:, 2:4].max(0)
    more = max(ROUND * max(x1 - x0, y1 - y0), LEAST * float(found[:, 4].max()))
    left, top, width, height = whole
    x0, y0 = max(x0 - more, left), max(y0 - more, top)
    x1, y1 = min(x1 + more, left + width), min(y1 + more, top + height)
    return float(x0), float(y0), float(max(x1 - x0, 1e-6)), float(max(y1 - y0, 1e-6))
