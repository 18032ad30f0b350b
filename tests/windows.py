"""Real napari windows for tests, closed whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import napari
import pytest
from qtpy.QtWidgets import QApplication


@pytest.fixture
def make_window(qtbot) -> Iterator[Callable[[], napari.Viewer]]:
    """A function that opens a real window of 1280 x 800."""
    opened: list[napari.Viewer] = []

    def make() -> napari.Viewer:
        viewer = napari.Viewer(show=True)
        viewer.window._qt_window.resize(1280, 800)
        qtbot.waitExposed(viewer.window._qt_window)
        QApplication.processEvents()
        opened.append(viewer)
        return viewer

    yield make
    for viewer in opened:
        try:
            viewer.close()
        except RuntimeError:
            continue  # the test closed the window itself
    QApplication.processEvents()
