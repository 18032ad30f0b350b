"""One slice of a case as a reader would look at it: upright arrays for pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.engine.volume import Reorder, Volume

PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}  # the axis of an RAS array that the plane is normal to
SHOWN = 4  # samples


def picture_of(
    volume: Volume,
    truths: NDArray[np.integer],
    consensus: NDArray[np.integer],
    masks: NDArray[np.integer],
    entropy: NDArray[np.floating],
    spec: BundleSpec,
) -> dict[str, NDArray[Any]]:
    """Image, raters, consensus, the first samples and entropy on the slice where the raters marked most.

    Returns
    -------
    dict
        ``image``, ``consensus``, ``entropy`` ``(rows, columns)`` with the first row on top, ``truths (R, ., .)``,
        ``samples (<= 4, ., .)`` and ``aspect``, the height of a pixel over its width.
    """
    flat = spec.prepare.dims == 2 or not volume.spacing_known
    order = Reorder((0, 1, 2), (False, False, False)) if flat else Reorder.between(volume.affine, "RAS")
    axis = 2 if flat else PLANES[spec.scope.start_plane]
    votes = order.apply((truths > 0).sum(0)).sum(tuple(i for i in range(3) if i != axis))
    where = int(votes.argmax()) if votes.any() else len(votes) // 2

    def cut(data: NDArray[Any]) -> NDArray[Any]:
        """Anterior or the patient's right on the left; where the geometry is unknown, as in the file."""
        plane = np.take(order.apply(data), where, axis + data.ndim - 3)
        out = np.moveaxis(plane, -1, -2)
        return np.ascontiguousarray(out if flat else out[..., ::-1, ::-1])

    spacing = np.delete([volume.spacing[a] for a in order.axes], axis)
    return {
        "image": cut(volume.data[0]).astype(np.float32),
        "truths": cut(truths).astype(np.uint8),
        "consensus": cut(consensus).astype(np.uint8),
        "samples": cut(masks[:SHOWN]).astype(np.uint8),
        "entropy": cut(entropy).astype(np.float32),
        "aspect": np.array(spacing[1] / spacing[0]),
    }
