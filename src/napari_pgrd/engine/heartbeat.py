"""Signs of life from deep inside a computation: an iterator whose work can say, between two items, that it goes on.

A sampler yields once a step, and a step of a large volume takes minutes of windows. The work runs in a thread of its
own, but never at the same time as whoever iterates: the two take turns, as a generator and its caller do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")
Beat = Callable[[], None]


class _Stopped(BaseException):
    """The one who iterated has gone."""


class _Turns(Generic[Item]):
    def __init__(self, work: Callable[[Beat], Iterator[Item]]) -> None:
        self._go, self._there = threading.Semaphore(0), threading.Semaphore(0)
        self._item: Item | None = None
        self._stopped, self.over = False, False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), name="pgrd windows", daemon=True)
        self._thread.start()

    def next(self) -> Item | None:
        """What the work hands over next; None is a beat, or its end."""
        self._go.release()
        self._there.acquire()
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback holds this frame, and with it what the work held
        item, self._item = self._item, None
        return item

    def stop(self) -> None:
        """End the work at its next beat or item, and wait for that."""
        self._stopped = True
        self._go.release()
        self._thread.join()

    def _run(self, work: Callable[[Beat], Iterator[Item]]) -> None:
        self._go.acquire()
        try:
            if not self._stopped:
                for item in work(lambda: self._hand(None)):
                    self._hand(item)
        except _Stopped:
            pass
        except BaseException as error:
            self._error = error
        self.over = True
        self._there.release()

    def _hand(self, item: Item | None) -> None:
        self._item = item
        self._there.release()
        self._go.acquire()
        if self._stopped:
            raise _Stopped


def beating(work: Callable[[Beat], Iterator[Item]]) -> Iterator[Item | None]:
    """The items of ``work(beat)``, and None for each ``beat()`` that it calls, however deep inside.

    Errors arrive where they would without the thread. Closing the iterator ends the work at its next beat.
    """
    turns = _Turns(work)
    try:
        while True:
            item = turns.next()
            if turns.over:
                return
            yield item
    finally:
        turns.stop()
