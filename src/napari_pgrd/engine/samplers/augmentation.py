"""Test-time augmentation (Wang et al. 2019): what the prior says of the image as it might have been taken.

Each sample turns, scales and shifts the image a little and changes its contrast, brightness and noise; the answer is
brought back onto the image's own grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from napari_pgrd.engine.sampler import Case


@dataclass(frozen=True)
class AugmentationSampler:
    """How far a sample may be from the image; every number is drawn for each sample alone.

    Attributes
    ----------
    prior : callable
        ``image (m, C, *spatial) -> pi (m, K, *spatial)``.
    turn, scale, shift : float
        Standard deviations: radians about each axis, logarithm of the size, voxels.
    contrast, brightness, noise : float
        Standard deviations: logarithm of the contrast about the mean, and added to the prepared image, in all voxels
        alike or in each.
    flat : bool
        Whether the last axis counts slices. Each is then an image of its own, and turns in its plane only.
    """

    prior: Callable[[Tensor], Tensor]
    turn: float = 0.08
    scale: float = 0.04
    shift: float = 1.0
    contrast: float = 0.1
    brightness: float = 0.1
    noise: float = 0.1
    flat: bool = False
    steps: int = 1

    def draw(self, case: Case, rngs: Sequence[np.random.Generator]) -> Iterator[Tensor]:
        """Yield probabilities ``(m, K, *spatial)`` once."""
        image, m = case.image, len(rngs)
        parts = image.movedim(-1, 0)[:, 0, ..., None] if self.flat else image  # (slices or 1, C, x, y, z)
        seen, maps = [], []
        for rng in rngs:
            for part in parts:
                there, back = self._affine(rng, part.shape[1:])
                seen.append(_moved(self._taken(part[None], rng), there))
                maps.append(back)
        p = self.prior(torch.cat(seen))
        p = torch.cat([_moved(one[None], back) for one, back in zip(p, maps, strict=True)])
        if self.flat:
            p = p[..., 0].unflatten(0, (m, len(parts))).movedim(1, -1)
        yield p / p.sum(1, keepdim=True)

    def _affine(self, rng: np.random.Generator, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """``(3, 4)`` maps in ``affine_grid``'s coordinates, there and back."""
        half = np.array(size[::-1]) / 2  # grid coordinates run backwards through the axes, -1 to 1 over each
        rigid = np.array([not self.flat, 1, 1], bool)  # the last axis comes first there
        turns = rng.normal(0, self.turn, 3) * (np.array([1, 0, 0]) if self.flat else 1)
        grow = np.exp(rng.normal(0, self.scale)) ** rigid
        move = rng.normal(0, self.shift, 3) * rigid
        linear = _rotation(turns) @ np.diag(grow)
        out = []
        for a, b in ((linear, move), (np.linalg.inv(linear), -np.linalg.inv(linear) @ move)):
            out.append(np.column_stack([a * half / half[:, None], b / half]))
        return torch.from_numpy(out[0]).float(), torch.from_numpy(out[1]).float()

    def _taken(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        gain, offset = float(np.exp(rng.normal(0, self.contrast))), float(rng.normal(0, self.brightness))
        grain = torch.from_numpy(rng.standard_normal(tuple(image.shape), dtype=np.float32)).to(image.device)
        axes = tuple(range(2, image.ndim))
        mean = image.mean(axes, keepdim=True)
        return mean + gain * (image - mean) + offset + self.noise * grain


def _rotation(turns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation matrix of turns about the three axes, one after the other."""
    out = np.eye(3)
    for axis, angle in enumerate(turns):
        i, j = (k for k in range(3) if k != axis)
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        out = out @ turn
    return out


def _moved(x: Tensor, theta: Tensor) -> Tensor:
    """``(1, ., x, y, z)`` resampled, borders continued outwards."""
    grid = F.affine_grid(theta[None].to(x.device), list(x.shape), align_corners=False)
    return F.grid_sample(x.float(), grid, padding_mode="border", align_corners=False)
