"""An image the model was not made for is met with a sentence, not with an answer."""

from __future__ import annotations

import numpy as np
import pytest

from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.nifti import write_nifti
from napari_pgrd.session.state import Phase
from napari_pgrd.viewer.dock import ReviewDock
from tests.hands import click, click_tab, find, stroke, type_number, wait
from tests.tiny import blob_volume, make_tiny_bundle
from tests.viewer.test_sampling import run

SCOPE = {
    "sentence": "Tiny expects a crop of about 20 x 24 x 18 mm.",
    "field_of_view_mm": ((8, 8, 8), (30, 30, 30)),
    "box_mm": (20, 24, 18),
    "intensity": "mri",
}


@pytest.fixture
def strict(make_window, tmp_path):
    viewer = make_window()
    dock = ReviewDock(viewer)
    viewer.window.add_dock_widget(dock, name="PGRD Review", area="right")
    dock.desk.choose_bundle(str(make_tiny_bundle(tmp_path / "strict", scope=SCOPE)))
    return dock


def head(tmp_path, shape=(60, 70, 50)):
    volume, _ = blob_volume(shape)
    return write_nifti(tmp_path / "head.nii.gz", volume.data[0], volume), volume


def test_a_whole_head_is_offered_a_box_that_can_be_dragged(strict, qtbot, tmp_path):
    file, volume = head(tmp_path)
    strict.desk.open(file)
    assert "60 x 70 x 50 mm" in find(strict, "sentence").text()
    assert not find(strict, "sample").isEnabled()
    assert "Tiny expects" in find(strict, "sentence").text() and "Tiny expects" in find(strict, "sample").toolTip()
    click(strict, "place_box")
    before = strict.desk.state.box
    qtbot.wait(100)
    stroke(strict.viewer, (0.5, 0.5), (0.55, 0.55), 12)
    after = strict.desk.state.box
    assert after != before
    sizes = [hi - lo for lo, hi in after]
    assert sizes == [20, 24, 18]
    assert all(0 <= lo and hi <= n for (lo, hi), n in zip(after, volume.shape, strict=True))
    type_number(strict, "samples", 1)
    type_number(strict, "steps", 1)
    click(strict, "sample")
    wait(qtbot, lambda: strict.desk.worker is None and strict.desk.layers.turns.waiting == 0)
    sample = strict.viewer.layers["Sample 01"]
    assert sample.data.shape == (18, 24, 20)
    image = strict.viewer.layers["head"]
    offset = (np.array(sample.translate) - np.array(image.translate)) / np.array(image.scale)
    (_x0, x1), (_y0, y1), (_z0, z1) = after
    # The file is RAS, the screen LPI: each axis runs the other way.
    np.testing.assert_allclose(offset, (50 - z1, 70 - y1, 60 - x1), atol=1e-6)


def refused(dock, words: str) -> None:
    """Sample cannot be pressed, its tooltip says why, and so does the dock, whatever else was said meanwhile."""
    sample = find(dock, "sample")
    assert sample.isVisible() and not sample.isEnabled()
    assert words in sample.toolTip() and words in find(dock, "sentence").text()
    dock.desk.state.sentence = ""
    assert words in find(dock, "sentence").text()
    dock.desk.sample()  # from a script
    assert dock.desk.worker is None and words in find(dock, "sentence").text()


def test_ct_numbers_are_refused(strict, tmp_path):
    volume, _ = blob_volume()
    ct = Volume(volume.data - 1000, volume.affine, name="ct")
    strict.desk.open(write_nifti(tmp_path / "ct.nii.gz", ct.data[0], ct))
    refused(strict, "CT numbers")
    assert strict.desk.state.phase is Phase.READY


def test_a_layer_without_geometry_is_refused(strict):
    strict.viewer.add_image(np.random.default_rng(0).random((18, 24, 20)), name="plain")
    refused(strict, "orientation")


def test_unknown_spacing_is_refused(strict, tmp_path):
    volume, _ = blob_volume()
    bare = Volume(volume.data, volume.affine, spacing_known=False)
    strict.desk.open(write_nifti(tmp_path / "bare.nii.gz", bare.data[0], bare))
    refused(strict, "voxel size")


@pytest.fixture
def lax(strict, tmp_path):
    """Another model that is there, and takes any size."""
    folder = make_tiny_bundle(tmp_path / "lax", name="lax", scope={**SCOPE, "field_of_view_mm": None}, seed=2)
    chosen = strict.desk.state.bundle
    strict.desk.choose_bundle(str(folder))
    strict.desk.choose_bundle(chosen)
    return folder


def test_a_model_that_takes_the_image_is_offered_and_chosen_by_a_click(strict, lax, tmp_path):
    assert not find(strict, "use_offered").isVisible()
    strict.desk.open(head(tmp_path)[0])
    assert "lax takes it as it is" in find(strict, "sentence").text() and not find(strict, "sample").isEnabled()
    offer = find(strict, "use_offered")
    assert offer.isVisible() and offer.text() == "Use lax"
    click(strict, "use_offered")
    assert strict.desk.spec.name == "lax" and find(strict, "bundle").currentText() == "lax"
    assert find(strict, "sample").isEnabled() and not offer.isVisible() and not find(strict, "sentence").isVisible()


def test_a_model_of_slices_without_a_size_is_not_offered_for_a_scan_in_mm(strict, tmp_path):
    slices = {"scope": {"sentence": "Grey slices."}, "prepare": {"spacing": None, "normalisation": "unit"}}
    chosen = strict.desk.state.bundle
    strict.desk.choose_bundle(str(make_tiny_bundle(tmp_path / "slices", name="slices", **slices)))
    strict.desk.bundles = [str(tmp_path / "slices"), chosen]
    strict.desk.choose_bundle(chosen)
    file, volume = head(tmp_path)
    strict.desk.open(file)
    assert not find(strict, "use_offered").isVisible()
    bare = Volume(volume.data, volume.affine, spacing_known=False)
    strict.desk.open(write_nifti(tmp_path / "bare.nii.gz", bare.data[0], bare))
    assert find(strict, "use_offered").text() == "Use slices"


def test_a_model_that_does_not_take_it_either_is_not_offered(strict, lax, tmp_path):
    volume, _ = blob_volume()
    ct = Volume(volume.data - 1000, volume.affine, name="ct")
    strict.desk.open(write_nifti(tmp_path / "ct.nii.gz", ct.data[0], ct))
    assert not find(strict, "use_offered").isVisible()
    refused(strict, "CT numbers")


def test_a_box_without_anything_in_it_cannot_be_sampled(strict, tmp_path):
    volume, _ = blob_volume((60, 70, 50))
    volume.data[:, :22] = 0
    strict.desk.open(write_nifti(tmp_path / "half.nii.gz", volume.data[0], volume))
    strict.desk.state.box = ((30, 50), (10, 34), (10, 28))
    assert find(strict, "sample").isEnabled() and not find(strict, "sentence").isVisible()
    strict.desk.state.box = ((0, 20), (10, 34), (10, 28))
    refused(strict, "constant")
    strict.desk.state.box = None
    refused(strict, "60 x 70 x 50 mm")


def test_samples_that_a_change_of_model_takes_away_can_be_brought_back(review, qtbot, tmp_path):
    run(review, qtbot)
    masks, tiny = review.desk.prediction.masks, review.state.bundle
    review.desk.choose_bundle(str(make_tiny_bundle(tmp_path / "other", name="other")))
    assert review.state.drawn == 0
    wait(qtbot, lambda: bool(review.dock.saving.left))
    click(review.dock, "resume")
    assert review.state.bundle == tiny and review.state.drawn == 3
    assert all(np.array_equal(a, b) for a, b in zip(review.desk.prediction.masks, masks, strict=True))


def test_samples_that_a_change_of_image_takes_away_can_be_brought_back(review, qtbot, tmp_path):
    run(review, qtbot)
    volume, _ = blob_volume(seed=4)
    review.desk.open(write_nifti(tmp_path / "next.nii.gz", volume.data[0], volume))
    assert review.state.drawn == 3 and "next was added" in find(review.dock, "sentence").text()
    review.desk.choose_source("next")
    assert review.state.drawn == 0
    wait(qtbot, lambda: bool(review.dock.saving.left))
    review.desk.choose_source("blobs")
    assert len(review.dock.saving.left) == 1  # without samples there was nothing to keep
    click(review.dock, "resume")
    assert review.state.drawn == 3 and review.state.source == "blobs"


def test_a_correction_goes_on_beside_another_models_samples(review, qtbot, tmp_path):
    run(review, qtbot)
    review.dock.corrections.start("consensus")
    correction = review.dock.corrections.layer
    corrected = np.array(correction.data)
    other = make_tiny_bundle(tmp_path / "other", name="other", seed=3, prepare={"spacing": None})
    review.desk.choose_bundle(str(other))
    wait(qtbot, lambda: review.dock.keeping.worker is None)
    run(review, qtbot)
    wait(qtbot, lambda: review.dock.saving.running.review.bundle == "other")
    review.dock.saving.find()
    assert [left.bundle for left in review.dock.saving.left] == ["tiny"]  # the first model's samples
    assert correction in review.viewer.layers
    np.testing.assert_array_equal(correction.data, corrected)


def test_what_lies_outside_the_middle_is_said_to_count_as_background(strict, qtbot, tmp_path):
    scope = {"sentence": "One blob in the middle.", "box_mm": (16, 16, 16)}
    prepare = {"middle_only": True, "patch": (16, 16, 16)}
    strict.desk.choose_bundle(str(make_tiny_bundle(tmp_path / "middle", name="middle", scope=scope, prepare=prepare)))
    strict.desk.open(head(tmp_path, (40, 36, 32))[0])
    assert "middle looks at the middle 16 x 16 x 16 voxels" in find(strict, "sentence").text()
    assert find(strict, "sample").isEnabled()
    type_number(strict, "samples", 2)
    type_number(strict, "steps", 1)
    click(strict, "sample")
    wait(qtbot, lambda: strict.desk.worker is None and strict.desk.layers.turns.waiting == 0)
    assert strict.desk.state.drawn == 2
    assert not find(strict, "sentence").isVisible() and not find(strict, "place_box").isVisible()
    for mask in strict.desk.prediction.masks:
        assert mask.shape == (40, 36, 32)
        mask = np.array(mask)
        mask[12:28, 10:26, 8:24] = 0
        assert not mask.any()
    click_tab(strict, "Sample")  # where the next run is set up, it is still to be read
    assert "looks at the middle" in find(strict, "scope").text()
    click(strict, "place_box")
    assert [hi - lo for lo, hi in strict.desk.state.box] == [16, 16, 16]
    assert "looks at the middle" not in find(strict, "sentence").text()


def test_a_model_without_a_prior_is_refused_when_it_is_chosen(strict, tmp_path):
    make_tiny_bundle(without := tmp_path / "without", name="without", prior=None)
    (without / "prior.safetensors").unlink()
    strict.desk.choose_bundle(str(without))  # before there is an image
    assert "without holds no prior network" in find(strict, "sentence").text()
    volume, _ = blob_volume()
    strict.desk.open(write_nifti(tmp_path / "blobs.nii.gz", volume.data[0], volume))
    text = find(strict, "sentence").text()
    assert "--prior-probabilities" in text and "strict takes it as it is" in text
    assert not find(strict, "sample").isEnabled() and find(strict, "sample").toolTip() in text
    click(strict, "use_offered")
    assert strict.desk.state.bundle.endswith("strict")
    assert find(strict, "sample").isEnabled() and not find(strict, "sentence").isVisible()
