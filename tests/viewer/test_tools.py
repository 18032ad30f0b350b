"""The tools of the Correct tab, by mouse: each changes the label in hand in one step, and says what it did."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import Qt

from napari_pgrd.session.contours import outline
from napari_pgrd.viewer.tools import Contour
from tests.hands import choose, click, click_tab, find, press
from tests.viewer.test_sampling import run

Key = Qt.Key


@pytest.fixture
def desk(review, qtbot):
    """A correction that holds one block of label 1 beside one of label 2, in hand."""
    run(review, qtbot)
    values = np.zeros(review.desk.prediction.consensus.shape, np.uint8)
    values[4:10, 4:10, 3:9] = 1
    values[10:13, 4:10, 3:9] = 2
    review.dock.corrections.add(values, "block")
    click_tab(review.dock, "Correct")
    return review


def mask(desk) -> np.ndarray:
    return desk.dock.corrections.values()


def undo(desk) -> None:
    press(desk.viewer, Key.Key_Z, Qt.KeyboardModifier.ControlModifier)


def pick(desk, name: str, text: str) -> None:
    choose(desk.dock, name, text)
    find(desk.dock, name).activated.emit(find(desk.dock, name).currentIndex())


def test_grow_and_shrink_keep_the_neighbour_and_come_back(desk, qtbot):
    before = mask(desk)
    click(desk.dock, "grow")
    after = mask(desk)
    assert np.count_nonzero(after == 1) > np.count_nonzero(before == 1)
    assert np.array_equal(after == 2, before == 2)
    gained = int(np.count_nonzero(after != before))
    assert find(desk.dock, "tools_sentence").text() == f"{gained} voxels changed."
    undo(desk)
    assert np.array_equal(mask(desk), before)
    click(desk.dock, "shrink")
    assert 0 < np.count_nonzero(mask(desk) == 1) < np.count_nonzero(before == 1)
    click(desk.dock, "undo")
    assert np.array_equal(mask(desk), before)


def test_holes_and_pieces(desk, qtbot):
    whole = mask(desk)
    broken = whole.copy()
    broken[6, 6, 5] = 0
    broken[14, 14, 10] = 1
    desk.dock.corrections.put(broken, "test")
    click(desk.dock, "fill_holes")
    click(desk.dock, "keep_largest")
    assert np.array_equal(mask(desk), whole)
    click(desk.dock, "smooth")
    assert np.count_nonzero(mask(desk) == 1) == np.count_nonzero(whole == 1)
    for _ in range(4):
        undo(desk)
    assert np.array_equal(mask(desk), whole)


def test_a_slice_alone(desk, qtbot):
    before = mask(desk)
    axis, _ = desk.desk.layers.current_slice()
    display = desk.desk.layers.display
    index = int(np.flatnonzero((display.show(before) == 1).any(tuple({0, 1, 2} - {axis})))[2])
    desk.viewer.dims.set_current_step(axis, index)
    pick(desk, "tool_scope", "this slice")
    click(desk.dock, "grow")
    changed = np.flatnonzero((display.show(mask(desk)) != display.show(before)).any(tuple({0, 1, 2} - {axis})))
    assert changed.tolist() == [index]


def test_an_outline_is_dragged_and_used(desk, qtbot):
    before = mask(desk)
    display = desk.desk.layers.display
    axis, _ = desk.desk.layers.current_slice()
    index = int(np.flatnonzero((display.show(before) == 1).any(tuple({0, 1, 2} - {axis})))[2])
    desk.viewer.dims.set_current_step(axis, index)
    correction = desk.dock.corrections.layer
    click(desk.dock, "draw_outline")
    shapes = desk.viewer.layers["Outline"]
    assert desk.viewer.layers.selection.active is shapes and shapes.mode == "direct"
    assert len(shapes.data) == 1 and not find(desk.dock, "grow").isEnabled()
    ring = np.array(shapes.data[0])
    click(desk.dock, "use_outline")
    assert np.array_equal(mask(desk), before)  # not touched: nothing changes
    assert "Outline" not in desk.viewer.layers and desk.viewer.layers.selection.active is correction

    click(desk.dock, "draw_outline")
    shapes = desk.viewer.layers["Outline"]
    free = next(i for i in range(3) if i != axis)
    moved = ring.copy()
    moved[:, free] += np.where(ring[:, free] < ring[:, free].mean(), -2, 0)
    shapes.data = [moved]
    click(desk.dock, "use_outline")
    after = mask(desk)
    changed = np.flatnonzero((display.show(after) != display.show(before)).any(tuple({0, 1, 2} - {axis})))
    assert changed.tolist() == [index]
    assert np.array_equal(after == 2, before == 2)
    undo(desk)
    assert np.array_equal(mask(desk), before)
    click(desk.dock, "draw_outline")
    click(desk.dock, "drop_outline")
    assert np.array_equal(mask(desk), before) and "Outline" not in desk.viewer.layers


def test_pieces_dragged_over_each_other_become_one():
    """As napari's own layer of polygons gives them back."""
    values = np.zeros((3, 12, 12), np.uint8)
    values[1, 1:5, 1:5] = values[1, 7:11, 7:11] = 1
    layer, (a, b) = Labels(values), outline(values, 1, 0, 1, tolerance=0)
    contour = Contour(layer, 1, 0, 1, [a, b], {}, (1, 0, 0, 1), 1.0)
    ring = np.array(contour.shapes.data[0])
    contour.shapes.data = [ring + np.array([0, 4, 4]), contour.shapes.data[1]]
    expected = np.zeros_like(values)
    expected[1, 5:9, 5:9] = expected[1, 7:11, 7:11] = 1
    np.testing.assert_array_equal(contour.change().applied_to(values), expected)


def test_slices_between_edited_ones_are_interpolated(desk, qtbot):
    display = desk.desk.layers.display
    axis, _ = desk.desk.layers.current_slice()
    before = display.show(mask(desk))
    rows = np.flatnonzero((before == 1).any(tuple({0, 1, 2} - {axis})))
    first, last = int(rows[0]), int(rows[4])
    edited = before.copy()
    for index in (first, last):
        plane = np.moveaxis(edited, axis, 0)[index]
        where = np.argwhere(plane == 1)
        plane[tuple(where[: len(where) // 2].T)] = 0
    desk.dock.corrections.put(np.ascontiguousarray(display.hide(edited)), "outline")
    beyond = np.array(np.moveaxis(edited, axis, 0)[last + 1 :])
    at = tuple(np.argwhere(beyond == 1)[-1])
    beyond[at] = 0  # what a tool or an answer of the samples changes elsewhere is no slice that the reader drew
    np.moveaxis(edited, axis, 0)[last + 1 :] = beyond
    desk.dock.corrections.put(np.ascontiguousarray(display.hide(edited)), "alternative 1")
    click(desk.dock, "interpolate")
    after = np.moveaxis(display.show(mask(desk)), axis, 0)
    half = np.count_nonzero(after[first] == 1)
    for index in range(first + 1, last):
        assert np.count_nonzero(after[index] == 1) == pytest.approx(half, rel=0.2)
    assert np.array_equal(after[last + 1 :], beyond)
    click(desk.dock, "interpolate")
    assert "needs two or more edited slices" in find(desk.dock, "tools_sentence").text()


def test_without_a_label_or_a_correction_there_is_a_sentence(review, qtbot):
    run(review, qtbot)
    click_tab(review.dock, "Correct")
    assert not find(review.dock, "grow").isEnabled()
    review.dock.tools.grow()
    assert find(review.dock, "tools_sentence").text() == "Start a correction first."
    review.dock.corrections.start("consensus")
    review.dock.corrections.layer.selected_label = 0
    click(review.dock, "grow")
    assert "Choose the label" in find(review.dock, "tools_sentence").text()
