"""The Correct tab: always on a copy."""

from __future__ import annotations

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_pgrd.session.state import controls
from napari_pgrd.viewer.corrections import Corrections
from napari_pgrd.viewer.widgets import button, combo, faint, fill, note, row


class CorrectPanel(QWidget):
    """Start a correction, choose a label, undo and redo."""

    def __init__(self, corrections: Corrections) -> None:
        super().__init__()
        self.corrections = corrections
        self.start_from = combo("start_from", "What the copy starts as", lambda v: setattr(self, "_chosen", v))
        self._chosen = "consensus"
        self.start = button(
            "Start correction",
            "Make an editable copy; the samples stay as they are",
            "start_correction",
            lambda: corrections.start(self._chosen),
        )
        self.label = combo("label", "The label the brush paints", lambda v: corrections.choose_label(int(v)))
        self.undo = button("Undo  Ctrl+Z", "Take back the last stroke", "undo", corrections.undo)
        self.redo = button("Redo  Ctrl+Shift+Z", "Bring it back", "redo", corrections.redo)
        self.what = note()
        self.tips = faint(
            "2 brush, 1 eraser, 3 polygon, 4 fill, [ ] brush size, B keeps other labels, Space moves the image. "
            "Starting again adds another copy; nothing is overwritten."
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 6, 4, 4)
        parts = (
            row(note("From"), self.start_from),
            self.start,
            self.what,
            row(note("Paint"), self.label),
            row(self.undo, self.redo),
            self.tips,
        )
        for part in parts:
            layout.addWidget(part)
        layout.addStretch()
        desk = corrections.desk
        desk.predicted.connect(self.refresh)
        desk.state.events.connect(self.refresh)
        corrections.changed.connect(self.refresh)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the state as it is."""
        desk, layer = self.corrections.desk, self.corrections.layer
        items = self.corrections.sources()
        if self._chosen not in {value for value, _ in items}:
            self._chosen = "consensus"
        fill(self.start_from, items, self._chosen)
        can = controls(desk.state).can_correct
        self.start.setEnabled(can)
        self.start_from.setEnabled(can)
        for widget in (self.label, self.undo, self.redo):
            widget.setEnabled(layer is not None)
        if desk.spec is not None:
            names = [(str(x.value), x.name) for x in desk.spec.labels[1:]] + [("0", "background (erase)")]
            fill(self.label, names, str(layer.selected_label) if layer is not None else "")
        self.what.setText(f"Editing \u201c{layer.name}\u201d." if layer is not None else "No correction yet.")
