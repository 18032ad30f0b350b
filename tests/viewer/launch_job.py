"""The command line's window, from outside: what stands in it once it has settled; then it is closed, as by a hand.

Started by tests/viewer/test_launch.py as ``python -m tests.viewer.launch_job LAYERS demo|review ...``: LAYERS is a JSON
list of the names to wait for, the words after it are those of ``pgrd``.
"""

from __future__ import annotations

import json
import sys
import time

import napari
import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from napari_pgrd.cli import main

PATIENCE_S = 400


def look(viewer: napari.Viewer) -> dict[str, object]:
    """The window as a reader sees it."""
    window = viewer.window._qt_window
    canvas = np.asarray(viewer.screenshot(canvas_only=True, flash=False))[..., :3]
    return {
        "title": window.windowTitle(),
        "exposed": window.windowHandle().isExposed(),
        "dock": window.findChild(QWidget, "pgrd_review").isVisible(),
        "layers": [layer.name for layer in viewer.layers],
        "labels": {x.name: np.unique(x.data).tolist() for x in viewer.layers if isinstance(x, Labels)},
        "sum": float(np.asarray(viewer.layers[0].data, float).sum()) if viewer.layers else None,
        "contrast": int(np.ptp(canvas.astype(int))),
    }


def watch(names: list[str]) -> QTimer:
    """Look every now and then; when these layers stand, or never come, say what is seen and close the window."""
    timer = QTimer()
    timer.setInterval(100)
    until = time.monotonic() + PATIENCE_S

    def see() -> None:
        viewer = napari.current_viewer()
        if viewer is None or ([x.name for x in viewer.layers] != names and time.monotonic() < until):
            return
        timer.stop()
        print(json.dumps(look(viewer)))
        viewer.window._qt_window.close()

    timer.timeout.connect(see)
    timer.start()
    return timer


def launch(names: str, *words: str) -> None:
    """``pgrd`` as it is, but that somebody looks as soon as the window's event loop runs."""
    run = napari.run

    def watched() -> None:
        timer = watch(json.loads(names))
        run()
        timer.stop()

    napari.run = watched
    sys.argv = ["pgrd", *words]
    main()


if __name__ == "__main__":
    launch(*sys.argv[1:])
