"""One layer for all samples, past the number whose layers a list can hold: a slider steps through them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from psygnal import Signal

from napari_pgrd.session.stack import Stack
from napari_pgrd.viewer.camera import kept_view

if TYPE_CHECKING:
    from napari_pgrd.engine.aggregate import Prediction
    from napari_pgrd.viewer.layers import LayerDesk

MANY = 16  # samples, beyond which one layer is offered for all of them
NAME, AXIS = "Samples", "sample"


class StackLayer:
    """The layer, where its slider stands, and word of where the reader moves it."""

    moved = Signal(int)  # the number of the sample, 0 none

    def __init__(self, desk: LayerDesk, make: Callable[..., Labels]) -> None:
        self.desk, self._make = desk, make
        self.wanted = False  # by the reader; there is a layer if there are enough samples too
        self.layer: Labels | None = None
        self._of: Prediction | None = None
        self._number = 0
        desk.viewer.dims.events.current_step.connect(self._stepped)

    def close(self) -> None:
        """Let go of the viewer."""
        self.desk.viewer.dims.events.current_step.disconnect(self._stepped)

    @property
    def offered(self) -> bool:
        """Whether there are so many samples that one layer for all is worth having."""
        p = self.desk.prediction
        return p is not None and p.samples > MANY

    @property
    def on(self) -> bool:
        """Whether the samples share one layer."""
        return self.wanted and self.offered

    def show(self) -> Labels | None:
        """The layer, brought up to date; None where there are too few samples for it."""
        p, display, spec = self.desk.prediction, self.desk.display, self.desk.spec
        if not self.on or p is None or display is None or spec is None:
            self.drop()
            return None
        shape, layer = self._lead(), self.layer

        def data() -> Stack:
            return Stack(p.masks, display.show, spec.values, shape)

        if layer is not None and layer not in self.desk.viewer.layers:
            layer = None  # the reader took it away
        if layer is None or layer.data.shape[1:-3] != shape:
            self.drop()
            layer = self.layer = self._make(NAME, data(), self.desk.colours(), self._grid(shape))
            with kept_view(self.desk.viewer):
                self.desk.insert(layer, "sample")
        elif self._of is not p:
            shown, layer.visible = layer.visible, True  # napari gives a hidden layer's slider no new length
            layer.data = data()
            layer.visible, layer.editable = shown, False  # napari allows strokes again with new data
        self._of = p
        return layer

    def go(self, number: int) -> Labels | None:
        """Put the slider on a sample, 1 the first, or on none with 0."""
        layer = self.show()
        if layer is not None:
            self._number = number
            self.desk.viewer.dims.set_current_step(self._axis(layer), number)
        return layer

    def drop(self) -> None:
        """Take the layer and its slider away; the planes and the slice stay."""
        layer, self.layer, self._of, self._number = self.layer, None, None, 0
        if layer is not None and layer in self.desk.viewer.layers:
            with kept_view(self.desk.viewer):
                self.desk.viewer.layers.remove(layer)

    def _lead(self) -> tuple[int, ...]:
        """Sizes of the axes that an image has before its last three, whose slider must not be that of the samples."""
        others = [layer for layer in self.desk.viewer.layers if layer is not self.layer and layer.ndim > 3]
        sizes = [1] * max((layer.ndim - 3 for layer in others), default=0)
        for layer in others:
            ends = layer.extent.data[1]  # the last voxel along every axis
            for axis in range(layer.ndim - 3):
                at = len(sizes) - (layer.ndim - 3) + axis
                sizes[at] = max(sizes[at], int(ends[axis]) + 1)
        return tuple(sizes)

    def _grid(self, lead: tuple[int, ...]) -> dict[str, Any]:
        assert self.desk.display is not None
        grid, more = self.desk.display.layer, len(lead) + 1
        before: dict[str, tuple[Any, ...]] = {
            "scale": (1.0,) * more,
            "translate": (0.0,) * more,
            "units": ("pixel",) * more,
        }
        before["axis_labels"] = (AXIS, *("channel",) * len(lead))
        return {key: (*value, *grid[key]) for key, value in before.items()}

    def _axis(self, layer: Any) -> int:
        return int(self.desk.viewer.dims.ndim - layer.ndim)

    def _stepped(self) -> None:
        layer = self.layer
        if layer is None or layer not in self.desk.viewer.layers:
            return
        number = int(self.desk.viewer.dims.current_step[self._axis(layer)])
        if number != self._number:
            self._number = number
            self.moved.emit(number)
