"""The three planes through a point, as what has to be drawn: a slice of the image, outlines, letters, a scale bar.

Everything lies in the world of the screen (mm, or voxels where the spacing is unknown), so that an image and masks on a
box of it come to lie where they belong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from contourpy import LineType, contour_generator
from numpy.typing import NDArray

from napari_pgrd.session.display import PLANES
from napari_pgrd.session.lines import LEVELS

EDGES = {"sagittal": "APSI", "coronal": "RLSI", "axial": "RLAP"}  # left, right, top, bottom
Rect = tuple[float, float, float, float]  # left, top, width, height


@dataclass(frozen=True)
class Grid:
    """Where a display array (z, y, x) lies: size in voxels, world step and world position of its first voxel."""

    shape: tuple[int, int, int]
    scale: tuple[float, float, float]
    translate: tuple[float, float, float]

    def index(self, axis: int, world: float) -> int | None:
        """The slice at a world position along an axis; None beyond the grid."""
        at = round((world - self.translate[axis]) / self.scale[axis])
        return at if 0 <= at < self.shape[axis] else None

    def rect(self, plane: str) -> Rect:
        """What a slice covers, from the outer edges of its voxels."""
        _, rows, columns = PLANES[plane]
        left, top = (self.translate[a] - self.scale[a] / 2 for a in (columns, rows))
        return left, top, self.scale[columns] * self.shape[columns], self.scale[rows] * self.shape[rows]

    def segments(self, plane: str, voxels: NDArray[Any]) -> NDArray[np.float64]:
        """``(N, 2, 2)`` ends of line segments (row, column) in voxels to ``(N, 4)`` x1, y1, x2, y2 in the world."""
        _, rows, columns = PLANES[plane]
        scale = np.array([self.scale[columns], self.scale[rows]])
        origin = np.array([self.translate[columns], self.translate[rows]])
        out: NDArray[np.float64] = (voxels[..., ::-1] * scale + origin).reshape(-1, 4)
        return out


def cut(data: NDArray[Any], plane: str, index: int) -> NDArray[Any]:
    """``(..., rows, columns)`` slice of ``(..., z, y, x)``; a view."""
    axis = PLANES[plane][0] - 3
    return np.moveaxis(data, axis, 0)[index]


def grey(pixels: NDArray[Any], limits: tuple[float, float]) -> NDArray[np.uint8]:
    """A slice as greys, black at the lower limit and white at the upper."""
    low, high = limits
    scaled = (pixels.astype(np.float32) - low) * (255.0 / max(high - low, 1e-12))
    return np.ascontiguousarray(np.clip(scaled, 0, 255).astype(np.uint8))


def mask_segments(pixels: NDArray[Any]) -> dict[int, NDArray[np.float64]]:
    """Borders of every label value but 0 on a slice, half-way between pixels: ``(N, 2, 2)`` ends (row, column)."""
    values = [int(v) for v in np.unique(pixels) if v]
    return {v: _borders((pixels == v).astype(np.float32), (0.5,))[0] for v in values}


def vote_segments(votes: NDArray[Any], samples: int) -> list[tuple[int, float, NDArray[np.float64]]]:
    """Agreement lines of a slice of votes ``(K, rows, columns)``: class, level and ``(N, 2, 2)`` ends.

    The lines of :func:`~napari_pgrd.session.lines.agreement_lines`, by a quicker library: the small planes are drawn
    while the reader's hand moves.
    """
    found = []
    for k in range(1, len(votes)):
        if votes[k].any():
            borders = _borders(votes[k].astype(np.float32) / samples, LEVELS)
            found += [(k, level, ends) for level, ends in zip(LEVELS, borders, strict=True) if len(ends)]
    return found


def _borders(pixels: NDArray[np.float32], levels: Sequence[float]) -> list[NDArray[np.float64]]:
    """Contours at each level as ``(N, 2, 2)`` ends; closed where the structure touches the edge."""
    lines = contour_generator(z=np.pad(pixels, 1), line_type=LineType.ChunkCombinedOffset)
    return [_ends(*lines.lines(level)) for level in levels]


def _ends(points: list[Any], offsets: list[Any]) -> NDArray[np.float64]:
    """Polylines, one after the other in one array with where each begins, as segments."""
    if points[0] is None:
        return np.zeros((0, 2, 2))
    at = points[0][:, ::-1] - 1.0  # x, y of the padded slice to row, column
    inside = np.ones(len(at) - 1, bool)
    inside[offsets[0][1:-1].astype(np.int64) - 1] = False  # from the end of one line to the start of the next
    out: NDArray[np.float64] = np.stack([at[:-1], at[1:]], axis=1)[inside]
    return out


def bar_length(width: float) -> float:
    """The longest of 1, 2, 5, 10, 20 ... that is at most a third of a width."""
    third = max(width / 3, 1e-9)
    power = 10.0 ** np.floor(np.log10(third))
    return float(power * max(m for m in (1, 2, 5) if m * power <= third * (1 + 1e-9)))
