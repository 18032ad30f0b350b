"""What users of neighbouring tools complain about, in the real window; docs/complaints.md has the list."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from qtpy.QtCore import Qt, QTimer

from napari_pgrd.engine.device import resolve
from napari_pgrd.session.state import Phase
from napari_pgrd.viewer import worker
from tests.hands import click, click_tab, find, press, stroke, type_text, wait
from tests.tiny import make_tiny_bundle
from tests.viewer.conftest import AFFINE
from tests.viewer.test_sampling import run, settled

Key = Qt.Key
LAYER = ("scale", "translate", "units", "axis_labels")


@pytest.fixture
def before_each_call(review) -> Iterator[Callable]:
    """Have something done, in the model's thread, before every call of the denoiser."""
    handles = []
    worker.load_early().join()

    def add(do: Callable[[torch.Tensor], None]) -> None:
        denoiser = worker._cached(review.state.bundle).networks(resolve("auto").type)[1]
        handles.append(denoiser.register_forward_pre_hook(lambda _net, inputs: do(inputs[0])))

    yield add
    for handle in handles:
        handle.remove()


def test_the_window_answers_while_the_model_is_inside_a_call(review, qtbot, before_each_call):
    inside, go_on = threading.Event(), threading.Event()

    def hold(_: torch.Tensor) -> None:
        if not inside.is_set():
            inside.set()
            go_on.wait(120)  # ends by itself only for a window that waits for the model

    before_each_call(hold)
    image = review.viewer.layers[0]
    on_it = {"scale": image.scale, "translate": image.translate}
    mine = review.viewer.add_labels(np.zeros((18, 24, 20), np.uint8), name="mine", **on_it)
    mine.mode, mine.brush_size = "paint", 3
    ticks = []
    timer = QTimer()
    timer.timeout.connect(lambda: ticks.append(go_on.is_set()))
    timer.start(1)
    try:
        review.desk.sample()
        wait(qtbot, inside.is_set)
        click_tab(review.dock, "Review")
        click(review.dock, "plane_axial")
        wait(qtbot, lambda: review.viewer.dims.order == (0, 1, 2))
        stroke(review.viewer, (0.45, 0.45), (0.55, 0.55))
        assert np.asarray(mine.data).any()
        press(review.viewer, Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        assert not np.asarray(mine.data).any()
        heard = len(ticks)
        wait(qtbot, lambda: len(ticks) > heard + 20)
        assert not any(ticks)  # all of this while the model stood inside its first call
        assert review.state.phase is Phase.RUNNING and review.state.drawn == 0
    finally:
        timer.stop()
        go_on.set()
    settled(review, qtbot)
    assert review.state.drawn == 3


def test_no_run_touches_a_correction_or_the_readers_own_labels(review, qtbot, tmp_path):
    viewer, dock, desk, state = review.viewer, review.dock, review.desk, review.state
    own = viewer.add_labels(np.zeros((18, 24, 20), np.uint8), name="mine")
    own.data_setitem((np.array([3, 4]), np.array([5, 5]), np.array([6, 6])), 2)
    run(review, qtbot)
    dock.corrections.start("consensus")
    correction = dock.corrections.layer
    started = correction.data.copy()
    correction.data_setitem((np.array([1, 2]), np.array([1, 2]), np.array([1, 1])), 2)
    edited, theirs = correction.data.copy(), own.data.copy()
    assert (edited != started).sum() == 2

    def untouched() -> None:
        assert correction in viewer.layers and own in viewer.layers
        np.testing.assert_array_equal(correction.data, edited)
        np.testing.assert_array_equal(own.data, theirs)
        assert dock.corrections.layer is correction

    for name, value in (("samples", 4), ("seed", 5), ("steps", 1)):
        setattr(state, name, value)
        run(review, qtbot)
        untouched()
    state.samples = 500
    desk.sample()
    wait(qtbot, lambda: state.drawn >= 5)
    desk.cancel()
    settled(review, qtbot)
    untouched()
    state.samples = 3
    desk.choose_bundle(str(make_tiny_bundle(tmp_path / "another", seed=3, prepare={"spacing": None})))
    run(review, qtbot)
    assert correction in viewer.layers
    np.testing.assert_array_equal(correction.data, edited)
    np.testing.assert_array_equal(own.data, theirs)
    viewer.layers.selection.active = correction
    press(viewer, Key.Key_Z, Qt.KeyboardModifier.ControlModifier)  # and the history is the reader's alone
    np.testing.assert_array_equal(correction.data, started)


def test_every_layer_that_is_made_lies_on_the_image_and_keeps_its_units(review, qtbot, tmp_path):
    viewer, dock = review.viewer, review.dock
    image, made = viewer.layers["blobs"], []
    viewer.layers.events.inserted.connect(lambda event: made.append(event.value))
    run(review, qtbot)
    dock.views.outlines()
    dock.corrections.start("consensus")
    correction = dock.corrections.layer
    where, _ = dock.desk.layers.current_slice()
    held = np.flatnonzero((correction.data == 1).any(tuple({0, 1, 2} - {where})))
    viewer.dims.set_point(where, image.translate[where] + held[len(held) // 2] * image.scale[where])
    dock.threshold.preview(0.25)
    wait(qtbot, lambda: "Threshold" in viewer.layers)
    dock.tools.draw_outline()
    dock.tools.drop_outline()
    dock.resampling.paint()
    strokes = viewer.layers["Locks"]
    strokes.data_setitem((np.array([5]), np.array([6]), np.array([4])), 1)
    dock.resampling.start()
    wait(qtbot, lambda: dock.resampling.worker is None)
    click_tab(dock, "Export")
    type_text(dock, "folder", str(tmp_path / "out"))
    click(dock, "export")
    wait(qtbot, lambda: bool(review.state.exported))
    click(dock, "show_export")
    wait(qtbot, lambda: any(layer.name.startswith("Exported") for layer in made))
    names = {layer.name.split()[0] for layer in made}
    results = {"Sample", "Prior", "Consensus", "Entropy", "Variance", "Agreement"}
    assert names >= {*results, "Correction", "Threshold", "Outline", "Locks", "Would", "Exported"}
    assert tuple(map(str, image.units)) == ("millimeter",) * 3
    np.testing.assert_allclose(image.scale, (1.5, 1, 1))
    for layer in made:
        for name in LAYER[:2]:
            np.testing.assert_allclose(getattr(layer, name), getattr(image, name), err_msg=f"{name} of {layer.name}")
        for name in LAYER[2:]:
            assert getattr(layer, name) == getattr(image, name), f"{name} of {layer.name}"


def test_memory_that_runs_out_is_said_and_the_run_goes_on(review, qtbot, before_each_call):
    def refuse_two(s: torch.Tensor) -> None:
        if len(s) > 1:
            raise torch.OutOfMemoryError("out of memory")

    before_each_call(refuse_two)
    run(review, qtbot)
    assert review.state.drawn == 3
    assert "Memory ran out; going on with 1 sample at once." in find(review.dock, "sentence").text()


def test_memory_too_small_for_anything_is_a_sentence_that_says_what_to_do(review, qtbot, before_each_call):
    run(review, qtbot)

    def refuse(_: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("out of memory")

    before_each_call(refuse)
    review.state.samples = 5
    review.desk.sample()
    settled(review, qtbot)
    assert "Choose a smaller box, or close other programs" in find(review.dock, "sentence").text()
    assert review.state.phase is Phase.REVIEWING and review.state.drawn == 3  # what was drawn before stays
    click_tab(review.dock, "Sample")
    assert find(review.dock, "sample").isEnabled()


def test_volumes_are_told_in_ml_of_the_voxels_own_size(review, qtbot):
    run(review, qtbot)
    size = abs(np.linalg.det(AFFINE[:3, :3])) / 1000
    assert size == pytest.approx(0.0015)
    text = find(review.dock, "volumes").text()
    for k in (1, 2):
        ml = np.count_nonzero(review.desk.prediction.consensus == k) * size
        assert ml > 0.1
        assert f"<b>{ml:.2f} mL</b>" in text
    assert "voxel" not in text
