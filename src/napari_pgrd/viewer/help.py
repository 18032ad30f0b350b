"""The help overlay: every key on one card over the image, until a key or a click."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from napari.settings import get_settings
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QFrame, QLabel, QVBoxLayout

from napari_pgrd.viewer.keys import KEYS, MOUSE, NAPARI
from napari_pgrd.viewer.theme import inks

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from qtpy.QtGui import QFocusEvent, QKeyEvent, QMouseEvent

Rows = Iterable[tuple[str, str]]


class HelpOverlay(QFrame):
    """A card over the window; it knows the viewer for its window and theme only."""

    def __init__(self, viewer: Viewer) -> None:
        self._area = viewer.window._qt_window
        super().__init__(self._area)
        self.viewer = viewer
        self.setObjectName("pgrd_help")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.card = QLabel()
        self.card.setTextFormat(Qt.TextFormat.RichText)
        self.card.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(14, 10, 14, 10)
        layout.addWidget(self.card)
        self.hide()
        self._area.installEventFilter(self)
        viewer.events.theme.connect(self._write)

    def toggle(self) -> None:
        """Show the card, or put it away."""
        if self.isVisible():
            self.put_away()
            return
        self._write()
        self._place()
        self.show()
        self.raise_()
        self.setFocus(Qt.FocusReason.PopupFocusReason)

    def put_away(self) -> None:
        """Hide the card and give the keys back to the image."""
        self.hide()
        self.viewer.window._qt_viewer.canvas.native.setFocus()

    def close_overlay(self) -> None:
        """Let go of the window."""
        self.viewer.events.theme.disconnect(self._write)
        self._area.removeEventFilter(self)
        self.hide()
        self.deleteLater()

    def _write(self, *_: object) -> None:
        colours = inks(self.viewer.theme)
        self.setStyleSheet(
            f"#pgrd_help {{ background-color: {colours.raised}; border: 1px solid {colours.faint}; }} "
            f"#pgrd_help QLabel {{ background-color: {colours.raised}; color: {colours.text}; }}"
        )
        shortcuts = get_settings().shortcuts.shortcuts
        napari = ((" or ".join(str(k) for k in shortcuts.get(name, ())), text) for name, text in NAPARI)
        self.card.setText(
            '<table cellspacing="0"><tr><td style="padding-right:28px">'
            + _table("PGRD", ((k.key, k.text) for k in KEYS))
            + _table("Mouse", MOUSE)
            + "</td><td>"
            + _table("napari, while a correction is selected", ((keys, text) for keys, text in napari if keys))
            + f'</td></tr></table><p style="color:{colours.faint}">Any key or click closes this list.</p>'
        )

    def _place(self) -> None:
        """In the middle of the window, never beyond it."""
        size = self.sizeHint().boundedTo(self._area.size())
        self.resize(size)
        self.move((self._area.width() - size.width()) // 2, (self._area.height() - size.height()) // 2)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802  # Qt's name
        """Stay in the middle when the window changes its size."""
        if event is not None and event.type() == QEvent.Type.Resize and self.isVisible():
            self._place()
        return False

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802  # Qt's name
        """Any key closes the card and does nothing else."""
        self.put_away()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802  # Qt's name
        """So does a click on it."""
        self.put_away()

    def focusOutEvent(self, event: QFocusEvent | None) -> None:  # noqa: N802  # Qt's name
        """And a click beside it."""
        self.hide()


def _table(title: str, rows: Rows) -> str:
    cells = "".join(
        f'<tr><td style="padding:2px 14px 2px 0"><b>{escape(keys)}</b></td>'
        f'<td style="padding:2px 0">{escape(text)}</td></tr>'
        for keys, text in rows
    )
    return f'<p style="margin:6px 0 2px 0"><b>{escape(title)}</b></p><table cellspacing="0">{cells}</table>'
