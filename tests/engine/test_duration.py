"""Times in words."""

from __future__ import annotations

from napari_pgrd.engine.duration import and_left, in_words


def test_time_in_words() -> None:
    assert [in_words(s) for s in (0.2, 7, 75, 229, 3700)] == ["1 s", "7 s", "1 min 15 s", "3 min 49 s", "1 h 1 min"]


def test_time_left_is_nothing_while_unknown() -> None:
    assert [and_left(s) for s in (None, 12.4)] == ["", ", 12 s left"]
