"""What was done comes back: after a window that was closed too early, and from a folder."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_pgrd.session import autosave
from napari_pgrd.session.correction import replay
from napari_pgrd.session.places import State
from napari_pgrd.viewer.dock import ReviewDock
from tests.hands import click, click_tab, find, press, stroke, wait
from tests.viewer.test_sampling import run

Key = Qt.Key


def found(dock, qtbot) -> None:
    wait(qtbot, lambda: dock.places.worker is None and dock.desk.layers.turns.waiting == 0)


def another(make_window, tiny, image_file) -> ReviewDock:
    """A second window with the same image and model."""
    dock = open_dock(make_window, tiny)
    dock.desk.open(image_file)
    return dock


def open_dock(make_window, tiny) -> ReviewDock:
    """A further window with the model and no image."""
    viewer = make_window()
    dock = ReviewDock(viewer)
    viewer.window.add_dock_widget(dock, name="PGRD Review", area="right")
    dock.desk.choose_bundle(str(tiny))
    return dock


def shut(review, qtbot) -> None:
    """Close the window and see that its work is let go of."""
    review.viewer.close()
    wait(qtbot, lambda: review.dock.saving.running is None)


@pytest.fixture
def begun(review, qtbot):
    """Samples, a correction with three edits of which the last is undone, and one place settled."""
    run(review, qtbot)
    found(review.dock, qtbot)
    review.dock.corrections.start("consensus")
    layer = review.dock.corrections.layer
    layer.preserve_labels = False
    stroke(review.viewer, (0.45, 0.45), (0.55, 0.5))
    stroke(review.viewer, (0.4, 0.6), (0.5, 0.65))
    review.dock.tools.grow()
    press(review.viewer, Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    press(review.viewer, Key.Key_Period)
    press(review.viewer, Key.Key_N)
    return review


def test_every_edit_is_in_the_log(begun, qtbot):
    (correction,) = begun.dock.saving.running.review.corrections
    kinds = [(entry.kind, entry.name) for entry in correction.log.entries if entry.kind != "start"]
    assert kinds == [("stroke", ""), ("stroke", ""), ("operation", "grow"), ("undo", "")]
    assert np.array_equal(replay(correction.log.path), begun.dock.corrections.values())
    before = correction.log.start()
    assert np.array_equal(before, begun.desk.spec.values[begun.desk.prediction.consensus])
    assert (before != begun.dock.corrections.values()).any()


def test_a_window_closed_too_early_is_offered_and_comes_back(begun, make_window, tiny, image_file, qtbot):
    held = begun.dock.corrections.values()
    started = begun.dock.corrections.start_of(begun.dock.corrections.layer)
    masks = begun.desk.prediction.masks
    settled, record = dict(begun.dock.places.places.states), begun.dock.places.record
    point = begun.viewer.dims.point
    assert set(settled.values()) > {State.OPEN}
    assert not autosave.unfinished()  # this window is working on it
    qtbot.wait(1000)  # what is saved a moment later
    shut(begun, qtbot)
    dock = another(make_window, tiny, image_file)
    assert find(dock, "left_review").isVisible() and "4 edits" in find(dock, "left_review").text()
    click(dock, "resume")
    assert dock.places.worker is not None  # a crash now must not cost what was decided
    assert dock.places.record == record and dock.places.places.record == {}
    dock.saving._save_the_rest()
    assert dock.saving.running.review.places == record[0]
    found(dock, qtbot)
    assert np.array_equal(dock.corrections.values(), held)
    assert all(np.array_equal(a, b) for a, b in zip(dock.desk.prediction.masks, masks, strict=True))
    assert dict(dock.places.places.states) == settled
    assert np.allclose(dock.viewer.dims.point, point)
    assert not find(dock, "left_review").isVisible()
    layer = dock.corrections.layer
    assert (len(layer._undo_history), len(layer._redo_history)) == (2, 1)
    dock.viewer.layers.selection.active = layer
    for _ in range(2):
        press(dock.viewer, Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert np.array_equal(dock.corrections.values(), started)
    (correction,) = dock.saving.running.review.corrections
    assert np.array_equal(replay(correction.log.path), started)


def tab(dock) -> str:
    return dock.tabs.tabText(dock.tabs.currentIndex())


def test_a_correction_in_hand_comes_back_into_the_hand(begun, make_window, tiny, image_file, qtbot):
    first = begun.dock.corrections.layer
    held = begun.dock.corrections.values()
    begun.dock.corrections.start("prior")
    click_tab(begun.dock, "Correct")
    begun.viewer.layers.selection.active = first  # the reader went on with the first of two
    click_tab(begun.dock, "Export")  # and looked where the files will go
    wait(qtbot, lambda: (view := begun.dock.saving.running.review.view)["tab"] == "Correct" and view["hand"] == 0)
    shut(begun, qtbot)
    dock = another(make_window, tiny, image_file)
    assert tab(dock) == "Sample"
    click(dock, "resume")
    found(dock, qtbot)
    assert tab(dock) == "Correct"
    active = dock.viewer.layers.selection.active
    assert active is dock.corrections.layer and active.mode == "paint"
    assert np.array_equal(dock.corrections.values(), held)
    assert len(dock.desk.layers.of("correction")) == 2


def test_a_walk_from_place_to_place_goes_on_in_review(begun, make_window, tiny, image_file, tmp_path, qtbot):
    click_tab(begun.dock, "Correct")
    click_tab(begun.dock, "Review")
    press(begun.viewer, Key.Key_Comma)
    begun.viewer.layers.selection.active = begun.viewer.layers["Consensus"]
    click_tab(begun.dock, "Export")
    begun.dock.saving.save_as(str(tmp_path / "case"))
    dock = another(make_window, tiny, image_file)
    dock.saving.open(str(tmp_path / "case.pgrd"))
    found(dock, qtbot)
    assert tab(dock) == "Review"
    assert dock.corrections.layer is not None
    assert dock.viewer.layers.selection.active is dock.desk.image  # no stroke by a slip of the hand


def test_the_correction_of_a_box_comes_back_though_its_samples_are_damaged(
    review, make_window, tiny, image_file, qtbot
):
    review.state.box = ((2, 20), (2, 22), (1, 12))
    run(review, qtbot)
    review.dock.corrections.start("consensus")
    review.dock.tools.grow()
    held, shown = review.dock.corrections.values(), review.dock.corrections.layer
    folder = review.dock.saving.running.folder
    wait(qtbot, lambda: review.dock.saving._worker is None and any(folder.glob("samples-*.npz")))
    shut(review, qtbot)
    for file in folder.glob("samples-*.npz"):
        file.write_bytes(b"cut short")
    dock = another(make_window, tiny, image_file)
    click(dock, "resume")
    assert "damaged" in find(dock, "saving_sentence").text() and tab(dock) == "Correct"
    assert np.array_equal(dock.corrections.values(), held)
    layer = dock.corrections.layer
    assert np.allclose(layer.translate, shown.translate) and np.allclose(layer.scale, shown.scale)
    dock.tools.shrink()
    assert not np.array_equal(dock.corrections.values(), held)


def test_what_is_set_aside_is_offered_no_more(begun, make_window, tiny, image_file, qtbot):
    shut(begun, qtbot)
    dock = another(make_window, tiny, image_file)
    click(dock, "set_aside")
    assert not find(dock, "left_review").isVisible()
    assert not autosave.unfinished() and len(autosave.ended()) == 1


def test_another_image_is_refused(begun, make_window, tiny, tmp_path, qtbot):
    from napari_pgrd.io.nifti import write_nifti
    from tests.tiny import blob_volume
    from tests.viewer.conftest import AFFINE

    shut(begun, qtbot)
    volume, _ = blob_volume(affine=AFFINE, seed=5)
    dock = another(make_window, tiny, write_nifti(tmp_path / "other.nii.gz", volume.data[0], volume))
    click(dock, "resume")
    assert "another image" in find(dock, "saving_sentence").text()
    assert dock.corrections.layer is None and len(autosave.unfinished()) == 1


def test_a_saved_review_opens_to_the_same(begun, make_window, tiny, image_file, tmp_path, qtbot):
    held = begun.dock.corrections.values()
    begun.dock.saving.save_as(str(tmp_path / "case"))
    click_tab(begun.dock, "Export")
    assert find(begun.dock, "saving_sentence").text() == "Saved as case.pgrd."
    dock = another(make_window, tiny, image_file)
    dock.saving.open(str(tmp_path / "case.pgrd"))
    found(dock, qtbot)
    assert np.array_equal(dock.corrections.values(), held)
    stroke(dock.viewer, (0.3, 0.4), (0.6, 0.4))
    again = replay(next((tmp_path / "case.pgrd").glob("edits-*.log")))
    assert np.array_equal(again, held)  # the folder stays as it is
