"""Sampling again around locked corrections: nothing moves before it is accepted, what is locked never does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from qtpy.QtCore import Qt

from napari_pgrd.session.neighbourhood import near
from napari_pgrd.session.places import State
from tests.hands import click, click_tab, find, pick, press, type_number, wait
from tests.viewer.conftest import AFFINE
from tests.viewer.test_sampling import run, settled
from tests.viewer.test_saving import another, found, shut

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


SPACING = tuple(np.linalg.norm(AFFINE[:3, :3], axis=0))


def corrected(review, qtbot, source: str = "consensus") -> None:
    """Samples, a correction, and a block of it that no sample would draw."""
    run(review, qtbot)
    click_tab(review.dock, "Correct")
    review.dock.corrections.start(source)
    values = review.dock.corrections.values().copy()
    block = (slice(8, 11), slice(10, 13), slice(8, 10))
    values[block] = np.where(values[block] == 0, 2, 3 - values[block])
    review.dock.corrections.put(values, "test")
    pick(review.dock, "lock_what", "what I changed")


def again(review, qtbot) -> None:
    """Sample again, with another seed: a model of random weights hardly hears locks, and nothing would move."""
    click_tab(review.dock, "Correct")
    asked = review.desk.request
    review.desk.request = replace(asked, seed=9)
    click(review.dock, "sample_again")
    review.desk.request = asked
    wait(qtbot, lambda: review.dock.resampling.candidate is not None and review.dock.resampling.worker is None)


def accepted(review, qtbot) -> None:
    again(review, qtbot)
    click(review.dock, "accept_resampling")
    found(review.dock, qtbot)


def said(review) -> str:
    return find(review.dock, "resampling_sentence").text()


def test_only_the_neighbourhood_is_drawn_again_if_the_reader_says_so(review, qtbot):
    corrected(review, qtbot, "prior")
    dock, desk, old = review.dock, review.desk, review.desk.prediction
    assert find(dock, "redraw_reach").isVisible() is False
    pick(dock, "redraw_where", "near the locks")
    type_number(dock, "redraw_reach", 4)
    before, locked = dock.corrections.values(), dock.resampling.locked()
    region = near(locked, 4, SPACING)
    assert 0 < np.count_nonzero(locked) < np.count_nonzero(region) < region.size / 2
    again(review, qtbot)
    assert said(review).startswith("Drawn again within 4 mm of the locks; beyond, every sample is as it was.")
    moved = desk.layers.display.hide(np.asarray(review.viewer.layers["Would move"].data)) > 0
    assert not moved[~region].any()
    candidate = dock.resampling.candidate
    for mask, was in zip(candidate.masks, old.masks, strict=True):
        np.testing.assert_array_equal(mask[~region], was[~region])
        np.testing.assert_array_equal(desk.spec.values[mask][locked], before[locked])
    np.testing.assert_array_equal(candidate.probability[:, ~region], old.probability[:, ~region])
    np.testing.assert_array_equal(candidate.consensus[~region], old.consensus[~region])
    free = region & ~locked
    assert any((mask[free] != was[free]).any() for mask, was in zip(candidate.masks, old.masks, strict=True))
    click(dock, "accept_resampling")
    found(dock, qtbot)
    # The correction began as the prior: beyond the reach it is not replaced by the samples' consensus.
    np.testing.assert_array_equal(dock.corrections.values()[~region], before[~region])
    assert (desk.spec.values[desk.prediction.consensus] != before)[~region].any()


def test_a_reach_that_reaches_nothing_is_a_sentence(review, qtbot):
    corrected(review, qtbot)
    pick(review.dock, "redraw_where", "near the locks")
    review.dock.resampling.reach = 0.5
    click(review.dock, "sample_again")
    assert "Nothing but the locks lies within 0.5 mm" in said(review)
    assert review.dock.resampling.worker is None


def test_the_earlier_samples_come_back_and_the_correction_stays(review, qtbot):
    corrected(review, qtbot)
    dock, desk, old = review.dock, review.desk, review.desk.prediction
    before, headline = dock.corrections.values(), find(dock, "headline").text()
    assert find(dock, "swap_samples").isHidden()
    accepted(review, qtbot)
    new, after = desk.prediction, dock.corrections.values()
    assert new is not old and (after != before).any()
    assert any((a != b).any() for a, b in zip(new.masks, old.masks, strict=True))
    assert review.state.seconds > 0

    for text, wanted in (("earlier", old), ("newer", new), ("earlier", old)):
        assert find(dock, "swap_samples").text() == f"Back to the {text} samples"
        click(dock, "swap_samples")
        found(dock, qtbot)
        assert desk.prediction is wanted and (desk.request.locks is None) == (wanted is old)
        np.testing.assert_array_equal(dock.corrections.values(), after)
        assert dock.places._of is wanted
        for i, mask in enumerate(wanted.masks, 1):
            shown = review.viewer.layers[f"Sample {i:02d}"].data
            np.testing.assert_array_equal(shown, desk.layers.values(mask))
        assert said(review) == f"The {text} samples are shown; the correction stays as it is."
    assert find(dock, "headline").text() == headline
    review.viewer.layers.selection.active = dock.corrections.layer
    press(review.viewer, Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    np.testing.assert_array_equal(dock.corrections.values(), before)
    review.state.seed = 5
    run(review, qtbot)
    assert find(dock, "swap_samples").isHidden()


def test_states_of_places_outlast_the_exchange(review, qtbot):
    corrected(review, qtbot)
    found(review.dock, qtbot)
    press(review.viewer, Key.Key_Period)
    press(review.viewer, Key.Key_N)
    held = {id: state for id, state in review.dock.places.places.states.items() if state is not State.OPEN}
    assert held
    accepted(review, qtbot)
    click(review.dock, "swap_samples")
    found(review.dock, qtbot)
    now = review.dock.places.places.states
    assert {id: now[id] for id in held} == held


def test_accepted_samples_are_on_disk_and_so_are_those_gone_back_to(review, make_window, tiny, image_file, qtbot):
    corrected(review, qtbot)
    found(review.dock, qtbot)
    old, seconds = review.desk.prediction, review.state.seconds
    accepted(review, qtbot)
    new = review.desk.prediction
    click(review.dock, "swap_samples")
    click(review.dock, "swap_samples")
    wait(qtbot, lambda: review.dock.saving._worker is None)
    assert review.dock.saving.running.review.prediction is new
    click(review.dock, "swap_samples")
    found(review.dock, qtbot)
    wait(qtbot, lambda: review.dock.saving._worker is None)
    held = review.dock.corrections.values()
    review.dock.saving._save_the_rest()
    shut(review, qtbot)
    dock = another(make_window, tiny, image_file)
    click(dock, "resume")
    found(dock, qtbot)
    for mask, was in zip(dock.desk.prediction.masks, old.masks, strict=True):
        np.testing.assert_array_equal(mask, was)
    np.testing.assert_array_equal(dock.corrections.values(), held)
    assert dock.desk.state.seconds == seconds


def test_it_says_how_long_and_how_much_before_it_begins(review, qtbot):
    run(review, qtbot)
    click_tab(review.dock, "Correct")
    assert find(review.dock, "resampling_forecast").isHidden()
    review.dock.corrections.start("consensus")
    method = review.desk.spec.sampling.lock_method
    assert method == "guidance"
    review.state.seconds = 12.0  # three samples
    review.dock.corrections.changed.emit()
    assert (
        find(review.dock, "resampling_forecast").text() == "Draws 3 samples again: about 25 s, about 0.7 GB of memory."
    )


def test_what_is_painted_during_the_run_stays(review, qtbot):
    corrected(review, qtbot)
    dock = review.dock
    before, locked = dock.corrections.values(), dock.resampling.locked()
    click(dock, "sample_again")
    painted = before.copy()
    painted[1:3, 1:3, 1:3] = 2
    dock.corrections.put(painted, "test")
    assert not locked[1:3, 1:3, 1:3].any()
    wait(qtbot, lambda: dock.resampling.candidate is not None and dock.resampling.worker is None)
    painted[4, 1, 1] = 2
    dock.corrections.put(painted, "test")
    click(dock, "accept_resampling")
    after = dock.corrections.values()
    assert (after[1:3, 1:3, 1:3] == 2).all() and after[4, 1, 1] == 2
    np.testing.assert_array_equal(after[locked], before[locked])


def test_the_correction_that_was_locked_is_the_one_that_changes(review, qtbot):
    corrected(review, qtbot)
    dock, layers = review.dock, review.viewer.layers
    first, before = dock.corrections.layer, dock.corrections.values()
    again(review, qtbot)
    dock.corrections.start("prior")
    second = dock.corrections.layer
    held = second.data.copy()
    click(dock, "accept_resampling")
    np.testing.assert_array_equal(second.data, held)
    assert layers.selection.active is first and (dock.corrections.values() != before).any()
    found(dock, qtbot)
    again(review, qtbot)
    layers.remove(first)
    assert "is gone" in said(review) and dock.resampling.candidate is None
    assert "Would move" not in layers


def test_sampling_anew_leaves_nothing_to_accept_and_further_samples_keep_the_locks(review, qtbot):
    corrected(review, qtbot)
    dock, desk = review.dock, review.desk
    accepted(review, qtbot)
    locked, values = desk.request.locks.mask, desk.spec.values
    three, now = desk.prediction.masks, dock.corrections.values()
    review.state.samples = 4
    run(review, qtbot)
    assert desk.prediction.samples == 4
    for mask, was in zip(desk.prediction.masks, three, strict=False):
        np.testing.assert_array_equal(mask, was)
    np.testing.assert_array_equal(values[desk.prediction.masks[3]][locked], now[locked])
    again(review, qtbot)
    review.state.seed = 5
    run(review, qtbot)
    assert dock.resampling.candidate is None and "Would move" not in review.viewer.layers
    assert desk.request.locks is None


def test_no_more_samples_than_there_are_earlier_ones_to_keep(review, qtbot):
    corrected(review, qtbot)
    pick(review.dock, "redraw_where", "near the locks")
    accepted(review, qtbot)
    review.state.samples = 4
    review.desk.sample()
    assert "only 3 earlier ones can be kept" in find(review.dock, "sentence").text()
    settled(review, qtbot)
    assert review.desk.prediction.samples == 3 and review.state.drawn == 3
