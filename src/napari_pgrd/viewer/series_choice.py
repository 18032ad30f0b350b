"""The list from which a reader chooses one of several DICOM series."""

from __future__ import annotations

from collections.abc import Sequence

import napari
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QDialog,
    QDialogButtonBox,
    QHeaderView,
    QLabel,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_pgrd.io.dicom.listing import SeriesInfo

COLUMNS = ("Series", "Kind", "Pixels", "Images", "Description")


class SeriesDialog(QDialog):
    """Several series, one of which is chosen by a double click, or by a click and Open."""

    def __init__(self, series: Sequence[SeriesInfo], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("series_dialog")
        self.setWindowTitle("Which series?")
        self._series = tuple(series)
        self.list = QTreeWidget()
        self.list.setObjectName("series_list")
        self.list.setToolTip("The scans in this folder; of the description only words that name nobody")
        self.list.setHeaderLabels(COLUMNS)
        self.list.setRootIsDecorated(False)
        self.list.setAllColumnsShowFocus(True)
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        for one in self._series:
            columns, rows = one.size
            texts = (one.key, one.modality, f"{columns} x {rows}", str(one.images), one.description)
            self.list.addTopLevelItem(QTreeWidgetItem(list(texts)))
        header = self.list.header()
        assert header is not None
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.list.setCurrentItem(self.list.topLevelItem(0))
        self.list.itemDoubleClicked.connect(lambda *_: self.accept())
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Cancel)
        buttons.setObjectName("series_buttons")
        for button, tip in zip(buttons.buttons(), ("Open the marked series", "Open none"), strict=True):
            button.setToolTip(tip)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(QLabel(f"There are {len(self._series)} series. Choose the one to open."))
        layout.addWidget(self.list)
        layout.addWidget(buttons)
        self.resize(480, 260)

    @property
    def chosen(self) -> SeriesInfo:
        """The marked series."""
        return self._series[max(0, self.list.currentIndex().row())]


def ask(series: Sequence[SeriesInfo]) -> SeriesInfo | None:
    """Let the reader choose; None if they want none of them."""
    dialog = SeriesDialog(series, _window())
    try:
        return dialog.chosen if dialog.exec() == QDialog.DialogCode.Accepted else None
    finally:
        dialog.deleteLater()


def _window() -> QWidget | None:
    """The window whose colours the dialog takes."""
    viewer = napari.current_viewer()
    return viewer.window._qt_window if viewer is not None else QApplication.activeWindow()


def can_ask() -> bool:
    """Whether there is a window to ask in."""
    return isinstance(QApplication.instance(), QApplication)
