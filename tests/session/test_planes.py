"""The geometry of the small planes, against positions worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_pgrd.session.display import PLANE_TEXT, PLANES
from napari_pgrd.session.lines import agreement_lines
from napari_pgrd.session.planes import EDGES, Grid, bar_length, cut, grey, mask_segments, vote_segments

GRID = Grid((5, 6, 7), (2.0, 1.0, 0.5), (10.0, -3.0, 4.0))


@pytest.mark.parametrize("plane", PLANES)
def test_a_cut_is_the_slice_napari_shows(plane):
    data = np.arange(2 * 5 * 6 * 7).reshape(2, 5, 6, 7)
    axis, rows, columns = PLANES[plane]
    shown = np.transpose(data[1], (axis, rows, columns))[3]
    np.testing.assert_array_equal(cut(data, plane, 3)[1], shown)
    assert np.shares_memory(cut(data, plane, 3), data)


@pytest.mark.parametrize("plane", PLANES)
def test_letters_say_what_the_orientation_line_says(plane):
    left, right, top, bottom = EDGES[plane]
    assert PLANE_TEXT[plane].endswith(f"{left} left, {top} up")
    assert {left, right} in ({"A", "P"}, {"R", "L"})
    assert {top, bottom} in ({"S", "I"}, {"A", "P"})


def test_world_positions_are_found_in_the_grid_and_not_beyond_it():
    assert GRID.index(0, 10.0) == 0
    assert GRID.index(0, 18.9) == 4
    assert GRID.index(0, 19.1) is None
    assert GRID.index(2, 3.0) is None


def test_a_slice_covers_its_voxels_to_their_edges():
    assert GRID.rect("axial") == (3.75, -3.5, 3.5, 6.0)
    assert GRID.rect("sagittal") == (-3.5, 9.0, 6.0, 10.0)


def test_the_outline_of_one_voxel_lies_around_its_centre():
    pixels = np.zeros((6, 7), np.uint8)
    pixels[2, 5] = 9
    lines = mask_segments(pixels)
    assert list(lines) == [9]
    ends = GRID.segments("axial", lines[9]).reshape(-1, 2)
    centre = np.array([4.0 + 0.5 * 5, -3.0 + 2])  # x, y
    np.testing.assert_allclose(np.abs(ends - centre).sum(1) > 0, True)
    np.testing.assert_allclose(ends.mean(0), centre)
    np.testing.assert_allclose(np.ptp(ends, axis=0), [0.5, 1.0])  # half a voxel on each side


def test_labels_that_touch_are_outlined_apart_and_background_not_at_all():
    pixels = np.array([[0, 0, 0, 0], [0, 3, 7, 0], [0, 3, 7, 0], [0, 0, 0, 0]], np.uint8)
    assert sorted(mask_segments(pixels)) == [3, 7]
    assert mask_segments(np.zeros((3, 3), np.uint8)) == {}


def test_agreement_lines_carry_class_and_level():
    votes = np.zeros((3, 6, 7), np.int64)
    votes[1, 2:4, 2:5], votes[2, 1, 1] = 4, 1
    votes[0] = 4 - votes[1:].sum(0)
    lines = vote_segments(votes, 4)
    assert [(k, level) for k, level, _ in lines] == [(1, 0.25), (1, 0.5), (1, 0.75)]  # a quarter exactly is no border
    assert all(len(ends) for _, _, ends in lines)


def test_agreement_lines_are_those_of_the_main_window():
    rng = np.random.default_rng(1)
    smooth = ndimage.gaussian_filter(rng.normal(size=(2, 20, 24)), (0, 2, 2))
    votes = np.concatenate([np.zeros((1, 20, 24)), np.clip(np.rint(smooth * 60), 0, 15)])  # of 15: never on a level
    lines = agreement_lines(votes[:, None], 0, 0, samples=15)
    theirs = lines.vectors[:, :, 1:]
    for k, level, ends in vote_segments(votes, 15):
        same = (lines.classes == k) & (lines.levels == np.float32(level))
        middles = theirs[same, 0] + theirs[same, 1] / 2
        np.testing.assert_allclose(_sorted(ends.mean(1)), _sorted(middles), atol=2e-4)


def _sorted(points: np.ndarray) -> np.ndarray:
    rounded = np.round(np.asarray(points, float), 4)
    return rounded[np.lexsort(rounded.T)]


def test_greys_run_from_the_lower_limit_to_the_upper():
    np.testing.assert_array_equal(grey(np.array([-1.0, 0, 1, 2, 3]), (0, 2)), [0, 0, 127, 255, 255])


@pytest.mark.parametrize(("width", "bar"), [(40, 10), (63, 20), (256, 50), (3, 1), (1.0, 0.2), (0.9, 0.2)])
def test_the_scale_bar_is_a_round_number(width, bar):
    assert bar_length(width) == pytest.approx(bar)
