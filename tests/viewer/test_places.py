"""From place to place with keys and the mouse: going there, answers, settling, slices seen."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QRect, Qt
from qtpy.QtTest import QTest

from napari_pgrd.session.places import State
from tests.hands import click, click_tab, find, press, wait
from tests.tiny import LABELS, make_tiny_bundle
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


def test_how_much_is_at_stake_and_how_much_is_still_open(review, qtbot):
    viewer, dock = walk(review, qtbot)
    p, items = dock.desk.prediction, dock.places.places.items
    voxel = 0.0015
    total = np.mean([np.count_nonzero(m != p.consensus) for m in p.masks]) * voxel
    inside = sum(x.stake for x in items)
    told = find(dock, "stake").text()
    assert told.startswith(f"{total:.2f} mL at stake") and "open" not in told
    assert f"in {len(items)} places." in told
    press(viewer, Key.Key_Period)
    press(viewer, Key.Key_N)
    assert find(dock, "stake").text() == f"{told[:-1]}; {inside - items[0].stake:.2f} mL still open."
    click(dock, "defer")
    assert find(dock, "stake").text() == f"{told[:-1]}; {inside - items[0].stake:.2f} mL still open."
    viewer.layers.remove(dock.desk.image)
    assert not find(dock, "stake").isVisible()


def test_every_name_can_be_read_in_the_narrow_list(review, qtbot, tmp_path):
    names = ("background", "anterior part of the left hippocampus", "posterior part of the left hippocampus")
    labels = [{**label, "name": name} for label, name in zip(LABELS, names, strict=True)]
    review.desk.choose_bundle(str(make_tiny_bundle(tmp_path / "long", labels=labels, prepare={"spacing": None})))
    review.state.steps = 2
    _, dock = walk(review, qtbot)
    shown = find(dock, "places")
    assert shown.width() <= 320 and not shown.horizontalScrollBar().isVisible()
    wrapped = 0
    for i, place in enumerate(dock.places.places.items):
        item = shown.item(i)
        first, _ = item.text().split("\n")
        told = f"{place.stake:.2f}" if place.stake >= 0.01 else f"{place.stake:.3f}"
        assert first.startswith(f"\u25cb  {told} mL  ") and float(told) > 0
        assert " ".join(item.text().split()).endswith(place.name.replace(", ", " ", 1))
        room = shown.visualItemRect(item)
        flags = Qt.TextFlag.TextWordWrap
        needed = shown.fontMetrics().boundingRect(QRect(0, 0, room.width() - 8, 9999), flags, item.text())
        assert needed.width() <= room.width() and needed.height() <= room.height()
        wrapped += needed.height() > 2 * shown.fontMetrics().height()
    assert wrapped, "no name is so long that it must be wrapped"


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
