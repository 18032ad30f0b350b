"""Another threshold of the foreground: looked at first, written into the correction only when asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Vectors
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_pgrd.session.planes import mask_segments
from napari_pgrd.session.state import Phase
from napari_pgrd.session.threshold import change_sentence, thresholded
from napari_pgrd.session.volumes import voxel_volume
from napari_pgrd.viewer.corrections import Corrections
from napari_pgrd.viewer.desk import Desk
from napari_pgrd.viewer.lines import NONE

if TYPE_CHECKING:
    from napari_pgrd.engine.aggregate import Prediction

REST = 0.5
PAUSE_MS = 40
WIDTH_MM = 0.3
COLOUR = "white"  # which no label is and no map
JOB, LINES = "threshold", "threshold lines"
MOVES = ("current_step", "order", "ndisplay")
Values = NDArray[np.uint8]


class ThresholdPreview:
    """An outline of what another threshold would give; nothing that the reader made changes before :meth:`apply`."""

    changed = Signal()

    def __init__(self, desk: Desk, corrections: Corrections) -> None:
        self.desk, self.corrections = desk, corrections
        self.level = REST
        self.on = False
        self.sentence = ""
        self._of: Prediction | None = None  # whose threshold it is
        self._layer: Vectors | None = None
        self._finding = self._again = False
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE_MS)
        self._timer.timeout.connect(self._find)
        desk.predicted.connect(self._predicted)
        desk.state.events.phase.connect(self._predicted)
        corrections.edited.connect(self._edited)
        corrections.changed.connect(self._edited)  # another correction may be in hand
        desk.viewer.layers.events.removed.connect(self._removed)
        for name in MOVES:
            getattr(desk.viewer.dims.events, name).connect(self._moved)

    def close(self) -> None:
        """Let go of the viewer."""
        self.desk.viewer.layers.events.removed.disconnect(self._removed)
        for name in MOVES:
            getattr(self.desk.viewer.dims.events, name).disconnect(self._moved)
        self.off()

    @property
    def can(self) -> bool:
        """Whether there are samples to threshold."""
        p = self.desk.prediction
        return self.desk.state.phase is Phase.REVIEWING and p is not None and p.samples > 0

    def preview(self, level: float) -> None:
        """Show what a threshold would give."""
        if not self.can:
            return
        self.level, self.on, self._of = level, True, self.desk.prediction
        self._look_again()
        self.changed.emit()

    def off(self) -> None:
        """Take the preview off the screen; everything else stays as it is."""
        self._timer.stop()
        for job in (JOB, LINES):
            self.desk.layers.turns.drop(job)
        was, self.on, self._finding, self._again = self.on, False, False, False
        self.level, self._of, self.desk.layers.preview, self.sentence = REST, None, None, ""
        layer, self._layer = self._layer, None
        if layer is not None and layer in self.desk.viewer.layers:
            self.desk.viewer.layers.remove(layer)
        if was:
            self.changed.emit()

    def apply(self) -> None:
        """Make the correction what is previewed, as one step that can be undone; one begins if there is none."""
        p, spec, level = self.desk.prediction, self.desk.spec, self.level
        if not self.on or p is None or spec is None:
            return
        values: Values = spec.values[thresholded(p.probability, level)]
        self.off()
        if self.corrections.layer is None:
            self.corrections.start("consensus")
        count = self.corrections.put(values, f"threshold {level:.2f}")
        self.sentence = f"Threshold {level:.2f} written: {count} voxel{'s' * (count != 1)} changed. Undo takes it back."
        self.changed.emit()

    # ---- finding and drawing

    def _look_again(self) -> None:
        if not self._timer.isActive():  # a drag that started it anew would show nothing before its end
            self._timer.start()

    def _find(self) -> None:
        p, layers, layer = self._of, self.desk.layers, self.corrections.layer
        spec, volume, level = self.desk.spec, self.desk.volume, self.level
        if p is None or spec is None or volume is None:
            return
        if self._finding:
            self._again = True
            return
        self._finding, self._again = True, False
        size = voxel_volume(volume)

        def find() -> tuple[Values, str]:
            after = layers.values(thresholded(p.probability, level))
            before = layers.values(p.consensus) if layer is None else np.asarray(layer.data)
            what = "consensus" if layer is None else "correction"
            return after, change_sentence(before, after, spec.labels, size, what)

        layers.turns.after(JOB, find, self._found)

    def _found(self, found: tuple[Values, str]) -> None:
        self._finding = False
        if not self.on:
            return
        self.desk.layers.preview, self.sentence = found
        self._draw()
        if self._again:
            self._look_again()
        self.changed.emit()

    def _draw(self) -> None:
        """The outline on the slice that is on screen; none in 3D."""
        layers, where = self.desk.layers, self.desk.layers.current_slice()
        if layers.preview is None or layers.display is None:
            return
        vectors = NONE
        if where is not None:
            axis, index = where
            ends = [*mask_segments(np.take(layers.preview, index, axis)).values()]
            flat = np.concatenate(ends) if ends else np.zeros((0, 2, 2))
            lines = np.insert(flat, axis, index, axis=2)
            vectors = np.stack([lines[:, 0], lines[:, 1] - lines[:, 0]], 1).astype(np.float32)
        if self._layer is None:
            width = WIDTH_MM / float(np.mean(layers.display.scale))
            self._layer = Vectors(
                vectors,
                ndim=3,
                name="Threshold",
                opacity=1.0,
                vector_style="line",
                edge_color=COLOUR,
                edge_width=width,
                **layers.display.layer,
            )
            layers.insert(self._layer, "threshold")
        else:
            self._layer.data = vectors

    # ---- what happens around it

    def _moved(self) -> None:
        if self.desk.layers.preview is not None:
            self.desk.layers.turns.later(LINES, self._draw)

    def _edited(self) -> None:
        if self.on:
            self._look_again()

    def _predicted(self) -> None:
        """The preview goes with its samples."""
        if self._of is not None and (self._of is not self.desk.prediction or not self.can):
            self.off()
        elif self.desk.prediction is None and self.sentence:
            self.sentence = ""
        self.changed.emit()

    def _removed(self, event: Any) -> None:
        """The reader took the layer away."""
        if event.value is self._layer:
            self.off()
