"""Jobs of the event loop: one a turn, in order, the newest of a name, computed elsewhere if asked."""

from __future__ import annotations

import threading

import pytest
from qtpy.QtCore import QTimer

from napari_pgrd.viewer.turns import Turns
from tests.hands import wait


@pytest.fixture
def turns(qtbot):
    made = Turns()
    yield made
    made.close()


def test_one_job_a_turn_in_order_and_the_newest_of_a_name(turns, qtbot):
    done: list[str] = []

    def between() -> None:
        QTimer.singleShot(0, lambda: done.append(f"{turns.waiting} waits"))

    turns.later("a", lambda: done.append("old a"))
    turns.later("b", lambda: done.append("b"))
    turns.later("a", lambda: (done.append("new a"), between()))
    assert turns.waiting == 2
    assert done == []
    wait(qtbot, lambda: turns.waiting == 0)
    assert done == ["new a", "1 waits", "b"]


def test_work_is_done_in_another_thread_and_its_result_is_used_in_this_one(turns, qtbot):
    threads: list[int] = []

    def work() -> int:
        threads.append(threading.get_ident())
        return 6

    turns.after("a", work, lambda result: threads.extend([threading.get_ident(), result * 7]))
    wait(qtbot, lambda: turns.waiting == 0)
    assert threads[0] != threading.get_ident()
    assert threads[1:] == [threading.get_ident(), 42]


def test_jobs_never_overtake_one_that_is_being_computed(turns, qtbot):
    gate, done = threading.Event(), []
    turns.after("slow", gate.wait, lambda _: done.append("slow"))
    turns.later("quick", lambda: done.append("quick"))
    qtbot.wait(100)
    assert done == []
    gate.set()
    wait(qtbot, lambda: turns.waiting == 0)
    assert done == ["slow", "quick"]


def test_a_job_that_may_wait_lets_others_pass_until_there_is_no_more_to_wait_for(turns, qtbot):
    done: list[str] = []
    turns.after("picture", lambda: 1, lambda _: done.append("picture"), wait_ms=3_600_000)
    turns.later("quick", lambda: done.append("quick"))
    wait(qtbot, lambda: turns.waiting == 1)
    assert done == ["quick"]
    turns.hurry()
    turns.later("end", lambda: done.append("end"))
    wait(qtbot, lambda: turns.waiting == 0)
    assert done == ["quick", "picture", "end"]


def test_what_replaces_a_job_waits_no_longer_than_that_one_would_have(turns, qtbot):
    done: list[str] = []
    turns.after("a", lambda: "old", done.append)
    turns.after("a", lambda: "new", done.append, wait_ms=3_600_000)
    turns.after("b", lambda: "old b", done.append, wait_ms=3_600_000)
    turns.after("b", lambda: "new b", done.append)
    wait(qtbot, lambda: turns.waiting == 0)
    assert done == ["new", "new b"]


def test_an_outdated_result_is_never_used(turns, qtbot):
    gate, done = threading.Event(), []
    turns.after("lines", lambda: gate.wait() and "old", done.append)
    turns.after("lines", lambda: "new", done.append)
    gate.set()
    wait(qtbot, lambda: turns.waiting == 0)
    assert done == ["new"]


def test_a_job_that_fails_is_heard_of_and_the_next_is_done(turns, qtbot):
    done: list[int] = []
    turns.after("a", lambda: 1 // 0, done.append)
    turns.later("b", lambda: done.append(2))
    with qtbot.capture_exceptions() as errors:
        wait(qtbot, lambda: turns.waiting == 0)
    assert [kind for kind, *_ in errors] == [ZeroDivisionError]
    assert done == [2]


def test_what_was_dropped_is_not_done(turns, qtbot):
    done: list[str] = []
    turns.later("a", lambda: done.append("a"))
    turns.later("b", lambda: done.append("b"))
    turns.drop("a")
    turns.drop("never heard of")
    wait(qtbot, lambda: turns.waiting == 0)
    turns.later("c", lambda: done.append("c"))
    turns.clear()
    qtbot.wait(60)
    assert done == ["b"]
