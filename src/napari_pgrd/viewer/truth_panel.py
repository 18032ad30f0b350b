"""A section of the Review tab that opens on demand: the samples beside the truth of this case."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QToolButton, QVBoxLayout, QWidget

from napari_pgrd.viewer.reliability_view import ReliabilityView
from napari_pgrd.viewer.truth import HINT, Truths
from napari_pgrd.viewer.widgets import button, faint, note, rich

TITLE = "Compare with truth"
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
