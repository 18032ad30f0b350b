"""Two that take turns: order, errors, and an end at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from napari_pgrd.engine.heartbeat import Beat, beating


def test_items_and_beats_come_in_the_order_of_the_work() -> None:
    heard: list[str] = []

    def work(beat: Beat) -> Iterator[int]:
        for i in range(3):
            for _ in range(i):
                heard.append("window")
                beat()
            heard.append(f"step {i}")
            yield i

    got: list[int | None] = []
    for item in beating(work):
        got.append(item)
        heard.append("told")
    assert got == [0, None, 1, None, None, 2]
    expected = "step 0|told|window|told|step 1|told|window|told|window|told|step 2|told"
    assert heard == expected.split("|"), "nothing is computed before it is asked for"


def test_closing_ends_the_work_at_its_next_beat_and_its_thread() -> None:
    done: list[int] = []
    left: list[str] = []

    def work(beat: Beat) -> Iterator[int]:
        try:
            for i in range(100):
                done.append(i)
                beat()
            yield 1
        finally:
            left.append("left")

    before = threading.active_count()
    run = beating(work)
    assert [next(run) for _ in range(4)] == [None] * 4
    run.close()  # type: ignore[attr-defined]  # a generator
    assert done == [0, 1, 2, 3]
    assert left == ["left"]
    assert threading.active_count() == before


def test_an_error_arrives_where_it_would_without_a_thread() -> None:
    def work(beat: Beat) -> Iterator[int]:
        yield 1
        beat()
        raise MemoryError("no more")

    run = beating(work)
    assert next(run) == 1
    assert next(run) is None
    with pytest.raises(MemoryError, match="no more"):
        next(run)
    assert list(run) == []


def test_work_that_is_never_begun_leaves_no_thread() -> None:
    before = threading.active_count()
    run = beating(lambda beat: iter([1]))
    run.close()  # type: ignore[attr-defined]  # a generator
    assert threading.active_count() == before
    assert list(beating(lambda beat: iter(()))) == []
