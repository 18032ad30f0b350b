"""Where the window looks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.components import ViewerModel


@contextmanager
def kept_view(viewer: ViewerModel) -> Iterator[None]:
    """Leave centre and zoom as they are while an axis comes or goes, at which napari would fit the view."""
    camera = viewer.scene.camera
    centre, zoom, angles = camera.center, camera.zoom, camera.angles
    yield
    camera.center, camera.zoom, camera.angles = centre, zoom, angles


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
    if min(dims.displayed) < lead:
        return  # channels or samples are on screen as if they were rows
    rows, columns = (world[axis - lead] for axis in dims.displayed[-2:])
    viewer.scene.camera.center = (0.0, float(rows), float(columns))
    viewer.scene.camera.zoom = min(viewer.canvas.size) / width
