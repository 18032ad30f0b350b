"""Window and level of the image: presets, and a drag on the canvas.

napari pans with the left button and zooms with the right one, its brush and polygon take both, and Shift + left selects
in Points and Shapes. It gives no meaning to the middle button, with which many reading stations window; for a mouse or
a pad without one, Shift + right does the same (vispy's camera leaves a drag with a modifier alone). The events are
taken before napari sees them, because in paint mode any button would leave a stroke.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image
from psygnal import Signal
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QMouseEvent

from napari_pgrd.session.window import USUAL, Limits, dragged, preset_limits, presets
from napari_pgrd.viewer.desk import Desk

if TYPE_CHECKING:
    from napari.viewer import Viewer

BY_HAND = "hand"


class WindowLevel(QObject):
    """Sets the contrast limits of the image under review."""

    changed = Signal()

    def __init__(self, viewer: Viewer, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self.preset = USUAL  # what is shown, or BY_HAND
        self._canvas = viewer.window._qt_viewer.canvas.native
        self._canvas.installEventFilter(self)
        self._image = desk.image
        self._from: tuple[float, float] | None = None
        self._start: Limits = (0.0, 1.0)
        desk.state.events.source.connect(self._other_image)
        desk.state.events.bundle.connect(self._offer)

    def close(self) -> None:
        """Let go of the canvas."""
        self._canvas.removeEventFilter(self)

    @property
    def image(self) -> Image | None:
        """The image under review."""
        layer = self.desk.image
        return layer if isinstance(layer, Image) and not layer.rgb else None

    def items(self) -> tuple[tuple[str, str], ...]:
        """``(value, text)`` of what may be chosen, and of what the reader set by hand."""
        offered = presets(self.desk.spec.scope.intensity if self.desk.spec else "any")
        return (*offered, (BY_HAND, "by hand")) if self.preset == BY_HAND else offered

    def choose(self, preset: str) -> None:
        """Show the image through a preset's window."""
        if self.image is not None and preset != BY_HAND:
            self.image.contrast_limits = preset_limits(np.asarray(self.image.data), preset)
            self._say(preset)

    def _other_image(self) -> None:
        if self.desk.image is not self._image:  # else it was only renamed
            self._image, self._from = self.desk.image, None
            self._say(USUAL)  # what the file reader sets

    def _offer(self) -> None:
        self.changed.emit()

    def _say(self, preset: str) -> None:
        self.preset = preset
        self.changed.emit()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802  # Qt's name
        """Take the drags that are ours, and leave napari the rest."""
        if not isinstance(event, QMouseEvent) or self.image is None:
            return False
        kind = event.type()
        if kind == QEvent.Type.MouseButtonDblClick and _ours(event):
            self.choose(USUAL)
            return True
        at = event.position()
        if kind == QEvent.Type.MouseButtonPress and self._from is None and _ours(event):
            low, high = self.image.contrast_limits
            self._from, self._start = (at.x(), at.y()), (float(low), float(high))
            return True
        if self._from is None:
            return False
        if kind == QEvent.Type.MouseMove:
            x, y = self._from
            self.image.contrast_limits = dragged(self._start, at.x() - x, y - at.y())
            if self.preset != BY_HAND:
                self._say(BY_HAND)
        elif kind == QEvent.Type.MouseButtonRelease:
            self._from = None
        return True


def _ours(event: QMouseEvent) -> bool:
    shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
    button = event.button()
    return button == Qt.MouseButton.MiddleButton or (button == Qt.MouseButton.RightButton and shift)
