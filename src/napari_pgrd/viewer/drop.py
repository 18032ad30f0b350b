"""Files and folders dropped on the image area, while the dock is open."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QWidget

from napari_pgrd.viewer.reader import is_image


class ImageDrops(QObject):
    """Opens dropped NIfTI files and DICOM files and folders at once.

    napari's own reader claims every file and folder, so napari would first ask which of two readers to use, and one can
    read neither. Anything else that is dropped goes napari's way.
    """

    def __init__(self, area: QWidget, read: Callable[..., object]) -> None:
        super().__init__(area)
        self._area, self._read = area, read
        area.installEventFilter(self)

    def close(self) -> None:
        """Leave drops to napari again."""
        self._area.removeEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802  # Qt's name
        """Take a drop that holds nothing but images of these kinds."""
        if event is None or event.type() != QEvent.Type.Drop:
            return False
        paths = [url.toLocalFile() for url in event.mimeData().urls()]  # type: ignore[attr-defined]  # a QDropEvent
        if not paths or not all(map(is_image, paths)):
            return False
        event.accept()
        self._read(*paths)
        return True
