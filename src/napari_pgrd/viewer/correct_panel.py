"""The Correct tab: always on a copy."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from napari_pgrd.session.state import Phase, controls
from napari_pgrd.viewer.corrections import Corrections
from napari_pgrd.viewer.mask_start import FILE, MaskStart
from napari_pgrd.viewer.widgets import button, combo, faint, fill, name_of, note, row


class CorrectPanel(QWidget):
    """Start a correction, choose a label, undo and redo."""

    def __init__(self, corrections: Corrections, masks: MaskStart) -> None:
        super().__init__()
        self.corrections, self.masks = corrections, masks
        self.start_from = combo(
            "start_from",
            "What the copy starts as; a mask that was dropped on the window is among them",
            lambda v: setattr(self, "_chosen", v),
        )
        self._chosen = "consensus"
        self.start = button(
            "Start correction",
            "Make an editable copy; the samples stay as they are",
            "start_correction",
            self._start,
        )
        self.from_file = button(
            "From file ...",
            "Start from a mask of this image: NIfTI or DICOM Segmentation, axes in any order; the file stays as it is",
            "start_from_file",
            self._choose_file,
        )
        self.said = note()
        self.said.setObjectName("start_sentence")
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
            row(name_of("From"), self.start_from),
            row(self.start, self.from_file),
            self.said,
            self.what,
            row(name_of("Paint"), self.label),
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
        masks.changed.connect(self.refresh)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the state as it is."""
        desk, layer = self.corrections.desk, self.corrections.layer
        c = controls(desk.state)
        samples = self.corrections.sources() if c.can_correct else []
        items = [*samples, *self.masks.sources(), (FILE, "Mask file ...")]
        if self._chosen not in {value for value, _ in items}:
            self._chosen = items[0][0] if samples else ""  # what there is first now, and the consensus once it is there
        fill(self.start_from, items, self._chosen)
        can = c.can_take_mask and desk.volume is not None and self.masks.worker is None
        for widget in (self.start, self.from_file, self.start_from):
            widget.setEnabled(can)
        self.said.setText(self.masks.sentence)
        self.said.setVisible(bool(self.masks.sentence))
        for widget in (self.label, self.undo, self.redo):
            widget.setEnabled(layer is not None)
        if desk.spec is not None:
            names = [(str(x.value), x.name) for x in desk.spec.labels[1:]] + [("0", "background (erase)")]
            fill(self.label, names, str(layer.selected_label) if layer is not None else "")
        self.what.setText(f"Editing \u201c{layer.name}\u201d." if layer is not None else self._nothing(can))

    def _nothing(self, can: bool) -> str:
        """Why nothing is in hand, and what to do."""
        state, elsewhere = self.corrections.desk.state, self.corrections.elsewhere
        if elsewhere:
            return (
                f"\u201c{elsewhere[-1].name}\u201d is of the whole image, the samples are of a box. It stays as it is; "
                "choose it above to go on with a copy in the box."
            )
        if controls(state).can_correct:
            return "No correction yet."
        if can:
            return "Draw samples first, or start from a mask: a file, or a layer of labels in the window."
        return "Open an image first." if state.phase is Phase.EMPTY else "No correction while samples are drawn."

    def _start(self) -> None:
        chosen = str(self.start_from.currentData())
        if chosen == FILE:
            self._choose_file()
        elif chosen in dict(self.masks.sources()):
            self.masks.from_layer(chosen)
        else:
            self.corrections.start(chosen)

    def _choose_file(self) -> None:
        kinds = "Masks (*.nii *.nii.gz *.dcm);;All files, as DICOM often has no ending (*)"
        path, _ = QFileDialog.getOpenFileName(self, "Mask of this image", str(Path.home()), kinds)
        if path:
            self.masks.from_file(path)
