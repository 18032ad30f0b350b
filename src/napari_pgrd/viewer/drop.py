"""Files dropped on the image area, while the dock is open."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QWidget

from napari_pgrd.engine.errors import PgrdError
from napari_pgrd.io.nifti import is_nifti


class NiftiDrops(QObject):
    """Opens dropped NIfTI files at once.

    napari's own reader claims every file, so napari would first ask which of two readers to use, and one cannot read
    NIfTI. Anything else that is dropped goes napari's way.
    """

    def __init__(self, area: QWidget, read: Callable[[str], object], refuse: Callable[[str], object]) -> None:
        super().__init__(area)
        self._area, self._read, self._refuse = area, read, refuse
        area.installEventFilter(self)

    def close(self) -> None:
        """Leave drops to napari again."""
        self._area.removeEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802  # Qt's name
        """Take a drop that holds nothing but NIfTI files."""
        if event is None or event.type() != QEvent.Type.Drop:
            return False
        paths = [url.toLocalFile() for url in event.mimeData().urls()]  # type: ignore[attr-defined]  # a QDropEvent
        if not paths or not all(is_nifti(path) for path in paths):
            return False
        for path in paths:
            try:
                self._read(path)
            except PgrdError as error:
                self._refuse(str(error))
        event.accept()
        return True
