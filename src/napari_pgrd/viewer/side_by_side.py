"""Side by side: on one slice what each reader marked and what each sample has, as small pictures below the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from psygnal import Signal
from qtpy.QtCore import QTimer
from qtpy.QtGui import QColor

from napari_pgrd.session.display import PLANES
from napari_pgrd.session.lines import LEVELS
from napari_pgrd.session.planes import Rect, cut, grey, mask_segments
from napari_pgrd.session.tiles import framed
from napari_pgrd.viewer.below import Below
from napari_pgrd.viewer.desk import Desk
from napari_pgrd.viewer.plane_content import MaskSlice, grid_of, image_slice, results_grid
from napari_pgrd.viewer.plane_view import Outline
from napari_pgrd.viewer.tiles import Sheet, Tile, Tiles
from napari_pgrd.viewer.truth import Truths
from napari_pgrd.viewer.views import Views

if TYPE_CHECKING:
    from napari.utils.events import Event
    from napari.viewer import Viewer

TITLE = "PGRD Side by side"
PAUSE_MS, HEIGHT = 40, 320
CONTENT = frozenset(("inserted", "removed", "data", "set_data", "labels_update"))
LOOK = frozenset(("contrast_limits", "colormap", "name"))
EMPTY = "Draw samples, or open what others marked as label layers: they appear here side by side."


class SideBySide:
    """Follows the slice on screen; draws only while it is shown."""

    changed = Signal()  # it came or went

    def __init__(self, viewer: Viewer, desk: Desk, views: Views, truths: Truths) -> None:
        self.viewer, self.desk, self.views, self.truths = viewer, desk, views, truths
        self.tiles = Tiles()
        self.tiles.clicked.connect(self._clicked)
        self.below = Below(viewer, TITLE, "tiles_row", (self.tiles,), self._shown_or_hidden, HEIGHT)
        self._timer = QTimer(self.tiles)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE_MS)
        self._timer.timeout.connect(self.draw)
        self._frame: tuple[Any, ...] = ()  # what the part on show was found for, and the part
        for name in ("point", "order", "ndisplay"):
            getattr(viewer.dims.events, name).connect(self._touched)
        viewer.layers.events.connect(self._layer_touched)
        desk.predicted.connect(self._touched)
        views.changed.connect(self._touched)
        truths.changed.connect(self._touched)

    def close(self) -> None:
        """Let go of the viewer and leave its window."""
        for name in ("point", "order", "ndisplay"):
            getattr(self.viewer.dims.events, name).disconnect(self._touched)
        self.viewer.layers.events.disconnect(self._layer_touched)
        self.desk.predicted.disconnect(self._touched)
        self.views.changed.disconnect(self._touched)
        self.truths.changed.disconnect(self._touched)
        self._timer.stop()
        self.below.close()

    @property
    def on(self) -> bool:
        """Whether it is on the screen."""
        return self.below.on

    def toggle(self) -> None:
        """Show it below the image, or put it away."""
        self.below.toggle()
        self.draw()

    def _shown_or_hidden(self) -> None:
        self._touched()
        self.changed.emit()

    def _touched(self, *_: object) -> None:
        if self.on:
            self._timer.start()

    def _layer_touched(self, event: Event) -> None:
        if event.type in CONTENT:
            self._frame = ()
        if event.type in CONTENT | LOOK:
            self._touched()

    def _clicked(self, number: int) -> None:
        self.views.choose(0 if self.views.sample == number else number)

    # ---- what is drawn

    def draw(self) -> None:
        """Bring the pictures up to date."""
        if not self.on:
            return
        image = self.desk.image
        opinions = self.truths.opinions() if self.desk.volume is not None else []
        p = self.desk.prediction
        if not isinstance(image, Image) or image not in self.viewer.layers or not (opinions or (p and p.masks)):
            self.tiles.show_sheet(Sheet(note=EMPTY))
            return
        plane = self.desk.layers.plane() or "axial"
        at = self.viewer.dims.point[-3:][PLANES[plane][0]]
        shown = image_slice(image, self.viewer.dims.current_step, plane, at)
        pixels = None if shown.pixels is None else grey(shown.pixels, shown.limits)
        rect = shown.grid.rect(plane)
        self.tiles.show_image(pixels, rect, self._part(plane, opinions, rect))
        spec, samples = self.desk.spec, self._samples(plane, at)
        legend = [(label.colour, label.name) for label in spec.labels[1:]] if spec is not None and samples else []
        readers = [_opinion(layer, plane, at) for layer in opinions]
        self.tiles.show_sheet(Sheet(readers, samples, legend, self.views.sample))

    def _samples(self, plane: str, world: float) -> list[Tile]:
        p, spec, grid, display = self.desk.prediction, self.desk.spec, results_grid(self.desk), self.desk.layers.display
        if p is None or spec is None or grid is None or display is None:
            return []
        at = grid.index(PLANES[plane][0], world)
        out = []
        for number, mask in enumerate(p.masks, 1):
            found = {} if at is None else mask_segments(cut(display.show(mask), plane, at))
            lines = [Outline(grid.segments(plane, ends), QColor(spec.labels[k].colour)) for k, ends in found.items()]
            out.append(Tile(str(number), lines, number=number))
        return out

    def _part(self, plane: str, opinions: list[Labels], whole: tuple[float, float, float, float]) -> Any:
        """Where anybody marked anything on any slice, so that the pictures keep their frame from slice to slice."""
        p, grid, display = self.desk.prediction, results_grid(self.desk), self.desk.layers.display
        key = (p, plane, [layer.unique_id for layer in opinions], whole)
        if not self._frame or self._frame[0] != key:
            axis = PLANES[plane][0]
            marked: list[tuple[Any, Rect]] = [
                ((np.asarray(o.data) > 0).any(axis), grid_of(o).rect(plane)) for o in opinions
            ]
            if p is not None and p.samples and grid is not None and display is not None:
                often = display.show(p.votes[1:].sum(0)) >= LEVELS[0] * p.samples
                marked.append((often.any(axis), grid.rect(plane)))
            self._frame = (key, framed(marked, whole))
        return self._frame[1]


def _opinion(layer: Labels, plane: str, world: float) -> Tile:
    """A layer of labels in its own colours."""
    grid, axis = grid_of(layer), PLANES[plane][0]
    at = grid.index(axis, world)
    pixels = None if at is None else np.asarray(layer.data[tuple(at if a == axis else slice(None) for a in range(3))])
    lines = [] if pixels is None else MaskSlice(grid, pixels, layer.colormap).outlines(plane)
    colour = layer.colormap.map(int(np.max(layer.data)) or 1)
    square = QColor.fromRgbF(*(float(c) for c in colour[:3])).name()
    return Tile(layer.name if lines else f"{layer.name}: none", lines, square)
