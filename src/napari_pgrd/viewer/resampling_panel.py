"""Lock and sample again, in the Correct tab."""

from __future__ import annotations

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_pgrd.viewer.resampling import WHAT, Resampling
from napari_pgrd.viewer.widgets import button, combo, fill, note, row


class ResamplingPanel(QWidget):
    """What is kept, draw again, accept or discard."""

    def __init__(self, resampling: Resampling) -> None:
        super().__init__()
        self.resampling = resampling
        self.what = combo("lock_what", "What is kept exactly when the rest is drawn again", self._choose)
        fill(self.what, WHAT, resampling.what)
        self.paint = button("Paint locks", "Mark more that is right and shall stay", "paint_locks", resampling.paint)
        self.again = button(
            "Sample again around it",
            "Draw the rest again so that it agrees; nothing changes before you accept",
            "sample_again",
            resampling.start,
        )
        self.accept = button("Accept", "Take it over, as one step", "accept_resampling", resampling.accept)
        self.discard = button("Discard", "Leave everything as it is", "discard_resampling", resampling.discard)
        self.said = note()
        self.said.setObjectName("resampling_sentence")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        answer = row(self.accept, self.discard)
        for part in (row(note("Keep"), self.what, self.paint), self.again, self.said, answer):
            layout.addWidget(part)
        resampling.changed.connect(self.refresh)
        resampling.corrections.changed.connect(self.refresh)
        resampling.desk.state.events.phase.connect(self.refresh)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the state as it is."""
        r = self.resampling
        there = r.corrections.layer is not None
        for widget in (self.what, self.paint):
            widget.setEnabled(there)
        self.again.setEnabled(there and r.worker is None and r.candidate is None)
        self.accept.setVisible(r.candidate is not None)
        self.discard.setVisible(r.candidate is not None or r.worker is not None)
        self.said.setText(r.sentence)
        self.said.setVisible(bool(r.sentence))

    def _choose(self, value: str) -> None:
        self.resampling.what = value
