"""How long a run will take, said before it starts: one window is computed in a thread for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psygnal import Signal
from superqt.utils import FunctionWorker

from napari_pgrd.session.estimate import cost_sentence
from napari_pgrd.session.state import Phase
from napari_pgrd.viewer.desk import Desk
from napari_pgrd.viewer.worker import foretold, load_early

if TYPE_CHECKING:
    from napari_pgrd.engine.cost import Cost


class Foretelling:
    """Measures when an image too large for one call has come together with its model, and remembers.

    Smaller ones are drawn in seconds, which need no foretelling.
    """

    changed = Signal()

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.worker: FunctionWorker[Any] | None = None
        self._of: tuple[Any, ...] | None = None  # what the cost, or the one being measured, belongs to
        self._cost: Cost | None = None

    def close(self) -> None:
        """Listen to no answer any more."""
        self.worker, self._of = None, None

    def sentence(self) -> str:
        """Time and memory of the run that is set up; "" where it is not, or not yet, known."""
        desk, s = self.desk, self.desk.state
        spec, volume = desk.spec, desk.volume
        if spec is None or volume is None or spec.prepare.window is None or spec.prior is None or s.unfit:
            return ""
        request = s.request(spec)
        of = (id(volume), s.bundle, s.device, s.box, s.method, s.samples == 1)
        if of != self._of and s.phase is not Phase.RUNNING and self.worker is None:
            self._of, self._cost = of, None
            load_early()
            self.worker = FunctionWorker(foretold, volume, s.bundle, request)
            self.worker.returned.connect(self._measured)
            self.worker.start()
        if of != self._of:
            return ""
        if self._cost is None:
            return "Measuring one window ..." if self.worker is not None else ""
        r = request.resolved(spec)
        return cost_sentence(self._cost, r.samples or 1, r.steps or 1)

    def _measured(self, cost: Cost | None) -> None:
        if self.worker is None:
            return  # closed meanwhile
        self.worker, self._cost = None, cost
        self.changed.emit()
