"""Files dropped on the window."""

from __future__ import annotations

from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication

from tests.hands import find


def drop(viewer, *paths) -> None:
    area = viewer.window._qt_viewer
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(p)) for p in paths])
    where, copy, left = area.rect().center(), Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
    plain = Qt.KeyboardModifier.NoModifier
    QApplication.sendEvent(area, QDragEnterEvent(where, copy, data, left, plain))  # Qt drops only where a drag entered
    QApplication.sendEvent(area, QDropEvent(QPointF(where), copy, data, left, plain))


def test_a_dropped_nifti_opens_without_a_question(review):
    before = len(review.viewer.layers)
    drop(review.viewer, review.file)
    assert len(review.viewer.layers) == before + 1
    assert QApplication.activeModalWidget() is None


def test_a_dropped_file_that_is_damaged_is_a_sentence(review, tmp_path):
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(b"not gzip")
    drop(review.viewer, bad)
    assert "bad.nii.gz" in find(review.dock, "sentence").text()


def test_an_empty_file_is_a_sentence(review, tmp_path):
    (tmp_path / "empty.nii.gz").touch()
    drop(review.viewer, tmp_path / "empty.nii.gz")
    assert "empty" in find(review.dock, "sentence").text()
