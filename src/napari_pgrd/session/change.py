"""What an edit of a label map changes: voxels and their new values, so that it is one step to undo.

Every tool says which voxels its label shall hold; here that wish is reconciled with what the map holds already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_pgrd.engine.errors import InputError, require

BACKGROUND = 0

Labels = NDArray[Any]  # (z, y, x) label values or class indices, integers
Mask = NDArray[np.bool_]
Steps = NDArray[np.float64]  # mm per axis
Window = tuple[slice, slice, slice]
Tool = Callable[[Mask, Mask, Steps], Mask]  # (label, voxels it may hold, steps) -> voxels it shall hold


class Change(NamedTuple):
    """Voxels that an edit changes, and no other.

    Attributes
    ----------
    indices : numpy.ndarray
        ``(N,)`` int64, ascending flat indices into the label map in C order of its shape.
    values : numpy.ndarray
        ``(N,)`` their new values, in the map's dtype.
    """

    indices: NDArray[np.int64]
    values: NDArray[Any]

    def applied_to(self, labels: Labels) -> Labels:
        """A changed copy of the map."""
        changed = labels.copy()
        changed.flat[self.indices] = self.values
        return changed


@dataclass(frozen=True)
class Scope:
    """Where a tool works: in 3D (no axis), on every slice across an axis by itself, or on one of them.

    Raises
    ------
    InputError
        For an axis other than 0, 1 and 2, or a slice without its axis.
    """

    axis: int | None = None
    index: int | None = None

    def __post_init__(self) -> None:
        require(self.axis in (None, 0, 1, 2), InputError, f"Axis {self.axis} does not exist; give 0, 1 or 2.")
        require(self.index is None or self.axis is not None, InputError, "Give the axis that the slice is cut across.")

    def window(self, shape: Sequence[int]) -> Window:
        """The part of a map of this shape that the tool may touch."""
        slices = [slice(0, n) for n in shape]
        if self.axis is not None and self.index is not None:
            last = shape[self.axis] - 1
            require(0 <= self.index <= last, InputError, f"There is no slice {self.index}; give one from 0 to {last}.")
            slices[self.axis] = slice(self.index, self.index + 1)
        return (slices[0], slices[1], slices[2])


VOLUME = Scope()


def checked_steps(labels: Labels, label: int, spacing: Sequence[float] | None) -> Steps:
    """Spacing as an array, voxels where it is unknown, after looking at what an edit was given.

    Raises
    ------
    InputError
        For a map that is not 3D and of integers, a label that is background or does not fit the map, or a spacing that
        is not three lengths.
    """
    given = f"{labels.ndim} dimensions of {labels.dtype}"
    right = labels.ndim == 3 and np.issubdtype(labels.dtype, np.integer)
    require(right, InputError, f"The label map has {given}; give three dimensions of integers.")
    largest = np.iinfo(labels.dtype).max
    require(
        BACKGROUND < label <= largest, InputError, f"Label {label} cannot be edited; choose one from 1 to {largest}."
    )
    return lengths(spacing, 3)


def lengths(spacing: Sequence[float] | None, ndim: int) -> Steps:
    """Spacing as an array; ones where it is unknown."""
    steps = np.ones(ndim) if spacing is None else np.asarray(spacing, np.float64)
    right = steps.shape == (ndim,) and bool(np.isfinite(steps).all()) and bool((steps > 0).all())
    require(right, InputError, f"Spacing {spacing} cannot be used; give {ndim} lengths above zero, in mm.")
    return steps


def label_window(labels: Labels, label: int, scope: Scope = VOLUME, reach: float = 0.0, steps: Any = 1.0) -> Window:
    """Smallest box around a label within a scope, with room for ``reach`` mm and one voxel more on every side.

    Raises
    ------
    InputError
        If the label has no voxel there.
    """
    whole = scope.window(labels.shape)
    found = ndimage.find_objects((labels[whole] == label).astype(np.uint8))
    where = "in this image" if scope.index is None else f"on slice {scope.index}"
    require(bool(found), InputError, f"Label {label} has no voxel {where}; paint some, or choose another label.")
    room = np.ceil(np.broadcast_to(reach / np.asarray(steps), 3)).astype(int) + 1
    box = [
        slice(max(limit.start, limit.start + near.start - r), min(limit.stop, limit.start + near.stop + r))
        for limit, near, r in zip(whole, found[0], room, strict=True)
    ]
    return (box[0], box[1], box[2])


def rewrite(labels: Labels, label: int, wanted: Mask, window: Window, *, preserve: bool) -> Change:
    """Make a label hold exactly the wanted voxels of a window, but for those of its neighbours.

    Parameters
    ----------
    wanted : numpy.ndarray
        Voxels of the window that the label shall hold. Those that it loses become background.
    preserve : bool
        Whether voxels of other labels stay theirs.
    """
    part = labels[window]
    held = part == label
    gained = wanted & (part == BACKGROUND if preserve else ~held)
    changed = np.nonzero(gained | (held & ~wanted))
    values = np.where(gained[changed], label, BACKGROUND).astype(labels.dtype)
    place = tuple(i + s.start for i, s in zip(changed, window, strict=True))
    return Change(np.ravel_multi_index(place, labels.shape).astype(np.int64), values)


def edit(
    labels: Labels,
    label: int,
    tool: Tool,
    *,
    spacing: Sequence[float] | None,
    scope: Scope,
    preserve: bool,
    reach: float = 0.0,
) -> Change:
    """Run a tool on the part of the map around its label, in 3D or slice by slice; a map of one slice is 2D.

    Parameters
    ----------
    reach : float
        How far outside the label the tool looks or writes, in mm.
    """
    steps = checked_steps(labels, label, spacing)
    if scope.axis is None and 1 in labels.shape:
        scope = Scope(labels.shape.index(1))
    window = label_window(labels, label, scope, reach, steps)
    part = labels[window]
    held = part == label
    free = held | (part == BACKGROUND) if preserve else np.ones_like(held)
    if scope.axis is None:
        wanted = tool(held, free, steps)
    else:
        flat = np.delete(steps, scope.axis)
        planes = zip(np.moveaxis(held, scope.axis, 0), np.moveaxis(free, scope.axis, 0), strict=True)
        wanted = np.stack([tool(h, f, flat) if h.any() else h for h, f in planes], axis=scope.axis)
    return rewrite(labels, label, wanted, window, preserve=preserve)
