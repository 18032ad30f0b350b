"""Open Sample: what stands beside a case whose readers part."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_pgrd.io.samples import sample_cases
from napari_pgrd.viewer import settings
from napari_pgrd.viewer.dock import ReviewDock
from tests.hands import choose_menu, click, find, pick, wait
from tests.tiny import make_tiny_bundle


@pytest.mark.parametrize("letter", ["A", "B", "C"])
def test_a_nodule_opens_with_the_outlines_of_four_radiologists(make_window, qtbot, letter):
    viewer = make_window()
    dock = ReviewDock(viewer)
    viewer.window.add_dock_widget(dock, name="PGRD Review", area="right")
    choose_menu(qtbot, viewer.window._qt_window, "File", "Open Sample", "PGRD", f"Lung nodule {letter}")
    wait(qtbot, lambda: len(viewer.layers) == 5)
    image, *opinions = viewer.layers
    case = next(c for c in sample_cases() if c.title.startswith(f"Lung nodule {letter}"))
    assert isinstance(image, Image) and dock.desk.image is image
    assert [layer.name for layer in opinions] == [f"Radiologist {j}" for j in range(1, 5)]
    assert viewer.dims.order == (0, 1, 2) and viewer.dims.ndisplay == 2
    colours = set()
    for layer, path in zip(opinions, case.labels, strict=True):
        assert isinstance(layer, Labels) and layer.contour == 1 and not layer.editable
        for key in ("scale", "translate", "units", "axis_labels"):
            np.testing.assert_array_equal(getattr(layer, key), getattr(image, key))
        assert layer.data.sum() == np.asarray(nib.load(path).dataobj).sum()
        colours.add(tuple(np.round(layer.get_color(1), 3)))
    assert len(colours) == 4
    # Each marks the voxels it should: those of the file, wherever the screen puts them.
    grey = np.asarray(nib.load(case.image).dataobj)
    for layer, path in zip(opinions, case.labels, strict=True):
        mask = np.asarray(nib.load(path).dataobj) > 0
        np.testing.assert_array_equal(np.sort(image.data[layer.data > 0]), np.sort(grey[mask]).astype(np.float32))
    assert not dock.desk.layers.of("correction")


@pytest.fixture
def models(monkeypatch, tmp_path):
    """Two models under the names that the samples ask for; the first is chosen at the start."""
    stack = {"dims": 2, "spacing": None, "normalisation": "unit"}
    labels = [
        {"value": 0, "name": "background", "colour": "#000000"},
        {"value": 1, "name": "nodule", "colour": "#FFE14D"},
    ]
    made = {
        "hippocampus-mri": make_tiny_bundle(tmp_path / "hippocampus-mri", name="hippocampus-mri"),
        "lung-nodule-ct": make_tiny_bundle(
            tmp_path / "lung-nodule-ct", 2, labels=labels, patch=(16, 16, 1), prepare=stack, name="lung-nodule-ct"
        ),
    }
    monkeypatch.setattr("napari_pgrd.viewer.desk.embedded", lambda: [str(folder) for folder in made.values()])
    return {name: str(folder) for name, folder in made.items()}


def test_a_sample_brings_its_model(models, make_window, qtbot):
    viewer = make_window()
    dock = ReviewDock(viewer)
    viewer.window.add_dock_widget(dock, name="PGRD Review", area="right")
    assert dock.desk.state.bundle == models["hippocampus-mri"]
    wait(qtbot, find(dock, "example").isVisible)
    click(dock, "example")
    assert dock.desk.state.bundle == models["hippocampus-mri"] and not find(dock, "sentence").isVisible()
    viewer.open_sample("napari-pgrd", "lung_a")
    assert dock.desk.state.bundle == models["lung-nodule-ct"] and dock.desk.spec.name == "lung-nodule-ct"
    assert "lung-nodule-ct was chosen" in find(dock, "sentence").text()
    assert find(dock, "bundle").currentText() == "lung-nodule-ct" and find(dock, "sample").isEnabled()
    dock.desk.state.samples = dock.desk.state.steps = 1
    click(dock, "sample")
    wait(qtbot, lambda: dock.desk.worker is None and dock.desk.layers.turns.waiting == 0)
    viewer.open_sample("napari-pgrd", "hippocampus_b")  # what was drawn stays until the reader goes on
    assert dock.desk.state.drawn == 1 and dock.desk.state.bundle == models["lung-nodule-ct"]
    assert "choose it as the image" in find(dock, "sentence").text()
    pick(dock, "source", "T1 hippocampus_352")
    assert dock.desk.state.bundle == models["hippocampus-mri"]
    wait(qtbot, lambda: bool(dock.saving.left))


def test_a_sample_that_is_open_already_keeps_its_model_whatever_was_used_last(models, make_window):
    settings.save(bundle=models["hippocampus-mri"])
    viewer = make_window()
    viewer.open_sample("napari-pgrd", "lung_b")
    dock = ReviewDock(viewer)
    viewer.window.add_dock_widget(dock, name="PGRD Review", area="right")
    assert dock.desk.state.bundle == models["lung-nodule-ct"]


def test_every_sample_names_the_model_it_is_for():
    assert {case.bundle for case in sample_cases()} == {"hippocampus-mri", "lung-nodule-ct"}
