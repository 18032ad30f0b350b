"""The table of keys against what napari binds, and the help that lists it."""

from __future__ import annotations

from operator import attrgetter

import pytest
from napari._app_model import get_app_model
from napari.layers import Image, Labels, Points, Shapes, Surface, Tracks, Vectors
from napari.settings import get_settings
from napari.utils.key_bindings import coerce_keybinding
from napari.utils.shortcuts import default_shortcuts
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QAction, QKeySequence
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QPushButton

from napari_pgrd.viewer.keys import KEYS, MOUSE, NAPARI, key_of, tip
from napari_pgrd.viewer.theme import READABLE, contrast, inks
from tests.hands import Left, canvas_of, click, press, wait
from tests.viewer.test_theme import rgb

LAYERS = (Image, Labels, Points, Shapes, Surface, Tracks, Vectors)


def taken(viewer) -> dict[str, str]:
    """Every key that this napari uses for itself, with where it says so."""
    found: dict[str, str] = {}
    for name, bindings in {**default_shortcuts, **get_settings().shortcuts.shortcuts}.items():
        found |= {str(b): f"shortcut {name}" for b in bindings}
    for cls in {base for layer in (*LAYERS, type(viewer)) for base in layer.__mro__}:
        for key in getattr(cls, "class_keymap", {}):
            found[str(key)] = f"keymap of {cls.__name__}"
    found |= {str(b.keybinding): f"command {b.command_id}" for b in get_app_model().keybindings}
    for action in viewer.window._qt_window.findChildren(QAction):
        if not action.shortcut().isEmpty():
            text = action.shortcut().toString(QKeySequence.SequenceFormat.PortableText)
            found[str(coerce_keybinding(text.replace("Del", "Delete").replace("Return", "Enter")))] = "menu"
    return found


def test_napari_uses_none_of_our_keys(make_window):
    viewer = make_window()  # without the dock
    found = taken(viewer)
    assert {"P", "R", "Ctrl+Y"} <= set(found), "the list is not what it was; look for where napari binds keys now"
    clashes = {k.key: found[str(coerce_keybinding(k.key))] for k in KEYS if str(coerce_keybinding(k.key)) in found}
    assert not clashes
    assert not viewer.keymap


def test_every_line_names_a_method_and_no_key_comes_twice(review):
    assert len({k.key for k in KEYS}) == len(KEYS)
    for k in KEYS:
        assert callable(attrgetter(k.action)(review.dock)), k
        assert k.text
    assert {coerce_keybinding(k.key) for k in KEYS} <= set(review.viewer.keymap)


def test_buttons_and_tooltips_take_the_key_from_the_table(review):
    assert key_of("views.next_heat") == "U"
    assert key_of("views.step", -1) == "G"
    assert key_of("nothing") == ""
    assert tip("Next", "views.step", 1) == "Next  (key H)"
    assert tip("Next", "nothing") == "Next"
    names = {button.objectName(): button.text() for button in review.dock.findChildren(QPushButton)}
    assert "G" in names["previous_sample"]
    assert "H" in names["next_sample"]
    assert "F1" in names["show_keys"]


def test_keys_are_given_back_when_the_dock_goes(review):
    review.dock.close()
    assert not set(review.viewer.keymap) & {coerce_keybinding(k.key) for k in KEYS}


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_help_lists_every_key_and_can_be_read(review, qtbot, theme):
    review.viewer.theme = theme
    press(review.viewer, Qt.Key.Key_F1)
    card = review.dock.help
    wait(qtbot, card.isVisible, 10)
    text = card.card.text()
    for k in KEYS:
        assert f"<b>{k.key}</b>" in text
        assert k.text in text
    for gesture, what in MOUSE:
        assert gesture in text
        assert what in text
    assert all(what in text for _, what in NAPARI)
    window = review.viewer.window._qt_window
    assert window.rect().contains(card.geometry())
    assert card.sizeHint().height() <= card.height()  # nothing is cut off
    ground = card.grab().toImage().pixelColor(6, 6).getRgb()[:3]
    assert contrast(rgb(inks(theme).text), ground) >= READABLE
    assert contrast(rgb(inks(theme).faint), ground) >= READABLE


def test_the_help_shows_the_keys_that_napari_has_now(review):
    shortcuts = get_settings().shortcuts.shortcuts
    for name, _ in NAPARI:
        assert name in shortcuts, f"napari has no {name} any more"


def test_any_key_closes_the_help_and_does_nothing_else(review, qtbot):
    heat = review.dock.views.heat_shown
    click(review.dock, "show_keys")
    wait(qtbot, review.dock.help.isVisible, 10)
    assert review.viewer.window._qt_window.focusWidget() is review.dock.help  # so that a key goes there
    QTest.keyClick(review.dock.help, Qt.Key.Key_U)
    assert not review.dock.help.isVisible()
    assert review.dock.views.heat_shown == heat
    press(review.viewer, Qt.Key.Key_U)
    assert review.dock.views.heat_shown != heat


def test_f1_and_a_click_close_it_too(review, qtbot):
    for close in (
        lambda: QTest.keyClick(review.dock.help, Qt.Key.Key_F1),
        lambda: QTest.mouseClick(review.dock.help, Left),
        lambda: QTest.mouseClick(canvas_of(review.viewer), Left, pos=QPoint(5, 5)),
    ):
        review.viewer.window._qt_window.activateWindow()
        wait(qtbot, review.viewer.window._qt_window.isActiveWindow, 10)
        press(review.viewer, Qt.Key.Key_F1)
        wait(qtbot, review.dock.help.isVisible, 10)
        close()
        wait(qtbot, lambda: not review.dock.help.isVisible(), 10)
