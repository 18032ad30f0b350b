"""What was done in the window stands in what is exported."""

from __future__ import annotations

import json
from itertools import count

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication

from napari_pgrd.session.correction import replay
from napari_pgrd.session.phases import RULE
from tests.hands import click, click_tab, find, press, stroke, type_text, wait
from tests.viewer.test_sampling import run


def test_the_export_tells_the_review(review, qtbot, tmp_path):
    dock, viewer = review.dock, review.viewer
    moments = count(1000)
    dock.attention.now = lambda: float(next(moments))
    viewer.window._qt_window.activateWindow()
    wait(qtbot, lambda: QGuiApplication.focusWindow() is viewer.window._qt_window.windowHandle(), 20)
    run(review, qtbot)
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
    assert {"sampling", "sample", "review"} <= set(record["seconds"]) and min(record["seconds"].values()) > 0
    assert record["seconds_rule"] == RULE and "Review " in page and "pauses of 3 min or more left out" in page
    assert np.array_equal(replay(tmp_path / "out" / "edits.log"), dock.corrections.values())
    assert "blobs" not in page  # the file's name
