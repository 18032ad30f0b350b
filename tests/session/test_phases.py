"""The reader's time, against sums made by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_pgrd.session.phases import PAUSE, PHASES, RULE, PhaseClock


def test_time_goes_to_the_tab_that_was_in_sight() -> None:
    clock = PhaseClock()
    for now, phase in ((100, "sample"), (110, "review"), (115, "review"), (130, "correct"), (131, "review"), (140, "")):
        clock.hear(now, phase)
    clock.hear(150, "export")  # ten seconds in another program
    clock.hear(152, "export")
    assert clock.seconds == {"sample": 10, "review": 5 + 15 + 9, "correct": 1, "export": 2}
    assert list(clock.seconds) == list(PHASES)


def test_a_pause_is_left_out_whole_and_what_surrounds_it_counts() -> None:
    clock = PhaseClock()
    for now in (0.0, 50.0, 50.0 + PAUSE - 1, 49.0 + 2 * PAUSE, 60.0 + 2 * PAUSE):
        clock.hear(now, "review")
    assert clock.seconds["review"] == pytest.approx(50 + PAUSE - 1 + 11)
    assert f"{PAUSE / 60:g} minutes" in RULE


def test_a_resumed_review_goes_on_and_the_time_between_is_nobody_s() -> None:
    clock = PhaseClock()
    clock.hear(0, "sample")
    clock.go_on_from({"sampling": 27.0, "review": 60.0, "reading": 5.0})  # the computer's time, and a name of old
    clock.hear(20, "review")
    clock.hear(25, "review")
    assert clock.seconds == {"review": 65.0}


@given(st.lists(st.tuples(st.floats(0, 3 * PAUSE), st.sampled_from(["", *PHASES])), min_size=1))
def test_no_second_is_counted_twice(steps) -> None:
    clock, now, there = PhaseClock(), 0.0, 0.0
    before = ""
    for gap, phase in steps:
        now += gap
        there += gap if before and gap < PAUSE else 0.0
        clock.hear(now, phase)
        before = phase
    assert sum(clock.seconds.values()) == pytest.approx(there, abs=1e-6)
