"""A section of the Review tab that opens on demand: the samples beside the truth of this case."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QToolButton, QVBoxLayout, QWidget

from napari_pgrd.viewer.theme import inks
from napari_pgrd.viewer.truth import HINT, Truths
from napari_pgrd.viewer.widgets import button, faint, note, rich

if TYPE_CHECKING:
    from napari_pgrd.evaluate.reliability import Reliability

TITLE = "Compare with truth"
LEAST = 20  # voxels: a bin with fewer is not drawn
ROWS = 4  # of the list of layers


class TruthPanel(QWidget):
    """Layers to tick, a button, numbers and a reliability diagram."""

    def __init__(self, truths: Truths, theme: Callable[[], str]) -> None:
        super().__init__()
        self.truths = truths
        self.toggle = QToolButton()
        self.toggle.setObjectName("truth_toggle")
        self.toggle.setToolTip("Dice, NLL, ECE, GED² and reliability of this very case, where its truth is known")
        self.toggle.setCheckable(True)
        self.layers = QListWidget()
        self.layers.setObjectName("truth_layers")
        self.layers.setToolTip("Your own label layers; tick the truth, or every rater's")
        self.go = button("Compare", "Compare the samples with the ticked layers", "compare_truth", truths.compare)
        self.said = note()
        self.said.setObjectName("truth_sentence")
        self.numbers = rich()
        self.numbers.setObjectName("truth_numbers")
        self.numbers.setToolTip(truths.definitions())
        self.diagram = ReliabilityView(theme)
        self.body = QWidget()
        inner = QVBoxLayout(self.body)
        inner.setContentsMargins(0, 0, 0, 0)
        for part in (faint(HINT), self.layers, self.go, self.said, self.numbers, self.diagram):
            inner.addWidget(part)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.toggle)
        layout.addWidget(self.body)
        self.toggle.toggled.connect(self.refresh)
        self.layers.itemChanged.connect(self._ticked)
        truths.changed.connect(self.refresh)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the state as it is."""
        t, open_ = self.truths, self.toggle.isChecked()
        self.toggle.setText(("\u25be " if open_ else "\u25b8 ") + TITLE)
        self.body.setVisible(open_)
        if not open_:
            return
        self._list(t.sources())
        self.layers.setVisible(self.layers.count() > 0)
        self.go.setEnabled(t.can)
        self.said.setText(t.sentence)
        self.said.setVisible(bool(t.sentence))
        self.numbers.setText(t.text())
        self.numbers.setVisible(t.found is not None)
        self.diagram.show_bins(t.found.reliability_roi if t.found is not None else None)

    def _list(self, sources: list[tuple[str, str]]) -> None:
        self.layers.blockSignals(True)
        have = [self.layers.item(i) for i in range(self.layers.count())]
        if [(i.data(Qt.ItemDataRole.UserRole), i.text()) for i in have if i is not None] != sources:
            self.layers.clear()
            for value, name in sources:
                item = QListWidgetItem(name)
                item.setData(Qt.ItemDataRole.UserRole, value)
                item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
                self.layers.addItem(item)
            height = max(self.layers.sizeHintForRow(0), 16) * min(max(len(sources), 1), ROWS)
            self.layers.setFixedHeight(height + 2 * self.layers.frameWidth() + 4)
        for i in range(self.layers.count()):
            item_ = self.layers.item(i)
            assert item_ is not None
            on = item_.data(Qt.ItemDataRole.UserRole) in self.truths.ticked
            item_.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
        self.layers.blockSignals(False)

    def _ticked(self, item: QListWidgetItem) -> None:
        on = item.checkState() == Qt.CheckState.Checked
        self.truths.tick(str(item.data(Qt.ItemDataRole.UserRole)), on)


class ReliabilityView(QWidget):
    """How often voxels near truth or prediction are right, against how sure the samples are, in the theme's ink."""

    def __init__(self, theme: Callable[[], str]) -> None:
        super().__init__()
        self.theme = theme
        self.bins: Reliability | None = None
        self.setObjectName("truth_reliability")
        self.setFixedHeight(170)
        self.setToolTip(
            "Reliability near truth or prediction: on the dotted line voxels are right as often as the samples say, "
            "below it they are surer than right"
        )

    def show_bins(self, bins: Reliability | None) -> None:
        """Draw these, or nothing."""
        self.bins = bins
        self.setVisible(bins is not None)
        self.update()

    def points(self) -> list[tuple[float, float]]:
        """Confidence and share right of every bin that holds enough voxels."""
        if self.bins is None:
            return []
        shown = self.bins.count >= LEAST
        pairs = zip(self.bins.mean_confidence[shown], self.bins.accuracy[shown], strict=True)
        return [(float(x), float(y)) for x, y in pairs]

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802  # Qt's name
        """Frame, diagonal, points."""
        points, colours = self.points(), inks(self.theme())
        if not points:
            return
        low = max(0.0, float(np.floor(10 * min(min(pair) for pair in points)) / 10))
        left, bottom, top = 44, 34, 8
        frame = QRectF(left, top, self.width() - left - 10, self.height() - top - bottom)

        def at(x: float, y: float) -> QPointF:
            return QPointF(
                frame.left() + (x - low) / (1 - low) * frame.width(),
                frame.bottom() - (y - low) / (1 - low) * frame.height(),
            )

        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink, back = QColor(colours.text), QColor(colours.faint)
        painter.setPen(QPen(back, 1))
        painter.drawRect(frame)
        painter.setPen(QPen(back, 1.5, Qt.PenStyle.DotLine))
        painter.drawLine(at(low, low), at(1, 1))
        painter.setPen(ink)
        middle = Qt.AlignmentFlag.AlignCenter
        for value in (low, (1 + low) / 2, 1.0):
            x, y = at(value, low).x(), at(low, value).y()
            painter.drawText(QRectF(x - 20, frame.bottom() + 1, 40, 15), middle, f"{value:.2g}")
            painter.drawText(QRectF(frame.left() - 30, y - 8, 28, 16), middle, f"{value:.2g}")
        painter.drawText(QRectF(frame.left(), frame.bottom() + 16, frame.width(), 16), middle, "confidence")
        painter.save()
        painter.translate(8, frame.center().y())
        painter.rotate(-90)
        painter.drawText(QRectF(-60, -8, 120, 16), middle, "share right")
        painter.restore()
        painter.setPen(QPen(ink, 1.8))
        painter.drawPolyline(QPolygonF([at(x, y) for x, y in points]))
        painter.setBrush(ink)
        for x, y in points:
            painter.drawEllipse(at(x, y), 3, 3)
        painter.end()
