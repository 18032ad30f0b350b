"""Open napari with the dock, for ``pgrd review`` and ``pgrd demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import napari

from napari_pgrd.viewer.dock import ReviewDock

if TYPE_CHECKING:
    from napari.viewer import Viewer

TITLE = "PGRD Review"


def open_window() -> tuple[Viewer, ReviewDock]:
    """A napari window with the dock on its right."""
    viewer = napari.Viewer(title=TITLE)
    # As the plugin's own widget, so that the menu finds this dock and does not put a second one on the same layers.
    _, dock = viewer.window.add_plugin_dock_widget("napari-pgrd", TITLE)
    return viewer, dock


def review(image: Path | None = None) -> None:
    """Open the window, with an image if one is given, and stay until it is closed."""
    _, dock = open_window()
    if image is not None:
        dock.opening.open(image)
    napari.run()


def demo(samples: int | None = None, steps: int | None = None) -> None:
    """Open the window on the example case and start sampling, as a reader would by two clicks."""
    _, dock = open_window()
    dock.desk.open_example()
    if samples is not None:
        dock.desk.state.samples = samples
    if steps is not None:
        dock.desk.state.steps = steps
    dock.desk.sample()
    napari.run()
