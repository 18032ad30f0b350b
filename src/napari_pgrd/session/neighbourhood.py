"""What lies near a mask, in mm: where samples may be drawn again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_pgrd.engine.errors import InputError, require


def near(mask: NDArray[np.bool_], reach: float, spacing: Sequence[float] = (1.0, 1.0, 1.0)) -> NDArray[np.bool_]:
    """Voxels whose centre is no further than ``reach`` from the centre of a voxel of the mask.

    Parameters
    ----------
    mask : numpy.ndarray
        ``(x, y, z)`` bool.
    reach : float
        In the unit of the spacing.
    spacing : sequence of float
        Size of a voxel along each axis, mm; 1 each where it is unknown.

    Returns
    -------
    numpy.ndarray
        ``(x, y, z)`` bool, the mask itself included; all False for an empty mask.

    Raises
    ------
    InputError
        If the reach is not a length.
    """
    require(np.isfinite(reach) and reach >= 0, InputError, f"A reach of {reach} is no length; give 0 or more, in mm.")
    out = np.zeros(mask.shape, bool)
    places = np.nonzero(mask)
    if not len(places[0]):
        return out
    # Nothing beyond this window can be near, and the distances of a whole head take seconds.
    window = tuple(
        slice(max(0, int(at.min()) - int(reach / step) - 1), int(at.max()) + int(reach / step) + 2)
        for at, step in zip(places, spacing, strict=True)
    )
    distance = ndimage.distance_transform_edt(~mask[window], sampling=spacing)
    # Steps that add up to the reach may exceed it by rounding.
    out[window] = distance <= reach * (1 + 1e-9) + 1e-12
    return out
