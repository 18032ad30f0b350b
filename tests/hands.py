"""A reader's hands: mouse and key events on the real window, and eyes that wait."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDialogButtonBox,
    QFileDialog,
    QLineEdit,
    QMenu,
    QWidget,
)

Left = Qt.MouseButton.LeftButton


def wait(qtbot, condition: Callable[[], bool], seconds: float = 120) -> None:
    """Let the window live until something is true; fails after ``seconds``."""
    qtbot.waitUntil(condition, timeout=int(seconds * 1000))


def find(root: QWidget, name: str) -> QWidget:
    """The visible widget with an object name."""
    widget = root.findChild(QWidget, name)
    assert widget is not None, f"no widget named {name}"
    return widget


def click(root: QWidget, name: str) -> None:
    """Click a widget as a hand would: only if it is visible and enabled."""
    widget = find(root, name)
    assert widget.isVisible(), f"{name} is not visible"
    assert widget.isEnabled(), f"{name} is not enabled"
    QTest.mouseClick(widget, Left)


def click_tab(root: QWidget, title: str) -> None:
    """Click a tab by its title."""
    bar = find(root, "tabs").tabBar()
    index = next(i for i in range(bar.count()) if bar.tabText(i) == title)
    QTest.mouseClick(bar, Left, pos=bar.tabRect(index).center())


def type_number(root: QWidget, name: str, value: int) -> None:
    """Replace the number in a spin box by typing."""
    spin = find(root, name)
    assert isinstance(spin, QAbstractSpinBox)
    assert spin.isEnabled()
    edit = spin.lineEdit()
    QTest.mouseClick(edit, Left)
    edit.selectAll()
    QTest.keyClicks(edit, str(value))
    QTest.keyClick(spin, Qt.Key.Key_Return)


def type_text(root: QWidget, name: str, text: str) -> None:
    """Replace the text of a line by typing."""
    edit = find(root, name)
    QTest.mouseClick(edit, Left)
    edit.selectAll()
    QTest.keyClicks(edit, text)


def choose(root: QWidget, name: str, text: str) -> None:
    """Choose an entry of a combo box with the keyboard."""
    box = find(root, name)
    assert isinstance(box, QComboBox)
    assert box.isEnabled(), f"{name} is not enabled"
    wanted = box.findText(text)
    assert wanted >= 0, f"{text!r} is not offered by {name}: {[box.itemText(i) for i in range(box.count())]}"
    while box.currentIndex() != wanted:
        QTest.keyClick(box, Qt.Key.Key_Down if box.currentIndex() < wanted else Qt.Key.Key_Up)


def pick(root: QWidget, name: str, text: str) -> None:
    """Choose an entry of a combo box and take it, as a click in its open list does."""
    choose(root, name, text)
    box = find(root, name)
    assert isinstance(box, QComboBox)
    box.activated.emit(box.currentIndex())


def click_and_choose_file(root: QWidget, name: str, path: object = None) -> None:
    """Click a button that asks for a file, and give the path in the dialog that opens; None gives none."""
    timer, answered = QTimer(), []
    timer.setInterval(50)

    def answer() -> None:
        dialog = QApplication.activeModalWidget()
        if not isinstance(dialog, QFileDialog) or not dialog.isVisible():
            return
        if path is None or len(answered) > 100:  # a dialog that takes no answer must not hang the tests
            dialog.reject()
        else:
            dialog.findChild(QLineEdit).setText(str(path))
            dialog.findChild(QDialogButtonBox).button(QDialogButtonBox.StandardButton.Open).click()
        answered.append(dialog)

    timer.timeout.connect(answer)
    timer.start()
    click(root, name)
    timer.stop()
    assert answered, f"{name} opened no dialog"
    assert len(answered) < 100, f"the dialog of {name} did not take {path}"


def choose_menu(qtbot, window: QWidget, *titles: str) -> None:
    """Walk napari's menus: the mouse opens and points, Return chooses; every title is matched by its beginning."""
    bar = window.menuBar()
    action = _action(bar, titles[0])
    QTest.mouseClick(bar, Left, pos=bar.actionGeometry(action).center())
    menu: QMenu = action.menu()
    for title in titles[1:]:
        wait(qtbot, menu.isVisible, 10)
        action = _action(menu, title)
        for point in (menu.actionGeometry(action).topLeft() + QPoint(3, 3), menu.actionGeometry(action).center()):
            QTest.mouseMove(menu, point)
            QApplication.processEvents()
        for _ in menu.actions():  # where the pointer was not heard, the arrow keys are
            if menu.activeAction() is action:
                break
            QTest.keyClick(menu, Qt.Key.Key_Down)
        assert menu.activeAction() is action
        # Not a click: in a second window of one process Qt takes it for the end of the one that opened the menu.
        QTest.keyClick(menu, Qt.Key.Key_Return)
        if action.menu() is not None:
            menu = action.menu()
    while (popup := QApplication.activePopupWidget()) is not None:
        popup.close()


def _action(menu: QWidget, title: str):
    names = [a.text().replace("&", "") for a in menu.actions()]
    for action, name in zip(menu.actions(), names, strict=True):
        if name.startswith(title):
            return action
    raise AssertionError(f"{title!r} is not in the menu: {names}")


def canvas_of(viewer) -> QWidget:
    """The widget that takes the mouse over the image."""
    return viewer.window._qt_viewer.canvas.native


def stroke(viewer, start: tuple[float, float], end: tuple[float, float], points: int = 8) -> None:
    """Drag the mouse over the canvas; positions are fractions of its width and height."""
    canvas = canvas_of(viewer)
    w, h = canvas.width(), canvas.height()
    path = [QPoint(round(w * x), round(h * y)) for x, y in np.linspace(start, end, points)]
    for point in (
        path[1],
        path[0],
    ):  # a hand arrives somewhere else first: what lies under it is known before it presses
        QTest.mouseMove(canvas, point)
        QApplication.processEvents()
    QTest.mousePress(canvas, Left, pos=path[0])
    for point in path[1:]:
        QTest.mouseMove(canvas, point)
        QApplication.processEvents()
    QTest.mouseRelease(canvas, Left, pos=path[-1])
    QApplication.processEvents()


def press(viewer, key: Qt.Key, *modifiers: Qt.KeyboardModifier) -> None:
    """Press a key over the canvas."""
    modifier = Qt.KeyboardModifier.NoModifier
    for m in modifiers:
        modifier |= m
    QTest.keyClick(canvas_of(viewer), key, modifier)
    QApplication.processEvents()


def picture(viewer) -> np.ndarray:
    """What the canvas shows, RGB."""
    QApplication.processEvents()
    return np.asarray(viewer.screenshot(canvas_only=True, flash=False))[..., :3]
