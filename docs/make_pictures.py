"""Make the pictures in ``docs/pictures`` from the running program.

xvfb-run -a -s "-screen 0 1280x800x24" python docs/make_pictures.py
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from qtpy.QtWidgets import QApplication

from napari_pgrd.viewer.launch import open_window

PICTURES = Path(__file__).resolve().parent / "pictures"


def live(seconds: float) -> None:
    """Let the window draw."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        QApplication.processEvents()
        time.sleep(0.005)


def main() -> None:
    """Open the example, sample it, and take a picture at each stage."""
    PICTURES.mkdir(exist_ok=True)
    os.environ["NAPARI_PGRD_STATE"] = tempfile.mkdtemp(prefix="pgrd-pictures-")  # no review of the user's is offered
    viewer, dock = open_window()
    window = viewer.window._qt_window
    window.resize(1280, 800)

    def picture(name: str) -> None:
        live(1.0)
        window.grab().save(str(PICTURES / f"{name}.png"))

    live(1.0)
    dock.desk.open_example()
    picture("opened")
    dock.desk.sample()
    while dock.desk.worker is not None or dock.desk.layers.turns.waiting:
        live(0.1)
        if dock.desk.state.drawn == 4 and not (PICTURES / "sampling.png").exists():
            picture("sampling")
    while not dock.places.places.items:
        live(0.1)
    picture("window")
    dock.places.next()
    while len(dock.places.options) < 2 and dock.places.places.index + 1 < len(dock.places.places.items):
        dock.places.next()
    picture("place")
    viewer.reset_view()
    dock.views.heat("entropy")
    picture("entropy")
    dock.views.heat("off")
    dock.corrections.start("consensus")
    dock.tabs.setCurrentIndex(2)
    picture("correction")
    dock.tools.draw_outline()
    picture("outline")
    viewer.close()


if __name__ == "__main__":
    main()
