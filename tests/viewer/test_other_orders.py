"""Things done in another order than the usual one: renaming, removing, duplicating, changing one's mind."""

from __future__ import annotations

from pathlib import Path

import napari
import numpy as np
import pytest
from napari.layers import Labels
from napari.layers._layer_actions import _duplicate_layer

from napari_pgrd.io.nifti import read_volume
from napari_pgrd.session.state import Phase
from napari_pgrd.viewer.dock import ReviewDock
from napari_pgrd.viewer.launch import TITLE, open_window
from napari_pgrd.viewer.reader import layer_data
from tests.hands import find, wait
from tests.tiny import make_tiny_bundle
from tests.viewer.test_sampling import run, settled

VOXEL = (np.array([1]), np.array([1]), np.array([1]))


def test_an_image_may_be_renamed(review, qtbot):
    run(review, qtbot)
    review.viewer.layers["blobs"].name = "my patient"
    review.dock.corrections.start("consensus")
    assert review.state.source == "my patient"
    assert review.state.drawn == 3
    assert not find(review.dock, "sample").isEnabled()  # the same samples as before
    assert review.dock.corrections.layer is not None


def test_removing_a_sampled_image_takes_every_result_along_but_no_correction(review, qtbot):
    run(review, qtbot)
    review.dock.corrections.start("consensus")
    review.viewer.layers.remove("blobs")
    assert [x.name for x in review.viewer.layers] == ["Correction"]
    assert review.state.phase is Phase.EMPTY


def test_a_correction_is_never_exported_with_another_image_of_the_same_name(review, qtbot):
    run(review, qtbot)
    review.dock.corrections.start("consensus")
    review.viewer.layers.remove("blobs")
    review.desk.open(review.file)
    review.desk.sample()
    settled(review, qtbot)
    assert review.state.drawn == 3
    assert review.dock.corrections.layer is None


def test_a_correction_belongs_to_the_box_that_was_sampled(review, qtbot):
    review.state.box = ((0, 18), (0, 20), (0, 16))
    run(review, qtbot)
    review.state.box = ((2, 20), (2, 22), (2, 18))  # dragged on, not sampled
    review.dock.corrections.start("consensus")
    assert review.dock.corrections.layer is not None
    assert review.dock.corrections.values().shape == (18, 20, 16)
    run(review, qtbot)
    assert review.dock.corrections.layer is None  # it lies elsewhere now


def test_samples_of_another_model_leave_the_screen(review, qtbot, tmp_path, tiny):
    run(review, qtbot)
    review.desk.choose_bundle(str(tiny))  # the same: nothing happens
    assert review.state.drawn == 3
    assert review.state.samples == 3
    review.desk.choose_bundle(str(make_tiny_bundle(tmp_path / "other", name="other")))
    assert review.state.drawn == 0
    assert [x.name for x in review.viewer.layers] == ["blobs"]


def test_a_readers_duplicate_is_the_readers(review, qtbot):
    run(review, qtbot)
    review.viewer.layers.selection.active = review.viewer.layers["Consensus"]
    _duplicate_layer(review.viewer.layers)
    mine = review.viewer.layers["Consensus copy"]
    mine.data_setitem(VOXEL, 2)
    held = mine.data.copy()
    review.state.samples = 4
    run(review, qtbot)
    np.testing.assert_array_equal(mine.data, held)
    review.state.seed = 3
    run(review, qtbot)
    assert mine in review.viewer.layers


def test_results_take_no_strokes(review, qtbot):
    run(review, qtbot)
    results = [x for x in review.viewer.layers if isinstance(x, Labels)]
    assert len(results) == 5
    assert not any(x.editable for x in results)
    review.dock.corrections.start("sample 1")
    assert review.dock.corrections.layer.editable


@pytest.mark.parametrize("chosen", [0, 2])
def test_no_selection_and_a_wide_one_stay(review, qtbot, chosen):
    layers = review.viewer.layers
    points = [review.viewer.add_points(np.zeros((1, 3))) for _ in range(2)]
    layers.selection = set(points[:chosen])
    run(review, qtbot)
    assert set(layers.selection) == set(points[:chosen])


def test_the_folder_is_never_an_accident(review, tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    exports = review.dock.exports
    exports.choose_folder("  ")
    assert exports.folder == tmp_path / "pgrd-export" / "blobs"
    exports.folder.mkdir(parents=True)
    (data, meta, kind) = layer_data(read_volume(review.file))
    review.viewer.layers["blobs"].name = "first"
    review.viewer._add_layer_from_data(data, meta, kind)
    review.desk.choose_source("blobs")  # another patient's image of that name
    assert exports.folder == tmp_path / "pgrd-export" / "blobs 2"
    exports.choose_folder("~nobody-of-that-name/x")  # still being typed
    review.viewer.layers["blobs"].name = "../outside"
    exports.choose_folder("")
    assert exports.folder.parent == tmp_path / "pgrd-export"


def test_only_what_this_export_wrote_is_shown(review, qtbot, tmp_path):
    run(review, qtbot)
    exports = review.dock.exports
    exports.choose_folder(str(tmp_path / "out"))
    review.dock.corrections.start("consensus")
    exports.write({"mask"})
    wait(qtbot, lambda: bool(review.state.exported))
    review.viewer.layers.remove("Correction")
    exports.write({"mask"})
    wait(qtbot, lambda: bool(review.state.exported))
    assert (tmp_path / "out" / "corrected.nii.gz").exists()  # the earlier one, which nobody deletes
    exports.show()
    assert "Exported segmentation.nii.gz" in review.viewer.layers
    assert "Exported corrected.nii.gz" not in review.viewer.layers


def test_closing_the_dock_takes_its_box_along_and_leaves_corrections(review, qtbot):
    run(review, qtbot)
    review.dock.corrections.start("consensus")
    layer = review.dock.corrections.layer
    review.dock.close_desk()
    heard: list[object] = []
    review.dock.corrections.changed.connect(lambda: heard.append(1))
    layer.selected_label = 2
    review.viewer.layers["blobs"].name = "renamed"
    assert layer in review.viewer.layers
    assert heard == []
    assert review.state.source == "blobs"


def test_an_open_list_is_not_emptied_by_a_heartbeat(review, qtbot):
    heat = find(review.dock, "heat")
    heat.model().rowsRemoved.connect(lambda *_: pytest.fail("the list was rebuilt"))
    review.state.progress = 0.5
    assert heat.count() == 3


def test_the_menu_finds_the_dock_of_the_command_line(qtbot):
    viewer, dock = open_window()
    try:
        _, again = viewer.window.add_plugin_dock_widget("napari-pgrd", TITLE)
        assert again is dock  # a second dock would work on the same layers
    finally:
        viewer.close()


def test_a_damaged_embedded_bundle_leaves_the_dock_usable(make_window, monkeypatch, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "bundle.json").write_text("{")
    monkeypatch.setattr("napari_pgrd.viewer.desk.embedded", lambda: [str(tmp_path / "bad")])
    viewer: napari.Viewer = make_window()
    dock = ReviewDock(viewer)
    viewer.window.add_dock_widget(dock)
    assert "valid JSON" in find(dock, "sentence").text()
    dock.desk.open_example()
    assert dock.desk.volume is not None
