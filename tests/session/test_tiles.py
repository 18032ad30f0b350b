"""Where small pictures go, and what they show."""

from __future__ import annotations

import numpy as np
import pytest

from napari_pgrd.session.tiles import block, blocks, framed


@pytest.mark.parametrize("count", [1, 3, 4, 16, 17])
@pytest.mark.parametrize(("width", "height", "aspect"), [(600, 300, 1.0), (300, 600, 1.0), (500, 200, 0.4)])
def test_no_other_number_of_columns_gives_larger_tiles(count: int, width: float, height: float, aspect: float) -> None:
    made = block(count, 10, width, height, aspect)
    sides = [min(width / c, height / -(-count // c) / aspect) for c in range(1, count + 1)]
    assert made.width == pytest.approx(max(sides)) and made.height == pytest.approx(max(sides) * aspect)
    places = [made.place(i, 20) for i in range(count)]
    assert len(set(places)) == count
    for left, top, w, h in places:
        assert left >= 10 and left + w <= 10 + width + 1e-6 and top >= 20 and top + h <= 20 + height + 1e-6


def test_opinions_stand_left_of_the_samples_and_are_no_smaller() -> None:
    opinions, samples = blocks(4, 16, 600, 300, 1.0, 14)
    assert opinions.columns == 2 and samples.columns == 4
    assert opinions.width >= samples.width > 70
    assert samples.left == pytest.approx(opinions.columns * opinions.width + 14)
    assert samples.left + samples.columns * samples.width <= 600 + 1e-6


def test_without_opinions_the_samples_have_all_the_room() -> None:
    _, samples = blocks(0, 16, 600, 300, 1.0, 14)
    assert samples == block(16, 0, 600, 300, 1.0)


def test_without_samples_the_opinions_have() -> None:
    opinions, samples = blocks(4, 0, 600, 300, 1.0, 14)
    assert opinions == block(4, 0, 600, 300, 1.0) and samples.width == 0
    assert [b.width for b in blocks(0, 0, 600, 300, 1.0, 14)] == [0, 0]


def test_the_frame_holds_all_that_is_marked_and_stays_on_the_image() -> None:
    first, second = np.zeros((40, 60), bool), np.zeros((20, 30), bool)
    first[10:14, 20:30], second[8:10, 20:21] = True, True  # the second in pixels of two
    whole = (-0.5, -0.5, 60.0, 40.0)
    left, top, width, height = framed([(first, whole), (second, whole)], whole)
    assert left <= 19.5 and left + width >= 41.5 and top <= 9.5 and top + height >= 19.5
    assert left >= -0.5 and top >= -0.5 and left + width <= 59.5 and top + height <= 39.5
    assert width < 60 and height < 40


def test_where_nothing_is_marked_the_whole_image_is_shown() -> None:
    whole = (0.0, 0.0, 60.0, 40.0)
    assert framed([(np.zeros((40, 60), bool), whole)], whole) == whole
    assert framed([], whole) == whole
