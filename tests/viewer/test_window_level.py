"""Window and level by mouse and combo, in a real window."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_pgrd.session.window import preset_limits
from tests.hands import Left, canvas_of, choose, find
from tests.tiny import make_tiny_bundle
from tests.viewer.test_sampling import run

Middle, Right = Qt.MouseButton.MiddleButton, Qt.MouseButton.RightButton
Plain, Shift = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier


def drag(viewer, button, right: int, up: int, modifier=Plain) -> None:
    canvas = canvas_of(viewer)
    start = canvas.rect().center()
    QTest.mouseMove(canvas, start)
    QTest.mousePress(canvas, button, modifier, start)
    for part in (0.5, 1.0):
        # QTest.mouseMove carries no button, as a real move would: napari reads the buttons of the press.
        QTest.mouseMove(canvas, start + QPoint(round(right * part), round(-up * part)))
        QApplication.processEvents()
    QTest.mouseRelease(canvas, button, modifier, start + QPoint(right, -up))
    QApplication.processEvents()


def camera(viewer) -> tuple[float, ...]:
    return (viewer.scene.camera.zoom, *viewer.scene.camera.center)


@pytest.mark.parametrize(("button", "modifier"), [(Middle, Plain), (Right, Shift)])
def test_dragging_changes_window_and_level_and_nothing_else(review, button, modifier):
    image = review.viewer.layers[0]
    low, high = image.contrast_limits
    before = camera(review.viewer)
    drag(review.viewer, button, 60, 0, modifier)
    wide = image.contrast_limits
    assert wide[1] - wide[0] > (high - low) * 1.2
    assert sum(wide) == pytest.approx(low + high)
    drag(review.viewer, button, 0, 60, modifier)
    assert sum(image.contrast_limits) < sum(wide)  # brighter
    assert camera(review.viewer) == before
    assert find(review.dock, "window_level").currentText() == "by hand"


def test_napari_keeps_its_own_drags(review):
    image = review.viewer.layers[0]
    limits = tuple(image.contrast_limits)
    before = camera(review.viewer)
    drag(review.viewer, Left, 40, 20)
    panned = camera(review.viewer)
    assert panned != before
    drag(review.viewer, Right, 0, 40)
    assert camera(review.viewer)[0] != panned[0]  # zoomed
    assert tuple(image.contrast_limits) == limits


@pytest.mark.parametrize(("button", "modifier"), [(Middle, Plain), (Right, Shift)])
def test_no_stroke_is_painted_by_it(review, qtbot, button, modifier):
    run(review, qtbot)
    review.dock.corrections.start("consensus")
    layer = review.dock.corrections.layer
    assert layer.mode == "paint"
    before, limits = layer.data.copy(), tuple(review.viewer.layers[0].contrast_limits)
    drag(review.viewer, button, 80, 40, modifier)
    np.testing.assert_array_equal(layer.data, before)
    assert tuple(review.viewer.layers[0].contrast_limits) != limits
    assert not layer._undo_history


def test_a_double_click_of_the_middle_button_gives_the_usual_window_back(review):
    image = review.viewer.layers[0]
    usual = tuple(image.contrast_limits)
    drag(review.viewer, Middle, 60, 30)
    assert tuple(image.contrast_limits) != usual
    zoom = review.viewer.scene.camera.zoom
    QTest.mouseDClick(canvas_of(review.viewer), Middle)
    assert tuple(image.contrast_limits) == pytest.approx(usual)
    assert review.viewer.scene.camera.zoom == zoom
    assert find(review.dock, "window_level").currentText() == "1\u201399.5 %"


def test_presets_by_the_combo(review):
    review.dock.tabs.setCurrentIndex(1)
    image = review.viewer.layers[0]
    box = find(review.dock, "window_level")
    for text, preset in (("bright structures", "bright"), ("full range", "full"), ("dark structures", "dark")):
        choose(review.dock, "window_level", text)
        box.activated.emit(box.currentIndex())
        assert tuple(image.contrast_limits) == pytest.approx(preset_limits(np.asarray(image.data), preset))
        assert box.currentText() == text


def test_a_ct_model_offers_hounsfield_windows(review, tmp_path):
    ct = make_tiny_bundle(tmp_path / "ct", prepare={"spacing": None}, scope={"intensity": "ct"})
    review.desk.choose_bundle(str(ct))
    review.dock.tabs.setCurrentIndex(1)
    choose(review.dock, "window_level", "soft tissue 400/40")
    box = find(review.dock, "window_level")
    box.activated.emit(box.currentIndex())
    assert tuple(review.viewer.layers[0].contrast_limits) == (-160, 240)


def test_another_image_begins_with_its_own_window(review, image_file):
    drag(review.viewer, Middle, 60, 30)
    review.desk.open(image_file)
    box = find(review.dock, "window_level")
    assert box.currentText() == "1\u201399.5 %"
    first, second = review.viewer.layers[0], review.desk.image
    assert second is not first
    drag(review.viewer, Middle, 60, 0)
    assert tuple(second.contrast_limits) != tuple(first.contrast_limits)


def test_without_an_image_a_drag_is_napari_s(make_window):
    from napari_pgrd.viewer.dock import ReviewDock

    viewer = make_window()
    dock = ReviewDock(viewer)
    viewer.window.add_dock_widget(dock, name="PGRD Review", area="right")
    heard: list[str] = []
    events = viewer.window._qt_viewer.canvas._scene_canvas.events
    for kind in ("mouse_press", "mouse_move", "mouse_release"):
        getattr(events, kind).connect(lambda event: heard.append(event.type))
    drag(viewer, Middle, 30, 30)
    assert {"mouse_press", "mouse_move", "mouse_release"} <= set(heard)
    dock.desk.open_example()
    QApplication.processEvents()
    heard.clear()
    drag(viewer, Middle, 30, 30)  # with an image it is ours
    assert "mouse_press" not in heard and find(dock, "window_level").currentText() == "by hand"
