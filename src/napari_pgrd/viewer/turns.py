"""Work for the event loop, a little at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from qtpy.QtCore import QObject, QTimer

TURN_MS = 15


class Turns(QObject):
    """Jobs for the event loop, one a turn, so that a burst of samples never holds the window up.

    A job that is still waiting is replaced by a newer one of the same name: only the latest heat map is worth drawing.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._jobs: OrderedDict[str, Callable[[], None]] = OrderedDict()
        self._timer = QTimer(self)
        self._timer.setInterval(TURN_MS)
        self._timer.timeout.connect(self._next)

    def later(self, name: str, job: Callable[[], None]) -> None:
        """Do ``job`` in a coming turn."""
        self._jobs[name] = job
        self._timer.start()

    def clear(self) -> None:
        """Forget every waiting job."""
        self._jobs.clear()
        self._timer.stop()

    def _next(self) -> None:
        if self._jobs:
            _, job = self._jobs.popitem(last=False)
            job()
        if not self._jobs:
            self._timer.stop()

    @property
    def waiting(self) -> int:
        """Number of jobs not yet done."""
        return len(self._jobs)
