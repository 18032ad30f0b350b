"""Open Sample: what stands beside a case whose readers part."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_pgrd.io.samples import sample_cases
from napari_pgrd.viewer.dock import ReviewDock
from tests.hands import choose_menu, wait


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
