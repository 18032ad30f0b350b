"""Where in a structure a point lies, in words a reader of images uses.

The words come from the structure itself and from the directions of the patient, so they hold for any bundle: along the
long axis of an elongated structure its ends and thirds, with the side in brackets ("posterior end (superior)"); in a
compact one the direction from its middle ("anterior superior"). Where the voxel size is unknown, so is the orientation;
the words are then those of the picture, as the axial view shows it ("upper left").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.volume import Volume

ELONGATED = 1.5  # the long axis' standard deviation over the next one's
END = 0.15  # of the length
ASIDE = 0.5  # offset from the middle, in root mean square radii, from which a side is named
SECOND = 0.6  # of the larger component, from which a second direction is named
SLAB = 0.1  # of the length: what lies beside a point, on either side of it
MOST_POINTS = 50_000  # the shape of a structure is known from fewer

PATIENT = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))  # towards lower and higher R, A, S
PICTURE = (("left", "right"), ("upper", "lower"), ("earlier slices", "later slices"))  # x, y, z
ORDER = (1, 2, 0)  # anterior superior left, upper left

Points = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Structure:
    """The shape of a structure.

    Attributes
    ----------
    points : numpy.ndarray
        ``(n, 3)`` its voxels along R, A, S in mm; where the spacing is unknown, along x, y, z in voxels.
    steps : numpy.ndarray
        ``(3, 3)`` what one voxel along x, y, z is along those axes.
    words : tuple
        For each of them the word for its lower and its higher side.
    """

    points: Points
    steps: Points
    words: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, mask: NDArray[np.bool_], volume: Volume) -> Structure:
        """The structure that fills ``mask (x, y, z)``, not empty, on the grid of the volume or on a box of it."""
        known = volume.spacing_known
        steps = volume.affine[:3, :3] if known else np.eye(3)
        voxels = np.flatnonzero(mask)
        voxels = voxels[:: max(1, len(voxels) // MOST_POINTS)]
        points = np.stack(np.unravel_index(voxels, mask.shape), 1).astype(float) @ steps.T
        return cls(points, steps, PATIENT if known else PICTURE)

    def position(self, voxel: NDArray[np.integer] | tuple[int, ...]) -> str:
        """Name the place of a voxel, given on the grid of the mask."""
        point = self.steps @ np.asarray(voxel, float)
        middle = self.points.mean(0)
        spread, axes = np.linalg.eigh(np.cov(self.points.T, bias=True))
        if np.sqrt(max(spread[2], 0)) <= ELONGATED * np.sqrt(max(spread[1], 0)) or spread[2] <= 0:
            side = self._side(point - middle, self.points - middle)
            return side or "centre"
        axis = axes[:, 2]
        world = int(np.abs(axis).argmax())
        axis = axis * np.sign(axis[world])
        along = self.points @ axis
        low, length = along.min(), np.ptp(along)
        at = float(np.clip((point @ axis - low) / length, 0, 1))
        away = np.abs((along - low) / length - at)
        beside = self.points[away <= max(SLAB, away.min())]
        part = self._part(at, world)
        across = np.eye(3) - np.outer(axis, axis)
        side = self._side((point - beside.mean(0)) @ across, (beside - beside.mean(0)) @ across, without=world)
        return f"{part} ({side})" if side else part

    def _part(self, at: float, world: int) -> str:
        word = self.words[world][at > 0.5]
        if min(at, 1 - at) < END:
            return f"{word} end"
        return f"{word} third" if min(at, 1 - at) < 1 / 3 else "middle third"

    def _side(self, offset: Points, around: Points, without: int | None = None) -> str:
        """Up to two directions, "" near the middle."""
        radius = np.sqrt((around**2).sum(1).mean())
        if np.linalg.norm(offset) <= ASIDE * radius:
            return ""
        size = np.abs(offset)
        if without is not None:
            size[without] = 0
        named = [w for w in np.argsort(-size)[:2] if size[w] >= SECOND * size.max() and size[w] > 0]
        return " ".join(self.words[w][int(offset[w] > 0)] for w in ORDER if w in named)
