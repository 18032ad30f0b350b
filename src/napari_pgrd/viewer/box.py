"""A box the reader drags onto an image that is larger than the bundle's field of view."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Shapes
from numpy.typing import NDArray

from napari_pgrd.engine.volume import Box, Volume
from napari_pgrd.session.display import Display
from napari_pgrd.viewer.layers import LayerDesk

if TYPE_CHECKING:
    from napari.components import ViewerModel

NAME = "Box (drag me)"


class BoxTool:
    """One rectangle, seen on every slice the box reaches; where it is dropped, its depth is centred too."""

    def __init__(
        self, desk: LayerDesk, volume: Volume, display: Display, box: Box, moved: Callable[[Box], None]
    ) -> None:
        self.desk, self.volume, self.display = desk, volume, display
        self.viewer: ViewerModel = desk.viewer
        bounds = np.array(display.reorder.box(box, volume.shape)[::-1], dtype=float)  # (z, y, x) x (lo, hi)
        self.size = bounds[:, 1] - bounds[:, 0]
        self.middle = bounds.mean(1) - 0.5
        self.shape = np.array(display.show(volume.data[0]).shape)
        self._moved = moved
        self._writing = False
        self.layer = Shapes(
            ndim=3, name=NAME, face_color=[1, 0.7, 0, 0.12], edge_color="orange", edge_width=1, **display.layer
        )
        desk.insert(self.layer, "box")
        self._draw()
        self.viewer.dims.events.current_step.connect(self._draw)
        self.viewer.dims.events.order.connect(self._draw)
        self.layer.events.data.connect(self._dragged)
        self.viewer.layers.selection.active = self.layer
        self.layer.mode = "select"
        self.layer.selected_data = {0} if len(self.layer.data) else set()

    def close(self) -> None:
        """Take the box off the screen."""
        self.viewer.dims.events.current_step.disconnect(self._draw)
        self.viewer.dims.events.order.disconnect(self._draw)
        if self.layer in self.viewer.layers:
            self.viewer.layers.remove(self.layer)

    @property
    def box(self) -> Box:
        """The box as half-open index ranges of the source volume, pushed inside it."""
        low = np.clip(np.round(self.middle + 0.5 - self.size / 2), 0, np.maximum(self.shape - self.size, 0)).astype(int)
        high = np.minimum(low + np.round(self.size).astype(int), self.shape)
        ranges = [(int(a), int(b)) for a, b in zip(low, high, strict=True)][::-1]  # x, y, z of the display order
        order = self.display.reorder
        shown = (int(self.shape[2]), int(self.shape[1]), int(self.shape[0]))
        return order.inverse().box((ranges[0], ranges[1], ranges[2]), shown)

    def _axes(self) -> tuple[int, int, int]:
        return self.desk.axes() or (0, 1, 2)

    def _slice(self, axis: int) -> float:
        point = self.viewer.dims.point[axis + self.viewer.dims.ndim - 3]
        return round((point - self.display.translate[axis]) / self.display.scale[axis])

    def _draw(self, event: Any = None) -> None:
        """Redraw the rectangle for the slice on screen."""
        axis, *plane = self._axes()
        at = self._slice(axis)
        inside = abs(at - self.middle[axis]) <= self.size[axis] / 2
        corners: list[NDArray[np.float64]] = []
        if inside:
            corner = np.zeros((4, 3))
            corner[:, axis] = at
            for row, (u, v) in enumerate(((-1, -1), (-1, 1), (1, 1), (1, -1))):
                corner[row, plane[0]] = self.middle[plane[0]] + u * self.size[plane[0]] / 2
                corner[row, plane[1]] = self.middle[plane[1]] + v * self.size[plane[1]] / 2
            corners = [corner]
        self._writing = True
        try:
            if len(self.layer.data) or corners:
                self.layer.data = corners
                if corners and self.layer.mode == "select":
                    self.layer.selected_data = {0}
        finally:
            self._writing = False

    def _dragged(self, event: Any) -> None:
        """Take over where the reader put the rectangle; its size stays the bundle's."""
        if self._writing or not len(self.layer.data):
            return
        axis, *plane = self._axes()
        corner = np.asarray(self.layer.data[0])
        for p in plane:
            self.middle[p] = (corner[:, p].min() + corner[:, p].max()) / 2
        self.middle[axis] = self._slice(axis)
        self._moved(self.box)
