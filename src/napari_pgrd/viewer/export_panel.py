"""The Export tab: where to, what, and the way back onto the image."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox, QFileDialog, QLineEdit, QVBoxLayout, QWidget

from napari_pgrd.session.state import controls
from napari_pgrd.viewer.dicom_panel import DicomPanel
from napari_pgrd.viewer.exports import Exports
from napari_pgrd.viewer.widgets import button, faint, note, row

PARTS = (
    ("mask", "Masks: consensus and correction", "Label values on the image's own grid, as NIfTI"),
    ("maps", "Maps: probability, entropy, variance", "Of every class and over all samples, as NIfTI"),
    ("report", "Report: one page to read and sign", "Volumes, places before and after, slices seen, how it was made"),
    ("samples", "Samples", "All of them in one NIfTI, along its fourth axis"),
)


class ExportPanel(QWidget):
    """Choose a folder and its contents, write, show."""

    def __init__(self, exports: Exports) -> None:
        super().__init__()
        self.exports = exports
        self.folder = QLineEdit(str(exports.folder))
        self.folder.setObjectName("folder")
        self.folder.setToolTip("Everything is written here, in the image's own geometry")
        self.folder.textEdited.connect(exports.choose_folder)
        browse = button("...", "Choose a folder", "browse", self._browse)
        browse.setMaximumWidth(32)
        self.boxes = {}
        for key, text, tip in PARTS:
            box = QCheckBox(text)
            box.setObjectName(f"part_{key}")
            box.setToolTip(tip)
            box.setChecked(True)
            self.boxes[key] = box
        self.dicom = DicomPanel()
        self.go = button(
            "Export", "Write the files; earlier ones of the same name are replaced whole", "export", self._go
        )
        self.initials = QLineEdit(exports.initials)
        self.initials.setObjectName("initials")
        self.initials.setMaximumWidth(80)
        self.initials.setToolTip("Stand in report and manifest, if you like; nothing else names you or the patient")
        self.initials.editingFinished.connect(lambda: exports.sign(self.initials.text()))
        self.done = note()
        self.done.setObjectName("export_done")
        self.show_it = button(
            "Show on image", "Load the exported mask back onto the image", "show_export", exports.show
        )
        self.which = faint()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 6, 4, 4)
        signed = row(note("Initials"), self.initials)
        what = (*self.boxes.values(), self.dicom, signed)
        for part in (row(self.folder, browse), *what, self.which, self.go, self.done, self.show_it):
            layout.addWidget(part)
        layout.addWidget(faint("volumes.csv and manifest.json are always written."))
        layout.addStretch()
        exports.desk.state.events.connect(self.refresh)
        exports.changed.connect(self.refresh)
        exports.corrections.changed.connect(self.refresh)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the state as it is."""
        state, ready = self.exports.desk.state, self.exports.ready
        samples = controls(state).can_export
        missing = self.exports.missing() if samples else ""
        self.go.setEnabled(ready and not self.exports.busy and not missing)
        self.go.setText(missing or "Export")
        for key, box in self.boxes.items():
            box.setEnabled(key == "mask" or samples or not ready)
        self.dicom.refresh(self.exports.no_dicom, samples or not ready)
        correction = self.exports.corrections.layer
        text = f"Corrected mask: \u201c{correction.name}\u201d" if correction else "There is no correction yet."
        if ready and not samples:
            text += ". Maps, samples and report need samples, and none are drawn."
        self.which.setText(text)
        self.done.setText(f"Written to {state.exported}" if state.exported else "")
        self.show_it.setEnabled(bool(state.exported))
        if not self.folder.hasFocus() and self.folder.text() != str(self.exports.folder):
            self.folder.setText(str(self.exports.folder))

    def _go(self) -> None:
        ticked = {key for key, box in self.boxes.items() if box.isChecked()}
        self.exports.write(ticked, self.dicom.chosen(self.exports.initials))

    def _browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Export to", str(self.exports.folder))
        if folder:
            self.exports.choose_folder(folder)
            self.refresh()
