"""What a reader has settled and samples must keep; importable without torch.

Locked voxels hold the reader's label in every sample, in the probabilities and so in the consensus. A region, if one is
given, says where sampling again may change anything at all: outside it each sample stays what it was.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.prediction import Floats, Prediction
from napari_pgrd.engine.volume import Box

LockMethod = Literal["replacement", "guidance", "hint"]


@dataclass(frozen=True, eq=False)
class Locks:
    """Voxels whose label is known, on the grid of the source or of the request's box; copied, so they cannot change.

    Attributes
    ----------
    mask : numpy.ndarray
        ``(x, y, z)`` bool: what is locked.
    labels : numpy.ndarray
        ``(x, y, z)`` class indices, kept as uint8; they count only where the mask is set.
    region : numpy.ndarray, optional
        ``(x, y, z)`` bool: where the rest may be drawn again. Without one, everywhere.
    earlier : Prediction, optional
        Whose samples stay as they are outside the region; sample i keeps those of its sample i.

    Raises
    ------
    InputError
        If shapes or types do not fit, nothing is locked, or a region comes without earlier samples.
    """

    mask: NDArray[np.bool_]
    labels: NDArray[np.integer]
    region: NDArray[np.bool_] | None = None
    earlier: Prediction | None = None

    def __post_init__(self) -> None:
        mask, labels = _switches(self.mask, "mask of the locks"), np.asarray(self.labels)
        require(
            mask.shape == labels.shape,
            InputError,
            f"The locks have shape {mask.shape}, their labels {labels.shape}. Give both on one grid.",
        )
        require(
            labels.dtype.kind in "iu",
            InputError,
            f"The labels of the locks are {labels.dtype}, but must be whole class indices. Convert them first.",
        )
        require(bool(mask.any()), InputError, "No voxel is locked. Lock a correction, or sample without locks.")
        held = np.where(mask, labels, 0)
        low, high = int(held.min()), int(held.max())
        require(
            0 <= low and high <= 255,
            InputError,
            f"The locks hold class indices from {low} to {high}; they must be between 0 and 255.",
        )
        object.__setattr__(self, "mask", mask)
        object.__setattr__(self, "labels", _fixed(held.astype(np.uint8)))
        if self.region is not None:
            region = _switches(self.region, "region to draw again")
            require(
                region.shape == mask.shape,
                InputError,
                f"The region to draw again has shape {region.shape}, the locks {mask.shape}. Give both on one grid.",
            )
            object.__setattr__(self, "region", region)
        require(
            (self.region is None) == (self.earlier is None),
            InputError,
            "A region to draw again needs the earlier samples that stay outside it, and these need a region. "
            "Give both or neither.",
        )

    @cached_property
    def digest(self) -> str:
        """Hash of everything that decides what is kept."""
        state = hashlib.blake2b(digest_size=16)
        parts: list[NDArray[Any]] = [np.array(self.mask.shape), np.packbits(self.mask), self.labels]
        if self.region is not None and self.earlier is not None:
            e = self.earlier
            parts += [np.packbits(self.region), e.probability, e.sample_entropy, *e.masks]
        for part in parts:
            state.update(np.ascontiguousarray(part).tobytes())
        return state.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Locks) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def kept(self) -> NDArray[np.bool_] | None:
        """``(x, y, z)``: where the earlier samples stay; None without a region."""
        return None if self.region is None else ~(self.region | self.mask)

    def check(self, classes: int, samples: int) -> None:
        """A sentence unless the bundle knows every locked class and every sample has an earlier one to keep."""
        top = int(self.labels.max())
        require(
            top < classes,
            InputError,
            f"The locks hold class index {top}, but the bundle's classes are 0 to {classes - 1}. "
            "Lock only labels that the bundle knows.",
        )
        have = samples if self.earlier is None else self.earlier.samples
        require(
            samples <= have,
            InputError,
            f"{samples} samples were asked for, but only {have} earlier ones can be kept outside the region. "
            f"Ask for {have} or fewer, or draw again everywhere.",
        )

    def on(self, shape: tuple[int, int, int], box: Box | None) -> Locks:
        """The same locks on the grid of the box, or of the source of this ``shape`` where there is no box.

        Raises
        ------
        InputError
            If they lie on neither grid, or the earlier samples not on the box's.
        """
        grid = tuple(hi - lo for lo, hi in box) if box else shape
        require(
            self.mask.shape in (grid, shape),
            InputError,
            f"The locks have shape {self.mask.shape}, but the image has {shape}"
            + (f" and the box {grid}" if box else "")
            + ". Make the locks on this image.",
        )
        if self.earlier is not None:
            have = self.earlier.probability.shape[1:]
            require(
                have == grid,
                InputError,
                f"The earlier samples have shape {have}, but {grid} is to be drawn again. "
                "Keep the box they were drawn in.",
            )
        if box is None or self.mask.shape == grid:
            return self
        inside = tuple(slice(lo, hi) for lo, hi in box)
        region = None if self.region is None else self.region[inside]
        return Locks(self.mask[inside], self.labels[inside], region, self.earlier)

    def settle_sample(self, mask: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
        """Sample ``index`` with everything exactly as it must be kept."""
        out = np.where(self.mask, self.labels, mask)
        if self.kept is not None and self.earlier is not None:
            out = np.where(self.kept, self.earlier.masks[index], out)
        return out

    def settle_probability(self, p: Floats) -> Floats:
        """``(K, x, y, z)``: certain where locked; as it was outside the region."""
        known = np.arange(len(p))[:, None, None, None] == self.labels
        out: Floats = np.where(self.mask, known, p).astype(np.float32)
        if self.kept is not None and self.earlier is not None:
            out = np.where(self.kept, self.earlier.probability, out)
        return out

    def settle_entropy(self, total: Floats, samples: int) -> Floats:
        """``(x, y, z)`` entropies of so many samples' own maps, summed: none where locked, as it was outside."""
        out: Floats = np.where(self.mask, np.float32(0), total)
        if self.kept is not None and self.earlier is not None:
            share = np.float32(samples / max(self.earlier.samples, 1))
            out = np.where(self.kept, share * self.earlier.sample_entropy, out)
        return out


def _switches(x: Any, name: str) -> NDArray[np.bool_]:
    out = np.asarray(x)
    require(
        out.ndim == 3 and out.dtype == bool,
        InputError,
        f"The {name} has {out.ndim} dimensions of {out.dtype}; it needs 3 of bool. Convert it first.",
    )
    return _fixed(out.copy())


def _fixed(x: NDArray[Any]) -> NDArray[Any]:
    x.flags.writeable = False
    return x
