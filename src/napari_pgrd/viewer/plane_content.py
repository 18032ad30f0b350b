"""What lies on a small plane, read from napari's layers: a slice of the image, of every visible mask, of the votes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtGui import QColor

from napari_pgrd.session.display import PLANES
from napari_pgrd.session.planes import Grid, cut, mask_segments, vote_segments
from napari_pgrd.viewer.desk import Desk
from napari_pgrd.viewer.plane_view import Outline

WHITE = DirectLabelColormap(color_dict={None: (1, 1, 1, 1), 0: (0, 0, 0, 0)})


@dataclass(frozen=True, eq=False)
class ImageSlice:
    """A slice of the image, None beyond it, and the window it is seen through."""

    grid: Grid
    pixels: Any
    limits: tuple[float, float]


@dataclass(frozen=True, eq=False)
class MaskSlice:
    """A slice of a mask and the colours of its labels."""

    grid: Grid
    pixels: Any
    colormap: Any

    def outlines(self, plane: str) -> list[Outline]:
        """The border of every label."""
        found = mask_segments(self.pixels)
        return [Outline(self.grid.segments(plane, ends), self._colour(value)) for value, ends in found.items()]

    def _colour(self, value: int) -> QColor:
        red, green, blue = (float(c) for c in self.colormap.map(value)[:3])
        return QColor.fromRgbF(red, green, blue)


@dataclass(frozen=True, eq=False)
class VoteSlice:
    """A slice of the samples' votes, for the agreement lines."""

    grid: Grid
    votes: Any
    samples: int
    colours: tuple[str, ...]

    def outlines(self, plane: str) -> list[Outline]:
        """The border of half of the samples strong, the others faint, as in the main window."""
        out = []
        for k, level, ends in vote_segments(self.votes, self.samples):
            strong = level == 0.5
            colour = QColor(self.colours[k])
            colour.setAlphaF(1.0 if strong else 0.55)
            out.append(Outline(self.grid.segments(plane, ends), colour, 1.8 if strong else 1.2))
        return out


def grid_of(layer: Layer) -> Grid:
    """Where the last three axes of a layer lie."""
    shape, scale, translate = (
        tuple(float(v) for v in of[-3:]) for of in (layer.data.shape, layer.scale, layer.translate)
    )
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), scale, translate)  # type: ignore[arg-type]


def image_slice(image: Image, steps: Sequence[int], plane: str, world: float) -> ImageSlice:
    """The image at a position along the plane's axis; ``steps`` choose the channel, if there are several."""
    grid = grid_of(image)
    at = grid.index(PLANES[plane][0], world)
    lead = image.data.shape[:-3]
    channel = tuple(min(s, n - 1) for s, n in zip(steps[-image.ndim :], lead, strict=False))
    pixels = None if at is None else cut(image.data[channel], plane, at)
    return ImageSlice(grid, pixels, tuple(image.contrast_limits))


def outlined(desk: Desk, plane: str, world: float) -> Iterator[MaskSlice | VoteSlice]:
    """Every mask the main window shows, the sample in hand or the correction, and the votes while lines are shown.

    So is the outline of another threshold while it is looked at.
    """
    axis, ours = PLANES[plane][0], desk.layers.of("sample")
    for layer in desk.viewer.layers:
        if isinstance(layer, Labels) and layer.visible and not layer.multiscale and (layer.ndim == 3 or layer in ours):
            grid = grid_of(layer)
            at = grid.index(axis, world)
            if at is not None:
                lead = desk.viewer.dims.current_step[-layer.ndim : -3] if layer.ndim > 3 else ()
                here = (*lead, *(at if a == axis else slice(None) for a in range(3)))
                yield MaskSlice(grid, np.asarray(layer.data[here]), layer.colormap)
    lines, p, spec, grid_ = desk.layers.first("agreement"), desk.layers.heard, desk.spec, results_grid(desk)
    preview, shown = desk.layers.preview, desk.layers.first("threshold")
    if preview is not None and shown is not None and shown.visible and grid_ is not None:
        at = grid_.index(axis, world)
        if at is not None:
            yield MaskSlice(grid_, cut(preview, plane, at), WHITE)
    if lines is None or not lines.visible or p is None or not p.samples or spec is None or grid_ is None:
        return
    at, display = grid_.index(axis, world), desk.layers.display
    if at is not None and display is not None:
        votes = cut(display.show(p.votes), plane, at)
        yield VoteSlice(grid_, votes, p.samples, tuple(label.colour for label in spec.labels))


def results_grid(desk: Desk) -> Grid | None:
    """Where the samples lie, which may be a box of the image; None before there are any."""
    p, display = desk.prediction, desk.layers.display
    if p is None or display is None:
        return None
    return Grid(display.show(p.consensus).shape, display.scale, display.translate)


def same(a: Any, b: Any) -> bool:
    """Whether two slices show the same: arrays by content, what colours them by identity."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, (ImageSlice, MaskSlice, VoteSlice)):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    return a is b or (isinstance(a, (Grid, tuple, int)) and a == b)


def kept(a: Any) -> Any:
    """A slice to compare with later, when its layer may have been painted on."""
    if isinstance(a, list):
        return [kept(x) for x in a]
    return replace(a, **{f.name: v.copy() for f in fields(a) if isinstance(v := getattr(a, f.name), np.ndarray)})
