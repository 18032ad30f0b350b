"""Correcting one label: smooth, fill, keep the largest piece, grow and shrink by mm, and give voxels to another label.

Each function leaves the map as it is and returns the :class:`~napari_pgrd.session.change.Change` to apply. With
``preserve`` other labels keep their voxels; what a label loses becomes background. A :class:`Scope` chooses between 3D,
every slice by itself, and one slice. Lengths are mm where the spacing is known, else voxels. Beyond the border of the
image nothing is known: there no tool adds or takes anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from skimage import measure

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.session.change import BACKGROUND, VOLUME, Change, Labels, Mask, Scope, Steps, checked_steps, edit

KERNEL = 4.0  # standard deviations after which a Gaussian is cut off
ROUNDING = 1 + 1e-6  # three steps of 0.1 mm are 0.3 mm


def smooth(
    labels: Labels,
    label: int,
    mm: float,
    spacing: Sequence[float] | None = None,
    scope: Scope = VOLUME,
    *,
    preserve: bool = True,
) -> Change:
    """Smooth a label's border by a Gaussian, keeping its number of voxels.

    The label's share of the free voxels around each voxel is weighed by a Gaussian (normalised convolution), and the
    voxels with the highest share become the label: as many as it had, in 3D or on each slice. Neighbours count as
    neither inside nor outside, so that a shared border opens no gap.

    Parameters
    ----------
    mm : float
        Standard deviation of the Gaussian. Details smaller than about twice this go.

    Raises
    ------
    InputError
        If there is nothing to smooth or the length is not above zero.
    """
    _check_length(mm)

    def tool(held: Mask, free: Mask, steps: Steps) -> Mask:
        def around(mask: Mask) -> np.ndarray:
            return ndimage.gaussian_filter(mask.astype(np.float32), mm / steps, mode="constant", truncate=KERNEL)

        candidates = np.flatnonzero(free)
        share = around(held)[free] / around(free)[free]
        count = np.count_nonzero(held)
        wanted = np.zeros_like(held)
        wanted.flat[candidates[np.argpartition(share, -count)[-count:]]] = True
        return wanted

    return edit(labels, label, tool, spacing=spacing, scope=scope, preserve=preserve, reach=KERNEL * mm)


def fill_holes(labels: Labels, label: int, scope: Scope = VOLUME, *, preserve: bool = True) -> Change:
    """Fill what a label encloses. In 3D a hole is enclosed on all sides, on a slice within the slice.

    A gap only across a corner or an edge does not open a hole; one that reaches the border of the image is none.
    """

    def tool(held: Mask, free: Mask, steps: Steps) -> Mask:
        return ndimage.binary_fill_holes(held)

    return edit(labels, label, tool, spacing=None, scope=scope, preserve=preserve)


def keep_largest(labels: Labels, label: int, scope: Scope = VOLUME) -> Change:
    """Keep a label's piece of most voxels; the others become background.

    Voxels that share a face, an edge or a corner are one piece. Of equal pieces the first in the array stays.
    """

    def tool(held: Mask, free: Mask, steps: Steps) -> Mask:
        pieces = measure.label(held, connectivity=held.ndim)
        sizes = np.bincount(pieces[held])
        return pieces == np.argmax(sizes)

    return edit(labels, label, tool, spacing=None, scope=scope, preserve=True)


def grow(
    labels: Labels,
    label: int,
    mm: float,
    spacing: Sequence[float] | None = None,
    scope: Scope = VOLUME,
    *,
    preserve: bool = True,
) -> Change:
    """Add the voxels whose centre lies within ``mm`` of a label's voxel (exact Euclidean distance of centres).

    Where neighbours are preserved, nothing is added behind them: what grows stays joined to the label.

    Raises
    ------
    InputError
        If there is nothing to grow, or the length is shorter than a voxel and would do nothing.
    """
    _check_length(mm)

    def tool(held: Mask, free: Mask, steps: Steps) -> Mask:
        _check_reaches(mm, steps, spacing)
        near = ndimage.distance_transform_edt(~held, sampling=steps) <= mm * ROUNDING
        return ndimage.binary_propagation(held, mask=near & free)

    return edit(labels, label, tool, spacing=spacing, scope=scope, preserve=preserve, reach=mm * ROUNDING)


def shrink(
    labels: Labels, label: int, mm: float, spacing: Sequence[float] | None = None, scope: Scope = VOLUME
) -> Change:
    """Take away the voxels whose centre lies within ``mm`` of a voxel outside (exact Euclidean distance of centres).

    Borders with other labels recede too; the border of the image does not.

    Raises
    ------
    InputError
        If nothing would be left, or the length is shorter than a voxel and would do nothing.
    """
    _check_length(mm)
    left = False

    def tool(held: Mask, free: Mask, steps: Steps) -> Mask:
        nonlocal left
        _check_reaches(mm, steps, spacing)
        deep = held if held.all() else ndimage.distance_transform_edt(held, sampling=steps) > mm * ROUNDING
        left = left or bool(deep.any())
        return deep

    change = edit(labels, label, tool, spacing=spacing, scope=scope, preserve=True)
    require(left, InputError, f"Shrinking by {_length(mm, spacing)} would leave nothing of label {label}; give less.")
    return change


def assign(labels: Labels, label: int, other: int, region: Mask) -> Change:
    """Give the voxels of one label inside a region to another; either may be the background, 0.

    Parameters
    ----------
    region : numpy.ndarray
        Of the map's shape: where to look.

    Raises
    ------
    InputError
        If the label has no voxel in the region.
    """
    return _exchange(labels, {label: other}, region)


def swap(labels: Labels, label: int, other: int, region: Mask) -> Change:
    """Exchange two labels inside a region; one may be the background, 0. See :func:`assign`."""
    return _exchange(labels, {label: other, other: label}, region)


def _exchange(labels: Labels, values: dict[int, int], region: Mask) -> Change:
    """Replace values inside a region, all at once."""
    label, other = next(iter(values.items()))
    require(label != other, InputError, f"Label {label} was given twice; choose two different labels.")
    for value in {label, other} - {BACKGROUND}:
        checked_steps(labels, value, None)
    right = region.shape == labels.shape
    require(right, InputError, f"The region is {region.shape}, the label map {labels.shape}; give the same shape.")
    inside = np.flatnonzero(region)
    found = labels.flat[inside]
    hit = np.isin(found, list(values))
    names = " and ".join(str(v) for v in values)
    require(bool(hit.any()), InputError, f"The region holds no voxel of label {names}; choose another place.")
    new = found.copy()
    for value, becomes in values.items():
        new[found == value] = becomes
    return Change(inside[hit].astype(np.int64), new[hit])


def _check_length(mm: float) -> None:
    require(math.isfinite(mm) and mm > 0, InputError, f"A length of {mm} cannot be used; give one above zero.")


def _check_reaches(mm: float, steps: Steps, spacing: Sequence[float] | None) -> None:
    least = float(steps.min())
    sentence = (
        f"{_length(mm, spacing)} is less than a voxel and changes nothing; give {_length(least, spacing)} or more."
    )
    require(mm * ROUNDING >= least, InputError, sentence)


def _length(mm: float, spacing: Sequence[float] | None) -> str:
    return f"{mm:g} {'voxels' if spacing is None else 'mm'}"
