"""Sampling in the window: streaming, cancelling, closing, and never in the reader's way."""

from __future__ import annotations

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QThreadPool
from qtpy.QtWidgets import QApplication

from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.predict import predict
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.spec import PAPER_SAMPLING
from napari_pgrd.io.nifti import read_volume
from napari_pgrd.session.display import Display
from napari_pgrd.session.state import Phase, controls
from tests.hands import click, click_tab, find, pick, picture, type_number, wait


def run(review, qtbot) -> None:
    review.desk.sample()
    settled(review, qtbot)


def settled(review, qtbot) -> None:
    wait(qtbot, lambda: review.desk.worker is None and review.desk.layers.turns.waiting == 0)
    qtbot.wait(150)  # the lines are drawn after a pause


def test_layers_hold_what_predict_gives(review, qtbot, tiny):
    run(review, qtbot)
    volume = read_volume(review.file)
    *_, last = predict(volume, Bundle.load(tiny), Request(samples=3, steps=2))
    display = Display.of(volume)
    for i, mask in enumerate(last.prediction.masks, 1):
        np.testing.assert_array_equal(review.viewer.layers[f"Sample {i:02d}"].data, display.show(mask))
    np.testing.assert_array_equal(review.viewer.layers["Consensus"].data, display.show(last.prediction.consensus))
    np.testing.assert_allclose(review.viewer.layers["Entropy"].data, display.show(last.prediction.entropy), atol=1e-6)
    np.testing.assert_allclose(review.viewer.layers["Variance"].data, display.show(last.prediction.variance), atol=1e-6)
    assert review.state.phase is Phase.REVIEWING
    assert len(review.viewer.layers["Agreement"].data) > 0


def test_every_layer_lies_on_the_image(review, qtbot):
    run(review, qtbot)
    image = review.viewer.layers["blobs"]
    for layer in review.viewer.layers:
        np.testing.assert_allclose(layer.scale, image.scale)
        np.testing.assert_allclose(layer.translate, image.translate)
        assert tuple(map(str, layer.units)) == tuple(map(str, image.units)) == ("millimeter",) * 3
        assert layer.axis_labels == image.axis_labels


def test_the_readers_place_is_left_alone(review, qtbot):
    viewer = review.viewer
    other = viewer.add_points(np.zeros((1, 3)), name="mine")
    viewer.dims.set_current_step(2, 4)
    viewer.scene.camera.zoom = 7.5
    viewer.layers.selection = {other}
    before = (viewer.dims.current_step, viewer.scene.camera.zoom, tuple(viewer.scene.camera.center), viewer.dims.order)
    run(review, qtbot)
    after = (viewer.dims.current_step, viewer.scene.camera.zoom, tuple(viewer.scene.camera.center), viewer.dims.order)
    assert after == before
    assert viewer.layers.selection.active is other


def test_cancel_keeps_what_was_drawn(review, qtbot):
    review.state.samples = 60
    review.desk.sample()
    wait(qtbot, lambda: review.state.drawn >= 2)
    click(review.dock, "cancel")
    settled(review, qtbot)
    drawn = review.state.drawn
    assert 2 <= drawn < 60
    assert review.state.phase is Phase.REVIEWING
    assert sum(x.name.startswith("Sample ") for x in review.viewer.layers) == drawn
    assert review.desk.prediction.samples == drawn


def test_more_samples_draw_only_the_further_ones(review, qtbot):
    run(review, qtbot)
    kept = {x.name: x for x in review.viewer.layers if x.name.startswith("Sample ")}
    review.dock.tabs.setCurrentIndex(0)
    type_number(review.dock, "samples", 5)
    click(review.dock, "sample")
    settled(review, qtbot)
    assert review.state.drawn == 5
    for name, layer in kept.items():
        assert review.viewer.layers[name] is layer  # the very same layer, not a new one


def test_other_settings_start_anew_but_keep_a_correction(review, qtbot):
    run(review, qtbot)
    review.dock.corrections.start("consensus")
    correction = review.viewer.layers.selection.active
    correction.data_setitem((np.array([0]), np.array([0]), np.array([0])), 2)
    held = correction.data.copy()
    review.state.seed = 7
    run(review, qtbot)
    assert correction in review.viewer.layers
    np.testing.assert_array_equal(correction.data, held)
    assert sum(x.name.startswith("Sample ") for x in review.viewer.layers) == 3


def test_closing_the_window_while_sampling(review, qtbot):
    review.state.samples = 500
    review.desk.sample()
    wait(qtbot, lambda: review.state.drawn >= 1)
    review.viewer.close()
    QApplication.processEvents()
    assert QThreadPool.globalInstance().waitForDone(60_000)  # the worker heard of it


def test_a_failing_run_says_why_and_frees_the_window(review, qtbot, tiny):
    (tiny / "denoiser.safetensors").write_bytes(b"damaged")
    review.desk.sample()
    settled(review, qtbot)
    assert "checksum" in find(review.dock, "sentence").text()
    assert review.state.phase is Phase.READY
    assert find(review.dock, "sample").isEnabled()


def test_a_runtime_error_in_the_worker_arrives(review, qtbot, monkeypatch):
    def broken(*_args, **_kwargs):
        raise RuntimeError("a kernel failed")

    monkeypatch.setattr("napari_pgrd.engine.predict.prepare", broken)
    review.desk.sample()
    settled(review, qtbot)
    assert "a kernel failed" in review.state.sentence
    assert review.state.phase is Phase.READY


def test_the_prior_is_shown_at_once(review, qtbot):
    review.state.samples, review.state.steps = 2, 50
    review.desk.sample()
    wait(qtbot, lambda: "Prior" in review.viewer.layers)
    assert isinstance(review.viewer.layers["Prior"], Labels)
    assert review.viewer.layers["Prior"].visible
    assert review.state.drawn == 0
    settled(review, qtbot)


def test_removing_the_image_while_sampling_ends_the_run(review, qtbot):
    review.state.samples = 500
    review.desk.sample()
    wait(qtbot, lambda: review.state.drawn >= 1)
    review.viewer.layers.remove("blobs")
    settled(review, qtbot)
    assert review.state.phase is Phase.EMPTY
    assert not any(x.name.startswith("Sample ") for x in review.viewer.layers)


def test_something_is_on_the_screen_in_two_and_three_dimensions(review, qtbot):
    run(review, qtbot)
    plain = picture(review.viewer)
    assert np.ptp(plain.astype(int)) > 100
    colours = {tuple(c) for c in plain.reshape(-1, 3)}
    assert any(b > 150 and r < 100 for r, _, b in colours)  # the cyan lines of label 1
    review.viewer.dims.ndisplay = 3
    qtbot.wait(200)
    review.viewer.layers["Consensus"].visible = True
    assert np.ptp(picture(review.viewer).astype(int)) > 100


def test_sampling_again_draws_into_the_same_layers_and_removes_what_is_left_over(review, qtbot, tiny):
    run(review, qtbot)
    kept = {
        name: review.viewer.layers[name] for name in ("Sample 01", "Sample 02", "Consensus", "Entropy", "Agreement")
    }
    review.state.seed, review.state.samples = 9, 2
    run(review, qtbot)
    wait(qtbot, lambda: "Sample 03" not in review.viewer.layers)
    assert all(review.viewer.layers[name] is layer for name, layer in kept.items())
    volume = read_volume(review.file)
    *_, last = predict(volume, Bundle.load(tiny), Request(samples=2, steps=2, seed=9))
    display = Display.of(volume)
    for i, mask in enumerate(last.prediction.masks, 1):
        np.testing.assert_array_equal(review.viewer.layers[f"Sample {i:02d}"].data, display.show(mask))
    np.testing.assert_allclose(review.viewer.layers["Entropy"].data, display.show(last.prediction.entropy), atol=1e-6)
    assert len(review.viewer.layers["Agreement"].data) > 0
    assert not review.viewer.layers["Sample 01"].editable


def test_the_paper_preset_is_the_published_setting_eta_and_all(review, qtbot, tiny):
    click(review.dock, "advanced")
    solver = find(review.dock, "solver")
    click(review.dock, "preset_paper")
    asked = review.state.request(review.desk.spec).resolved(review.desk.spec)
    assert (asked.solver, asked.eta, asked.steps) == ("ddim", 0.0, 300)
    assert (asked.solver, asked.eta, asked.steps) == tuple(PAPER_SAMPLING[k] for k in ("solver", "eta", "steps"))
    assert solver.currentText() == "DDIM, eta 0" and find(review.dock, "steps").value() == 300

    review.state.steps = 3
    click(review.dock, "sample")
    settled(review, qtbot)
    volume, bundle = read_volume(review.file), Bundle.load(tiny)
    drawn = {}
    for eta in (0.0, 1.0):
        *_, last = predict(volume, bundle, Request(samples=3, steps=3, solver="ddim", eta=eta))
        drawn[eta] = np.stack(last.prediction.masks)
    assert np.array_equal(np.stack(review.desk.prediction.masks), drawn[0.0])
    assert not np.array_equal(drawn[0.0], drawn[1.0])

    click_tab(review.dock, "Sample")
    pick(review.dock, "solver", "DDIM, eta 1")
    assert find(review.dock, "sample").text() == "Sample 3 times", "others, not further ones"
    click(review.dock, "sample")
    settled(review, qtbot)
    assert np.array_equal(np.stack(review.desk.prediction.masks), drawn[1.0])

    half = Request(samples=3, steps=3, solver="ddim", eta=0.5)
    *_, last = predict(volume, bundle, half)
    review.desk.take(last.prediction, half)  # as a review that a script made
    assert solver.currentText() == "ddim eta 0.5" and controls(review.state).sample_text == "Samples are drawn"
    click_tab(review.dock, "Sample")
    click(review.dock, "preset_standard")
    assert solver.currentText() == "model's own" and review.state.request(review.desk.spec).eta is None
