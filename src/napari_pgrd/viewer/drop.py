"""Files and folders dropped on the image area, while the dock is open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QWidget

from napari_pgrd.viewer.reader import is_image

PICTURES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".npy", ".lsm", ".czi", ".h5", ".webp", ".svg")


def holds_no_picture(path: str) -> bool:
    """Whether a path is a folder in which napari would find nothing to open either."""
    folder = Path(path)
    try:
        inside = list(folder.iterdir()) if folder.is_dir() and not folder.suffix else None  # a .zarr is a folder, too
    except OSError:
        return True
    return inside is not None and all(p.is_file() and p.suffix.lower() not in PICTURES for p in inside)


class ImageDrops(QObject):
    """Opens dropped NIfTI files and DICOM files and folders at once, and says where a folder holds nothing.

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
        """Take a drop that holds nothing but images of these kinds, or nothing at all."""
        if event is None or event.type() != QEvent.Type.Drop:
            return False
        paths = [url.toLocalFile() for url in event.mimeData().urls()]  # type: ignore[attr-defined]  # a QDropEvent
        if not paths or not all(is_image(path) or holds_no_picture(path) for path in paths):
            return False
        event.accept()
        self._read(*paths)
        return True
