"""What was done in the window stands in what is exported."""

from __future__ import annotations

import json

import numpy as np
from qtpy.QtCore import Qt

from napari_pgrd.session.correction import replay
from tests.hands import click, click_tab, find, press, stroke, type_text, wait
from tests.viewer.test_sampling import run


def test_the_export_tells_the_review(review, qtbot, tmp_path):
    run(review, qtbot)
    dock, viewer = review.dock, review.viewer
    wait(qtbot, lambda: dock.places.worker is None and bool(dock.places.places.items))
    dock.corrections.start("consensus")
    dock.corrections.layer.preserve_labels = False
    stroke(viewer, (0.45, 0.45), (0.55, 0.5))
    press(viewer, Qt.Key.Key_Period)
    press(viewer, Qt.Key.Key_N)
    click_tab(dock, "Export")
    type_text(dock, "initials", "AB")
    find(dock, "initials").editingFinished.emit()
    type_text(dock, "folder", str(tmp_path / "out"))
    click(dock, "export")
    wait(qtbot, lambda: review.state.exported != "")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    place = dock.places.places.items[0]
    assert "AB" in page and "1 of" in page and place.name.split(",")[0].casefold() in page.casefold()
    record = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))["review"]
    assert record["initials"] == "AB" and record["edits"]["stroke"] == 1
    assert record["places"][0]["state"] == dock.places.places.states[place.id].value
    assert record["slices_seen"][1] > 0
    assert np.array_equal(replay(tmp_path / "out" / "edits.log"), dock.corrections.values())
    assert "blobs" not in page  # the file's name
