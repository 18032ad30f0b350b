"""A saved review back on the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from napari.layers import Layer

from napari_pgrd.engine.errors import InputError, PgrdError, require
from napari_pgrd.session.display import PLANES
from napari_pgrd.session.phases import SAMPLING
from napari_pgrd.session.review import Review, bundle_mark
from napari_pgrd.viewer.desk import Desk

# Keys of a saved view: the tab that was worked on; which correction was selected, -1 for another layer.
TAB, HAND = "tab", "hand"
REVIEW, CORRECT = "Review", "Correct"


def show(desk: Desk, review: Review) -> None:
    """Choose the review's model and show its samples, if any; the image is open and was found to be the right one.

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
        desk.take(review.prediction, review.request, float(review.phases.get(SAMPLING, 0.0)))
    else:
        desk.drop()
        desk.lie_on(review.request)
        desk.state.box = review.request.box


def tab_of(review: Review) -> str:
    """The tab to go on with: of Review and Correct the one that was worked on last.

    Correct, too, where there are no samples to review. Not what the selected layer would say: an answer taken over with
    J begins a correction and selects it, while the reader goes on from place to place. Nor Export, where every review
    is saved: nobody opens one to export it again.
    """
    correcting = review.prediction is None or review.view.get(TAB) == CORRECT
    return CORRECT if review.corrections and correcting else REVIEW


def look(desk: Desk, view: Mapping[str, Any], corrections: Sequence[Layer] = ()) -> None:
    """Turn to the plane, slice, zoom and layer that were on the screen; what is missing stays as it is."""
    viewer = desk.viewer
    if isinstance(hand := view.get(HAND), int):
        viewer.layers.selection.active = corrections[hand] if 0 <= hand < len(corrections) else desk.image
    if view.get("plane") in PLANES:
        desk.layers.set_plane(str(view["plane"]), desk.image)
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
