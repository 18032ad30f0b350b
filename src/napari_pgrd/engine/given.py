"""The probabilities of any other model, in place of the prior network; importable without torch.

They are taken as they are: the bundle's ``prior_temperature`` belongs to the logits of its own prior.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.volume import Box, check_box

if TYPE_CHECKING:
    from torch import Tensor

    from napari_pgrd.engine.preprocess import Restore

ROUNDING = 1e-6
NEAR_ONE = 0.02  # how far a sum may be off, for maps stored in few bits


def no_prior(name: str) -> str:
    """The sentence for whoever asks a bundle without a prior network."""
    return (
        f"{name} holds no prior network: give the probabilities of the model that it was trained beside with "
        "'pgrd predict --prior-probabilities', an image at a time, or choose a bundle with a prior."
    )


@dataclass(frozen=True, eq=False)
class GivenPrior:
    """Probabilities on the grid of an image; copied, so they cannot change.

    Attributes
    ----------
    values : numpy.ndarray
        ``(K, x, y, z)`` float32, classes in the bundle's order, background first; every voxel sums to one.

    Raises
    ------
    InputError
        If a value is not finite or no probability, or a voxel's values do not sum to one.
    """

    values: NDArray[np.floating]

    def __post_init__(self) -> None:
        given = np.array(self.values, np.float32)
        require(
            given.ndim == 4,
            InputError,
            f"The map of probabilities has shape {given.shape}; it needs three axes and one of classes.",
        )
        require(
            bool(np.isfinite(given).all()),
            InputError,
            "The map of probabilities holds values that are NaN or infinite. Have its model write it again.",
        )
        low, total = float(given.min(initial=0)), given.sum(0)
        off = float(np.abs(total - 1).max(initial=0))
        require(
            low >= -NEAR_ONE and off <= NEAR_ONE,
            InputError,
            f"The map of probabilities goes down to {low:.3g}, and its classes' sum is up to {off:.3g} from 1. Give "
            "softmax probabilities of all classes, background included, not logits or labels.",
        )
        given = np.clip(given, 0, None)
        total = given.sum(0, keepdims=True)
        if float(np.abs(total - 1).max(initial=0)) > ROUNDING:  # what was divided once stays as it is, to the last bit
            given /= total
        given.flags.writeable = False
        object.__setattr__(self, "values", given)

    @cached_property
    def digest(self) -> str:
        """Hash of the probabilities."""
        return hashlib.blake2b(np.ascontiguousarray(self.values).tobytes(), digest_size=16).hexdigest()

    def check(self, shape: tuple[int, int, int], classes: int) -> None:
        """A sentence unless it has these classes and lies on a grid of this shape."""
        require(
            len(self.values) == classes,
            InputError,
            f"The map of probabilities has {len(self.values)} classes, but the bundle has {classes} labels, background "
            "included. Give a map of all of them, in their order.",
        )
        require(
            self.values.shape[1:] == shape,
            InputError,
            f"The map of probabilities has shape {self.values.shape[1:]}, the image {shape}. Give a map on the image's "
            "own grid.",
        )

    def on(self, box: Box | None) -> NDArray[np.floating]:
        """``(K, *box or source)``."""
        if box is None:
            return self.values
        shape = self.values.shape
        check_box(box, (shape[1], shape[2], shape[3]))
        i, j, k = (slice(lo, hi) for lo, hi in box)
        return self.values[:, i, j, k]


def as_prepared(values: NDArray[np.floating], restore: Restore) -> Tensor:
    """``(K, *box or source)`` to ``(1, K, *prepared)``, float32: on the grid that the networks see."""
    import torch
    import torch.nn.functional as F

    x = np.ascontiguousarray(restore.cropped(restore.reorder.apply(values)), np.float32)
    pi = torch.from_numpy(x)[None]
    if restore.resampled != restore.original:
        pi = F.interpolate(pi, restore.resampled, mode="trilinear", align_corners=False)
    around = [p for pair in reversed(restore.padding) for p in pair]
    pi = F.pad(pi, around, mode="replicate") if any(around) and min(around) >= 0 else F.pad(pi, around)
    pi = pi.clamp_min(0)
    missing = (1 - pi.sum(1, keepdim=True)).clamp_min(0)
    pi = torch.cat((pi[:, :1] + missing, pi[:, 1:]), 1)
    return pi / pi.sum(1, keepdim=True)
