"""From place to place with keys and the mouse: going there, answers, settling, slices seen."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_pgrd.session.places import State
from tests.hands import click, click_tab, find, press, wait
from tests.viewer.test_sampling import run

Key = Qt.Key


def walk(review, qtbot):
    """Samples drawn, places found."""
    viewer, dock = review.viewer, review.dock
    review.state.samples = 6
    run(review, qtbot)
    wait(qtbot, lambda: dock.places.worker is None and len(dock.places.places.items) > 1)
    click_tab(dock, "Review")
    return viewer, dock


def test_keys_walk_and_the_window_follows(review, qtbot):
    viewer, dock = walk(review, qtbot)
    places = dock.places.places
    shown = []
    for number in range(2):
        press(viewer, Key.Key_Period)
        assert places.index == number
        display, place = dock.desk.layers.display, places.current
        world = display.world(display.index(place.centre, dock.desk.prediction.consensus.shape))
        assert np.allclose(viewer.dims.point[-3:], world)
        rows, columns = viewer.dims.displayed[-2:]
        assert np.allclose(viewer.scene.camera.center[-2:], (world[rows], world[columns]))
        across = min(viewer.canvas.size) / viewer.scene.camera.zoom
        assert across == 20
        shown.append(find(dock, "places").currentRow())
    assert shown == [0, 1]
    press(viewer, Key.Key_Comma)
    assert places.index == 0
    item = find(dock, "places").item(1)
    area = find(dock, "places").visualItemRect(item)
    find(dock, "places").scrollToItem(item)
    QTest.mouseClick(find(dock, "places").viewport(), Qt.MouseButton.LeftButton, pos=area.center())
    assert places.index == 1


def test_an_answer_is_one_step_and_the_place_then_changed(review, qtbot):
    viewer, dock = walk(review, qtbot)
    places = dock.places.places
    with_answers = None
    for _ in places.items:
        press(viewer, Key.Key_Period)
        if len(dock.places.options) > 1:
            with_answers = places.current
            break
    assert with_answers is not None, "no place of this bundle has two answers"
    assert dock.corrections.layer is None
    press(viewer, Key.Key_K)
    layer = dock.corrections.layer
    assert layer is not None
    mask = dock.corrections.values()
    assert np.array_equal(with_answers.within(mask), dock.places.options[1])
    consensus = dock.desk.spec.values[dock.desk.prediction.consensus]
    outside = mask != consensus
    outside.reshape(-1)[with_answers.flat(mask.shape)] = False
    assert not outside.any() and (mask != consensus).any()
    assert find(dock, "answer_1").isChecked() and not find(dock, "answer_1").icon().isNull()
    assert len(layer._undo_history) == 1
    viewer.layers.selection.active = layer
    press(viewer, Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert np.array_equal(dock.corrections.values(), consensus)
    click(dock, "answer_1")
    assert np.array_equal(dock.corrections.values(), mask)
    press(viewer, Key.Key_N)
    assert places.states[with_answers.id] is State.CHANGED
    assert places.current is not with_answers or len(places.items) == 1
    here = places.current
    press(viewer, Key.Key_N)
    assert places.states[here.id] is State.ACCEPTED
    click(dock, "defer")
    text = find(dock, "places_sentence").text()
    assert text.startswith(f"2 of {len(places.items)} places settled, 1 deferred")
    press(viewer, Key.Key_Z, Qt.KeyboardModifier.ControlModifier)  # taken back: what was changed is so no more
    wait(qtbot, lambda: places.states[with_answers.id] is State.ACCEPTED)


def test_slices_seen_are_those_on_screen(review, qtbot):
    viewer, dock = walk(review, qtbot)
    seen = dock.places.seen
    plane = dock.desk.layers.plane()
    axis = viewer.dims.order[0]
    before, total = seen.count(plane)
    assert before == 1 and total > 3
    for step in range(3):
        viewer.dims.set_current_step(axis, int(np.flatnonzero(seen.bar(plane) == 1)[0]))
        assert seen.count(plane) == (before + step + 1, total)
    assert f"slices seen {before + 3} of {total}" in find(dock, "places_sentence").text()


def test_a_new_image_forgets_the_places(review, qtbot):
    viewer, dock = walk(review, qtbot)
    press(viewer, Key.Key_Period)
    viewer.layers.remove(dock.desk.image)
    assert not dock.places.places.items and not dock.places.options
    assert not find(dock, "places").isVisible()
