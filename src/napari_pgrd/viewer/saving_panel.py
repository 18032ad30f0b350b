"""Reviews that a crash left, and reviews as folders."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from napari_pgrd.viewer.saving import Saving
from napari_pgrd.viewer.widgets import button, note, row


class LeftPanel(QWidget):
    """One line about a review that was left, to take up or to set aside; hidden where there is none."""

    def __init__(self, saving: Saving) -> None:
        super().__init__()
        self.saving = saving
        self.text = note()
        self.text.setObjectName("left_review")
        self.resume = button("Resume", "Bring samples and corrections back on the open image", "resume", saving.resume)
        self.aside = button("Set aside", "Offer it no more; it is kept for a month", "set_aside", saving.discard)
        self.said = note()
        self.said.setObjectName("saving_sentence")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.answer = row(self.resume, self.aside)
        for part in (self.text, self.answer, self.said):
            layout.addWidget(part)
        saving.changed.connect(self.refresh)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the state as it is."""
        s = self.saving
        offered = bool(s.left) and s.running is None
        self.text.setText(f"Not ended: {s.left[0].sentence}" if offered else "")
        self.text.setVisible(offered)
        self.answer.setVisible(offered)
        self.said.setText(s.sentence)
        self.said.setVisible(bool(s.sentence))
        self.setVisible(offered or bool(s.sentence))


class FolderPanel(QWidget):
    """Save the review, samples, corrections and all, and open one."""

    def __init__(self, saving: Saving) -> None:
        super().__init__()
        self.saving = saving
        self.save = button(
            "Save review ...",
            "Samples, corrections with every step, states and view, as a folder",
            "save_review",
            self._save,
        )
        self.open = button("Open review ...", "Bring a saved review back on the open image", "open_review", self._open)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(row(self.save, self.open))

    def _save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save review", str(Path.home() / "review.pgrd"), "Review (*.pgrd)")
        if path:
            self.saving.save_as(path)

    def _open(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Open review", str(Path.home()))
        if path:
            self.saving.open(path)
