"""PGRD Review: the dock that a reader finds in napari's plugin menu."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.viewer import Viewer
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QSizePolicy, QTabWidget, QVBoxLayout, QWidget

from napari_pgrd.session.state import Phase, controls
from napari_pgrd.viewer.attention import Attention
from napari_pgrd.viewer.correct_panel import CorrectPanel
from napari_pgrd.viewer.corrections import Corrections
from napari_pgrd.viewer.desk import Desk
from napari_pgrd.viewer.drop import ImageDrops
from napari_pgrd.viewer.earlier import EarlierSamples
from napari_pgrd.viewer.export_panel import ExportPanel
from napari_pgrd.viewer.exports import Exports
from napari_pgrd.viewer.families import Families
from napari_pgrd.viewer.families_panel import FamiliesPanel
from napari_pgrd.viewer.help import HelpOverlay
from napari_pgrd.viewer.keeping import Keeping
from napari_pgrd.viewer.keys import bind, key_of
from napari_pgrd.viewer.mask_start import MaskStart
from napari_pgrd.viewer.measures import Measures
from napari_pgrd.viewer.memory import Memory
from napari_pgrd.viewer.opening import Opening
from napari_pgrd.viewer.places import PlacesDesk
from napari_pgrd.viewer.places_panel import PlacesPanel
from napari_pgrd.viewer.planes import Planes
from napari_pgrd.viewer.resampling import Resampling
from napari_pgrd.viewer.resampling_panel import ResamplingPanel
from napari_pgrd.viewer.resume import CORRECT, REVIEW
from napari_pgrd.viewer.review_panel import ReviewPanel
from napari_pgrd.viewer.sample_panel import SamplePanel
from napari_pgrd.viewer.saving import Saving
from napari_pgrd.viewer.saving_panel import FolderPanel, LeftPanel
from napari_pgrd.viewer.side_by_side import SideBySide
from napari_pgrd.viewer.theme import dress
from napari_pgrd.viewer.threshold import ThresholdPreview
from napari_pgrd.viewer.threshold_panel import ThresholdPanel
from napari_pgrd.viewer.tools import Tools
from napari_pgrd.viewer.tools_panel import ToolsPanel
from napari_pgrd.viewer.truth import Truths
from napari_pgrd.viewer.truth_panel import TruthPanel
from napari_pgrd.viewer.view_tools import ViewTools
from napari_pgrd.viewer.views import Views
from napari_pgrd.viewer.widgets import button, faint, note, row, stacked
from napari_pgrd.viewer.window_level import WindowLevel

RESEARCH = "For research use; not a medical device"
WIDTH = 320
TIPS = {
    "Sample": "Choose image and model, draw plausible segmentations",
    "Review": "How much, how sure, and where the samples part",
    "Correct": "Edit a copy; the samples stay as they are",
    "Export": "Write masks, maps, volumes and a record of the review",
}


class ReviewDock(QWidget):
    """Sample, review, correct, export. The tabs show one state and do not know each other."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.setObjectName("pgrd_review")
        self.setMinimumWidth(290)
        self.setMaximumWidth(WIDTH)
        # The menu hands in a proxy, and everything reached through it would be a proxy too: neither a QWidget that Qt
        # takes as one, nor the same object as the layer in the list.
        viewer: Viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self.viewer = viewer
        self.desk = Desk(viewer)
        self.views = Views(self.desk)
        self.corrections = Corrections(self.desk)
        self.masks = MaskStart(self.corrections)
        self.places = PlacesDesk(self.desk, self.corrections)
        self.tools = Tools(self.corrections, self.places)
        self.resampling = Resampling(self.desk, self.corrections, EarlierSamples(self.desk, self.places))
        self.saving = Saving(self.desk, self.corrections, self.places)
        self.keeping = Keeping(self.desk, self.saving)
        self.exports = Exports(self.desk, self.corrections)
        self.saving.tab = lambda: self._worked_on
        self.exports.review, self.exports.log = self.saving.summary, self.saving.log
        self.exports.missing = lambda: "Looking for places ..." if self.places.worker is not None else ""
        self.places.changed.connect(self.exports.tell)
        self.planes = Planes(viewer, self.desk)
        self.window_level = WindowLevel(viewer, self.desk)
        self.threshold = ThresholdPreview(self.desk, self.corrections)
        self.measures = Measures(self.desk, self.corrections)
        self.families = Families(self.desk, self.views, self.places)
        self.truths = Truths(self.desk, self.masks)
        self.tiles = SideBySide(viewer, self.desk, self.views, self.truths)
        self.help = HelpOverlay(viewer)
        self.headline = note()
        self.headline.setObjectName("headline")
        self.sentence = note(ink="warning")
        self.sentence.setObjectName("sentence")
        self.place = button("", "A box you can drag onto the structure", "place_box", self.desk.fit.place_box)
        use = self.desk.fit.use_offered
        self.other = button("", "Choose the model that takes this image as it is", "use_offered", use)
        self.here = button(
            "Sample on this computer", "Draw here what the cluster did not", "sample_here", self.desk.sample_here
        )
        self.tabs = QTabWidget()
        self.tabs.setObjectName("tabs")
        panels = {
            "Sample": SamplePanel(self.desk),
            "Review": stacked(
                PlacesPanel(self.places),
                FamiliesPanel(self.families),
                ReviewPanel(self.desk, self.views, self.measures),
                ThresholdPanel(self.threshold),
                TruthPanel(self.truths, lambda: viewer.theme),
                ViewTools(self.window_level, self.planes, self.tiles),
            ),
            "Correct": stacked(
                CorrectPanel(self.corrections, self.masks),
                ToolsPanel(self.tools),
                ResamplingPanel(self.resampling),
            ),
            "Export": stacked(ExportPanel(self.exports), FolderPanel(self.saving)),
        }
        for title, panel in panels.items():
            self.tabs.setTabToolTip(self.tabs.addTab(_scrolling(panel), title), TIPS[title])
        self.onward = button("", "The next thing to do", "onward", self._go_on)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        keys = button(f"Keys  {key_of('help.toggle')}", "All keys and what they do", "show_keys", self.help.toggle)
        keys.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        foot = row(faint(RESEARCH), keys)
        left = LeftPanel(self.saving)
        offers = (self.here, self.place, self.other)
        for widget in (self.headline, self.sentence, left, *offers, self.tabs, self.onward, foot):
            layout.addWidget(widget)
        layout.setStretchFactor(self.tabs, 1)
        self._phase = self.desk.state.phase
        self._worked_on = REVIEW  # or Correct, whichever was in sight last
        self._unbind = bind(viewer, self)
        self._closed = False
        viewer.window._qt_window.installEventFilter(self)
        self.opening = Opening(self.desk)
        self.drops = ImageDrops(viewer.window._qt_viewer, self.opening.open)
        self.attention = Attention(viewer.window._qt_window, self, self.tabs, self.saving.clock)
        self.tabs.currentChanged.connect(self._tab_changed)
        self.saving.resumed.connect(self._show_tab)
        self.desk.state.events.connect(self.refresh)
        self.corrections.changed.connect(self.refresh)
        viewer.events.theme.connect(self._dress)
        self._dress()
        self.memory = Memory(self.desk, self.views, self.planes)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the state as it is; move on to Review when a run has ended, back when its samples are gone."""
        s, c = self.desk.state, controls(self.desk.state)
        self.headline.setText(c.headline)
        self.headline.setVisible(bool(c.headline))
        said = s.sentence or ("" if s.drawn else s.unfit)
        self.sentence.setText(said)
        self.sentence.setVisible(bool(said))
        spec = self.desk.spec
        if spec is not None and spec.scope.box_text:
            self.place.setText(f"Place a {spec.scope.box_text} box")
        # Where the model takes the image without a box, one is offered for the next run alone.
        self.place.setVisible(s.box_offered and bool(s.unfit or not s.drawn or self.tabs.currentIndex() == 0))
        self.here.setVisible(s.here_offered and c.can_sample)
        self.other.setText(f"Use {Path(s.offered).name}")
        self.other.setVisible(bool(s.offered))
        if self._phase is Phase.RUNNING and s.phase is Phase.REVIEWING:
            self.tabs.setCurrentIndex(1)
        elif self._phase is Phase.REVIEWING and s.phase in (Phase.READY, Phase.EMPTY):
            self.tabs.setCurrentIndex(0)
        self._phase = s.phase
        text = self._next_step()[0]
        self.onward.setText(text)
        self.onward.setVisible(bool(text))

    def _tab_changed(self, index: int) -> None:
        if (title := self.tabs.tabText(index)) in (REVIEW, CORRECT):
            self._worked_on = title
            self.saving.soon()
        self.refresh()

    def _show_tab(self, title: str) -> None:
        self.tabs.setCurrentIndex(list(TIPS).index(title))

    def _next_step(self) -> tuple[str, Any]:
        """The one button that leads on: its text and what it does."""
        s, c = self.desk.state, controls(self.desk.state)
        if not self.exports.ready:
            return "", None
        if self.corrections.layer is None and c.can_correct:
            return "Start correction from consensus", self._start_correction
        if not s.exported and self.tabs.currentIndex() != 3:
            return "Export ...", lambda: self.tabs.setCurrentIndex(3)
        return "", None

    def _go_on(self) -> None:
        _, action = self._next_step()
        if action is not None:
            action()

    def _dress(self, *_: object) -> None:
        """Text in the colours of napari's theme."""
        dress(self, self.viewer.theme)

    def _start_correction(self) -> None:
        self.corrections.start("consensus")
        self.tabs.setCurrentIndex(2)

    def close_desk(self) -> None:
        """End a run and let go of the viewer."""
        if not self._closed:
            self._closed = True
            self._unbind()
            self.viewer.events.theme.disconnect(self._dress)
            self.help.close_overlay()
            self.planes.close()
            self.tiles.close()
            self.window_level.close()
            self.drops.close()
            self.opening.close()
            self.attention.close()
            self.saving.close()
            self.resampling.close()
            self.tools.close()
            self.threshold.close()
            self.measures.close()
            self.places.close()
            self.masks.close()
            self.corrections.close()
            self.exports.close()
            self.desk.close()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802  # Qt's name
        """Clean up before the window takes the dock along, of which the dock itself hears nothing."""
        if event is not None:
            # A reader's own closing may still be refused in napari's dialog; if it is not, the deletion follows.
            closing = event.type() == QEvent.Type.Close and not event.spontaneous()
            if closing or event.type() == QEvent.Type.DeferredDelete:
                self.close_desk()
        return False

    def event(self, event: QEvent | None) -> bool:
        """Clean up when napari destroys the dock or closes the window."""
        if event is not None and event.type() in (QEvent.Type.Close, QEvent.Type.DeferredDelete):
            self.close_desk()
        return bool(super().event(event))


def _scrolling(panel: QWidget) -> QScrollArea:
    """A panel that scrolls rather than growing out of a small screen."""
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setWidget(panel)
    return area
