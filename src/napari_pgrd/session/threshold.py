"""Another threshold for the foreground, as a preview."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.errors import InputError, require


def thresholded(probability: NDArray[np.floating], level: float) -> NDArray[np.uint8]:
    """Class indices ``(x, y, z)``: foreground where its probability reaches ``level``, there the most probable label.

    The labels' probabilities are summed before they are cut. Cutting each label's own would tear a gap along the border
    of two labels, where neither reaches the level although it is clear that the voxel is no background. At 0.5 this is
    the consensus, except where the background is the likeliest class and yet less likely than all labels together.

    Parameters
    ----------
    probability : numpy.ndarray
        ``(K, x, y, z)``, class 0 the background; each voxel sums to 1.
    level : float
        Above 0 and below 1. Ties between labels go to the lowest index.

    Raises
    ------
    InputError
        If the level is not between 0 and 1.
    """
    require(0 < level < 1, InputError, f"The threshold is {level}; choose a number above 0 and below 1.")
    out = np.zeros(probability.shape[1:], np.uint8)
    inside = probability[0] <= 1 - level
    out[inside] = probability[1:, inside].argmax(0) + 1
    return out
