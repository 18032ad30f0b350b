"""Work for the event loop, a little at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from qtpy.QtCore import QObject, QTimer

T = TypeVar("T")
TURN_MS = 15
REST = 2  # after a job the window has this many times as long for itself, so that slow machines answer too


@dataclass
class _Job:
    do: Callable[[], None]
    future: Future[Any] | None
    due: float  # of the monotonic clock

    def forget(self) -> None:
        if self.future is not None:
            self.future.cancel()


class Turns(QObject):
    """Jobs for the event loop, one a turn, so that a burst of samples never holds the window up.

    A job that is still waiting is replaced by a newer one of the same name: only the latest heat map is worth drawing.
    One that may wait for more to draw at once lets others pass; all others are done in their order.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._jobs: dict[str, _Job] = {}
        self._rest_until = 0.0
        # Qt's own pool has one thread on a machine of one core, and there the run holds it.
        self._thread = ThreadPoolExecutor(1, "pgrd turns")
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._next)

    def later(self, name: str, job: Callable[[], None]) -> None:
        """Do ``job`` in a coming turn."""
        self._put(name, job, None)

    def after(self, name: str, work: Callable[[], T], job: Callable[[T], None], wait_ms: int = 0) -> None:
        """Compute ``work()`` in a thread, then do ``job`` with its result in a coming turn, ``wait_ms`` from now.

        A job that replaces another keeps its place, and is done no later than that one would have been.
        """
        future = self._thread.submit(work)
        self._put(name, lambda: job(future.result()), future, wait_ms)

    def drop(self, name: str) -> None:
        """Forget a job, if it is waiting still."""
        if name in self._jobs:
            self._jobs.pop(name).forget()

    def hurry(self) -> None:
        """Let no job wait for more to come."""
        for job in self._jobs.values():
            job.due = 0.0
        self._start()

    def clear(self) -> None:
        """Forget every waiting job."""
        for name in list(self._jobs):
            self.drop(name)
        self._timer.stop()

    def close(self) -> None:
        """Forget every waiting job and take no more."""
        self.clear()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _put(self, name: str, do: Callable[[], None], future: Future[Any] | None, wait_ms: int = 0) -> None:
        due = time.monotonic() + wait_ms / 1000
        if (replaced := self._jobs.get(name)) is not None:
            replaced.forget()
            due = min(due, replaced.due)
        self._jobs[name] = _Job(do, future, due)
        self._start()

    def _start(self) -> None:
        """Have the next turn when a job is due and the window has had its rest, but never at once."""
        if self._jobs:
            due = max(self._rest_until, min(job.due for job in self._jobs.values()))
            pause = max(TURN_MS, round((due - time.monotonic()) * 1000))
            if not self._timer.isActive() or self._timer.remainingTime() > pause:
                self._timer.start(pause)

    def _next(self) -> None:
        """Do the first job that is due once its result is there, then rest."""
        began = time.monotonic()
        try:
            name, job = next(((name, job) for name, job in self._jobs.items() if job.due <= began), ("", None))
            if job is not None and (job.future is None or job.future.done()):
                del self._jobs[name]
                job.do()
        finally:
            now = time.monotonic()
            self._rest_until = now + REST * (now - began)
            self._timer.stop()  # the job may have asked for another, before it was known how long the window must rest
            self._start()

    @property
    def waiting(self) -> int:
        """Number of jobs not yet done."""
        return len(self._jobs)
