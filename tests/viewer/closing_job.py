"""A process that goes while it samples: its window is closed, or the script that opened it ends.

Started by tests/viewer/test_closing.py as ``python -m tests.viewer.closing_job BUNDLE IMAGE close|end``.
"""

from __future__ import annotations

import sys

import napari
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_pgrd.viewer.launch import open_window


def main(bundle: str, image: str, how: str) -> None:
    """Sample for longer than any test waits, and go after the first steps."""
    viewer, dock = open_window()
    dock.desk.choose_bundle(bundle)
    dock.desk.open(image)
    dock.desk.state.steps, dock.desk.state.samples = 1000, 64
    dock.desk.sample()
    if how == "end":
        while dock.desk.state.progress == 0:
            QApplication.processEvents()
        print("ends while sampling:", dock.desk.worker is not None)
        return
    timer = QTimer()
    timer.setInterval(50)

    def close() -> None:
        if dock.desk.state.progress > 0:
            timer.stop()
            print("ends while sampling:", dock.desk.worker is not None)
            viewer.window._qt_window.close()

    timer.timeout.connect(close)
    timer.start()
    napari.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
