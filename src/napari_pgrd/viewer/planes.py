"""Linked planes: those that the main window does not show, small, below it.

Drawn by ourselves. Further canvases of napari (the way of the plugin napari-orthogonal-views) hold a copy of every
layer each: with the twenty of a review, opening them took a minute and every slice 0.7 s in software rendering.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_pgrd.session.display import PLANES
from napari_pgrd.session.planes import grey
from napari_pgrd.viewer.below import Below
from napari_pgrd.viewer.desk import Desk
from napari_pgrd.viewer.plane_content import grid_of, image_slice, kept, outlined, results_grid, same
from napari_pgrd.viewer.plane_view import PlaneView

if TYPE_CHECKING:
    from napari.utils.events import Event
    from napari.viewer import Viewer

TITLE = "PGRD Planes"
PAUSE_MS = 25
MOST_MOVE_PX = 3  # a click that moved further was a drag
LAYER_EVENTS = frozenset(
    ("inserted", "removed", "visible", "data", "set_data", "labels_update", "contrast_limits", "colormap")
)


class Planes:
    """Follows the viewer and moves it; draws only while it is shown, and only what changed."""

    changed = Signal()  # the reader turned the planes on or off

    def __init__(self, viewer: Viewer, desk: Desk) -> None:
        self.viewer, self.desk = viewer, desk
        self.views = {plane: PlaneView(plane) for plane in PLANES}
        self.below = Below(viewer, TITLE, "planes_row", tuple(self.views.values()), self._shown_or_hidden)
        self.widget = self.below.row
        self._drawn: dict[tuple[str, str], Any] = {}
        self._goal: dict[int, float] = {}
        self._timer, self._mover = QTimer(self.widget), QTimer(self.widget)
        for timer, pause, job in ((self._timer, PAUSE_MS, self.draw), (self._mover, 0, self._move)):
            timer.setSingleShot(True)
            timer.setInterval(pause)
            timer.timeout.connect(job)
        for view in self.views.values():
            view.moved.connect(self._point)
            view.scrolled.connect(self._scroll)
        for name in ("point", "order", "ndisplay"):
            getattr(viewer.dims.events, name).connect(self._touched)
        viewer.layers.events.connect(self._layer_touched)
        desk.predicted.connect(self._touched)
        viewer.mouse_drag_callbacks.append(self._clicked)

    def close(self) -> None:
        """Let go of the viewer and take the planes off its window."""
        for name in ("point", "order", "ndisplay"):
            getattr(self.viewer.dims.events, name).disconnect(self._touched)
        self.viewer.layers.events.disconnect(self._layer_touched)
        self.desk.predicted.disconnect(self._touched)
        self.viewer.mouse_drag_callbacks.remove(self._clicked)
        self._timer.stop()
        self._mover.stop()
        self.below.close()

    # ---- on and off

    @property
    def on(self) -> bool:
        """Whether the planes are on the screen, and not behind another tab."""
        return self.below.on

    def toggle(self) -> None:
        """Show the planes below the image, or put them away."""
        self.below.toggle()
        self.draw()

    def _shown_or_hidden(self) -> None:
        self._touched()
        self.changed.emit()

    # ---- following

    def _touched(self, *_: object) -> None:
        if self.on:
            self._timer.start()

    def _layer_touched(self, event: Event) -> None:
        if event.type in LAYER_EVENTS:
            self._touched()

    def draw(self) -> None:
        """Bring every plane that the main window does not show up to date."""
        if not self.on:
            return
        image, main = self.desk.image, self.desk.layers.plane() if self.viewer.dims.ndisplay == 2 else ""
        for plane, view in self.views.items():
            view.setVisible(plane != main)
            if plane == main:
                continue
            if self.desk.volume is not None and isinstance(image, Image) and image in self.viewer.layers:
                self._draw_plane(plane, view, image)
            else:
                view.clear()
                self._drawn.clear()

    def _draw_plane(self, plane: str, view: PlaneView, image: Image) -> None:
        axis, rows, columns = PLANES[plane]
        point = self.viewer.dims.point[-3:]
        field = results_grid(self.desk) or grid_of(image)
        unit = "voxels" if str(image.units[-1]) == "pixel" else "mm"
        view.show_point(point[columns], point[rows], field.rect(plane), unit)
        shown = image_slice(image, self.viewer.dims.current_step, plane, point[axis])
        if self._new(plane, "image", shown):
            pixels = None if shown.pixels is None else grey(shown.pixels, shown.limits)
            view.show_image(pixels, shown.grid.rect(plane))
        slices = list(outlined(self.desk, plane, point[axis]))
        if self._new(plane, "lines", slices):
            view.show_outlines([line for each in slices for line in each.outlines(plane)])

    def _new(self, plane: str, part: str, value: Any) -> bool:
        """Whether a part differs from what is drawn: scrolling through one plane leaves the others' slices alone."""
        if same(self._drawn.get((plane, part)), value):
            return False
        self._drawn[plane, part] = kept(value)
        return True

    # ---- moving

    def _point(self, plane: str, x: float, y: float) -> None:
        _, rows, columns = PLANES[plane]
        self._goal = {rows: y, columns: x}
        self._mover.start()

    def _move(self) -> None:
        """Only the last of many mouse moves: the main window may take longer to draw than the hand to move."""
        lead = self.viewer.dims.ndim - 3
        self.viewer.dims.set_point([lead + axis for axis in self._goal], list(self._goal.values()))

    def _scroll(self, plane: str, slices: int) -> None:
        axis = self.viewer.dims.ndim - 3 + PLANES[plane][0]
        self.viewer.dims.set_current_step(axis, self.viewer.dims.current_step[axis] + slices)

    def _clicked(self, viewer: Any, event: Any) -> Generator[None, None, None]:
        """A click on the main image, neither drag nor stroke, moves the planes there."""
        active = viewer.layers.selection.active
        panning = active is None or str(active.mode) == "pan_zoom"
        if not self.on or not panning or event.button != 1 or event.modifiers or viewer.dims.ndisplay != 2:
            return
        start, where = np.asarray(event.pos), event.position
        yield
        while event.type == "mouse_move":
            yield
        if np.abs(np.asarray(event.pos) - start).max() <= MOST_MOVE_PX:
            shown = list(viewer.dims.displayed)
            viewer.dims.set_point(shown, [float(where[axis]) for axis in shown])
