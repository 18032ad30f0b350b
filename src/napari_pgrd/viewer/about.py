"""What a model is for, what it was made from and how good it measured: its card, in a window of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QEvent, QUrl
from qtpy.QtGui import QImage, QTextCursor, QTextDocument
from qtpy.QtWidgets import QDialog, QTextBrowser, QVBoxLayout, QWidget

from napari_pgrd.engine.errors import PgrdError
from napari_pgrd.engine.methods import METHODS
from napari_pgrd.engine.spec import BundleSpec, find
from napari_pgrd.viewer.desk import Desk
from napari_pgrd.viewer.reliability_view import Curve, picture, points
from napari_pgrd.viewer.theme import inks

CARD, PICTURE = "MODEL_CARD.md", "reliability.png"
LEAST = 100  # voxels: a bin of all cases with fewer is not drawn


class AboutModel:
    """Opens the card of the chosen bundle; the window may stay open while the reader works."""

    def __init__(self, desk: Desk, parent: QWidget) -> None:
        self.desk, self.parent = desk, parent
        self.dialog: QDialog | None = None
        self.browser: _Card | None = None

    def text(self) -> str:
        """The card as Markdown, or a sentence that says why there is none."""
        try:
            return (find(self.desk.state.bundle) / CARD).read_text(encoding="utf-8")
        except (PgrdError, OSError, UnicodeDecodeError):
            name = self.desk.spec.name if self.desk.spec is not None else "This model"
            return f"{name} has no model card that can be read, so nothing is known of how good it is."

    def diagram(self) -> QImage | None:
        """The model's reliability diagram in the theme's ink; None where the bundle keeps no counts."""
        curves = model_curves(self.desk.spec)
        return picture(curves, inks(self.desk.viewer.theme)) if curves else None

    def show(self) -> None:
        """Open the card, or show it anew for the model chosen now."""
        if self.dialog is None:
            self.dialog = QDialog(self.parent)
            self.dialog.setObjectName("model_card")
            self.dialog.resize(680, 620)
            self.browser = _Card(self._dress)
            self.browser.setObjectName("model_card_text")
            layout = QVBoxLayout(self.dialog)
            layout.setContentsMargins(6, 6, 6, 6)
            layout.addWidget(self.browser)
        assert self.browser is not None
        name = self.desk.spec.name if self.desk.spec is not None else "model"
        self.dialog.setWindowTitle(f"About {name}")
        self._write()
        self.dialog.show()
        self.dialog.raise_()

    def _write(self) -> None:
        assert self.browser is not None
        self.browser.picture = self.diagram()
        self.browser.setMarkdown(self.text())
        _wrap(self.browser)

    def _dress(self) -> None:
        """Another theme while the card is open; the reader goes on reading where they were."""
        if self.browser is not None and self.browser.isVisible():
            bar = self.browser.verticalScrollBar()
            where = bar.value() if bar is not None else 0
            self._write()
            if bar is not None:
                bar.setValue(where)


def model_curves(spec: BundleSpec | None) -> list[Curve]:
    """The reliability of the model and, beside it, of its prior; empty where the bundle keeps no counts."""
    kept = spec.reliability.diagram if spec is not None and spec.reliability is not None else None
    if spec is None or kept is None:
        return []
    from napari_pgrd.evaluate.reliability import Reliability  # scipy's statistics, which no window needs to open

    named = ((METHODS[spec.method].title, kept.own), ("prior, scaled", kept.prior))
    return [Curve(points(Reliability.read(bins.model_dump()), LEAST), title) for title, bins in named]


class _Card(QTextBrowser):
    """Markdown whose one picture is drawn anew in the theme's ink; it opens no other file."""

    def __init__(self, dressed: Callable[[], object]) -> None:
        self._dressed = dressed
        self.picture: QImage | None = None
        super().__init__()

    def changeEvent(self, event: QEvent | None) -> None:  # noqa: N802  # Qt's name
        """Another style sheet is another theme."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.StyleChange:
            self._dressed()

    def loadResource(self, type: int, name: QUrl) -> Any:  # noqa: N802  # Qt's names
        """The picture, where the card names it; else an empty one, as Qt would open a file where it is told None."""
        mine = name.fileName() == PICTURE and type == QTextDocument.ResourceType.ImageResource.value
        return self.picture if mine and self.picture is not None else QImage()


def _wrap(browser: QTextBrowser) -> None:
    """Let long commands go on in the next line, as all other text does."""
    document = browser.document()
    assert document is not None
    block = document.begin()
    while block.isValid():
        form = block.blockFormat()
        if form.nonBreakableLines():
            form.setNonBreakableLines(False)
            QTextCursor(block).setBlockFormat(form)
        block = block.next()
    browser.moveCursor(QTextCursor.MoveOperation.Start)
