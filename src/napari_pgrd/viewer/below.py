"""A widget below the image, however the reader opens and closes it: button, key, cross, menu, another tab."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import QDockWidget, QHBoxLayout, QMainWindow, QWidget

if TYPE_CHECKING:
    from napari.viewer import Viewer


class Below:
    """Docks a row of widgets below the image and tells when it came or went."""

    def __init__(
        self,
        viewer: Viewer,
        title: str,
        name: str,
        parts: Sequence[QWidget],
        told: Callable[[], object],
        height: int = 0,
    ) -> None:
        """Make the row; with a ``height`` in pixels it comes that high, and as a tab where the place is taken."""
        self.viewer, self.title, self.told, self.height = viewer, title, told, height
        self._window: QMainWindow = viewer.window._qt_window
        self.row = _Row(name, parts, self._shown_or_hidden)
        self.dock: QDockWidget | None = None

    def close(self) -> None:
        """Take it off the window."""
        self.row.told = lambda: None
        if self._docked and self._window_shown:  # else the whole window goes, and takes it along
            self.viewer.window.remove_dock_widget(self.dock)
            self._keep_to_the_image(self._others)
        if self.row.parent() is None:
            self.row.deleteLater()

    @property
    def on(self) -> bool:
        """Whether it is on the screen, and not behind another tab."""
        return self.row.isVisible() and not self._covered

    @property
    def _covered(self) -> bool:
        """Whether Qt has put the dock out of sight behind another tab, which it does not call hidden."""
        dock = self.dock
        return dock is not None and not dock.isFloating() and min(dock.geometry().right(), dock.geometry().bottom()) < 0

    @property
    def _docked(self) -> bool:
        return self.dock is not None and self.row.parent() is not None

    @property
    def _window_shown(self) -> bool:
        """Of napari's window, not of the dock's own while it floats."""
        return bool(isalive(self._window)) and self._window.isVisible()  # type: ignore[no-untyped-call]

    @property
    def _others(self) -> bool:
        return any(row.isVisible() for row in self._window.findChildren(_Row) if row is not self.row)

    def toggle(self) -> None:
        """Show it, or put it away."""
        if self.on and self.dock is not None:
            self.dock.hide()
            return
        if not self._docked:  # never shown, or closed by its cross
            options = {"name": self.title, "area": "bottom", "tabify": bool(self.height)}
            dock: QDockWidget = self.viewer.window.add_dock_widget(self.row, **options)
            self.dock = dock
            dock.visibilityChanged.connect(lambda shown: self.row.told())  # also behind another tab, or before it
            self.dock.show()
            if self.height:
                self._window.resizeDocks([dock], [self.height], Qt.Orientation.Vertical)
        assert self.dock is not None
        self.dock.show()
        self.dock.raise_()  # it may lie behind another tab

    def _shown_or_hidden(self) -> None:
        """However it came about; only the whole window may go without a word."""
        if not self.on and not self._window_shown:
            return
        self._keep_to_the_image(self.on or self._others)
        self.told()

    def _keep_to_the_image(self, below: bool) -> None:
        """Below the image alone: over the window's whole width it would take its height from the other docks."""
        window, areas = self._window, Qt.DockWidgetArea
        sides = (areas.LeftDockWidgetArea, areas.RightDockWidgetArea) if below else (areas.BottomDockWidgetArea,) * 2
        for corner, side in zip((Qt.Corner.BottomLeftCorner, Qt.Corner.BottomRightCorner), sides, strict=True):
            window.setCorner(corner, side)


class _Row(QWidget):
    """Widgets side by side; tells when it is shown or hidden."""

    def __init__(self, name: str, parts: Sequence[QWidget], told: Callable[[], None]) -> None:
        super().__init__()
        self.setObjectName(name)
        self.told = told
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        for part in parts:
            layout.addWidget(part)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802  # Qt's name
        """Shown."""
        self.told()

    def hideEvent(self, event: QHideEvent | None) -> None:  # noqa: N802
        """Hidden, or closed by the cross of its dock."""
        self.told()
