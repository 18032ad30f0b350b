"""What the dock takes up where the reader left it, and when it is written down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_pgrd.engine.request import MAX_SAMPLES
from napari_pgrd.session.state import Phase
from napari_pgrd.viewer import settings

if TYPE_CHECKING:
    from napari_pgrd.viewer.desk import Desk
    from napari_pgrd.viewer.planes import Planes
    from napari_pgrd.viewer.views import Views


class Memory:
    """Remembers settings that were used: those of a run when it starts, those of the screen when they change."""

    def __init__(self, desk: Desk, views: Views, planes: Planes) -> None:
        self.desk, self.views, self.planes = desk, views, planes
        self._planes_due = False
        self._heat_due, self._heat_seen = "off", views.heat_shown
        self._phase = desk.state.phase
        self._take_up(settings.load())
        desk.state.events.phase.connect(self._phase_changed)
        views.changed.connect(self._views_changed)
        planes.changed.connect(self._planes_changed)
        self._show_planes()

    def _take_up(self, was: settings.Remembered) -> None:
        state = self.desk.state
        if was.bundle and was.bundle != state.bundle and not self.desk.fit.meant:
            self.desk.try_bundle(was.bundle)
        state.device, state.solver = was.device, was.solver
        state.cluster, state.insecure = was.cluster, was.insecure
        if was.samples and was.bundle in ("", state.bundle):
            state.samples = min(was.samples, MAX_SAMPLES)
        self._planes_due, self._heat_due = was.planes, was.heat

    def _phase_changed(self) -> None:
        s, before = self.desk.state, self._phase
        self._phase = s.phase
        if s.phase is Phase.RUNNING:
            settings.save(bundle=s.bundle, device=s.device, solver=s.solver, cluster=s.cluster, insecure=s.insecure)
            if self.desk.spec is not None and self.desk.spec.row(s.method or None).most is None:
                settings.save(samples=s.samples)  # one, where there can be but one, is no choice
        elif before is Phase.RUNNING and s.phase is Phase.REVIEWING and self.views.heat_shown == "off":
            # A map that waits for its turn to be drawn cannot be shown yet.
            self.desk.layers.turns.later("remembered heat", self._show_heat)
        self._show_planes()

    def _show_planes(self) -> None:
        """Once there is something on them."""
        if self._planes_due and self.desk.volume is not None:
            self._planes_due = False
            self.planes.toggle()

    def _show_heat(self) -> None:
        if self._heat_due != "off" and self.desk.prediction is not None:
            self.views.heat(self._heat_due)

    def _views_changed(self) -> None:
        """The reader's choice of a map; that one leaves with its samples is no choice."""
        shown, before = self.views.heat_shown, self._heat_seen
        self._heat_seen = shown
        if shown != before and self.desk.prediction is not None:
            self._heat_due = shown
            settings.save(heat=shown)

    def _planes_changed(self) -> None:
        self._planes_due = False
        settings.save(planes=self.planes.on)
