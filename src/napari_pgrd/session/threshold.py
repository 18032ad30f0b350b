"""Another threshold for the foreground, as a preview."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.spec import Label


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


def change_sentence(
    before: NDArray[np.integer],
    after: NDArray[np.integer],
    labels: Sequence[Label],
    size: tuple[float, str],
    what: str,
) -> str:
    """What a mask would change, as "anterior +0.12 mL; 0.15 mL of the correction would change.", for the reader.

    Parameters
    ----------
    before, after : numpy.ndarray
        Label values on one grid.
    labels : sequence of Label
        The bundle's, the background first.
    size : (float, str)
        Of a voxel, and its unit: :func:`~napari_pgrd.session.volumes.voxel_volume`.
    what : str
        What ``before`` is to the reader: "correction".
    """
    voxel, unit = size
    digits = 2 if unit == "mL" else 0
    changed = int(np.count_nonzero(before != after))
    if not changed:
        return f"The same as the {what}."
    parts = []
    for label in labels[1:]:
        by = (int(np.count_nonzero(after == label.value)) - int(np.count_nonzero(before == label.value))) * voxel
        parts.append(f"{label.name} {round(by, digits) + 0.0:+.{digits}f} {unit}")  # + 0.0: never "-0.00"
    return f"{', '.join(parts)}; {changed * voxel:.{digits}f} {unit} of the {what} would change."
