"""Work for the event loop, a little at a time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from qtpy.QtCore import QObject, QTimer

T = TypeVar("T")
TURN_MS = 15
REST = 2  # after a job the window has this many times as long for itself, so that slow machines answer too


class Turns(QObject):
    """Jobs for the event loop, one a turn, so that a burst of samples never holds the window up.

    A job that is still waiting is replaced by a newer one of the same name: only the latest heat map is worth drawing.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._jobs: OrderedDict[str, tuple[Callable[[], None], Future[Any] | None]] = OrderedDict()
        self._rest_until = 0.0
        # Qt's own pool has one thread on a machine of one core, and there the run holds it.
        self._thread = ThreadPoolExecutor(1, "pgrd turns")
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._next)

    def later(self, name: str, job: Callable[[], None]) -> None:
        """Do ``job`` in a coming turn."""
        self._put(name, job, None)

    def after(self, name: str, work: Callable[[], T], job: Callable[[T], None]) -> None:
        """Compute ``work()`` in a thread, then do ``job`` with its result in a coming turn."""
        future = self._thread.submit(work)
        self._put(name, lambda: job(future.result()), future)

    def drop(self, name: str) -> None:
        """Forget a job, if it is waiting still."""
        _, future = self._jobs.pop(name, (None, None))
        if future is not None:
            future.cancel()

    def clear(self) -> None:
        """Forget every waiting job."""
        for name in list(self._jobs):
            self.drop(name)
        self._timer.stop()

    def close(self) -> None:
        """Forget every waiting job and take no more."""
        self.clear()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _put(self, name: str, job: Callable[[], None], future: Future[Any] | None) -> None:
        _, replaced = self._jobs.get(name, (None, None))
        if replaced is not None:
            replaced.cancel()
        self._jobs[name] = job, future
        if not self._timer.isActive():
            self._start()

    def _start(self) -> None:
        rest = (self._rest_until - time.monotonic()) * 1000
        self._timer.start(max(TURN_MS, round(rest)))

    def _next(self) -> None:
        """Do the first job once its result is there, then rest; jobs never overtake each other."""
        began = time.monotonic()
        try:
            name, (job, future) = next(iter(self._jobs.items()), ("", (None, None)))
            if job is not None and (future is None or future.done()):
                del self._jobs[name]
                job()
        finally:
            now = time.monotonic()
            self._rest_until = now + REST * (now - began)
            if self._jobs:
                self._start()

    @property
    def waiting(self) -> int:
        """Number of jobs not yet done."""
        return len(self._jobs)
