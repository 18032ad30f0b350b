"""The whole job in a real window with mouse and keys alone; the file is checked with nibabel alone."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QWidget

from tests.hands import (
    choose,
    choose_menu,
    click,
    click_tab,
    find,
    picture,
    press,
    stroke,
    type_number,
    type_text,
    wait,
)

EXAMPLE = Path(__file__).resolve().parents[2] / "sample_data/hippocampus/images/hippocampus_375.nii.gz"


def labels_text(dock) -> str:
    return " ".join(label.text() for label in dock.findChildren(QLabel) if label.isVisible())


def test_image_to_export(make_window, qtbot, tmp_path):
    viewer = make_window()
    window = viewer.window._qt_window

    # A reader finds the dock in the plugin menu and opens the example.
    choose_menu(qtbot, window, "Plugins", "PGRD Review")
    wait(qtbot, lambda: (w := window.findChild(QWidget, "pgrd_review")) is not None and w.isVisible(), 30)
    dock = find(window, "pgrd_review")
    assert "not a medical device" in labels_text(dock)
    click(dock, "example")
    assert len(viewer.layers) == 1
    image = viewer.layers[0]
    assert viewer.dims.order == (2, 0, 1)  # sagittal, as the bundle wants it
    assert np.ptp(picture(viewer).astype(int)) > 100  # not a black canvas

    # Samples.
    type_number(dock, "steps", 2)
    type_number(dock, "samples", 2)
    click(dock, "sample")
    wait(qtbot, lambda: "2 samples" in find(dock, "headline").text(), 240)
    wait(qtbot, lambda: "Sample 02" in viewer.layers and "Agreement" in viewer.layers)
    wait(qtbot, lambda: not viewer.layers["Sample 02"].visible)
    assert [x.name for x in viewer.layers] == [
        image.name, "Sample 01", "Sample 02", "Prior", "Variance", "Entropy", "Consensus", "Agreement",
    ]  # fmt: skip
    for layer in viewer.layers:
        np.testing.assert_allclose(layer.scale, image.scale)
        np.testing.assert_allclose(layer.translate, image.translate)
        assert layer.units == image.units
        assert layer.axis_labels == image.axis_labels
    assert viewer.layers.selection.active is image  # nothing was stolen
    assert "mL" in find(dock, "volumes").text()

    # More samples: the first two stay what they were.
    first = viewer.layers["Sample 01"].data.copy()
    click_tab(dock, "Sample")
    type_number(dock, "samples", 3)
    assert "1 more" in find(dock, "sample").text()
    click(dock, "sample")
    wait(qtbot, lambda: "3 samples" in find(dock, "headline").text(), 240)
    wait(qtbot, lambda: "Sample 03" in viewer.layers)
    np.testing.assert_array_equal(viewer.layers["Sample 01"].data, first)

    # Review: step by key, heat by the box.
    press(viewer, Qt.Key.Key_H)
    assert viewer.layers["Sample 01"].visible
    press(viewer, Qt.Key.Key_G)
    assert not viewer.layers["Sample 01"].visible
    choose(dock, "heat", "entropy")
    assert viewer.layers["Entropy"].visible
    choose(dock, "heat", "off")
    assert not viewer.layers["Entropy"].visible

    # Correct on a copy, with the brush; undo and redo.
    consensus = viewer.layers["Consensus"].data.copy()
    click(dock, "onward")
    correction = viewer.layers.selection.active
    assert correction.name == "Correction"
    np.testing.assert_array_equal(correction.data, consensus)
    stroke(viewer, (0.45, 0.3), (0.55, 0.35))
    painted = correction.data.copy()
    assert (painted != consensus).sum() > 10
    np.testing.assert_array_equal(viewer.layers["Consensus"].data, consensus)
    press(viewer, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    np.testing.assert_array_equal(correction.data, consensus)
    press(viewer, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier)
    np.testing.assert_array_equal(correction.data, painted)

    # Export where the reader says.
    out = tmp_path / "exported here"
    click_tab(dock, "Export")
    type_text(dock, "folder", str(out))
    click(dock, "export")
    wait(qtbot, lambda: str(out) in find(dock, "export_done").text(), 60)
    click(dock, "show_export")
    wait(qtbot, lambda: any(x.name.startswith("Exported") for x in viewer.layers))
    shown = next(x for x in viewer.layers if x.name.startswith("Exported"))
    np.testing.assert_array_equal(shown.data, painted)
    np.testing.assert_allclose(shown.translate, image.translate)

    # The files, with nibabel alone.
    source = nib.load(EXAMPLE)
    files = {name: nib.load(out / f"{name}.nii.gz") for name in ("segmentation", "corrected", "samples", "probability")}
    for file in files.values():
        assert file.shape[:3] == source.shape
        np.testing.assert_array_equal(file.affine, source.affine)
    before, after = (np.asarray(files[n].dataobj) for n in ("segmentation", "corrected"))
    assert before.dtype == np.uint8
    assert (before != after).sum() == (painted != consensus).sum()
    assert set(np.unique(after)) <= {0, 1, 2}
    assert files["samples"].shape[3] == 3
    np.testing.assert_allclose(np.asarray(files["probability"].dataobj).sum(-1), 1, atol=1e-4)
    # The stroke lies where it was painted: the display's middle third, upper half, of this very sagittal slice.
    x, _y, z = np.argwhere(before != after).mean(0)
    nx, _ny, nz = source.shape
    assert abs(x - nx / 2) < 3
    assert z > nz / 2
    rows = list(csv.DictReader((out / "volumes.csv").open(encoding="utf-8")))
    assert {r["sample"] for r in rows} >= {"consensus"}
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert "research use" in json.dumps(manifest)
    assert "hippocampus_" not in json.dumps(manifest)  # no name of the case
