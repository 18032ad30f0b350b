"""Rounds of sampling and cancelling in one window leave nothing behind; ``benchmarks/soak.py`` does 200 of them."""

from __future__ import annotations

import gc
import sys
import threading
import weakref

import psutil
import pytest
import torch
from qtpy.QtCore import QEvent, QThreadPool, QTimer
from qtpy.QtWidgets import QApplication
from superqt.utils import WorkerBase

from napari_pgrd.engine import predict as predict_module
from napari_pgrd.engine.runner import Runner
from tests.hands import find, wait

ROUNDS = ("last", "at once", "prior", "more", "sample", "more", "end")


@pytest.fixture
def short_lived_threads():
    """Qt keeps a thread that has nothing to do for half a minute; here it ends at once."""
    pool = QThreadPool.globalInstance()
    before = pool.expiryTimeout()
    pool.setExpiryTimeout(0)
    yield pool
    pool.setExpiryTimeout(before)


@pytest.fixture
def made(monkeypatch):
    """Weak references to every runner, prediction and layer that is made."""
    born = {"runners": [], "predictions": [], "layers": []}

    class Watched(Runner):
        def __new__(cls, *args, **kwargs):
            out = super().__new__(cls)
            born["runners"].append(weakref.ref(out))
            return out

    monkeypatch.setattr(predict_module, "Runner", Watched)
    return born


def settle(review, qtbot, pool) -> None:
    turns = review.desk.layers.turns
    for _ in range(2):
        wait(qtbot, lambda: not (WorkerBase._worker_set or pool.activeThreadCount() or turns.waiting))
        qtbot.wait(150)
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def go_round(review, qtbot, number: int, stop: str) -> None:
    state, desk = review.state, review.desk
    if stop == "more":
        state.samples += 2  # of the same settings
    else:
        state.seed, state.steps, state.samples = number, 1 + number % 3, 3 if stop == "end" else 2 + 2 * (number % 2)
    find(review.dock, "sample").click()
    assert desk.worker is not None
    wanted = {
        "at once": lambda: True,
        "prior": lambda: desk.prediction is not None,
        "sample": lambda: state.drawn >= 1,
        "last": lambda: state.drawn >= state.samples,
    }
    if stop in wanted:
        wait(qtbot, lambda: wanted[stop]() or desk.worker is None)
        find(review.dock, "cancel").click()
    wait(qtbot, lambda: desk.worker is None)


def held(review) -> dict[str, int]:
    process, there = psutil.Process(), gc.get_objects()  # those that came after what the dock has set aside
    return {
        "threads": process.num_threads(),
        "of Python": sum(not isinstance(t, threading._DummyThread) for t in threading.enumerate()),
        "descriptors": process.num_fds(),
        "children": len(process.children(recursive=True)),
        "widgets": len(QApplication.allWidgets()),
        "timers": sum(issubclass(type(x), QTimer) for x in there),
        "tensors": sum(issubclass(type(x), torch.Tensor) for x in there),
        "layers": len(review.viewer.layers),
    }


@pytest.mark.skipif(sys.platform != "linux", reason="counts what Linux counts")
def test_rounds_leave_nothing_behind(review, qtbot, made, short_lived_threads):
    pool, viewer = short_lived_threads, review.viewer
    review.desk.predicted.connect(lambda: note(made["predictions"], review.desk.prediction))
    viewer.layers.events.inserted.connect(lambda event: note(made["layers"], event.value))
    for number, stop in enumerate(("end", "sample", "end")):  # loads, and makes the layers that stay
        go_round(review, qtbot, number, stop)
        settle(review, qtbot, pool)
    before = held(review)
    for number, stop in enumerate(ROUNDS, 3):
        go_round(review, qtbot, number, stop)
        settle(review, qtbot, pool)
    # A thread that has ended is counted until the system has seen it off.
    wait(qtbot, lambda: held(review)["threads"] <= before["threads"], 60)
    assert {k: (before[k], v) for k, v in held(review).items() if v > before[k]} == {}
    # Without a collection of Python's own: a run is gone when it is over.
    assert len(made["runners"]) > len(ROUNDS)
    assert living(made["runners"]) == []
    assert len(made["predictions"]) > len(ROUNDS)
    shown = (review.desk.prediction, review.desk.layers.prediction)
    assert all(p in shown for p in living(made["predictions"]))
    gc.collect()  # as napari does when a layer leaves; what is set aside from it must not be one that left
    assert len(made["layers"]) > len(viewer.layers)
    assert all(layer in viewer.layers for layer in living(made["layers"]))


def living(refs) -> list[object]:
    return [r() for r in refs if r() is not None]


def note(refs, x) -> None:
    """Remember something, once."""
    if x is not None and not any(r() is x for r in refs):
        refs.append(weakref.ref(x))
