"""How a volume lies on the screen: upright, patient right on the viewer's left, axis-aligned, in mm.

The display array is the LPI reordering of the volume, transposed to (z, y, x), so that on an axial slice rows run from
anterior to posterior and columns from the patient's right to left. napari shows out-of-plane rotations wrongly, so an
oblique volume is displayed along its own axes; the true affine stays with the volume and is what export writes.

A file that states no voxel size tells nothing of directions either. Its slices are shown as pictures are stored: the
first axis to the right, the second downwards, the third from slice to slice; no direction of the patient is named.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.volume import Box, Reorder, Volume

AXIS_LABELS = ("I-S", "A-P", "R-L")  # slider names of z, y, x
STORED_LABELS = ("slice", "row", "column")  # where directions are not known
AS_STORED = Reorder((0, 1, 2), (False, False, False))
PLANES = {"sagittal": (2, 0, 1), "coronal": (1, 0, 2), "axial": (0, 1, 2)}  # dims order: slider, rows, columns
THICK = 1.2  # times as long as wide: such voxels look coarse from the side
PLANE_TEXT = {
    "sagittal": "sagittal  \u00b7  A left, S up",
    "coronal": "coronal  \u00b7  R left, S up",
    "axial": "axial  \u00b7  R left, A up",
}


def plane_text(plane: str, known: bool) -> str:
    """What stands beside a picture of a plane; letters only where directions are known."""
    return PLANE_TEXT[plane] if known else f"{plane}  \u00b7  orientation not known"


def first_plane(volume: Volume, wanted: str) -> str:
    """The plane to begin with: the wanted one, but stored slices where nothing is known of what lies across them."""
    return wanted if volume.spacing_known else "axial"


def taken_plane(volume: Volume) -> str:
    """The plane in which slices lie that are thicker than their pixels are wide; axial where none are."""
    scale = Display.of(volume).scale
    across = int(np.argmax(scale)) if max(scale) > THICK * min(scale) else 0
    return next(name for name, order in PLANES.items() if order[0] == across)


@dataclass(frozen=True, eq=False)
class Display:
    """The one-to-one map between a volume's grid and display arrays."""

    reorder: Reorder
    scale: tuple[float, float, float]  # mm (or voxels) along z, y, x
    translate: tuple[float, float, float]
    unit: str
    shape: tuple[int, int, int]  # of the display array

    @classmethod
    def of(cls, volume: Volume, box: Box | None = None) -> Display:
        """The display geometry of a volume, or of a box of it."""
        reorder = Reorder.between(volume.affine, "LPI") if volume.spacing_known else AS_STORED
        affine = reorder.affine(volume.affine, volume.shape)
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        shape = np.array([volume.shape[a] for a in reorder.axes])
        middle = (shape - 1) / 2
        # Anchored at the middle voxel, so that an oblique volume is displayed where it lies.
        corner = -(affine[:3, :3] @ middle + affine[:3, 3]) - spacing * middle
        if not volume.spacing_known:
            spacing, corner = np.ones(3), np.zeros(3)
        z, y, x = (float(v) for v in spacing[::-1])
        tz, ty, tx = (float(v) for v in corner[::-1])
        nx, ny, nz = (int(n) for n in shape)
        whole = cls(reorder, (z, y, x), (tz, ty, tx), "mm" if volume.spacing_known else "pixel", (nz, ny, nx))
        return whole.crop(box, volume.shape) if box else whole

    @property
    def known(self) -> bool:
        """Whether size and directions are."""
        return self.unit == "mm"

    def crop(self, box: Box, shape: tuple[int, int, int]) -> Display:
        """The display of a box of the volume, lying exactly on the volume's own, oblique or not."""
        sides = self.reorder.box(box, shape)[::-1]
        z, y, x = (t + s * lo for t, s, (lo, _) in zip(self.translate, self.scale, sides, strict=True))
        nz, ny, nx = (hi - lo for lo, hi in sides)
        return replace(self, translate=(z, y, x), shape=(nz, ny, nx))

    def index(self, voxel: tuple[int, int, int], shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Where a voxel of the grid, of ``shape``, lies in the display array."""
        i, j, k = voxel
        x, y, z = (lo for lo, _ in self.reorder.box(((i, i + 1), (j, j + 1), (k, k + 1)), shape))
        return z, y, x

    def world(self, index: tuple[int, int, int]) -> tuple[float, float, float]:
        """Where a voxel of the display array lies on the screen's axes (z, y, x)."""
        z, y, x = (t + s * i for t, s, i in zip(self.translate, self.scale, index, strict=True))
        return z, y, x

    def show(self, data: NDArray[Any]) -> NDArray[Any]:
        """``(..., x, y, z)`` on the volume's grid to ``(..., z, y, x)`` on the screen's; a view."""
        return np.swapaxes(self.reorder.apply(data), -1, -3)

    def hide(self, data: NDArray[Any]) -> NDArray[Any]:
        """Undo :meth:`show`; a view."""
        return self.reorder.invert(np.swapaxes(data, -1, -3))

    @property
    def layer(self) -> dict[str, Any]:
        """What every layer on this grid must share; given at construction, never after."""
        return {
            "scale": self.scale,
            "translate": self.translate,
            "units": (self.unit,) * 3,
            "axis_labels": AXIS_LABELS if self.known else STORED_LABELS,
        }


def contrast_limits(data: NDArray[Any]) -> tuple[float, float]:
    """First to 99.5th percentile, the window a reader expects; never empty."""
    lo, hi = (float(v) for v in np.percentile(data, (1, 99.5)))
    return (lo, hi) if hi > lo else (lo, lo + 1)
