"""Lock and sample again, in the Correct tab."""

from __future__ import annotations

from qtpy.QtWidgets import QDoubleSpinBox, QVBoxLayout, QWidget

from napari_pgrd.viewer.resampling import WHAT, WHERE, Resampling
from napari_pgrd.viewer.widgets import button, combo, faint, fill, name_of, note, row


class ResamplingPanel(QWidget):
    """What is kept, draw again, accept or discard."""

    def __init__(self, resampling: Resampling) -> None:
        super().__init__()
        self.resampling = resampling
        self.what = combo("lock_what", "What is kept exactly when the rest is drawn again", self._choose)
        fill(self.what, WHAT, resampling.what)
        self.where = combo("redraw_where", "Where samples may change when they are drawn again", self._choose_where)
        fill(self.where, WHERE, resampling.where)
        self.reach = QDoubleSpinBox()
        self.reach.setObjectName("redraw_reach")
        self.reach.setRange(1, 100)
        self.reach.setDecimals(0)
        self.reach.setValue(resampling.reach)
        self.reach.setToolTip("How far from the locks samples may change; farther away every sample stays as it is")
        self.reach.valueChanged.connect(lambda value: setattr(resampling, "reach", float(value)))
        self.near = row(name_of("Within"), self.reach)
        self.paint = button("Paint locks", "Mark more that is right and shall stay", "paint_locks", resampling.paint)
        self.again = button(
            "Sample again around it",
            "Draw the rest again so that it agrees; nothing changes before you accept",
            "sample_again",
            resampling.start,
        )
        self.accept = button("Accept", "Take it over, as one step", "accept_resampling", resampling.accept)
        self.discard = button("Discard", "Leave everything as it is", "discard_resampling", resampling.discard)
        self.back = button(
            "",
            "Exchange the new samples for those before the resampling; the correction stays as it is",
            "swap_samples",
            resampling.swap,
        )
        self.forecast = faint()
        self.forecast.setObjectName("resampling_forecast")
        self.said = note()
        self.said.setObjectName("resampling_sentence")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        answer = row(self.accept, self.discard)
        parts = (
            row(name_of("Keep"), self.what, self.paint),
            row(name_of("Redraw"), self.where),
            self.near,
            self.forecast,
            self.again,
            answer,  # where the button was: on a low screen what lies below the sentence is out of sight
            self.said,
            self.back,
        )
        for part in parts:
            layout.addWidget(part)
        resampling.changed.connect(self.refresh)
        resampling.corrections.changed.connect(self.refresh)
        resampling.desk.state.events.phase.connect(self.refresh)
        resampling.desk.predicted.connect(self.refresh)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the state as it is."""
        r = self.resampling
        drawn = r.desk.state.drawn > 0
        there, idle = r.corrections.layer is not None, r.worker is None and r.candidate is None
        for widget in (self.what, self.paint, self.where):
            widget.setEnabled(there)
        self.near.setVisible(r.where == "near")
        self.reach.setEnabled(there)
        self.reach.setSuffix(f" {r.unit} of the locks")
        self.again.setEnabled(there and idle and drawn)
        self.again.setVisible(idle)
        self.forecast.setText(r.forecast() if there and idle else "")
        self.forecast.setVisible(bool(self.forecast.text()))
        self.back.setText(f"Back to the {'newer' if r.earlier.newer else 'earlier'} samples")
        self.back.setVisible(r.earlier.there and idle)
        self.accept.setVisible(r.candidate is not None)
        self.discard.setVisible(r.candidate is not None or r.worker is not None)
        self.said.setText(r.sentence)
        self.said.setVisible(bool(r.sentence))

    def _choose(self, value: str) -> None:
        self.resampling.what = value

    def _choose_where(self, value: str) -> None:
        self.resampling.where = value
        self.refresh()
