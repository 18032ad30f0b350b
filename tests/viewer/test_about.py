"""The card of the chosen model, in a window beside the work."""

from __future__ import annotations

from qtpy.QtCore import QUrl
from qtpy.QtGui import QColor, QTextDocument
from qtpy.QtWidgets import QApplication, QDialog

from napari_pgrd.viewer.about import model_curves
from napari_pgrd.viewer.theme import inks
from tests.hands import click, find
from tests.tiny import make_tiny_bundle


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


def test_the_card_shows_the_models_reliability_in_the_ink_of_the_theme(review, tmp_path):
    own = {"count": [0, 50, 900, 4000], "confidence": [0, 20.0, 600, 3800.0], "right": [0, 10, 500, 3900]}
    prior = {**own, "right": [0, 10, 300, 3700]}
    measured = {"cases": 5, "steps": 3, "samples": 4, "volume_coverage": {}, "unanimous_error_share": 0.2, "dice": 0.8}
    measured["diagram"] = {"own": own, "prior": prior}
    folder = make_tiny_bundle(tmp_path / "measured", prepare={"spacing": None}, reliability=measured)
    (folder / "MODEL_CARD.md").write_text("# Measured\n\n![Reliability](reliability.png)\n\n" + "text\n\n" * 90)
    review.desk.choose_bundle(str(folder))
    click(review.dock, "about")
    text = find(review.dock.findChild(QDialog, "model_card"), "model_card_text")

    def drawn() -> set[str]:
        image = text.document().resource(QTextDocument.ResourceType.ImageResource.value, QUrl("reliability.png"))
        return {QColor(image.pixelColor(x, y)).name() for x in range(image.width()) for y in range(image.height())}

    dark, light = (inks(theme).text for theme in ("dark", "light"))
    assert dark in drawn() and light not in drawn()
    curves = model_curves(review.desk.spec)
    assert [curve.name for curve in curves] == ["PGRD", "prior, scaled"]
    assert curves[0].points == [(600 / 900, 500 / 900), (0.95, 0.975)]  # the bin of 50 says too little
    text.verticalScrollBar().setValue(200)
    review.viewer.theme = "light"
    QApplication.processEvents()
    assert light in drawn() and dark not in drawn() and text.verticalScrollBar().value() == 200
    review.viewer.theme = "dark"
    text.window().close()


def test_a_card_opens_no_other_picture(review, tiny):
    (tiny / "MODEL_CARD.md").write_text(f"![A file]({review.file}) ![None](reliability.png)")
    click(review.dock, "about")
    card = review.dock.findChild(QDialog, "model_card")
    document, kind = find(card, "model_card_text").document(), QTextDocument.ResourceType.ImageResource.value
    assert document.resource(kind, QUrl(str(review.file))).isNull()
    assert document.resource(kind, QUrl("reliability.png")).isNull() and model_curves(review.desk.spec) == []
    card.close()
