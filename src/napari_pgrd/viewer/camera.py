"""Where the window looks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

ALIKE = 0.5  # of the space that two images fill together, both must fill so much to be seen by one view
OPAQUE = ("opaque", "translucent", "translucent_no_depth")  # napari's blendings


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


def go_to_middle(viewer: ViewerModel, layer: Layer) -> None:
    """The slices through the middle of a layer, and all of it in view."""
    lead = viewer.dims.ndim - 3
    middle = layer.data_to_world([(n - 1) // 2 for n in layer.data.shape])  # a slice, not between two
    viewer.dims.set_point(range(lead, viewer.dims.ndim), tuple(middle[-3:]))
    fit(viewer, layer)


def fit(viewer: ViewerModel, layer: Layer | None) -> None:
    """Bring all of a layer into view; of all layers where it is none of them.

    napari needs a layer that has every axis of the viewer: beside a stack of samples, that stack.
    """
    if layer is None or layer not in viewer.layers:
        viewer.reset_view(reset_camera_angle=False)
        return
    stacks = [other for other in viewer.layers if layer.ndim < other.ndim == viewer.dims.ndim]
    viewer.reset_view(layers=[layer, *stacks], reset_camera_angle=False)


def uncover(viewer: ViewerModel, layer: Layer, images: Sequence[Layer]) -> None:
    """Show an image, and hide the others as far as they are opaque; what is seen through was laid there on purpose."""
    for other in images:
        if other is not layer and other.visible and other.opacity == 1 and other.blending in OPAQUE:
            other.visible = False
    layer.visible = True


def lies_alike(one: Layer, other: Layer) -> bool:
    """Whether two images fill nearly the same space."""
    a, b = one.extent.world[:, -3:], other.extent.world[:, -3:]
    size = [float(np.prod(np.clip(e[1] - e[0], 1e-6, None))) for e in (a, b)]
    common = float(np.prod(np.clip(np.minimum(a[1], b[1]) - np.maximum(a[0], b[0]), 0, None)))
    return common >= ALIKE * (sum(size) - common)
