"""The card of the chosen model, in a window beside the work."""

from __future__ import annotations

from qtpy.QtWidgets import QDialog

from tests.hands import click, find


def test_the_models_card_opens_beside_the_work(review, tiny):
    click(review.dock, "about")
    card = review.dock.findChild(QDialog, "model_card")
    text = find(card, "model_card_text")
    assert card.isVisible() and "Random weights, for tests only." in text.toPlainText()
    assert "tiny" in card.windowTitle()
    (tiny / "MODEL_CARD.md").unlink()
    card.close()
    click(review.dock, "about")
    assert "has no model card that can be read" in text.toPlainText()
    card.close()
