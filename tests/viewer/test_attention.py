"""The reader's time as the real window hears of it: input, tabs, other windows; kept with the review."""

from __future__ import annotations

import pytest
from qtpy.QtCore import QPoint
from qtpy.QtGui import QGuiApplication
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QDialog, QWidget

from napari_pgrd.session.phases import PAUSE
from tests.hands import click_tab, wait
from tests.viewer.test_saving import another, found, run


class Hand:
    """Input where it enters the window, at moments of a clock that stands still in between."""

    def __init__(self, dock, qtbot) -> None:
        self.at, self.heard, self.qtbot = 1000.0, 0, qtbot
        dock.attention.now = self.look_at_the_clock
        self.window = dock.viewer.window._qt_window
        self.step = 0
        self.come_back()

    def look_at_the_clock(self) -> float:
        self.heard += 1
        return self.at

    def come_back(self) -> None:
        self.window.activateWindow()
        wait(self.qtbot, lambda: QGuiApplication.focusWindow() is self.window.windowHandle(), 20)

    def move(self, after: float) -> None:
        self.at += after
        self.step += 1
        heard = self.heard
        QTest.mouseMove(self.window.windowHandle(), QPoint(300 + 7 * (self.step % 20), 300))
        wait(self.qtbot, lambda: self.heard > heard, 20)


def test_input_counts_for_the_tab_in_sight_and_nothing_else_does(review, qtbot):
    dock, clock = review.dock, review.dock.saving.clock
    hand = Hand(dock, qtbot)
    hand.move(0)
    before = clock.seconds.get("sample", 0.0)
    for after in (10, 20, PAUSE + 5, 3):  # the third came after a pause
        hand.move(after)
    assert clock.seconds["sample"] - before == pytest.approx(33)
    hand.at += 4
    click_tab(dock, "Review")
    hand.move(6)
    assert clock.seconds["sample"] - before == pytest.approx(37)
    assert clock.seconds["review"] == pytest.approx(6)

    elsewhere = QWidget()
    qtbot.addWidget(elsewhere)
    hand.at += 2  # the last moment in this window
    elsewhere.show()
    elsewhere.activateWindow()
    wait(qtbot, lambda: QGuiApplication.focusWindow() is elsewhere.windowHandle(), 20)
    hand.at += 50
    hand.come_back()
    hand.move(1)
    assert clock.seconds["review"] == pytest.approx(9)

    holder = dock.parentWidget()
    holder.hide()  # the image is still there, the dock is not
    wait(qtbot, lambda: dock.visibleRegion().isEmpty(), 20)
    hand.move(0)
    hand.move(30)
    assert clock.seconds["review"] == pytest.approx(9)
    holder.show()

    dialog = QDialog(dock)
    qtbot.addWidget(dialog)
    dialog.show()
    dialog.activateWindow()
    wait(qtbot, lambda: QGuiApplication.focusWindow() is dialog.windowHandle(), 20)
    wait(qtbot, lambda: not dock.visibleRegion().isEmpty(), 20)
    dock.attention.hear()
    hand.at += 5
    QTest.mouseMove(dialog.windowHandle(), QPoint(5, 5))
    wait(qtbot, lambda: clock.seconds["review"] == pytest.approx(14), 20)


def test_it_is_kept_and_goes_on_after_a_resume(review, make_window, tiny, image_file, qtbot):
    run(review, qtbot)
    found(review.dock, qtbot)
    review.dock.corrections.start("consensus")
    hand = Hand(review.dock, qtbot)
    click_tab(review.dock, "Correct")
    hand.move(0)
    before = review.dock.saving.clock.seconds.get("correct", 0.0)
    for _ in range(3):
        hand.move(40)
    review.viewer.window._qt_window.close()  # by its cross: what was due in a moment is saved at once
    wait(qtbot, lambda: review.dock.saving.running is None)
    dock = another(make_window, tiny, image_file)
    dock.saving.resume()
    found(dock, qtbot)
    hand = Hand(dock, qtbot)
    hand.move(0)
    assert dock.tabs.tabText(dock.tabs.currentIndex()) == "Correct"
    kept = dock.saving.clock.seconds["correct"]
    assert kept == pytest.approx(before + 120)
    hand.move(30)
    told = dock.saving.summary("").record()
    assert told["seconds"]["correct"] == pytest.approx(kept + 30)
    assert told["seconds"]["sampling"] == dock.desk.state.seconds > 0
    # Another image is another review.
    dock.desk.open(image_file)
    dock.desk.choose_source(dock.viewer.layers[-1].name)
    assert dock.saving.clock.seconds == {}
