"""An image the model was not made for is met with a sentence, not with an answer."""

from __future__ import annotations

import numpy as np
import pytest

from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.nifti import write_nifti
from napari_pgrd.session.state import Phase
from napari_pgrd.viewer.dock import ReviewDock
from tests.hands import click, find, stroke, type_number, wait
from tests.tiny import blob_volume, make_tiny_bundle

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
    click(strict, "sample")
    assert strict.desk.worker is None  # refused
    assert "Tiny expects" in find(strict, "sentence").text()
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


def test_ct_numbers_are_refused(strict, tmp_path):
    volume, _ = blob_volume()
    ct = Volume(volume.data - 1000, volume.affine, name="ct")
    strict.desk.open(write_nifti(tmp_path / "ct.nii.gz", ct.data[0], ct))
    click(strict, "sample")
    assert "CT numbers" in find(strict, "sentence").text()
    assert strict.desk.state.phase is Phase.READY


def test_a_layer_without_geometry_is_refused(strict):
    strict.viewer.add_image(np.random.default_rng(0).random((18, 24, 20)), name="plain")
    click(strict, "sample")
    assert "orientation" in find(strict, "sentence").text()
    assert strict.desk.worker is None


def test_unknown_spacing_is_refused(strict, tmp_path):
    volume, _ = blob_volume()
    bare = Volume(volume.data, volume.affine, spacing_known=False)
    strict.desk.open(write_nifti(tmp_path / "bare.nii.gz", bare.data[0], bare))
    click(strict, "sample")
    assert "voxel size" in find(strict, "sentence").text()
