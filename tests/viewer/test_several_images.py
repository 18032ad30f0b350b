"""Several images in one window: the one that is worked on is the one that is seen."""

from __future__ import annotations

import numpy as np
import pytest

from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.nifti import write_nifti
from napari_pgrd.session.display import taken_plane
from tests.hands import choose, click_tab, find, picture
from tests.tiny import blob_volume
from tests.viewer.conftest import AFFINE
from tests.viewer.test_sampling import run


def elsewhere(folder, name="far", scale=(0.5, 0.5, 0.5)):
    """Blobs of another patient, far away and small."""
    affine = AFFINE @ np.diag([*scale, 1.0])
    affine[:3, 3] += 300
    volume, _ = blob_volume(affine=affine, seed=2)
    return write_nifti(folder / f"{name}.nii.gz", volume.data[0], volume)


def span(viewer) -> float:
    """What the height of the canvas spans, in mm."""
    return float(viewer.canvas.size[0] / viewer.scene.camera.zoom)


def test_a_second_image_that_lies_elsewhere_comes_into_view(review, tmp_path):
    viewer, first = review.viewer, review.viewer.layers[0]
    before = span(viewer)
    review.desk.open(elsewhere(tmp_path))
    second = viewer.layers["far"]
    assert review.state.source == "far" and second.visible and not first.visible
    low, high = second.extent.world
    assert ((low < viewer.dims.point) & (viewer.dims.point < high)).all()
    assert viewer.layers[1].scale[0] < first.scale[0] and span(viewer) < 0.7 * before
    assert np.ptp(picture(viewer).astype(int)) > 100  # it is there to be seen
    click_tab(review.dock, "Review")
    for view in ("coronal", "axial"):
        review.dock.views.plane(view)
        assert span(viewer) < 0.7 * before  # not fitted to both
    click_tab(review.dock, "Sample")
    choose(review.dock, "source", "blobs")
    assert first.visible and not second.visible and span(viewer) > 0.9 * before
    low, high = first.extent.world
    assert ((low < viewer.dims.point) & (viewer.dims.point < high)).all()


def test_an_image_of_the_same_place_leaves_slice_and_zoom(review, tmp_path):
    viewer = review.viewer
    viewer.dims.set_current_step(2, 4)
    viewer.scene.camera.zoom = 7.5
    before = (viewer.dims.point, viewer.dims.order, viewer.scene.camera.zoom, tuple(viewer.scene.camera.center))
    volume, _ = blob_volume(affine=AFFINE, seed=5)
    review.desk.open(write_nifti(tmp_path / "t2.nii.gz", volume.data[0], volume))
    assert review.state.source == "t2" and not viewer.layers["blobs"].visible
    after = (viewer.dims.point, viewer.dims.order, viewer.scene.camera.zoom, tuple(viewer.scene.camera.center))
    assert after == before


def test_another_image_does_not_cover_samples(review, qtbot, tmp_path):
    run(review, qtbot)
    viewer = review.viewer
    view = (viewer.dims.point, viewer.scene.camera.zoom)
    review.desk.open(elsewhere(tmp_path, scale=(1, 1, 1)))
    assert review.state.source == "blobs" and review.state.drawn == 3
    assert viewer.layers["blobs"].visible and not viewer.layers["far"].visible
    assert (viewer.dims.point, viewer.scene.camera.zoom) == view
    assert "far was added, hidden" in find(review.dock, "sentence").text()
    review.desk.choose_source("far")
    assert viewer.layers["far"].visible and not viewer.layers["blobs"].visible


def test_an_image_that_is_seen_through_stays(review, tmp_path):
    volume, _ = blob_volume(affine=AFFINE, seed=5)
    review.viewer.layers["blobs"].opacity = 0.4
    review.desk.open(write_nifti(tmp_path / "t2.nii.gz", volume.data[0], volume))
    assert review.state.source == "t2" and review.viewer.layers["blobs"].visible


def test_what_the_model_does_not_take_is_shown_as_it_was_taken(make_window, qtbot, tmp_path):
    from napari_pgrd.viewer.dock import ReviewDock

    viewer = make_window()
    dock = ReviewDock(viewer)
    viewer.window.add_dock_widget(dock, area="right")
    ct = Volume(blob_volume(shape=(40, 36, 12))[0].data * 10 - 1000, np.diag([1.0, 1.0, 3.0, 1.0]))
    dock.desk.open(write_nifti(tmp_path / "ct.nii.gz", ct.data[0], ct))
    assert "look like CT numbers" in find(dock, "sentence").text()
    assert dock.desk.layers.plane() == "axial"
    assert "memory" not in dock.tabs.widget(0).widget().memory.text()  # of a run that cannot be


@pytest.mark.parametrize(
    ("spacing", "plane"),
    [((1, 1, 3), "axial"), ((3, 1, 1), "sagittal"), ((1, 3, 1), "coronal"), ((1, 1.1, 1), "axial")],
)
def test_slices_are_shown_as_they_were_taken(spacing, plane):
    volume = Volume(np.zeros((1, 5, 6, 7), np.float32), np.diag([*spacing, 1.0]))
    assert taken_plane(volume) == plane
