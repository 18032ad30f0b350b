"""Compare with truth: layers that are ticked, numbers of this very case, and when they go."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_pgrd.evaluate.case import compare_case
from napari_pgrd.io.nifti import read_volume
from tests.hands import click, click_tab, find, wait
from tests.viewer.test_sampling import run


@pytest.fixture
def truths(image_file) -> np.ndarray:
    """What three raters marked, ``(3, x, y, z)``; the third nothing."""
    out = np.zeros((3, *read_volume(image_file).shape), np.uint8)
    out[0, 6:13, 5:11, 5:12], out[0, 6:13, 13:19, 5:12] = 1, 2
    out[1, 8:13, 5:11, 5:12], out[1, 6:15, 13:19, 5:12] = 1, 2
    return out


@pytest.fixture
def open_section(review, qtbot):
    """Samples drawn, the section open."""
    run(review, qtbot)
    click_tab(review.dock, "Review")
    section = find(review.dock, "truth_toggle")
    assert not find(review.dock, "truth_layers").isVisible()
    show(review, section)
    click(review.dock, "truth_toggle")
    return review


def show(review, widget) -> None:
    """Scroll to a widget, as a reader would."""
    review.dock.tabs.currentWidget().ensureWidgetVisible(widget)
    QApplication.processEvents()


def add(review, values: np.ndarray, name: str, **options) -> Labels:
    """A label map of the reader's own, as a layer over the image."""
    display = review.desk.layers.display
    layer = Labels(np.array(display.show(values)), name=name, visible=False, **{**display.layer, **options})
    return review.viewer.add_layer(layer)


def tick(review, *names: str) -> None:
    """Click the boxes of these layers."""
    rows = find(review.dock, "truth_layers")
    for name in names:
        show(review, rows)
        item = next(rows.item(i) for i in range(rows.count()) if rows.item(i).text() == name)
        rows.scrollToItem(item)
        box = rows.visualItemRect(item)
        before = item.checkState()
        QTest.mouseClick(rows.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(box.left() + 10, box.center().y()))
        item = next(rows.item(i) for i in range(rows.count()) if rows.item(i).text() == name)
        assert item.checkState() != before


def compare(review, qtbot) -> None:
    show(review, find(review.dock, "compare_truth"))
    click(review.dock, "compare_truth")
    wait(qtbot, lambda: not review.dock.truths.busy)


def said(review) -> str:
    return find(review.dock, "truth_sentence").text()


def test_numbers_are_those_of_the_ticked_raters(open_section, truths, qtbot):
    review = open_section
    assert not find(review.dock, "compare_truth").isEnabled()
    for i, values in enumerate(truths):
        add(review, values, f"rater {i + 1}")
    tick(review, "rater 1")
    compare(review, qtbot)
    expected = compare_case(review.desk.prediction, truths[:1], review.desk.spec)
    text = find(review.dock, "truth_numbers").text()
    assert "3 samples against one truth" in text and f"{expected.dice['anterior']:.4f}" in text
    assert f"{expected.numbers['ged2']:.4f}" in text and "diversity of raters" not in text
    assert text.index("Dice, anterior") < text.index("NLL") < text.index("GED")
    view = find(review.dock, "truth_reliability")
    assert view.isVisible() and len(view.points()) == (expected.reliability_roi.count >= 20).sum() > 0
    grabbed = view.grab().toImage()
    inks = {grabbed.pixelColor(x, y).name() for x in range(grabbed.width()) for y in range(grabbed.height())}
    assert len(inks) > 3  # ground, frame, line and what lies between

    tick(review, "rater 2", "rater 3")
    assert not find(review.dock, "truth_numbers").text()  # the numbers were those of another choice
    compare(review, qtbot)
    found = review.dock.truths.found
    expected = compare_case(review.desk.prediction, truths[::-1], review.desk.spec)  # the newest layer comes first
    assert found.numbers == expected.numbers and found.dice == expected.dice
    assert found.numbers["empty_raters"] == pytest.approx(1 / 3)
    text = find(review.dock, "truth_numbers").text()
    assert "diversity of raters" in text and text.index("GED") < text.index("Dice, anterior") < text.index("NLL")


def test_numbers_go_with_samples_and_layers(open_section, truths, qtbot):
    review = open_section
    layer = add(review, truths[0], "truth")
    tick(review, "truth")
    compare(review, qtbot)
    assert review.dock.truths.found is not None
    review.state.seed = 5
    run(review, qtbot)
    assert review.dock.truths.found is None and review.dock.truths.ticked
    click_tab(review.dock, "Review")
    compare(review, qtbot)
    assert review.dock.truths.found is not None
    review.viewer.layers.remove(layer)
    assert review.dock.truths.found is None and not review.dock.truths.ticked
    assert not find(review.dock, "compare_truth").isEnabled()


def test_what_is_no_truth_of_this_image_is_a_sentence(open_section, truths, qtbot):
    review = open_section
    add(review, truths[0], "elsewhere", translate=(40, 0, 0))
    tick(review, "elsewhere")
    compare(review, qtbot)
    assert "elsewhere does not lie on the image" in said(review)
    tick(review, "elsewhere")
    add(review, np.where(truths[0] == 2, 9, truths[0]), "other labels")
    tick(review, "other labels")
    compare(review, qtbot)
    assert "other labels holds the label 9" in said(review)
    assert review.dock.truths.found is None and review.viewer.layers["other labels"].data.max() == 9
