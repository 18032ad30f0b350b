"""The Review tab: how much, how sure, and where the samples part."""

from __future__ import annotations

from functools import partial
from html import escape
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_pgrd.session.state import controls
from napari_pgrd.session.volumes import (
    LabelVolume,
    interval_sentence,
    label_volumes,
    poorly_covered,
    reliability_sentence,
    unanimous_sentence,
)
from napari_pgrd.viewer.desk import Desk
from napari_pgrd.viewer.keys import key_of, tip
from napari_pgrd.viewer.measures import Measures
from napari_pgrd.viewer.theme import FAINT_INK, swatch
from napari_pgrd.viewer.views import HEATS, Views
from napari_pgrd.viewer.widgets import button, combo, faint, fill, note, rich, row

if TYPE_CHECKING:
    from napari_pgrd.engine.aggregate import Prediction
    from napari_pgrd.engine.spec import BundleSpec

LEGEND = "Strong line: border of half of the {}.\nFaint lines: borders of 25 and 75 %."


class ReviewPanel(QWidget):
    """Volumes with their spread, what to show, and a walk through the samples."""

    def __init__(self, desk: Desk, views: Views, measures: Measures) -> None:
        super().__init__()
        self.desk, self.views, self.measures = desk, views, measures
        self._summed: Prediction | None = None  # what the volumes on show were counted in
        self._counted: list[LabelVolume] = []
        self._texts: list[str] = []
        self.empty = faint("Draw samples first; their volumes and disagreements appear here.")
        self.volumes = rich()
        self.volumes.setObjectName("volumes")
        self.unanimous = faint()
        planes = row(
            *(
                button(text, f"Show the {plane} plane", f"plane_{plane}", partial(views.plane, plane))
                for text, plane in (("Sagittal", "sagittal"), ("Coronal", "coronal"), ("Axial", "axial"))
            )
        )
        self.lines = button("Agreement", "Borders of 25, 50 and 75 % of the samples", "show_lines", views.lines)
        self.outlines = button("All samples", "A thin outline of every sample", "show_outlines", views.outlines)
        self.axes = button(
            "Long axes",
            "The longest line through each label in 3D; on a slice its shadow, faint beyond its ends",
            "show_axes",
            measures.toggle,
        )
        self.axes.setCheckable(True)
        self.heat = combo("heat", tip("Colour where the samples disagree", "views.next_heat"), views.heat)
        fill(self.heat, HEATS, "off")
        back, on = key_of("views.step", -1), key_of("views.step", 1)
        self.previous = button(
            f"\u25c0 {back}", tip("Previous sample", "views.step", -1), "previous_sample", lambda: views.step(-1)
        )
        self.next = button(f"{on} \u25b6", tip("Next sample", "views.step", 1), "next_sample", lambda: views.step(1))
        self.which = note("")
        self.together = button(
            "One layer for all samples",
            "Instead of a layer each: a slider below the image goes through the samples, its 0 shows none",
            "one_layer",
            views.share,
        )
        self.together.setCheckable(True)
        self.legend = faint()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 6, 4, 4)
        parts = (
            self.empty,
            self.volumes,
            self.unanimous,
            planes,
            row(self.lines, self.outlines, self.axes),
            self.legend,
            row(note("Heat"), self.heat),
            row(self.previous, self.which, self.next),
            self.together,
        )
        for part in parts:
            layout.addWidget(part)
        layout.addStretch()
        desk.predicted.connect(self.refresh)
        desk.state.events.connect(self.refresh)
        views.changed.connect(self.refresh)
        measures.changed.connect(self.refresh)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the state as it is."""
        desk = self.desk
        there = controls(desk.state).can_review and desk.prediction is not None
        self.empty.setVisible(not there)
        for widget in (
            self.volumes,
            self.unanimous,
            self.lines,
            self.outlines,
            self.axes,
            self.heat,
            self.previous,
            self.next,
        ):
            widget.setEnabled(there)
        self.axes.setChecked(self.measures.shown)
        self.which.setText(self.views.sample_text())
        self.together.setVisible(there and self.views.can_share)
        self.together.setChecked(self.views.shared)
        whose = "samples" if desk.layers.heard is desk.layers.prediction else "family's samples"
        self.legend.setText(LEGEND.format(whose))
        fill(self.heat, HEATS, self.views.heat_shown)
        if not there or desk.prediction is None or desk.volume is None or desk.spec is None:
            self.volumes.setText("")
            self.unanimous.setText("")
            self._summed, self._texts = None, []
            return
        spec = desk.spec.measured_for(desk.request.method if desk.request is not None else None)
        if desk.prediction is not self._summed:  # counting every mask at every heartbeat would hold the window up
            self._summed = desk.prediction
            self._counted = label_volumes(desk.prediction, desk.volume, spec)
        values = {label.name: label.value for label in spec.labels}
        texts = [_volume_text(v, spec, self.measures.text(values[v.name])) for v in self._counted]
        if texts != self._texts:
            self._texts = texts
            self.volumes.setText("".join(texts))
        self.unanimous.setText(unanimous_sentence(spec))


def _volume_text(v: LabelVolume, spec: BundleSpec, measured: str) -> str:
    """One label's volume: the interval that can be signed first, the spread of the samples with what it is worth.

    ``measured`` is what was measured in the mask in hand.
    """
    digits = 2 if v.unit == "mL" else 0

    def span(low: float, high: float) -> str:
        return f"{low:.{digits}f}\u2013{high:.{digits}f}"

    spread, worth = f"samples {span(v.low, v.high)}", reliability_sentence(spec, v.name)
    if v.interval is not None and poorly_covered(spec, v.name):
        worth = f"{spread}: {worth}"
        spread = f"in {span(*v.interval)}"
        worth = f"{interval_sentence(spec, v.name)}<br>{worth}"
    below = (f"{escape(measured)}<br>" if measured else "") + f'<span style="color:{FAINT_INK}">{worth}</span>'
    name = escape(v.name[:1].upper() + v.name[1:])
    return (
        f'<p style="margin:0 0 6px 0">{swatch(v.colour)} {name} '
        f"<b>{v.consensus:.{digits}f} {v.unit}</b> {spread}<br>{below}</p>"
    )
