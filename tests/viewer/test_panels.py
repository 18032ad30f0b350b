"""Panels: corrections, export, bundles, menus."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QDialogButtonBox, QFileDialog, QLineEdit

from tests.hands import choose, choose_menu, click, find, pick, type_number, type_text, wait
from tests.viewer.test_sampling import run, settled


def test_a_correction_starts_from_what_was_chosen(review, qtbot):
    run(review, qtbot)
    dock, viewer = review.dock, review.viewer
    dock.tabs.setCurrentIndex(2)
    choose(dock, "start_from", "Sample 02")
    find(dock, "start_from").activated.emit(find(dock, "start_from").currentIndex())
    click(dock, "start_correction")
    correction = viewer.layers.selection.active
    np.testing.assert_array_equal(correction.data, viewer.layers["Sample 02"].data)
    assert not np.shares_memory(correction.data, viewer.layers["Sample 02"].data)
    assert correction.mode == "paint"
    assert (correction.selected_label, correction.brush_size, correction.preserve_labels) == (1, 3, True)
    choose(dock, "label", "posterior")
    find(dock, "label").activated.emit(find(dock, "label").currentIndex())
    assert correction.selected_label == 2


def test_a_second_correction_never_replaces_the_first(review, qtbot):
    run(review, qtbot)
    review.dock.corrections.start("consensus")
    first = review.viewer.layers.selection.active
    first.data_setitem((np.array([1]), np.array([1]), np.array([1])), 1)
    held = first.data.copy()
    review.dock.corrections.start("prior")
    assert review.viewer.layers.selection.active is not first
    np.testing.assert_array_equal(first.data, held)


def test_undo_and_redo_buttons(review, qtbot):
    run(review, qtbot)
    review.dock.corrections.start("consensus")
    layer = review.viewer.layers.selection.active
    before = layer.data.copy()
    layer.data_setitem((np.array([1]), np.array([1]), np.array([1])), 2)
    after = layer.data.copy()
    review.dock.tabs.setCurrentIndex(2)
    click(review.dock, "undo")
    np.testing.assert_array_equal(layer.data, before)
    click(review.dock, "redo")
    np.testing.assert_array_equal(layer.data, after)


def test_export_lies_on_the_source_in_its_own_axis_order(review, qtbot, tmp_path):
    run(review, qtbot)
    review.dock.corrections.start("consensus")
    layer = review.viewer.layers.selection.active
    layer.data_setitem((np.array([0]), np.array([0]), np.array([0])), 2)  # most superior, anterior, right voxel
    review.dock.tabs.setCurrentIndex(3)
    type_text(review.dock, "folder", str(tmp_path / "out"))
    click(review.dock, "export")
    wait(qtbot, lambda: bool(review.state.exported))
    source, mask = nib.load(review.file), nib.load(tmp_path / "out" / "corrected.nii.gz")
    np.testing.assert_array_equal(mask.affine, source.affine)
    assert mask.header["sform_code"] == source.header["sform_code"]
    _nx, _, _ = source.shape
    assert nib.aff2axcodes(source.affine) == ("L", "A", "S")
    data = np.asarray(mask.dataobj)
    assert data[0, -1, -1] == 2  # L-to-R index 0 is right, A and S run up
    consensus = np.asarray(nib.load(tmp_path / "out" / "segmentation.nii.gz").dataobj)
    assert (data != consensus).sum() == 1
    text = (tmp_path / "out" / "manifest.json").read_text(encoding="utf-8")
    assert "blobs" not in text
    assert str(tmp_path) not in text
    json.loads(text)


def test_an_export_that_cannot_be_written_says_so(review, qtbot, tmp_path):
    run(review, qtbot)
    (tmp_path / "taken").write_text("a file where a folder should be")
    review.dock.tabs.setCurrentIndex(3)
    type_text(review.dock, "folder", str(tmp_path / "taken"))
    click(review.dock, "export")
    wait(qtbot, lambda: bool(review.state.sentence))
    assert review.state.exported == ""
    assert find(review.dock, "export").isEnabled()
    assert (tmp_path / "taken").read_text() == "a file where a folder should be"


def test_loading_a_damaged_bundle_is_a_sentence(review, qtbot, tmp_path):
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "bundle.json").write_text('{"schema_version": 99}')
    before = review.state.bundle

    def answer() -> None:
        dialog = QApplication.activeModalWidget()
        assert isinstance(dialog, QFileDialog)
        dialog.findChild(QLineEdit).setText(str(bad))
        dialog.findChild(QDialogButtonBox).buttons()[0].click()

    QTimer.singleShot(500, answer)
    review.dock.tabs.setCurrentIndex(0)
    click(review.dock, "load_bundle")
    assert "schema version 99" in find(review.dock, "sentence").text()
    assert review.state.bundle == before


def test_preview_and_standard_set_the_steps_and_leave_the_rest(review):
    dock = review.dock
    click(dock, "advanced")
    for model, standard in (("tiny", 3), ("hippocampus-mri", 8)):  # a model's own number of steps
        review.desk.choose_bundle(next(b for b in review.desk.bundles if Path(b).name == model))
        type_number(dock, "samples", 5)
        for button, steps in (("preset_preview", 1), ("preset_standard", standard)):
            type_number(dock, "steps", 20)
            pick(dock, "solver", "DDPM")
            assert (find(dock, "steps_slider").value(), review.state.solver) == (20, "ddpm")
            click(dock, button)
            assert find(dock, "steps_slider").value() == find(dock, "steps").value() == review.state.steps == steps
            assert find(dock, "solver").currentText() == "model's own" and review.state.solver == ""
            assert find(dock, "samples_slider").value() == review.state.samples == 5


def test_open_sample_is_in_the_file_menu(make_window, qtbot):
    viewer = make_window()
    choose_menu(qtbot, viewer.window._qt_window, "File", "Open Sample", "PGRD", "Hippocampus")
    wait(qtbot, lambda: len(viewer.layers) == 1)
    assert viewer.layers[0].axis_labels == ("I-S", "A-P", "R-L")


def test_heat_maps_take_turns(review, qtbot):
    run(review, qtbot)
    review.dock.views.heat("entropy")
    assert review.viewer.layers["Entropy"].visible
    review.dock.views.next_heat()
    assert not review.viewer.layers["Entropy"].visible
    assert review.viewer.layers["Variance"].visible
    review.dock.views.next_heat()
    assert not review.viewer.layers["Variance"].visible


def test_planes_turn_the_view_and_the_lines_follow(review, qtbot):
    run(review, qtbot)
    settled(review, qtbot)
    lines = review.viewer.layers["Agreement"]
    for plane, axis in (("axial", 0), ("coronal", 1), ("sagittal", 2)):
        click(review.dock, f"plane_{plane}")
        qtbot.wait(200)
        assert review.viewer.dims.order[0] == axis
        starts = lines.data[:, 0]
        assert len(starts) > 0
        assert np.ptp(starts[:, axis]) == 0  # all on one slice of that axis
        assert plane in review.viewer.canvas.overlays.text.text


def test_painting_after_an_export_says_that_it_is_not_exported(review, qtbot, tmp_path):
    run(review, qtbot)
    review.dock.corrections.start("consensus")
    layer = review.viewer.layers.selection.active
    review.dock.exports.choose_folder(str(tmp_path / "out"))
    review.dock.exports.write({"mask"})
    wait(qtbot, lambda: bool(review.state.exported))
    review.viewer.dims.set_current_step(0, 3)  # looking is not editing
    assert review.state.exported
    layer.paint((4, 4, 4), 2)
    assert not review.state.exported
    layer.undo()
    review.dock.exports.write({"mask"})
    wait(qtbot, lambda: bool(review.state.exported))
    layer.redo()
    assert not review.state.exported


def test_a_second_image_becomes_the_case_only_if_no_result_is_lost(review, qtbot, image_file):
    review.desk.open(image_file)
    assert review.state.source == review.viewer.layers[-1].name != "blobs"
    run(review, qtbot)
    held = review.state.source
    review.desk.open(image_file)
    assert review.state.source == held
    assert review.state.drawn == 3
    assert "was added" in find(review.dock, "sentence").text()
