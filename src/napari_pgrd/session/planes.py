"""The three planes through a point, as what has to be drawn: a slice of the image, outlines, letters, a scale bar.

Everything lies in the world of the screen (mm, or voxels where the spacing is unknown), so that an image and masks on a
box of it come to lie where they belong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.session.display import PLANES
from napari_pgrd.session.lines import agreement_lines

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


def mask_segments(pixels: NDArray[Any]) -> dict[int, NDArray[np.float32]]:
    """Borders of every label value but 0 on a slice, half-way between pixels: ``(N, 2, 2)`` ends (row, column)."""
    values = [int(v) for v in np.unique(pixels) if v]
    hot = np.stack([np.zeros_like(pixels, bool), *(pixels == v for v in values)]).astype(np.float32)
    ends, classes, _ = _segments(hot, 1, (0.5,))
    return {v: ends[classes == k] for k, v in enumerate(values, 1)}


def vote_segments(votes: NDArray[Any], samples: int) -> list[tuple[int, float, NDArray[np.float32]]]:
    """Agreement lines of a slice of votes ``(K, rows, columns)``: class, level and ``(N, 2, 2)`` ends."""
    ends, classes, levels = _segments(votes, samples)
    pairs = sorted({(int(k), float(x)) for k, x in zip(classes, levels, strict=True)})
    return [(k, level, ends[(classes == k) & (levels == np.float32(level))]) for k, level in pairs]


def _segments(
    slabs: NDArray[Any], samples: int, levels: Sequence[float] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    stack = slabs[:, None]  # one slice of a volume
    lines = agreement_lines(stack, 0, 0, samples=samples, **({"levels": levels} if levels else {}))
    start, along = lines.vectors[:, 0, 1:], lines.vectors[:, 1, 1:]
    return np.stack([start, start + along], axis=1), lines.classes, lines.levels


def bar_length(width: float) -> float:
    """The longest of 1, 2, 5, 10, 20 ... that is at most a third of a width."""
    third = max(width / 3, 1e-9)
    power = 10.0 ** np.floor(np.log10(third))
    return float(power * max(m for m in (1, 2, 5) if m * power <= third * (1 + 1e-9)))
