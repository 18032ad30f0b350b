"""Corrections: separate label layers that nothing but the reader writes to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeGuard
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from psygnal import Signal

from napari_pgrd.session.change import Change
from napari_pgrd.viewer.desk import Desk

BRUSH = 3  # napari's default of 10 is wider than a hippocampus
GRID = "pgrd_correction"  # metadata: the grid and labels a correction was started on


class Corrections:
    """Start, find and step through corrections."""

    changed = Signal()
    edited = Signal()  # a stroke, an undo, a redo; sometimes nothing at all
    started = Signal(Labels, str)  # a new correction, and what it is a copy of
    applied = Signal(Change, str)  # voxels set by anything but the reader's hand, and the operation's name

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.naming: Callable[[Labels, str], AbstractContextManager[None]] = lambda layer, name: nullcontext()
        """Told which operation the next change of a layer is; whoever keeps a log sets it."""
        self._starts: WeakKeyDictionary[Labels, NDArray[np.uint8]] = WeakKeyDictionary()
        desk.viewer.layers.events.removed.connect(self._emit)
        desk.viewer.layers.selection.events.active.connect(self._emit)

    def close(self) -> None:
        """Let go of the viewer."""
        self.desk.viewer.layers.events.removed.disconnect(self._emit)
        self.desk.viewer.layers.selection.events.active.disconnect(self._emit)
        for layer in self.desk.layers.of("correction"):
            layer.events.selected_label.disconnect(self._emit)
            layer.events.labels_update.disconnect(self._edited)
            layer.events.set_data.disconnect(self._edited)

    @property
    def layer(self) -> Labels | None:
        """The correction in hand: the selected one of this image, else its newest."""
        mine = [x for x in self.desk.viewer.layers if self.is_correction(x) and x.metadata.get(GRID) == self.grid()]
        active = self.desk.viewer.layers.selection.active
        return active if active in mine else (mine[-1] if mine else None)

    @property
    def elsewhere(self) -> list[Labels]:
        """Corrections of the whole image while the samples fill a box of it, begun before there were any."""
        volume, bundle, box = self.grid()
        mine = [x for x in self.desk.viewer.layers if self.is_correction(x)]
        return [x for x in mine if box is not None and x.metadata.get(GRID) == (volume, bundle, None)]

    def is_correction(self, layer: object) -> TypeGuard[Labels]:
        """Whether a layer was started here, and so is watched; a duplicate of one is not."""
        return isinstance(layer, Labels) and layer in self._starts

    def sources(self) -> list[tuple[str, str]]:
        """What a correction may start from: ``(value, text)``."""
        p = self.desk.prediction
        items = [("consensus", "Consensus"), ("prior", "Prior")]
        return items + [(f"sample {i}", f"Sample {i:02d}") for i in range(1, (p.samples if p else 0) + 1)]

    def start(self, source: str = "consensus") -> None:
        """Add an editable copy, ready to paint."""
        p, spec, display = self.desk.prediction, self.desk.spec, self.desk.layers.display
        if p is None or spec is None or display is None or p.samples == 0:
            return
        indices: NDArray[np.uint8]
        if source == "consensus":
            indices = p.consensus
        elif source == "prior":
            indices = p.prior.argmax(0).astype(np.uint8)
        else:
            indices = p.masks[int(source.split()[1]) - 1]
        self.add(spec.values[indices], source)

    def add(self, values: NDArray[np.uint8], source: str, start: NDArray[np.uint8] | None = None) -> Labels:
        """Add an editable copy of a mask of label values ``(x, y, z)`` on the grid of the prediction.

        ``source`` says what it is a copy of; ``start`` is what the correction was when it began, if not this mask.
        """
        spec, display = self.desk.spec, self.desk.layers.display
        assert spec is not None and display is not None
        shown = np.array(display.show(values), np.uint8, order="C")  # a copy nobody else holds
        layer = Labels(shown, name="Correction", opacity=0.45, colormap=self.desk.layers.colours(), **display.layer)
        layer.metadata[GRID] = self.grid()
        self._starts[layer] = np.array(values if start is None else start, np.uint8)
        self.desk.layers.insert(layer, "correction")
        for role in ("consensus", "prior", "sample"):
            for other in self.desk.layers.of(role):
                other.visible = False
        self.desk.viewer.layers.selection.active = layer
        layer.selected_label = spec.labels[1].value
        layer.brush_size = BRUSH
        layer.preserve_labels = True
        layer.mode = "paint"
        layer.events.selected_label.connect(self._emit)
        layer.events.labels_update.connect(self._edited)  # a stroke
        layer.events.set_data.connect(self._edited)  # undo and redo, and a change of slice too
        self.started.emit(layer, source)
        self.edited.emit()
        self.changed.emit()
        return layer

    def put(self, values: NDArray[np.uint8], operation: str) -> int:
        """Make the correction equal to a mask of label values ``(x, y, z)``, as one step that can be undone.

        Returns
        -------
        int
            How many voxels changed.
        """
        layer, display = self.layer, self.desk.layers.display
        if layer is None or display is None:
            return 0
        shown = np.ascontiguousarray(display.show(values))
        indices = np.flatnonzero(np.asarray(layer.data) != shown)
        return self.apply(Change(indices, shown.reshape(-1)[indices]), operation)

    def apply(self, change: Change, operation: str) -> int:
        """Make a change of the display array ``(z, y, x)``, as one step that can be undone; returns its voxels."""
        layer = self.layer
        if layer is None or not len(change.indices):
            return 0
        with self.naming(layer, operation), layer.block_history():
            layer.data_setitem(np.unravel_index(change.indices, layer.data.shape), change.values)
        self.applied.emit(change, operation)
        self.edited.emit()
        return len(change.indices)

    def start_of(self, layer: Labels) -> NDArray[np.uint8]:
        """What a correction was when it began, ``(x, y, z)`` label values."""
        return self._starts[layer]

    def choose_label(self, value: int) -> None:
        """Paint with a label; 0 erases, and may then erase any label."""
        layer = self.layer
        if layer is not None:
            layer.selected_label = value
            layer.preserve_labels = value != 0
            layer.mode = "paint"

    def undo(self) -> None:
        """Take back the last stroke."""
        if self.layer is not None:
            self.layer.undo()

    def redo(self) -> None:
        """Bring back what was taken back."""
        if self.layer is not None:
            self.layer.redo()

    def values(self) -> NDArray[np.uint8] | None:
        """The correction as label values on the grid of the source (or its box)."""
        layer, display = self.layer, self.desk.layers.display
        if layer is None or display is None:
            return None
        return np.ascontiguousarray(display.hide(np.asarray(layer.data))).astype(np.uint8)

    def grid(self) -> tuple[object, ...]:
        """What a correction belongs to: image, model and the box that was sampled."""
        # The volume itself and not its name, which two patients may share; the box that was sampled and not the one on
        # screen, which may have been dragged on since.
        desk = self.desk
        return (desk.volume, desk.state.bundle, desk.request.box if desk.request else None)

    def _edited(self) -> None:
        self.edited.emit()

    def _emit(self) -> None:
        self.changed.emit()
