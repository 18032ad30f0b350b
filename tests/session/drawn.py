"""Predictions made from masks that a test draws by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.aggregate import Prediction
from napari_pgrd.engine.spec import Label
from napari_pgrd.engine.volume import Volume

NAMES = ("background", "anterior", "posterior", "third", "fourth")


def labels(classes: int) -> list[Label]:
    """Labels whose values are not their class indices."""
    return [Label(value=10 * k, name=NAMES[k], colour="#19E0FF") for k in range(classes)]


def volume(shape: tuple[int, ...], spacing: Sequence[float] = (1, 1, 1), known: bool = True) -> Volume:
    """An empty RAS volume."""
    return Volume(np.zeros((1, *shape), np.float32), np.diag([*map(float, spacing), 1.0]), known)


def prediction(masks: Sequence[NDArray[np.integer]], classes: int = 2) -> Prediction:
    """What samples with these masks would leave behind: probabilities are their votes."""
    drawn = tuple(np.asarray(m, np.uint8) for m in masks)
    votes = np.stack([sum((m == k).astype(np.uint16) for m in drawn) for k in range(classes)])
    p = (votes / len(drawn)).astype(np.float32)
    return Prediction(p, votes, drawn, p, p * len(drawn), np.zeros(p.shape[1:], np.float32))


def ball(shape: Sequence[int], centre: Sequence[float], radius: float, spacing: Sequence[float] = (1, 1, 1)):
    """Bool mask of a ball; centre in voxels, radius in mm."""
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    return np.linalg.norm((grid - np.array(centre)) * np.array(spacing), axis=-1) < radius


def tailed(shape: tuple[int, int, int] = (20, 48, 20), half: int = 4):
    """``2 * half`` samples of a long structure; the later half have a tail at the low end of y. And the tail."""
    body, tail = np.zeros(shape, bool), np.zeros(shape, bool)
    body[6:14, 14:44, 6:14] = True
    tail[8:12, 6:14, 8:12] = True
    return [body] * half + [body | tail] * half, tail
