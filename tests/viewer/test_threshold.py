"""Another threshold: dragged, looked at, told in mL, and written only when asked."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QStyle, QStyleOptionSlider
from skimage.measure import find_contours

from tests.hands import Left, click, click_tab, find, press, stroke, wait
from tests.viewer.test_sampling import run, settled

Key = Qt.Key
SIZE = 0.0015  # mL of a voxel of the image


def by_hand(review, level: float) -> np.ndarray:
    """Label values ``(x, y, z)``, voxel by voxel as the words say it; values and indices of this bundle are equal."""
    p = review.desk.prediction.probability
    inside = p[1] + p[2] >= level - 1e-6
    return np.where(inside, np.where(p[1] >= p[2], 1, 2), 0).astype(np.uint8)


def outline(review):
    return next((x for x in review.viewer.layers if x.name == "Threshold"), None)


def looked_at(review, qtbot, level: float) -> np.ndarray:
    """Wait until a level is on the screen; its mask ``(z, y, x)``."""
    wanted = review.desk.layers.display.show(by_hand(review, level))
    wait(qtbot, lambda: (x := review.desk.layers.preview) is not None and np.array_equal(x, wanted))
    wait(qtbot, lambda: outline(review) is not None and review.desk.layers.turns.waiting == 0)
    return wanted


def drag(slider, steps: int) -> None:
    """Pull the handle of a slider with the mouse."""
    option = QStyleOptionSlider()
    slider.initStyleOption(option)
    handle = slider.style().subControlRect(
        QStyle.ComplexControl.CC_Slider, option, QStyle.SubControl.SC_SliderHandle, slider
    )
    room = slider.width() - handle.width()
    at, pitch = handle.center(), room / (slider.maximum() - slider.minimum())
    QTest.mousePress(slider, Left, pos=at)
    for part in np.linspace(0, steps * pitch, 6)[1:]:
        QTest.mouseMove(slider, at + QPoint(round(part), 0))
        QApplication.processEvents()
    QTest.mouseRelease(slider, Left, pos=at + QPoint(round(steps * pitch), 0))


def type_level(dock, text: str) -> None:
    spin = find(dock, "threshold")
    edit = spin.lineEdit()
    edit.selectAll()
    QTest.keyClicks(edit, text)
    QTest.keyClick(spin, Key.Key_Return)


def test_a_drag_shows_an_outline_and_changes_nothing(review, qtbot):
    viewer, dock = review.viewer, review.dock
    run(review, qtbot)
    click_tab(dock, "Review")
    assert not find(dock, "apply_threshold").isVisible() and outline(review) is None  # off until it is asked for
    dock.corrections.start("sample 2")
    correction = viewer.layers.selection.active
    held, mode = correction.data.copy(), correction.mode
    drag(find(dock, "threshold_slider"), -6)
    level = find(dock, "threshold").value()
    assert 0.05 <= level < 0.5
    wanted = looked_at(review, qtbot, level)
    assert viewer.layers.index(outline(review)) > viewer.layers.index(viewer.layers["Consensus"])
    axis, index = dock.desk.layers.current_slice()
    lines = outline(review).data
    assert (lines[:, 0, axis] == index).all() and (lines[:, 1, axis] == 0).all()
    plane = np.pad(np.take(wanted, index, axis), 1)
    theirs = [path for k in (1, 2) for path in find_contours((plane == k).astype(float), 0.5)]
    length = sum(np.linalg.norm(np.diff(path, axis=0), axis=1).sum() for path in theirs)
    assert length > 10
    assert np.linalg.norm(lines[:, 1], axis=1).sum() == pytest.approx(length, rel=1e-4)
    before = lines.copy()
    viewer.dims.set_current_step(axis, viewer.dims.current_step[axis] + 2)
    wait(qtbot, lambda: (outline(review).data[:, 0, axis] == index + 2).all())
    assert before.shape != outline(review).data.shape or not np.array_equal(before, outline(review).data)
    assert viewer.layers.selection.active is correction and correction.mode == mode
    np.testing.assert_array_equal(correction.data, held)
    names = [x.name for x in viewer.layers]
    click(dock, "threshold_off")
    assert [x.name for x in viewer.layers] == [name for name in names if name != "Threshold"]
    assert viewer.layers.selection.active is correction and correction.mode == mode
    np.testing.assert_array_equal(correction.data, held)
    assert not correction._undo_history
    assert find(dock, "threshold").value() == 0.5
    assert not find(dock, "apply_threshold").isVisible() and not find(dock, "threshold_sentence").isVisible()


def test_what_it_would_change_is_told_in_ml_of_each_label(review, qtbot):
    run(review, qtbot)
    click_tab(review.dock, "Review")
    dock, consensus = review.dock, review.desk.prediction.consensus
    type_level(dock, "0.3")
    mask = looked_at(review, qtbot, 0.3)
    after = by_hand(review, 0.3)
    gains = [((after == k).sum() - (consensus == k).sum()) * SIZE for k in (1, 2)]
    assert max(gains) > 0.005
    told = (
        f"anterior {gains[0]:+.2f} mL, posterior {gains[1]:+.2f} mL; "
        f"{(after != consensus).sum() * SIZE:.2f} mL of the consensus would change."
    )
    assert find(dock, "threshold_sentence").text() == told
    axis, index = dock.desk.layers.current_slice()
    review.viewer.dims.set_current_step(axis, review.viewer.dims.current_step[axis] - 2)
    wait(qtbot, lambda: (outline(review).data[:, 0, axis] == index - 2).all())
    dock.corrections.start("consensus")
    layer = dock.corrections.layer
    wait(qtbot, lambda: "of the correction would" in find(dock, "threshold_sentence").text())
    where = np.nonzero(mask == 1)
    layer.data_setitem(tuple(w[:400] for w in where), 0)
    lost = ((mask == 1).sum() - (layer.data == 1).sum()) * SIZE
    wait(qtbot, lambda: f"anterior {lost:+.2f} mL" in find(dock, "threshold_sentence").text())


def test_apply_is_one_step_and_begins_a_correction_if_there_is_none(review, qtbot):
    viewer, dock = review.viewer, review.dock
    run(review, qtbot)
    click_tab(dock, "Review")
    consensus = review.desk.prediction.consensus
    slider = find(dock, "threshold_slider")
    slider.setFocus()
    for _ in range(6):
        QTest.keyClick(slider, Key.Key_Right)
    looked_at(review, qtbot, 0.8)
    assert dock.corrections.layer is None
    click(dock, "apply_threshold")
    layer = dock.corrections.layer
    np.testing.assert_array_equal(dock.corrections.values(), by_hand(review, 0.8))
    assert len(layer._undo_history) == 1
    assert outline(review) is None and not find(dock, "apply_threshold").isVisible()
    changed = int((by_hand(review, 0.8) != consensus).sum())
    assert changed and f"{changed} voxels changed" in find(dock, "threshold_sentence").text()
    press(viewer, Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    np.testing.assert_array_equal(dock.corrections.values(), consensus)
    stroke(viewer, (0.45, 0.45), (0.55, 0.5))
    painted = dock.corrections.values()
    assert (painted != consensus).any()
    type_level(dock, "0.25")
    looked_at(review, qtbot, 0.25)
    np.testing.assert_array_equal(dock.corrections.values(), painted)
    click(dock, "apply_threshold")
    assert dock.corrections.layer is layer
    np.testing.assert_array_equal(dock.corrections.values(), by_hand(review, 0.25))
    kinds = [(e.kind, e.name) for e in dock.saving._watched[layer].log.entries]
    assert ("operation", "threshold 0.80") in kinds and kinds[-1] == ("operation", "threshold 0.25")
    press(viewer, Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    np.testing.assert_array_equal(dock.corrections.values(), painted)


def test_the_preview_goes_with_its_samples_or_by_the_readers_hand(review, qtbot):
    viewer, dock = review.viewer, review.dock
    review.state.box = ((1, 19), (2, 22), (1, 17))
    run(review, qtbot)
    click_tab(dock, "Review")
    type_level(dock, "0.4")
    mask = looked_at(review, qtbot, 0.4)
    assert mask.shape == (16, 20, 18)
    np.testing.assert_allclose(outline(review).translate, viewer.layers["Consensus"].translate)
    viewer.layers.remove("Threshold")
    assert find(dock, "threshold").value() == 0.5 and not find(dock, "apply_threshold").isVisible()
    type_level(dock, "0.35")
    looked_at(review, qtbot, 0.35)
    review.state.seed = 4
    run(review, qtbot)
    assert outline(review) is None and review.desk.layers.preview is None
    assert find(dock, "threshold").value() == 0.5
    click_tab(dock, "Review")
    type_level(dock, "0.35")  # and it works again
    looked_at(review, qtbot, 0.35)
    click(dock, "apply_threshold")
    assert "written" in find(dock, "threshold_sentence").text()
    viewer.layers.remove("blobs")
    assert [x.name for x in viewer.layers] == ["Correction"] and not find(dock, "threshold_sentence").text()
    settled(review, qtbot)


def test_the_wheel_that_scrolls_the_tab_turns_no_threshold(review, qtbot):
    run(review, qtbot)
    click_tab(review.dock, "Review")
    find(review.dock, "show_lines").setFocus()
    none = Qt.KeyboardModifier.NoModifier
    for name in ("threshold", "threshold_slider"):
        widget = find(review.dock, name)
        at = QPointF(widget.rect().center())
        event = QWheelEvent(
            at, QPointF(widget.mapToGlobal(at.toPoint())), QPoint(), QPoint(0, 120),
            Qt.MouseButton.NoButton, none, Qt.ScrollPhase.NoScrollPhase, False,
        )  # fmt: skip
        QApplication.sendEvent(widget, event)
        assert find(review.dock, "threshold").value() == 0.5
    assert not review.dock.threshold.on


def test_the_small_planes_show_its_outline_too(review, qtbot):
    run(review, qtbot)
    click_tab(review.dock, "Review")
    click(review.dock, "show_planes")
    view = next(v for v in review.dock.planes.views.values() if v.isVisible())
    before = len(view._outlines)
    type_level(review.dock, "0.3")
    looked_at(review, qtbot, 0.3)
    wait(qtbot, lambda: len(view._outlines) > before)
    assert any(pen.color().name() == "#ffffff" for pen, _ in view._outlines)
    click(review.dock, "threshold_off")
    wait(qtbot, lambda: len(view._outlines) == before)
