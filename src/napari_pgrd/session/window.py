"""Window and level: which part of an image's intensities is drawn, from black to white."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.session.display import contrast_limits

Limits = tuple[float, float]
USUAL = "usual"
MRI = ((USUAL, "1\u201399.5 %"), ("full", "full range"), ("bright", "bright structures"), ("dark", "dark structures"))
HOUNSFIELD = {"soft": (400.0, 40.0), "lung": (1500.0, -600.0), "bone": (1800.0, 400.0)}  # width, centre in HU
CT = (
    ("soft", "soft tissue 400/40"),
    ("lung", "lung 1500/\u2212600"),
    ("bone", "bone 1800/400"),
    (USUAL, "1\u201399.5 %"),
    ("full", "full range"),
)
PERCENTILES = {"bright": (40.0, 99.9), "dark": (1.0, 60.0)}
MOST_VOXELS = 1_000_000  # sorting more holds the window up and moves a percentile by less than a grey
DOUBLING_PX = 150.0  # a drag this far to the right doubles the window


def presets(intensity: str) -> tuple[tuple[str, str], ...]:
    """``(value, text)`` of the presets for a bundle's kind of intensities: ``mri``, ``ct`` or ``any``."""
    return CT if intensity == "ct" else MRI


def preset_limits(data: NDArray[Any], preset: str) -> Limits:
    """Contrast limits of a preset for an image.

    Parameters
    ----------
    data : numpy.ndarray
        The image, of any shape, in its own intensities (HU for a CT preset).
    preset : str
        A value of :func:`presets`. ``bright`` and ``dark`` are percentiles of what is above the darkest value, which
        in many files is padding.
    """
    if preset in HOUNSFIELD:
        width, centre = HOUNSFIELD[preset]
        return centre - width / 2, centre + width / 2
    if preset == "full":
        return _apart(float(np.min(data)), float(np.max(data)))
    some = _thinned(data)
    if preset not in PERCENTILES:
        return contrast_limits(some)
    inside = some[some > some.min()]
    low, high = np.percentile(inside if inside.size else some, PERCENTILES[preset])
    return _apart(float(low), float(high))


def dragged(start: Limits, right: float, up: float) -> Limits:
    """Limits after a drag from where it began: to the right widens the window, upwards brightens.

    Parameters
    ----------
    start : tuple of float
        Limits when the button went down.
    right, up : float
        How far the mouse has moved since, in screen pixels.
    """
    width, level = start[1] - start[0], (start[0] + start[1]) / 2
    level -= width * up / (2 * DOUBLING_PX)
    width *= 2.0 ** float(np.clip(right / DOUBLING_PX, -16, 16))
    return level - width / 2, level + width / 2


def _thinned(data: NDArray[Any]) -> NDArray[Any]:
    """Every so manieth voxel of a large image, all of a small one."""
    if data.size <= MOST_VOXELS:
        return data.ravel()
    step = int(np.ceil((data.size / MOST_VOXELS) ** (1 / data.ndim)))
    return data[(slice(None, None, step),) * data.ndim].ravel()


def _apart(low: float, high: float) -> Limits:
    return (low, high) if high > low else (low, low + 1)
