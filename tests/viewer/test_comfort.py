"""Tooltips, small screens, and taking up where the reader left."""

from __future__ import annotations

import pytest
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QScrollBar,
    QTabBar,
    QWidget,
)

from napari_pgrd.viewer import settings
from napari_pgrd.viewer.dock import ReviewDock
from tests.hands import choose, find, wait
from tests.viewer.test_sampling import run, settled

CONTROLS = (QAbstractButton, QAbstractSpinBox, QAbstractSlider, QComboBox, QLineEdit, QAbstractItemView)


def inner(widget: QWidget) -> bool:
    """Whether a widget is a part of a control of Qt, as the line in a spin box or the arrows of a tab bar are."""
    parent = widget.parent()
    while parent is not None:
        if isinstance(parent, (*CONTROLS, QTabBar)):
            return True
        parent = parent.parent()
    return isinstance(widget, QScrollBar)


def test_every_control_says_what_it_does(review, qtbot):
    run(review, qtbot)
    settled(review, qtbot)
    silent = [
        (type(w).__name__, w.objectName())
        for w in review.dock.findChildren(QWidget)
        if isinstance(w, CONTROLS) and not w.isHidden() and not inner(w) and not w.toolTip()
    ]
    assert not silent
    for i in range(review.dock.tabs.count()):
        assert review.dock.tabs.tabToolTip(i)


def test_the_dock_fits_a_small_screen_in_every_state(review, qtbot):
    window = review.viewer.window._qt_window
    review.state.sentence = "A sentence that says what was given, what is allowed and what to do about it. " * 3
    run(review, qtbot)
    settled(review, qtbot)
    review.dock.corrections.start("consensus")
    review.dock.planes.toggle()
    for tab in range(review.dock.tabs.count()):
        review.dock.tabs.setCurrentIndex(tab)
        QApplication.processEvents()
        assert review.dock.minimumSizeHint().height() <= 500
        assert window.minimumSizeHint().height() <= 800
        assert window.minimumSizeHint().width() <= 1280
        assert (window.width(), window.height()) == (1280, 800)
        assert 290 <= review.dock.width() <= 320
        bottom = review.dock.mapTo(window, review.dock.rect().bottomLeft()).y()
        assert bottom < 800


@pytest.fixture
def again(review, image_file):
    """Another dock in the same window, as at the next start."""

    def open_again() -> ReviewDock:
        review.dock.close()
        dock = ReviewDock(review.viewer)
        review.viewer.window.add_dock_widget(dock, name="PGRD Review again", area="right")
        return dock

    return open_again


def test_what_was_used_is_taken_up_again(review, again, qtbot, tiny):
    review.state.device, review.state.solver = "cpu", "ddpm"
    run(review, qtbot)
    dock = again()
    s = dock.desk.state
    assert (s.bundle, s.device, s.solver, s.samples) == (str(tiny), "cpu", "ddpm", 3)
    assert find(dock, "device").currentText() == "CPU"
    assert not dock.planes.on


def test_what_was_only_looked_at_is_not(review, again):
    review.state.samples, review.state.device = 9, "cpu"
    s = again().desk.state
    assert s.samples != 9
    assert s.device == "auto"


def test_a_model_that_is_gone_is_a_sentence_and_the_first_one_stays(review, again, tmp_path):
    settings.save(bundle=str(tmp_path / "gone"))
    dock = again()
    assert dock.desk.state.bundle == dock.desk.bundles[0]
    assert "gone" in find(dock, "sentence").text()


def test_the_planes_come_back_with_the_image(review, again, qtbot):
    review.dock.planes.toggle()
    dock = again()
    wait(qtbot, lambda: dock.planes.on)


def test_heat_that_was_chosen_is_shown_with_the_next_samples(review, again, qtbot):
    run(review, qtbot)
    settled(review, qtbot)
    review.dock.tabs.setCurrentIndex(1)
    choose(review.dock, "heat", "entropy")
    box = find(review.dock, "heat")
    box.activated.emit(box.currentIndex())
    assert settings.load().heat == "entropy"
    dock = again()
    assert settings.load().heat == "entropy"  # that the map left with its dock was no choice
    assert dock.views.heat_shown == "off"
    dock.desk.state.seed = 5
    dock.desk.state.steps = 2
    dock.desk.sample()
    wait(qtbot, lambda: dock.views.heat_shown == "entropy")
    assert dock.desk.layers.first("entropy").visible
    dock.views.heat("off")
    assert settings.load().heat == "off"


def test_without_a_choice_no_heat_is_shown(review, qtbot):
    run(review, qtbot)
    settled(review, qtbot)
    assert review.dock.views.heat_shown == "off"
    assert settings.load().heat == "off"
