"""A volume, its place in the patient, and the index arithmetic that moves between array orders."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.errors import InputError, require

Affine = NDArray[np.float64]
Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]  # half-open index ranges on x, y, z

_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))  # towards lower and higher world coordinate, RAS+


@dataclass(frozen=True, eq=False)
class Volume:
    """One or more channels on one grid.

    Attributes
    ----------
    data : numpy.ndarray
        ``(C, x, y, z)``; a 2D image has z = 1.
    affine : numpy.ndarray
        ``(4, 4)``, voxel index to RAS+ world position in mm.
    spacing_known : bool
        False where the file states no physical unit (plain images); volumes are then given in voxels.
    name : str
        For the reader's eyes only; never written to logs or manifests.
    source : object, optional
        What the file's own reader needs to write in exactly this geometry; opaque to the engine.
    """

    data: NDArray[Any]
    affine: Affine
    spacing_known: bool = True
    name: str = field(default="image", repr=False)
    source: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        require(
            self.data.ndim == 4,
            InputError,
            f"A volume needs 3 spatial dimensions and a channel, but this one has shape {self.data.shape}.",
        )
        object.__setattr__(self, "affine", check_affine(self.affine))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along x, y, z."""
        return self.data.shape[1], self.data.shape[2], self.data.shape[3]

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along x, y, z, in mm."""
        sx, sy, sz = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(sx), float(sy), float(sz)

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Size of the field of view along x, y, z, in mm."""
        (nx, ny, nz), (sx, sy, sz) = self.shape, self.spacing
        return nx * sx, ny * sy, nz * sz

    @property
    def digest(self) -> str:
        """Hash of the voxels, so that results are never mixed between images."""
        return hashlib.blake2b(np.ascontiguousarray(self.data).tobytes(), digest_size=16).hexdigest()

    @cached_property
    def finite_range(self) -> tuple[float, float]:
        """Smallest and largest of the voxels that are finite; (0, 0) where none is."""
        there = np.isfinite(self.data)
        if not there.any():
            return 0.0, 0.0
        low, high = np.min(self.data, where=there, initial=np.inf), np.max(self.data, where=there, initial=-np.inf)
        return float(low), float(high)

    def crop(self, box: Box) -> Volume:
        """The part inside ``box``; its affine keeps every voxel where it was in the world."""
        check_box(box, self.shape)
        slices = tuple(slice(lo, hi) for lo, hi in box)
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ np.array([lo for lo, _ in box], dtype=float)
        return replace(self, data=self.data[(slice(None), *slices)], affine=affine)


def times(sizes: Sequence[float]) -> str:
    """``(40.0, 56.0, 1.5)`` -> ``"40 x 56 x 1.5"``."""
    return " x ".join(f"{s:.0f}" if float(s).is_integer() or s >= 10 else f"{s:.1f}" for s in sizes)


def check_affine(affine: Any) -> Affine:
    """Return the affine as float64 ``(4, 4)``; a sentence if it is not finite or flattens space."""
    matrix = np.asarray(affine, dtype=np.float64)
    require(
        matrix.shape == (4, 4) and bool(np.isfinite(matrix).all()),
        InputError,
        f"The affine must be a finite 4 x 4 matrix; this one has shape {matrix.shape} or holds NaN or infinity. "
        "Repair the file's geometry, then open it again.",
    )
    columns = matrix[:3, :3]
    lengths = np.linalg.norm(columns, axis=0)
    singular = bool((lengths == 0).any()) or abs(np.linalg.det(columns / np.where(lengths == 0, 1, lengths))) < 1e-4
    require(
        not singular,
        InputError,
        "The affine is singular: two image axes point the same way or a voxel has no size, so nothing can be measured. "
        "Repair the file's geometry, then open it again.",
    )
    return matrix


def check_box(box: Box, shape: tuple[int, int, int]) -> None:
    """A sentence unless the box is inside the image and holds at least one voxel on every axis."""
    for (lo, hi), n, axis in zip(box, shape, "xyz", strict=True):
        require(
            0 <= lo < hi <= n,
            InputError,
            f"The box asks for voxels {lo} to {hi} on {axis}, but the image has 0 to {n}. Move or shrink the box.",
        )


def embed(data: NDArray[Any], box: Box | None, shape: tuple[int, int, int], fill: float = 0) -> NDArray[Any]:
    """Put an array on a box back into the whole grid: ``(..., *box) -> (..., *shape)``."""
    if box is None:
        return data
    out = np.full((*data.shape[:-3], *shape), fill, dtype=data.dtype)
    x, y, z = (slice(lo, hi) for lo, hi in box)
    out[..., x, y, z] = data
    return out


def axis_order(affine: Affine) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """For each world axis (R, A, S): the array axis that runs most along it, and its direction (+1 or -1).

    The assignment maximises the summed cosines over all six permutations, so two array axes never claim one world axis.
    """
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    best = max(permutations(range(3)), key=lambda p: sum(abs(cosines[w, a]) for w, a in enumerate(p)))
    a, b, c = (1 if cosines[w, axis] >= 0 else -1 for w, axis in enumerate(best))
    return (best[0], best[1], best[2]), (a, b, c)


def orientation(affine: Affine) -> str:
    """Three letters, one for each array axis, of the directions in which the indices grow: ``"RAS"``."""
    axes, signs = axis_order(affine)
    letters = [""] * 3
    for world, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        letters[axis] = _LETTERS[world][sign > 0]
    return "".join(letters)


@dataclass(frozen=True)
class Reorder:
    """A permutation and flips of the three spatial axes, exactly invertible.

    ``axes[i]`` is the source axis that becomes target axis i; ``flips[i]`` says whether target axis i is reversed.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    @classmethod
    def between(cls, affine: Affine, target: str) -> Reorder:
        """What brings an array with this affine into the orientation named by three letters."""
        axes, signs = axis_order(affine)
        worlds, wanted = zip(*(_world(letter) for letter in target), strict=True)
        require(
            sorted(worlds) == [0, 1, 2], InputError, f"{target!r} is no orientation; give three letters such as 'RAS'."
        )
        order = tuple(axes[w] for w in worlds)
        flips = tuple(signs[w] != d for w, d in zip(worlds, wanted, strict=True))
        return cls(order, flips)  # type: ignore[arg-type]  # three of each

    def apply(self, data: NDArray[Any]) -> NDArray[Any]:
        """Reorder the last three axes of an array; a view."""
        lead = data.ndim - 3
        out = data.transpose(*range(lead), *(lead + a for a in self.axes))
        return out[(..., *(slice(None, None, -1) if f else slice(None) for f in self.flips))]

    def invert(self, data: NDArray[Any]) -> NDArray[Any]:
        """Undo :meth:`apply`; a view."""
        lead = data.ndim - 3
        out = data[(..., *(slice(None, None, -1) if f else slice(None) for f in self.flips))]
        return out.transpose(*range(lead), *(lead + int(i) for i in np.argsort(self.axes)))

    def affine(self, affine: Affine, shape: tuple[int, int, int]) -> Affine:
        """Affine of the reordered array, ``shape`` being the source's."""
        index = np.zeros((4, 4))  # target index -> source index
        index[3, 3] = 1
        for i, (axis, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            index[axis, i] = -1 if flip else 1
            index[axis, 3] = shape[axis] - 1 if flip else 0
        return affine @ index

    def box(self, box: Box, shape: tuple[int, int, int]) -> Box:
        """A source box as target indices, ``shape`` being the source's."""
        out = []
        for axis, flip in zip(self.axes, self.flips, strict=True):
            lo, hi = box[axis]
            out.append((shape[axis] - hi, shape[axis] - lo) if flip else (lo, hi))
        return out[0], out[1], out[2]

    def inverse(self) -> Reorder:
        """The reordering that undoes this one."""
        axes = [int(i) for i in np.argsort(self.axes)]
        flips = [self.flips[i] for i in axes]
        return Reorder((axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]))


def _world(letter: str) -> tuple[int, int]:
    for world, (low, high) in enumerate(_LETTERS):
        if letter in (low, high):
            return world, 1 if letter == high else -1
    raise InputError(f"{letter!r} is no anatomical direction; use L or R, P or A, I or S.")
