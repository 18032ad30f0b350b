"""Another method in the window: chosen where there is a choice, drawn, kept, and never asked for what it cannot do."""

from __future__ import annotations

import numpy as np
from qtpy.QtWidgets import QComboBox, QWidget

from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.predict import predict
from napari_pgrd.engine.request import Request
from napari_pgrd.io.nifti import read_volume
from napari_pgrd.session.display import Display
from napari_pgrd.viewer.review_panel import ReviewPanel
from tests.hands import click, click_tab, find, pick
from tests.tiny import make_tiny_bundle
from tests.viewer.test_sampling import run, settled


def widget(dock, name: str) -> QWidget:
    return dock.findChild(QWidget, name)


def test_a_method_is_chosen_under_advanced_and_drawn(review, qtbot, tiny):
    dock = review.dock
    click(dock, "advanced")
    chooser = find(dock, "method")
    assert isinstance(chooser, QComboBox)
    assert [chooser.itemText(i) for i in range(chooser.count())] == [
        "PGRD", "deterministic U-Net", "prior, thresholded", "test-time augmentation",
    ]  # fmt: skip
    assert chooser.currentText() == "PGRD"
    pick(dock, "method", "prior, thresholded")
    assert not widget(dock, "steps").isEnabled() and not find(dock, "solver").isEnabled()
    assert not widget(dock, "preset_preview").isEnabled()
    click(dock, "sample")
    settled(review, qtbot)
    volume = read_volume(review.file)
    *_, last = predict(volume, Bundle.load(tiny), Request(samples=3, method="thresholded"))
    for i, mask in enumerate(last.prediction.masks, 1):
        layer = review.viewer.layers[f"Sample {i:02d}"]
        np.testing.assert_array_equal(layer.data, Display.of(volume).show(mask))
    assert review.desk.request.method == "thresholded"

    review.state.samples = 5
    click_tab(dock, "Sample")
    click(dock, "sample")  # the two further ones, beside those that stand
    settled(review, qtbot)
    assert review.desk.prediction.samples == 5
    assert all(np.array_equal(a, b) for a, b in zip(review.desk.prediction.masks, last.prediction.masks, strict=False))

    dock.corrections.start("consensus")
    layer = dock.corrections.layer
    layer.data_setitem(tuple(np.array([[5], [5], [5]])), 1)
    dock.resampling.start()
    qtbot.waitUntil(lambda: dock.resampling.worker is None, timeout=120_000)
    assert "cannot be drawn around what is locked" in dock.resampling.sentence


def test_what_was_measured_of_one_method_is_not_said_of_another(review, qtbot, tmp_path):
    measured = {"cases": 5, "steps": 3, "samples": 4, "volume_coverage": {"anterior": 5, "posterior": 5}}
    measured |= {"unanimous_error_share": 0.21, "dice": 0.8}
    folder = make_tiny_bundle(tmp_path / "measured", prepare={"spacing": None}, reliability=measured)
    review.desk.choose_bundle(str(folder))
    panel = review.dock.findChild(ReviewPanel)
    for method, told in (("pgrd", True), ("thresholded", False)):
        request = Request(samples=2, steps=1, device="cpu", method=method)
        *_, last = predict(review.desk.volume, Bundle.load(folder), request)
        review.desk.take(last.prediction, request)
        panel.refresh()
        assert ("5 of 5" in panel.volumes.text()) == told
        assert ("21" in panel.unanimous.text()) == told
        qtbot.waitUntil(lambda: review.dock.places.worker is None, timeout=120_000)
        assert ("21 % of errors" in review.dock.places.sentence()) == told


def test_one_segmentation_is_one_sample(review, qtbot):
    click(review.dock, "advanced")
    pick(review.dock, "method", "deterministic U-Net")
    assert review.state.samples == 1 and not widget(review.dock, "samples").isEnabled()
    run(review, qtbot)
    assert review.desk.prediction.samples == 1
    click_tab(review.dock, "Sample")
    pick(review.dock, "method", "PGRD")
    assert review.state.steps == 3 and review.state.samples == 4 and widget(review.dock, "samples").isEnabled()


def test_a_bundle_without_the_chosen_method_brings_its_own(review, qtbot, tmp_path):
    several = make_tiny_bundle(tmp_path / "several", prepare={"spacing": None}, further=["dropout"], method="dropout")
    review.desk.choose_bundle(str(several))
    assert review.state.method == "dropout" and review.state.steps == 1
    review.state.samples = 2
    run(review, qtbot)
    assert review.desk.prediction.samples == 2
    click_tab(review.dock, "Sample")
    click(review.dock, "advanced")
    assert find(review.dock, "method").currentText() == "MC dropout"
    other = make_tiny_bundle(tmp_path / "prior", prepare={"spacing": None}, denoiser=None, method="thresholded")
    review.desk.choose_bundle(str(other))
    assert review.state.method == "thresholded"
    assert find(review.dock, "method").count() == 3


def test_a_kept_review_knows_its_method(review, qtbot):
    request = Request(samples=2, device="cpu", method="tta")
    *_, last = predict(review.desk.volume, Bundle.load(review.state.bundle), request)
    review.desk.take(last.prediction, request)
    assert review.state.method == "tta" and review.state.drawn_settings == review.state.settings
    review.state.samples = 3
    run(review, qtbot)
    assert review.desk.prediction.samples == 3
    assert review.desk.prediction.masks[0] is last.prediction.masks[0], "only the third is drawn"
