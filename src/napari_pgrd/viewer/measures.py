"""Size and long axis of every label, of the correction in hand or of the consensus, and their lines on the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Vectors
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_pgrd.session.diameter import Measure, drawn, measure
from napari_pgrd.session.state import Phase
from napari_pgrd.session.volumes import voxel_volume
from napari_pgrd.viewer.corrections import Corrections
from napari_pgrd.viewer.desk import Desk
from napari_pgrd.viewer.layers import hex_rgba

if TYPE_CHECKING:
    from napari_pgrd.engine.aggregate import Prediction

PAUSE_MS = 250  # after a stroke
WIDTH_MM = 0.35
BEYOND = 0.35  # opacity on slices that the axis does not cross
JOB, LINES = "long axes", "lines of long axes"
MOVES = ("current_step", "order", "ndisplay")


class Measures:
    """Measured in a thread a moment after the last edit."""

    changed = Signal()

    def __init__(self, desk: Desk, corrections: Corrections) -> None:
        self.desk, self.corrections = desk, corrections
        self.found: tuple[Measure, ...] = ()
        self.what = ""  # they are of: "consensus", "correction"
        self.shown = False
        self._of: Prediction | None = None
        self._layer: Vectors | None = None
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE_MS)
        self._timer.timeout.connect(self._measure)
        desk.predicted.connect(self._predicted)
        desk.state.events.phase.connect(self._predicted)
        corrections.edited.connect(self._again)
        corrections.changed.connect(self._again)
        desk.viewer.layers.events.removed.connect(self._removed)
        for name in MOVES:
            getattr(desk.viewer.dims.events, name).connect(self._moved)

    def close(self) -> None:
        """Let go of the viewer."""
        self._timer.stop()
        self.desk.viewer.layers.events.removed.disconnect(self._removed)
        for name in MOVES:
            getattr(self.desk.viewer.dims.events, name).disconnect(self._moved)
        self._take_away()

    def toggle(self) -> None:
        """Show the lines, or take them away."""
        self.shown = not self.shown
        self._draw()
        self.changed.emit()

    def text(self, value: int) -> str:
        """One label, as "correction 1.90 mL, long axis 21.3 mm"; "" before it is measured."""
        one, volume = next((m for m in self.found if m.value == value), None), self.desk.volume
        if one is None or volume is None:
            return ""
        axis = "no voxel left"
        if one.axis is not None:
            axis = f"long axis {one.axis.length:.1f} {'mm' if volume.spacing_known else 'voxels'}"
        if self.what == "consensus":
            return f"{axis} (consensus)"
        size, unit = voxel_volume(volume)
        return f"{self.what} {one.voxels * size:.{2 if unit == 'mL' else 0}f} {unit}, {axis}"

    # ---- measuring

    def _predicted(self) -> None:
        if self._of is not self.desk.prediction:
            self._of, self.found = None, ()
            self._take_away()
            self.changed.emit()
        self._again()

    def _again(self) -> None:
        if self.desk.state.phase is Phase.REVIEWING:
            self._timer.start()

    def _measure(self) -> None:
        p, spec, layers, layer = self.desk.prediction, self.desk.spec, self.desk.layers, self.corrections.layer
        display = layers.display
        if p is None or spec is None or display is None or self.desk.state.phase is not Phase.REVIEWING:
            return
        values = [label.value for label in spec.labels[1:]]
        spacing = display.scale if display.unit == "mm" else None
        what = "consensus" if layer is None else "correction"

        def find() -> tuple[Measure, ...]:
            return measure(layers.values(p.consensus) if layer is None else np.asarray(layer.data), values, spacing)

        def done(found: tuple[Measure, ...]) -> None:
            if p is self.desk.prediction and (self._of, self.what, self.found) != (p, what, found):
                self._of, self.what, self.found = p, what, found
                self._draw()
                self.changed.emit()

        layers.turns.after(JOB, find, done)

    # ---- drawing

    def _draw(self) -> None:
        """On the slice that is on screen as a shadow, in 3D as they lie."""
        layers, spec, display = self.desk.layers, self.desk.spec, self.desk.layers.display
        if not self.shown or not self.found or spec is None or display is None:
            self._take_away()
            return
        where = layers.current_slice()
        colours = {label.value: hex_rgba(label.colour) for label in spec.labels}
        vectors, edges = [np.zeros((0, 2, 3))], [np.zeros((0, 4))]
        for one in self.found:
            flat = self.desk.viewer.dims.ndisplay == 2
            if one.axis is None or (flat and where is None):
                continue
            line, colour = one.axis, np.array(colours[one.value])
            if where is not None and not _crosses(line.start[where[0]], line.end[where[0]], where[1]):
                colour[3] = BEYOND
            vectors.append(drawn(line, display.scale, *(where or ())))
            edges.append(np.tile(colour, (len(vectors[-1]), 1)))
        lines, colour_of = np.concatenate(vectors).astype(np.float32), np.concatenate(edges)
        if self._layer is None:
            width = WIDTH_MM / float(np.mean(display.scale))
            look: dict[str, Any] = {"vector_style": "line", "edge_width": width, "opacity": 1.0, **display.layer}
            look["blending"] = "translucent_no_depth"  # seen through what surrounds it in 3D
            self._layer = Vectors(lines, ndim=3, name="Long axes", **look)
            layers.insert(self._layer, "long axes")
        else:
            self._layer.data = lines
        if len(colour_of):
            self._layer.edge_color = colour_of

    def _moved(self) -> None:
        if self._layer is not None:
            self.desk.layers.turns.later(LINES, self._draw)

    def _take_away(self) -> None:
        self.desk.layers.turns.drop(LINES)
        layer, self._layer = self._layer, None
        if layer is not None and layer in self.desk.viewer.layers:
            self.desk.viewer.layers.remove(layer)

    def _removed(self, event: Any) -> None:
        """The reader took the layer away."""
        if event.value is self._layer:
            self._layer, self.shown = None, False
            self.changed.emit()


def _crosses(start: float, end: float, index: int) -> bool:
    """Whether a slice lies between the ends of a line, or holds one of them."""
    return round(min(start, end)) <= index <= round(max(start, end))
