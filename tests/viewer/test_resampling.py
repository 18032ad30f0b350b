"""Sampling again around locked corrections: nothing moves before it is accepted, what is locked never does."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Qt

from tests.hands import click, click_tab, find, press, wait
from tests.viewer.test_sampling import run

Key = Qt.Key


def test_the_rest_is_drawn_again_and_shown_before_it_is_taken(review, qtbot):
    run(review, qtbot)
    dock, desk = review.dock, review.desk
    click_tab(dock, "Correct")
    dock.corrections.start("consensus")
    click(dock, "sample_again")
    assert "Nothing is locked" in find(dock, "resampling_sentence").text()

    axis, index = desk.layers.current_slice()
    display = desk.layers.display
    edited = display.show(dock.corrections.values()).copy()
    plane = np.moveaxis(edited, axis, 0)[index]
    plane[:] = np.where(plane == 0, 2, 1)  # nothing that a sample would draw
    dock.corrections.put(np.ascontiguousarray(display.hide(edited)), "test")
    before = dock.corrections.values()
    locked = dock.resampling.locked()
    assert np.array_equal(np.flatnonzero(display.show(locked).any(tuple({0, 1, 2} - {axis}))), [index])
    assert display.show(locked).take(index, axis).all()

    old = desk.prediction
    click(dock, "sample_again")
    wait(qtbot, lambda: dock.resampling.worker is None)
    assert "Would move" in review.viewer.layers
    assert np.array_equal(dock.corrections.values(), before) and desk.prediction is old
    proposal = dock.resampling.proposal()
    assert np.array_equal(proposal[locked], before[locked])
    moved = np.asarray(review.viewer.layers["Would move"].data) > 0
    assert np.array_equal(display.hide(moved), proposal != before)

    click(dock, "accept_resampling")
    wait(qtbot, lambda: desk.layers.turns.waiting == 0 and dock.places.worker is None)
    assert np.array_equal(dock.corrections.values(), proposal)
    assert "Would move" not in review.viewer.layers
    values = desk.spec.values
    assert desk.prediction.samples == old.samples
    assert all(np.array_equal(values[m][locked], before[locked]) for m in desk.prediction.masks)
    review.viewer.layers.selection.active = dock.corrections.layer
    press(review.viewer, Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert np.array_equal(dock.corrections.values(), before)


def test_painted_locks_count_and_a_discarded_run_leaves_no_trace(review, qtbot):
    run(review, qtbot)
    dock, desk = review.dock, review.desk
    click_tab(dock, "Correct")
    dock.corrections.start("consensus")
    click(dock, "paint_locks")
    strokes = review.viewer.layers["Locks"]
    assert review.viewer.layers.selection.active is strokes and strokes.mode == "paint"
    strokes.data_setitem((np.array([5, 5]), np.array([6, 7]), np.array([4, 4])), 1)
    assert dock.resampling.locked().sum() == 2
    before, old = dock.corrections.values(), desk.prediction
    click(dock, "sample_again")
    wait(qtbot, lambda: dock.resampling.candidate is not None and dock.resampling.worker is None)
    click(dock, "discard_resampling")
    assert np.array_equal(dock.corrections.values(), before) and desk.prediction is old
    assert "Would move" not in review.viewer.layers
