"""A model that reads several channels: layers found by name, joined, foretold, sampled through windows."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtWidgets import QCheckBox, QComboBox, QPushButton

from napari_pgrd.io.nifti import write_nifti
from napari_pgrd.session.state import Phase
from napari_pgrd.viewer.channels_panel import ChannelsPanel
from napari_pgrd.viewer.dock import ReviewDock
from napari_pgrd.viewer.sample_panel import SamplePanel
from tests.hands import wait
from tests.tiny import blob_volume, make_tiny_bundle
from tests.windows import make_window

__all__ = ["make_window"]
NAMED = ("FLAIR", "T1", "T2")


@pytest.fixture
def dock(make_window, tmp_path):
    """A window with a model of three channels and their files as layers, in another order."""
    bundle = make_tiny_bundle(tmp_path / "three", channels=3, named=NAMED, prepare={"window": (16, 16, 16)})
    volume, _ = blob_volume((32, 24, 16), channels=3)
    viewer = make_window()
    dock = ReviewDock(viewer)
    viewer.window.add_dock_widget(dock, name="PGRD Review", area="right")
    dock.desk.choose_bundle(str(bundle))
    for c in (2, 0, 1):
        path = tmp_path / f"p1_{NAMED[c].lower()}.nii.gz"
        grid = volume if c != 1 else volume.crop(((2, 32), (0, 24), (0, 16)))
        dock.desk.open(write_nifti(path, grid.data[c] + 10 * c, grid))
    return dock


def test_channels_are_chosen_by_name_joined_foretold_and_sampled(dock, qtbot):
    desk, panel = dock.desk, dock.findChild(ChannelsPanel)
    sample = dock.findChild(SamplePanel)
    assert panel.isVisible()
    shown = [panel.findChild(QComboBox, f"channel_{c}").currentText() for c in range(3)]
    assert shown == ["p1_flair", "p1_t1", "p1_t2"]
    join = panel.findChild(QPushButton, "join_channels")
    join.click()
    assert "T1 has another grid" in desk.state.sentence
    panel.findChild(QCheckBox, "resample_channels").setChecked(True)
    join.click()
    assert desk.state.source == "p1_flair + p1_t1 + p1_t2"
    assert desk.volume.data.shape == (3, 32, 24, 16)
    np.testing.assert_allclose(desk.volume.data[1, 4:30].mean(), desk.volume.data[0, 4:30].mean() + 10, atol=1)
    assert panel.isHidden()
    wait(qtbot, lambda: "foretold by one of them" in sample.memory.text())
    desk.state.steps, desk.state.samples = 1, 2
    assert sample.memory.text().startswith("Takes about ")
    desk.sample()
    wait(qtbot, lambda: desk.worker is None and desk.layers.turns.waiting == 0)
    assert desk.state.phase is Phase.REVIEWING, desk.state.sentence
    assert desk.prediction.samples == 2
    assert dock.desk.viewer.layers["Sample 01"].data.shape == (16, 24, 32)


def test_a_reader_can_name_the_layers_otherwise(dock):
    panel = dock.findChild(ChannelsPanel)
    chooser = panel.findChild(QComboBox, "channel_0")
    chooser.setCurrentIndex(chooser.findData("p1_t2"))
    chooser.activated.emit(chooser.currentIndex())
    shown = [panel.findChild(QComboBox, f"channel_{c}").currentText() for c in range(3)]
    assert shown == ["p1_t2", "p1_t1", "p1_flair"], "what is left takes what no name claims any more"
