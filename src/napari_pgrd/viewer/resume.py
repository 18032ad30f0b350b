"""A saved review back on the screen."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from napari_pgrd.engine.errors import InputError, PgrdError, require
from napari_pgrd.session.display import PLANES
from napari_pgrd.session.review import Review, bundle_mark
from napari_pgrd.viewer.desk import Desk


def show(desk: Desk, review: Review) -> None:
    """Choose the review's model and show its samples; the image is open and was found to be the right one.

    Raises
    ------
    InputError
        If its model is not among those that are loaded.
    """
    where = next((b for b in desk.bundles if _is(b, review)), None)
    require(
        where is not None,
        InputError,
        f"This review was made with the model {review.bundle} in another version or place. Load that model under "
        "Sample, then resume.",
    )
    assert where is not None
    desk.choose_bundle(where)
    if review.prediction is not None:
        desk.take(review.prediction, review.request, float(review.phases.get("sampling", 0.0)))


def look(desk: Desk, view: Mapping[str, Any]) -> None:
    """Turn to the plane, slice and zoom that were on the screen; what is missing stays as it is."""
    viewer = desk.viewer
    if view.get("plane") in PLANES:
        desk.layers.set_plane(str(view["plane"]))
    with suppress(KeyError, TypeError, ValueError):
        lead = viewer.dims.ndim - 3
        viewer.dims.set_point(range(lead, viewer.dims.ndim), [float(v) for v in view["point"]])
        z, y, x = (float(v) for v in view["centre"])
        viewer.scene.camera.center = (z, y, x)
        viewer.scene.camera.zoom = float(view["zoom"])


def _is(bundle: str, review: Review) -> bool:
    try:
        return bundle_mark(bundle) == (review.bundle, review.bundle_digest)
    except PgrdError:
        return False
