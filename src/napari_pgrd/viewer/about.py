"""What a model is for, what it was made from and how good it measured: its card, in a window of its own."""

from __future__ import annotations

from qtpy.QtGui import QTextCursor
from qtpy.QtWidgets import QDialog, QTextBrowser, QVBoxLayout, QWidget

from napari_pgrd.engine.errors import PgrdError
from napari_pgrd.engine.spec import find
from napari_pgrd.viewer.desk import Desk

CARD = "MODEL_CARD.md"


class AboutModel:
    """Opens the card of the chosen bundle; the window may stay open while the reader works."""

    def __init__(self, desk: Desk, parent: QWidget) -> None:
        self.desk, self.parent = desk, parent
        self.dialog: QDialog | None = None

    def text(self) -> str:
        """The card as Markdown, or a sentence that says why there is none."""
        try:
            return (find(self.desk.state.bundle) / CARD).read_text(encoding="utf-8")
        except (PgrdError, OSError, UnicodeDecodeError):
            name = self.desk.spec.name if self.desk.spec is not None else "This model"
            return f"{name} has no model card that can be read, so nothing is known of how good it is."

    def show(self) -> None:
        """Open the card, or show it anew for the model chosen now."""
        if self.dialog is None:
            self.dialog = QDialog(self.parent)
            self.dialog.setObjectName("model_card")
            self.dialog.resize(680, 620)
            self.browser = QTextBrowser()
            self.browser.setObjectName("model_card_text")
            layout = QVBoxLayout(self.dialog)
            layout.setContentsMargins(6, 6, 6, 6)
            layout.addWidget(self.browser)
        name = self.desk.spec.name if self.desk.spec is not None else "model"
        self.dialog.setWindowTitle(f"About {name}")
        self.browser.setMarkdown(self.text())
        _wrap(self.browser)
        self.dialog.show()
        self.dialog.raise_()


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
