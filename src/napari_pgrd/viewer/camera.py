"""Where the window looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.components import ViewerModel


def centre_on(viewer: ViewerModel, world: Sequence[float], width: float) -> None:
    """Show a point in the middle of the plane on screen, on its slice, at about ``width`` across.

    Parameters
    ----------
    world : sequence of 3 floats
        (z, y, x) in the layers' unit.
    width : float
        What the shorter side of the canvas then spans, in that unit.
    """
    dims = viewer.dims
    lead = dims.ndim - 3
    dims.set_point(range(lead, dims.ndim), tuple(world))
    rows, columns = (world[axis - lead] for axis in dims.displayed[-2:])
    viewer.scene.camera.center = (0.0, float(rows), float(columns))
    viewer.scene.camera.zoom = min(viewer.canvas.size) / width
