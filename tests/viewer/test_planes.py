"""The linked planes in a real window, by mouse."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QImage, QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QLabel, QTabBar

from napari_pgrd.viewer import settings
from tests.hands import Left, canvas_of, click, find, press, stroke, wait
from tests.viewer.test_sampling import run, settled


@pytest.fixture
def planes(review, qtbot):
    """The planes, turned on by their button; axial in the main window."""
    review.dock.tabs.setCurrentIndex(1)
    click(review.dock, "plane_axial")
    click(review.dock, "show_planes")
    wait(qtbot, lambda: review.dock.planes.on)
    return review.dock.planes


def on_screen(view, x: float, y: float) -> QPoint:
    return view.to_screen().map(QPointF(x, y)).toPoint()


def pixels(view) -> np.ndarray:
    image = view.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    raw = np.frombuffer(image.constBits().asarray(image.sizeInBytes()), np.uint8)
    rows = raw.reshape(image.height(), image.bytesPerLine())[:, : 3 * image.width()]
    return rows.reshape(image.height(), -1, 3).copy()  # the image and its memory end here


def wheel(view, notches: int) -> None:
    at, none = QPointF(view.rect().center()), Qt.KeyboardModifier.NoModifier
    event = QWheelEvent(
        at, QPointF(view.mapToGlobal(at.toPoint())), QPoint(), QPoint(0, 120 * notches),
        Qt.MouseButton.NoButton, none, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(view, event)


def test_off_at_first_and_one_button_turns_them_on_and_off(review, planes, qtbot):
    shown = {name for name, view in planes.views.items() if view.isVisible()}
    assert shown == {"sagittal", "coronal"}
    assert find(review.dock, "show_planes").isChecked()
    click(review.dock, "plane_sagittal")
    wait(qtbot, lambda: planes.views["axial"].isVisible() and not planes.views["sagittal"].isVisible())
    click(review.dock, "show_planes")
    wait(qtbot, lambda: not planes.on)
    assert not find(review.dock, "show_planes").isChecked()
    press(review.viewer, Qt.Key.Key_W)
    wait(qtbot, lambda: planes.on)
    assert find(review.dock, "show_planes").isChecked()


def test_the_window_of_a_small_screen_still_holds_everything(review, planes, qtbot):
    window = review.viewer.window._qt_window
    qtbot.wait(200)
    assert (window.width(), window.height()) == (1280, 800)
    for view in ("sagittal", "coronal"):
        assert min(planes.views[view].width(), planes.views[view].height()) >= 120
    assert canvas_of(review.viewer).height() > planes.views["sagittal"].height()
    assert review.dock.height() > 600  # they lie below the image, not below the dock


def test_a_click_takes_the_viewer_to_that_point(review, planes, qtbot):
    view = planes.views["coronal"]
    z, x = review.viewer.dims.range[0], review.viewer.dims.range[2]
    wanted = (z.start + 4 * z.step, x.start + 3 * x.step)
    QTest.mouseClick(view, Left, pos=on_screen(view, wanted[1], wanted[0]))
    wait(qtbot, lambda: review.viewer.dims.point[0] == pytest.approx(wanted[0], abs=z.step / 2))
    assert review.viewer.dims.point[2] == pytest.approx(wanted[1], abs=x.step / 2)
    other = planes.views["sagittal"]
    wait(qtbot, lambda: other.point == pytest.approx((review.viewer.dims.point[1], review.viewer.dims.point[0])))


def test_dragging_goes_on_and_a_click_beside_the_image_stays_inside(review, planes, qtbot):
    view = planes.views["sagittal"]
    start, end = on_screen(view, -20, 10), QPoint(view.width() - 1, view.height() - 1)
    QTest.mousePress(view, Left, pos=start)
    QTest.mouseMove(view, end)
    QTest.mouseRelease(view, Left, pos=end)
    ends = [r.stop for r in review.viewer.dims.range]
    wait(qtbot, lambda: review.viewer.dims.point[:2] == pytest.approx(ends[:2], abs=1.5))


def test_the_wheel_goes_through_the_slices_of_the_plane_under_it(review, planes, qtbot):
    before = review.viewer.dims.current_step
    wheel(planes.views["sagittal"], -2)  # towards the reader: on
    after = review.viewer.dims.current_step
    assert tuple(np.subtract(after, before)) == (0, 0, 2)
    wheel(planes.views["sagittal"], 1)
    assert review.viewer.dims.current_step[2] == before[2] + 1


def test_a_slice_of_the_main_window_moves_the_crosshairs_and_nothing_else(review, planes, qtbot):
    planes.draw()
    view = planes.views["coronal"]
    image, at = view._image, view.point
    review.viewer.dims.set_current_step(0, review.viewer.dims.current_step[0] + 3)
    wait(qtbot, lambda: view.point[1] == pytest.approx(review.viewer.dims.point[0]))
    assert view.point != at
    assert view._image is image  # its slice is the same, so it was not made again


def test_nothing_is_drawn_while_they_are_away(review, planes, qtbot):
    click(review.dock, "show_planes")
    wait(qtbot, lambda: not planes.on)
    drawn = dict(planes._drawn)
    review.viewer.dims.set_current_step(1, 2)
    qtbot.wait(100)
    assert planes._drawn == drawn
    click(review.dock, "show_planes")
    wait(qtbot, lambda: planes.views["sagittal"].point[0] == pytest.approx(review.viewer.dims.point[1]))


def test_what_is_painted_is_outlined_while_the_brush_is_down(review, planes, qtbot):
    run(review, qtbot)
    settled(review, qtbot)
    click(review.dock, "plane_axial")
    review.dock.corrections.add(np.zeros(review.desk.prediction.consensus.shape, np.uint8), "nothing")
    layer = review.dock.corrections.layer
    layer.brush_size = 7
    review.viewer.layers["Agreement"].visible = False
    view, canvas = planes.views["sagittal"], canvas_of(review.viewer)
    middle = canvas.rect().center()

    def cyan() -> int:
        rgb = pixels(view).astype(int)
        return int(((rgb[..., 2] > 180) & (rgb[..., 0] < 120)).sum())

    def drawn(outlined: bool) -> None:
        wait(qtbot, lambda: (len(view._outlines) > 0) == outlined and (cyan() > 0) == outlined)

    def brush_down() -> None:
        QTest.mouseMove(canvas, middle)
        QTest.mousePress(canvas, Left, pos=middle)
        wait(qtbot, lambda: bool(layer.data.any()))

    drawn(False)
    brush_down()
    QTest.mouseRelease(canvas, Left, pos=middle)
    # Where the stroke landed, and not where it was meant to: the middle of it is the slice to look at.
    wait(qtbot, lambda: not layer._block_history)
    x = int(np.median(np.nonzero(layer.data)[2]))
    press(review.viewer, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    wait(qtbot, lambda: not layer.data.any())
    review.viewer.dims.set_current_step(2, x)
    drawn(False)
    brush_down()
    assert layer.data[:, :, x].any()
    drawn(True)
    QTest.mouseRelease(canvas, Left, pos=middle)
    drawn(True)
    press(review.viewer, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    drawn(False)


def test_agreement_lines_are_shown_where_the_main_window_shows_them(review, planes, qtbot):
    run(review, qtbot)
    settled(review, qtbot)
    planes.draw()
    assert planes.views["sagittal"]._outlines or planes.views["coronal"]._outlines
    review.viewer.layers["Agreement"].visible = False
    wait(qtbot, lambda: not (planes.views["sagittal"]._outlines or planes.views["coronal"]._outlines), 10)


def test_letters_tell_where_a_voxel_of_the_patient_lies(make_window, qtbot, tmp_path):
    from napari_pgrd.viewer.dock import ReviewDock

    data = np.full((12, 14, 10), 10.0, np.float32)
    affine = np.diag([2.0, 1.0, 3.0, 1.0])  # RAS: indices grow to the right, the front and the top
    data[1:3, 11:13, 7:9] = 200  # left, anterior, superior
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "marked.nii.gz")
    viewer = make_window()
    dock = ReviewDock(viewer)
    viewer.window.add_dock_widget(dock, name="PGRD Review", area="right")
    dock.desk.open(tmp_path / "marked.nii.gz")
    viewer.dims.ndisplay = 3  # all three are shown
    dock.planes.toggle()
    marked = np.argwhere(np.asarray(viewer.layers[0].data) > 100).mean(0).round().astype(int)
    for axis, index in enumerate(marked):
        viewer.dims.set_current_step(axis, int(index))
    dock.planes.draw()
    for plane, (side, height) in {"axial": ("L", "A"), "coronal": ("L", "S"), "sagittal": ("A", "S")}.items():
        view = dock.planes.views[plane]
        wait(qtbot, view.isVisible)
        rgb = pixels(view)
        bright = np.argwhere(rgb[20:-24, 20:-20].min(-1) > 190) + 20  # without letters and scale bar
        assert len(bright) > 10
        row, column = np.median(bright, axis=0)
        letters = {"L": column > view.width() / 2, "A": row < view.height() / 2, "S": row < view.height() / 2}
        if plane == "sagittal":
            letters["A"] = column < view.width() / 2
        assert letters[side]
        assert letters[height]


def test_a_click_on_the_image_moves_them_and_a_drag_or_stroke_does_not(review, planes, qtbot):
    canvas = canvas_of(review.viewer)
    before = review.viewer.dims.point
    stroke(review.viewer, (0.4, 0.4), (0.6, 0.6))  # pans
    assert review.viewer.dims.point == before
    review.viewer.reset_view()
    at = QPoint(canvas.width() // 2 + 40, canvas.height() // 2 - 30)
    QTest.mouseMove(canvas, at)
    QTest.mouseClick(canvas, Left, pos=at)
    after = review.viewer.dims.point
    assert after[0] == before[0]
    assert after[1:] != before[1:]
    wait(qtbot, lambda: planes.views["sagittal"].point[0] == pytest.approx(after[1]))


def test_on_and_off_is_remembered_but_closing_the_window_is_not_off(review, planes, qtbot):
    assert settings.load().planes
    click(review.dock, "show_planes")
    wait(qtbot, lambda: not planes.on)
    assert not settings.load().planes
    click(review.dock, "show_planes")
    wait(qtbot, lambda: planes.on)
    review.viewer.close()
    assert settings.load().planes


def test_closing_the_dock_takes_the_planes_along(review, planes, qtbot):
    review.dock.close()
    QApplication.processEvents()
    assert "PGRD Planes" not in review.viewer.window._wrapped_dock_widgets
    review.viewer.dims.set_current_step(0, 2)  # nobody listens any more


def test_the_cross_of_their_dock_turns_them_off_and_the_button_on_again(review, planes, qtbot):
    planes.below.dock.destroyOnClose()
    wait(qtbot, lambda: not planes.on)
    assert not find(review.dock, "show_planes").isChecked()
    click(review.dock, "show_planes")
    wait(qtbot, lambda: planes.on)


def behind_another_tab(review, planes) -> None:
    other = review.viewer.window.add_dock_widget(QLabel("notes"), name="Notes", area="bottom")
    review.viewer.window._qt_window.tabifyDockWidget(planes.below.dock, other)
    QApplication.processEvents()
    for bar in review.viewer.window._qt_window.findChildren(QTabBar):
        names = [bar.tabText(i) for i in range(bar.count())]
        if "Notes" in names and bar.parent() is review.viewer.window._qt_window:
            QTest.mouseClick(bar, Left, pos=bar.tabRect(names.index("Notes")).center())


def floating_and_closed(review, planes) -> None:
    planes.below.dock.setFloating(True)
    QApplication.processEvents()
    assert planes.on and planes.widget.window() is not review.viewer.window._qt_window
    planes.below.dock.close()


WAYS = {
    "the dock's own hide": lambda review, planes: planes.below.dock.hide(),
    "the eye in its title": lambda review, planes: QTest.mouseClick(planes.below.dock.title.hide_button, Left),
    "the window's menu": lambda review, planes: planes.below.dock.toggleViewAction().trigger(),
    "the cross": lambda review, planes: planes.below.dock.destroyOnClose(),
    "taken off the window": lambda review, planes: review.viewer.window.remove_dock_widget(planes.below.dock),
    "another tab": behind_another_tab,
    "floating, then closed": floating_and_closed,
}


@pytest.mark.parametrize("way", WAYS)
def test_however_they_go_the_button_knows(review, planes, qtbot, way):
    button = find(review.dock, "show_planes")
    assert button.isChecked() and settings.load().planes
    WAYS[way](review, planes)
    wait(qtbot, lambda: not planes.on)
    wait(qtbot, lambda: not button.isChecked())
    assert not settings.load().planes
    click(review.dock, "show_planes")
    wait(qtbot, lambda: planes.on and button.isChecked())
    assert settings.load().planes
    assert planes.views["sagittal"].isVisible()


def test_a_window_that_is_put_away_for_a_while_keeps_them(review, planes, qtbot):
    window = review.viewer.window._qt_window
    window.hide()
    wait(qtbot, lambda: not planes.on)
    assert settings.load().planes
    window.show()
    wait(qtbot, lambda: planes.on)
    assert find(review.dock, "show_planes").isChecked()


def test_floating_planes_go_with_the_dock_even_when_hidden(review, planes, qtbot):
    floating_and_closed(review, planes)
    wait(qtbot, lambda: not planes.on)
    review.dock.close()
    QApplication.processEvents()
    assert "PGRD Planes" not in review.viewer.window._wrapped_dock_widgets
