"""A correction from a mask that exists already: chosen in the dialog, dropped, or in the window as a layer."""

from __future__ import annotations

import json
import threading

import nibabel as nib
import numpy as np
import pytest
from napari.layers.labels._labels_constants import Mode
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from napari_pgrd.io.masks import read_mask
from napari_pgrd.io.nifti import read_volume
from napari_pgrd.session import autosave
from napari_pgrd.session.correction import replay
from tests.hands import click, click_and_choose_file, click_tab, find, pick, press, stroke, type_text, wait
from tests.viewer.test_drop import drop
from tests.viewer.test_sampling import run
from tests.viewer.test_saving import another, found, open_dock, shut

SECRET = "Mueller_Anna_1961"


@pytest.fixture
def mask(image_file):
    """Two blocks ``(x, y, z)`` on the image's grid, unlike anything that samples hold."""
    values = np.zeros(read_volume(image_file).shape, np.uint8)
    values[4:10, 4:10, 3:9] = 1
    values[10:13, 4:10, 3:9] = 2
    return values


@pytest.fixture
def mask_file(tmp_path, image_file, mask):
    """The mask on disk, its axes in another order and direction than the image's."""
    image = nib.load(image_file)
    turned = nib.Nifti1Image(mask, image.affine, image.header).as_reoriented([[1, -1], [2, 1], [0, -1]])
    assert turned.shape != image.shape
    nib.save(turned, tmp_path / f"{SECRET}.nii.gz")
    return tmp_path / f"{SECRET}.nii.gz"


@pytest.fixture
def desk(review, qtbot):
    """Samples drawn, the Correct tab open."""
    run(review, qtbot)
    click_tab(review.dock, "Correct")
    return review


def started(desk, qtbot) -> np.ndarray:
    wait(qtbot, lambda: desk.dock.masks.worker is None)
    assert desk.dock.corrections.layer is not None, desk.dock.masks.sentence
    return desk.dock.corrections.values()


def said(desk) -> str:
    return find(desk.dock, "start_sentence").text()


def test_the_button_reads_a_file_in_another_axis_order(desk, mask_file, mask, qtbot):
    samples = desk.desk.prediction
    click_and_choose_file(desk.dock, "start_from_file", mask_file)
    np.testing.assert_array_equal(started(desk, qtbot), mask)
    layer = desk.dock.corrections.layer
    assert desk.viewer.layers.selection.active is layer and layer.mode == Mode.PAINT
    np.testing.assert_array_equal(layer.data, desk.desk.layers.display.show(mask))
    assert said(desk) == f"Started from {mask_file.name}."
    assert desk.desk.prediction is samples
    stroke(desk.viewer, (0.4, 0.4), (0.6, 0.6))
    assert (desk.dock.corrections.values() != mask).any()
    press(desk.viewer, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    np.testing.assert_array_equal(desk.dock.corrections.values(), mask)


def test_the_list_offers_a_file_too_and_a_dialog_without_answer_changes_nothing(desk, mask_file, mask, qtbot):
    pick(desk.dock, "start_from", "Mask file ...")
    click_and_choose_file(desk.dock, "start_correction", None)
    assert desk.dock.corrections.layer is None
    click_and_choose_file(desk.dock, "start_correction", mask_file)
    np.testing.assert_array_equal(started(desk, qtbot), mask)


def test_a_dropped_mask_is_a_layer_that_can_be_chosen(desk, mask_file, mask, qtbot):
    drop(desk.viewer, mask_file)
    layer = desk.viewer.layers[SECRET]
    layer.data_setitem((np.array([5]), np.array([5]), np.array([5])), 0)  # as it is now, not as it was in the file
    now = np.array(layer.data)
    pick(desk.dock, "start_from", f"Layer {SECRET}")
    click(desk.dock, "start_correction")
    started(desk, qtbot)
    correction = desk.dock.corrections.layer
    assert correction is not layer
    stroke(desk.viewer, (0.4, 0.4), (0.6, 0.6))
    np.testing.assert_array_equal(layer.data, now)
    press(desk.viewer, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    # The file's own display is that of the image: one world, one order on the screen.
    np.testing.assert_array_equal(correction.data, now)


def test_a_layer_made_in_napari_and_a_duplicate_of_a_correction_can_be_chosen(desk, mask, qtbot):
    from napari.layers._layer_actions import _duplicate_layer

    image = desk.viewer.layers["blobs"]
    mine = desk.viewer.add_labels(np.ascontiguousarray(desk.desk.layers.display.show(mask)).astype(int), name="mine")
    assert not said(desk)
    pick(desk.dock, "start_from", "Layer mine")
    click(desk.dock, "start_correction")
    assert "mine does not lie on the image voxel by voxel" in said(desk)
    mine.scale, mine.translate = image.scale, image.translate
    click(desk.dock, "start_correction")
    np.testing.assert_array_equal(started(desk, qtbot), mask)
    first = desk.dock.corrections.layer
    _duplicate_layer(desk.viewer.layers)
    copy = desk.viewer.layers["Correction copy"]
    desk.viewer.layers.selection.active = copy
    assert desk.dock.corrections.layer is first  # the copy is nobody's: its strokes are in no log
    pick(desk.dock, "start_from", "Layer Correction copy")
    click(desk.dock, "start_correction")
    wait(qtbot, lambda: desk.dock.masks.worker is None)
    assert desk.dock.corrections.layer not in (first, copy)
    offered = {text for _, text in desk.dock.masks.sources()}
    assert offered == {"Layer Correction copy", "Layer mine"}
    desk.viewer.layers.remove(copy)
    assert [text for _, text in desk.dock.masks.sources()] == ["Layer mine"]


def test_what_cannot_be_used_is_a_sentence_and_no_correction(desk, tmp_path, mask, image_file, qtbot):
    image = nib.load(image_file)
    coarse = image.affine @ np.diag([2, 1, 1, 1])
    cases = {
        "coarse": (mask[::2], coarse, "lies on another grid"),
        "moved": (mask, image.affine + np.eye(4, k=3) * 3, "not in the same place"),
        "unknown": (mask * np.uint8(3), image.affine, "holds the labels 3, 6, which the model tiny does not know"),
        "many": (np.stack([mask, mask], -1), image.affine, "holds 2 volumes"),
        "half": (mask * np.float32(0.5), image.affine, "between whole numbers"),
        "nan": (np.where(mask == 1, np.float32(np.nan), 0), image.affine, "NaN"),
        "nothing": (mask * 0, image.affine, "holds no label"),
    }
    for name, (data, affine, sentence) in cases.items():
        out = nib.Nifti1Image(data, affine)
        out.header.set_xyzt_units("mm")
        nib.save(out, tmp_path / f"{name}.nii.gz")
        click_and_choose_file(desk.dock, "start_from_file", tmp_path / f"{name}.nii.gz")
        wait(qtbot, lambda: desk.dock.masks.worker is None)
        assert sentence in said(desk)
        assert desk.dock.corrections.layer is None
    desk.dock.corrections.start("consensus")
    assert said(desk) == ""


def test_it_needs_an_image(make_window, tiny, mask_file):
    dock = open_dock(make_window, tiny)
    click_tab(dock, "Correct")
    for name in ("start_from_file", "start_from", "start_correction"):
        assert not find(dock, name).isEnabled()
    dock.masks.from_file(mask_file)
    assert find(dock, "start_sentence").text().startswith("Open the image of this mask")
    assert dock.corrections.layer is None


def test_a_mask_is_corrected_and_exported_without_any_sample(review, mask_file, mask, image_file, tmp_path, qtbot):
    dock, out = review.dock, tmp_path / "out"
    click_tab(dock, "Correct")
    box = find(dock, "start_from")
    assert [box.itemText(i) for i in range(box.count())] == ["Mask file ..."]
    click_and_choose_file(dock, "start_correction", mask_file)
    np.testing.assert_array_equal(started(review, qtbot), mask)
    click(dock, "grow")
    grown = dock.corrections.values()
    assert (grown == 1).sum() > (mask == 1).sum() and not (grown != mask)[mask == 2].any()
    axis = review.desk.layers.current_slice()[0]
    review.viewer.dims.set_current_step(axis, int(np.nonzero(review.desk.layers.display.show(mask) == 1)[axis][0]))
    click(dock, "draw_outline")
    click(dock, "use_outline")
    assert "Nothing to change" in find(dock, "tools_sentence").text()
    # What needs samples is off, and says so.
    assert not find(dock, "swap_labels").isEnabled() and "samples" in find(dock, "tools_need_samples").text()
    assert find(dock, "tools_need_samples").isVisible()
    assert not find(dock, "sample_again").isEnabled()
    assert "needs samples" in find(dock, "resampling_forecast").text()
    assert find(dock, "onward").text() == "Export ..."
    click(dock, "onward")
    assert not find(dock, "part_maps").isEnabled() and find(dock, "part_mask").isEnabled()
    type_text(dock, "folder", str(out))
    click(dock, "export")
    wait(qtbot, lambda: bool(review.state.exported))
    assert {f.name for f in out.iterdir()} == {"corrected.nii.gz", "volumes.csv", "edits.log", "manifest.json"}
    written = nib.load(out / "corrected.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), grown)
    np.testing.assert_array_equal(written.affine, nib.load(image_file).affine)
    np.testing.assert_array_equal(replay(out / "edits.log"), grown)
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["request"] is None and manifest["bundle"]["name"] == "tiny"
    assert manifest["review"]["edits"]["operation"] == 1
    # Sampling afterwards leaves it as it is, and in hand.
    layer = dock.corrections.layer
    run(review, qtbot)
    found(dock, qtbot)
    assert dock.corrections.layer is layer
    np.testing.assert_array_equal(dock.corrections.values(), grown)
    np.testing.assert_array_equal(dock.corrections.start_of(layer), mask)
    click_tab(dock, "Correct")
    assert find(dock, "sample_again").isEnabled() and not find(dock, "tools_need_samples").isVisible()
    wait(qtbot, lambda: dock.saving.running.review.prediction is review.desk.prediction)


def test_without_samples_it_resumes_and_a_saved_review_opens(
    review, mask_file, mask, make_window, tiny, image_file, tmp_path, qtbot
):
    click_tab(review.dock, "Correct")
    click_and_choose_file(review.dock, "start_from_file", mask_file)
    started(review, qtbot)
    click(review.dock, "shrink")
    held = review.dock.corrections.values()
    assert (held != mask).any()
    review.dock.saving.save_as(str(tmp_path / "saved"))
    shut(review, qtbot)
    dock = another(make_window, tiny, image_file)
    click(dock, "resume")
    np.testing.assert_array_equal(dock.corrections.values(), held)
    np.testing.assert_array_equal(dock.corrections.start_of(dock.corrections.layer), mask)
    assert dock.tabs.tabText(dock.tabs.currentIndex()) == "Correct"
    dock.saving.open(str(tmp_path / "saved.pgrd"))
    np.testing.assert_array_equal(dock.corrections.values(), held)
    dock.desk.state.steps, dock.desk.state.samples = 2, 2
    dock.desk.sample()
    wait(qtbot, lambda: dock.desk.worker is None and dock.desk.state.drawn == 2)
    found(dock, qtbot)
    np.testing.assert_array_equal(dock.corrections.values(), held)


def test_samples_of_a_box_leave_a_correction_of_the_whole_and_a_copy_goes_on(review, mask_file, mask, qtbot):
    dock = review.dock
    click_tab(dock, "Correct")
    click_and_choose_file(dock, "start_from_file", mask_file)
    started(review, qtbot)
    whole = dock.corrections.layer
    before = np.array(whole.data)
    review.state.box = box = ((2, 20), (2, 22), (1, 12))
    run(review, qtbot)
    np.testing.assert_array_equal(whole.data, before)
    click_tab(dock, "Correct")
    assert dock.corrections.layer is None
    assert any("is of the whole image, the samples are of a box" in label.text() for label in dock.findChildren(QLabel))
    pick(dock, "start_from", "Layer Correction")
    click(dock, "start_correction")
    inside = tuple(slice(lo, hi) for lo, hi in box)
    np.testing.assert_array_equal(started(review, qtbot), mask[inside])
    np.testing.assert_array_equal(whole.data, before)
    assert [text for _, text in dock.masks.sources()] == ["Layer Correction"]


def test_of_a_box_the_part_inside_is_taken(review, mask_file, mask, qtbot):
    box = ((2, 20), (2, 22), (1, 12))
    review.state.box = box
    run(review, qtbot)
    click_tab(review.dock, "Correct")
    click_and_choose_file(review.dock, "start_from_file", mask_file)
    inside = tuple(slice(lo, hi) for lo, hi in box)
    np.testing.assert_array_equal(started(review, qtbot), mask[inside])


def test_another_image_meanwhile_takes_no_mask(desk, mask_file, image_file, qtbot, monkeypatch):
    opened = threading.Event()

    def slowly(*given):
        assert opened.wait(120)
        return read_mask(*given)

    monkeypatch.setattr("napari_pgrd.viewer.mask_start.read_mask", slowly)
    desk.dock.masks.from_file(mask_file)
    worker = desk.dock.masks.worker
    desk.desk.open(image_file)
    desk.desk.choose_source(desk.viewer.layers[-1].name)
    assert desk.dock.masks.worker is None
    opened.set()
    wait(qtbot, lambda: worker.is_running is False)
    qtbot.wait(50)  # what it found would be delivered by now
    assert desk.dock.corrections.layer is None


def test_it_saves_resumes_and_exports_like_any_other_and_its_name_goes_nowhere(
    desk, mask_file, mask, make_window, tiny, image_file, tmp_path, qtbot
):
    found(desk.dock, qtbot)
    click_and_choose_file(desk.dock, "start_from_file", mask_file)
    started(desk, qtbot)
    desk.dock.corrections.layer.preserve_labels = False
    stroke(desk.viewer, (0.4, 0.4), (0.6, 0.6))
    held = desk.dock.corrections.values()
    (correction,) = desk.dock.saving.running.review.corrections
    assert correction.log.entries[0].name == "mask file"
    np.testing.assert_array_equal(correction.log.start(), mask)
    np.testing.assert_array_equal(replay(correction.log.path), held)
    desk.dock.saving.save_as(str(tmp_path / "saved"))
    click_tab(desk.dock, "Export")
    type_text(desk.dock, "folder", str(tmp_path / "out"))
    click(desk.dock, "export")
    wait(qtbot, lambda: bool(desk.state.exported))
    written = nib.load(tmp_path / "out" / "corrected.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), held)
    np.testing.assert_array_equal(written.affine, nib.load(image_file).affine)
    stroke(desk.viewer, (0.45, 0.6), (0.55, 0.6))
    later = desk.dock.corrections.values()
    shut(desk, qtbot)
    folders = [tmp_path / "out", tmp_path / "saved.pgrd", *autosave.home(None).glob("*.pgrd")]
    for file in (f for folder in folders for f in folder.rglob("*") if f.is_file()):
        assert SECRET.encode() not in file.read_bytes() and SECRET not in file.name
    assert len(folders) == 3

    dock = another(make_window, tiny, image_file)
    click(dock, "resume")
    found(dock, qtbot)
    np.testing.assert_array_equal(dock.corrections.values(), later)
    np.testing.assert_array_equal(dock.corrections.start_of(dock.corrections.layer), mask)
