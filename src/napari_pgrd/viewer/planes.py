"""Linked planes: those that the main window does not show, small, below it.

Drawn by ourselves. Further canvases of napari (the way of the plugin napari-orthogonal-views) hold a copy of every
layer each: with the twenty of a review, opening them took a minute and every slice 0.7 s in software rendering.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from psygnal import Signal
from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import QDockWidget, QHBoxLayout, QMainWindow, QWidget

from napari_pgrd.session.display import PLANES
from napari_pgrd.session.planes import grey
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
        self._window: QMainWindow = viewer.window._qt_window
        self.widget = _Row(tuple(self.views.values()), self._shown_or_hidden)
        self._dock: QDockWidget | None = None
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
        self.widget.told = lambda: None
        self._timer.stop()
        self._mover.stop()
        if self._docked and self._window_shown:  # else the whole window goes, and takes them along
            self.viewer.window.remove_dock_widget(self._dock)
            self._keep_to_the_image(False)
        if self.widget.parent() is None:
            self.widget.deleteLater()

    # ---- on and off

    @property
    def on(self) -> bool:
        """Whether the planes are on the screen, and not behind another tab."""
        return self.widget.isVisible() and not self._covered

    @property
    def _covered(self) -> bool:
        """Whether Qt has put the dock out of sight behind another tab, which it does not call hidden."""
        dock = self._dock
        return dock is not None and not dock.isFloating() and min(dock.geometry().right(), dock.geometry().bottom()) < 0

    @property
    def _docked(self) -> bool:
        return self._dock is not None and self.widget.parent() is not None

    @property
    def _window_shown(self) -> bool:
        """Of napari's window, not of the planes' own while they float."""
        return bool(isalive(self._window)) and self._window.isVisible()  # type: ignore[no-untyped-call]

    def toggle(self) -> None:
        """Show the planes below the image, or put them away."""
        if self.on and self._dock is not None:
            self._dock.hide()
            return
        if not self._docked:  # never shown, or closed by its cross
            dock: QDockWidget = self.viewer.window.add_dock_widget(self.widget, name=TITLE, area="bottom")
            self._dock = dock
            dock.visibilityChanged.connect(lambda shown: self.widget.told())  # also behind another tab, or before it
        assert self._dock is not None
        self._dock.show()
        self._dock.raise_()  # it may lie behind another tab
        self.draw()

    def _shown_or_hidden(self) -> None:
        """However it came about: button, key, cross, menu, another tab; only the whole window may go without a word."""
        if not self.on and not self._window_shown:
            return
        self._keep_to_the_image(self.on)
        self._touched()
        self.changed.emit()

    def _keep_to_the_image(self, below: bool) -> None:
        """Below the image alone: over the window's whole width they would take their height from its other docks."""
        window, areas = self._window, Qt.DockWidgetArea
        sides = (areas.LeftDockWidgetArea, areas.RightDockWidgetArea) if below else (areas.BottomDockWidgetArea,) * 2
        for corner, side in zip((Qt.Corner.BottomLeftCorner, Qt.Corner.BottomRightCorner), sides, strict=True):
            window.setCorner(corner, side)

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


class _Row(QWidget):
    """The views side by side; tells when it is shown or hidden."""

    def __init__(self, views: tuple[PlaneView, ...], told: Callable[[], None]) -> None:
        super().__init__()
        self.setObjectName("planes_row")
        self.told = told
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        for view in views:
            layout.addWidget(view)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802  # Qt's name
        """Shown."""
        self.told()

    def hideEvent(self, event: QHideEvent | None) -> None:  # noqa: N802
        """Hidden, or closed by the cross of its dock."""
        self.told()
