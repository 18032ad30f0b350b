"""A window with the dock, a tiny model and a synthetic image on disk."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from napari_pgrd.io.nifti import write_nifti
from napari_pgrd.viewer.dock import ReviewDock
from tests.tiny import blob_volume, make_tiny_bundle
from tests.windows import make_window

__all__ = ["make_window"]

AFFINE = np.array([[-1.0, 0, 0, 20], [0, 1.0, 0, -30], [0, 0, 1.5, 5], [0, 0, 0, 1]])  # LAS, anisotropic


@pytest.fixture
def image_file(tmp_path):
    """Blobs as NIfTI in another orientation than the model's."""
    volume, _ = blob_volume(affine=AFFINE)
    return write_nifti(tmp_path / "blobs.nii.gz", volume.data[0], volume)


@pytest.fixture
def tiny(tmp_path):
    """A bundle of random weights that segments blobs in seconds."""
    return make_tiny_bundle(tmp_path / "tiny", prepare={"spacing": None})


@pytest.fixture
def review(make_window, tiny, image_file):
    """An open window with image and model chosen, two steps and three samples."""
    viewer = make_window()
    dock = ReviewDock(viewer)
    viewer.window.add_dock_widget(dock, name="PGRD Review", area="right")
    dock.desk.choose_bundle(str(tiny))
    dock.desk.open(image_file)
    dock.desk.state.steps, dock.desk.state.samples = 2, 3
    return SimpleNamespace(viewer=viewer, dock=dock, desk=dock.desk, state=dock.desk.state, file=image_file)
