"""A reader's whole job with mouse and keys, in two halves: up to a crash, and from the next start to the export.

    xvfb-run -a -s "-screen 0 1280x800x24" python -m tests.e2e.reader_job FOLDER [PICTURES STEPS SAMPLES]

does the first half in a window of its own, keeps the correction as it then is in ``FOLDER/correction.npy``, says so by
``FOLDER/ready``, and stays open: whoever started it may kill it. ``docs/make_pictures.py stages`` does both halves and
keeps a picture of every stage.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QListWidget, QWidget

from tests.hands import (
    Left,
    canvas_of,
    choose_menu,
    click,
    click_tab,
    find,
    press,
    stroke,
    type_number,
    type_text,
    wait,
)

Picture = Callable[[str], None]
CONTROL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier


class Patience:
    """What :func:`tests.hands.wait` needs, where there is no pytest."""

    def waitUntil(self, condition: Callable[[], bool], timeout: int) -> None:
        """Let the window live until something is true."""
        until = time.monotonic() + timeout / 1000
        while not condition():
            assert time.monotonic() < until, "waited in vain"
            QApplication.processEvents()
            time.sleep(0.005)


def open_dock(viewer: napari.Viewer, qtbot: object) -> QWidget:
    """The dock, from napari's plugin menu."""
    window = viewer.window._qt_window
    choose_menu(qtbot, window, "Plugins", "PGRD Review")
    wait(qtbot, lambda: (w := window.findChild(QWidget, "pgrd_review")) is not None and w.isVisible(), 60)
    return find(window, "pgrd_review")


def on_canvas(viewer: napari.Viewer, world: np.ndarray) -> tuple[float, float]:
    """Where a point of the world lies on the canvas, as fractions of its width and height."""
    canvas, (row, column) = canvas_of(viewer), viewer.dims.displayed
    zoom, centre = viewer.camera.zoom, viewer.camera.center[-2:]
    x = 0.5 + (world[column] - centre[1]) * zoom / canvas.width()
    y = 0.5 + (world[row] - centre[0]) * zoom / canvas.height()
    return x, y


def wheel_to(viewer: napari.Viewer, index: int) -> None:
    """Another slice, by the slider's keys."""
    axis = viewer.dims.order[0]
    viewer.dims.last_used = axis
    while (now := viewer.dims.current_step[axis]) != index:
        press(viewer, Qt.Key.Key_Right if index > now else Qt.Key.Key_Left)


def drag_outline(viewer: napari.Viewer, dock: QWidget, outward: float) -> None:
    """Draw the outline of this slice, drag its topmost point up by ``outward`` mm, use it."""
    click(dock, "draw_outline")
    shapes = viewer.layers["Outline"]
    row = viewer.dims.displayed[0]
    ring = np.asarray(max(shapes.data, key=len))
    top = np.array(shapes.data_to_world(ring[ring[:, row].argmin()]))
    there = top.copy()
    there[row] -= outward
    (x0, y0), (x1, y1) = on_canvas(viewer, top), on_canvas(viewer, there)
    before = [np.array(r) for r in shapes.data]
    stroke(viewer, (x0, y0), (x1, y1), points=6)
    assert any(not np.array_equal(a, b) for a, b in zip(before, shapes.data, strict=True)), "no point was dragged"


def first_half(viewer: napari.Viewer, qtbot: object, picture: Picture, steps: int, samples: int) -> QWidget:
    """Open, sample, settle three places: an answer of the samples, outlines interpolated, a lock and new samples."""
    dock = open_dock(viewer, qtbot)
    click(dock, "example")
    picture("1-opened")
    type_number(dock, "steps", steps)
    type_number(dock, "samples", samples)
    click(dock, "sample")
    wait(qtbot, lambda: f"{samples} samples" in find(dock, "headline").text(), 600)
    places = find(dock, "places")
    assert isinstance(places, QListWidget)
    wait(qtbot, lambda: places.count() >= 3 and places.isVisible(), 60)
    picture("2-sampled")

    # The first place that has another answer: take it, settle.
    press(viewer, Qt.Key.Key_Period)
    while not find(dock, "answer_1").isVisible():
        press(viewer, Qt.Key.Key_Period)
    press(viewer, Qt.Key.Key_K)
    correction = viewer.layers["Correction"]
    consensus = viewer.layers["Consensus"].data
    assert (correction.data != consensus).any(), "the answer changed nothing"
    picture("3-answer")
    press(viewer, Qt.Key.Key_N)

    # Another place: two outlines three slices apart, and what lies between them.
    click_tab(dock, "Correct")
    axis = viewer.dims.order[0]
    middle = viewer.dims.current_step[axis]
    before = np.array(correction.data)
    for index in (middle - 1, middle + 2):
        wheel_to(viewer, index)
        drag_outline(viewer, dock, 3.0)
        picture(f"4-outline-{'first' if index < middle else 'second'}")
        click(dock, "use_outline")
    click(dock, "interpolate")
    others = tuple({0, 1, 2} - {axis})
    changed = np.flatnonzero((correction.data != before).any(others))
    assert {middle - 1, middle + 2} <= set(changed), (middle, changed)
    assert {middle, middle + 1} & set(changed), (middle, changed)
    picture("5-interpolated")
    press(viewer, Qt.Key.Key_N)

    # Undo and redo reach back over plugin operations and strokes alike.
    now = np.array(correction.data)
    for _ in range(3):
        press(viewer, Qt.Key.Key_Z, CONTROL)
    np.testing.assert_array_equal(correction.data, before)
    for _ in range(3):
        press(viewer, Qt.Key.Key_Z, CONTROL, SHIFT)
    np.testing.assert_array_equal(correction.data, now)

    # A third: paint, keep that, draw the rest again, look, accept.
    viewer.layers.selection.active = correction
    correction.mode = "paint"
    stroke(viewer, (0.48, 0.4), (0.53, 0.4))
    painted = np.array(correction.data)
    assert (painted != now).any()
    click(dock, "sample_again")
    wait(qtbot, lambda: find(dock, "accept_resampling").isVisible(), 600)
    np.testing.assert_array_equal(correction.data, painted)  # nothing changes before the reader accepts
    assert "Would move" in viewer.layers
    picture("6-drawn-again")
    click(dock, "accept_resampling")
    locked = painted != consensus
    np.testing.assert_array_equal(correction.data[locked], painted[locked])
    wait(qtbot, lambda: places.count() >= 1, 60)
    click_tab(dock, "Review")
    press(viewer, Qt.Key.Key_Period)
    press(viewer, Qt.Key.Key_N)
    picture("7-accepted")
    return dock


def second_half(viewer: napari.Viewer, qtbot: object, picture: Picture, kept: np.ndarray, out: Path) -> QWidget:
    """The next start: resume, see the same, export, see what was written."""
    dock = open_dock(viewer, qtbot)
    wait(qtbot, lambda: find(dock, "resume").isVisible(), 60)
    picture("8-offered")
    click(dock, "example")
    click(dock, "resume")
    wait(qtbot, lambda: "Correction" in viewer.layers and bool(find(dock, "headline").text()), 120)
    np.testing.assert_array_equal(viewer.layers["Correction"].data, kept)
    picture("9-resumed")
    click_tab(dock, "Export")
    type_text(dock, "folder", str(out))
    wait(qtbot, lambda: find(dock, "export").isEnabled(), 60)  # it waits for the places, whose states it writes
    click(dock, "export")
    wait(qtbot, lambda: str(out) in find(dock, "export_done").text(), 240)
    picture("10-exported")
    return dock


def photographer(viewer: napari.Viewer, folder: Path) -> Picture:
    """Keeps the window as it is, as JPEG: a page of pictures should not weigh more than the program."""

    def picture(name: str) -> None:
        until = time.monotonic() + 2
        while time.monotonic() < until:
            QApplication.processEvents()
        viewer.window._qt_window.grab().save(str(folder / f"{name}.jpg"), quality=88)

    return picture


def _none(name: str) -> None:
    """No picture."""


def main() -> None:
    """The first half, then wait for the end."""
    folder = Path(sys.argv[1])
    pictures, steps, samples = sys.argv[2:5] or ("", "2", "4")
    viewer = napari.Viewer()
    viewer.window._qt_window.resize(1280, 800)
    patience = Patience()
    wait(patience, viewer.window._qt_window.isVisible, 60)
    QTest.mouseClick(canvas_of(viewer), Left, pos=QPoint(5, 5))
    first_half(viewer, patience, photographer(viewer, Path(pictures)) if pictures else _none, int(steps), int(samples))
    rest = time.monotonic() + 2  # strokes are on disk at once, states of places and the view within a second
    wait(patience, lambda: time.monotonic() > rest, 60)
    np.save(folder / "correction.npy", viewer.layers["Correction"].data)
    (folder / "ready").touch()
    napari.run()


if __name__ == "__main__":
    main()
