"""How often each time is trained: as often as any other, or as the data set's fingerprint says.

An image-free denoiser of the masks alone has the error ``err(t) = E ||yhat - y||^2``. Where it rises, noise takes
something from the mask that no smaller noise had taken; where it is flat, a step decides nothing (Öttl et al.,
"Analysing Diffusion Segmentation for Medical Images", arXiv:2403.14440). So a time gets the weight

    w(t) = (1 - floor) max(err'(t), 0) / mean of max(err', 0) + floor,         of mean 1 over t = 1..T

A weight may multiply the loss of uniformly drawn times, or be the frequency of the draw. The expected gradient is the
same. Here it is the draw: no network call is spent on a loss that is then multiplied by next to nothing, and no rare
large factor meets the clipping of the gradient.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.schedule import Array, cosine_rhobar
from napari_pgrd.train.config import DenoiserTraining

KNOTS = 200
"""Parts of 0..T between which a training file's weights are given; fewer times have one each."""


def noise_angle(rhobar: Array, scale: float = 1.0) -> Array:
    """Share of noise in ``sqrt(rhobar) b y + sqrt(1 - rhobar) eps`` as an angle: 0 is the mask, pi/2 noise alone.

    Unlike t it means the same under every schedule and residual scale b, and unlike a log signal-to-noise ratio it is
    finite at both ends.
    """
    return np.arctan2(np.sqrt(1 - rhobar), scale * np.sqrt(rhobar))


@dataclass(frozen=True)
class ErrorCurve:
    """The error of the mask denoiser against the noise, free of any schedule.

    Attributes
    ----------
    angle : numpy.ndarray
        ``(G,)``, rising from 0 to pi/2: see :func:`noise_angle`.
    err : numpy.ndarray
        ``(G,)`` or ``(cases, G)``: squared error of a voxel, summed over classes.
    """

    angle: Array
    err: Array

    def at(self, rhobar: Array, scale: float = 1.0) -> Array:
        """``err(t)`` at t = 0..T of a schedule, ``(..., T + 1)``; a monotone cubic between what was measured."""
        values: Array = PchipInterpolator(self.angle, self.err, axis=-1)(noise_angle(rhobar, scale))
        return values


def slope(err: Array, smoothing: float) -> Array:
    """Derivative of ``err (..., T + 1)`` by t / T, through a Gaussian of standard deviation ``smoothing`` times T.

    Past either end the curve goes on as its point reflection, which keeps its steepness there.
    """
    T = err.shape[-1] - 1
    sigma = smoothing * T
    if sigma > 0:
        more = int(np.ceil(4 * sigma))
        ends = [(0, 0)] * (err.ndim - 1) + [(more, more)]
        longer = np.pad(err, ends, mode="reflect", reflect_type="odd")
        err = gaussian_filter1d(longer, sigma, axis=-1, truncate=4.0)[..., more : more + T + 1]
    values: Array = np.gradient(err, axis=-1) * T
    return values


def weights_of(slopes: Array, floor: float) -> Array:
    """The w above at t = 0..T, from the derivative there; 1 everywhere if nothing rises."""
    rising = np.maximum(slopes, 0)
    mean = rising[1:].mean()
    return (1 - floor) * rising / mean + floor if mean > 0 else np.ones_like(rising)


def at_knots(weights: Array) -> tuple[float, ...]:
    """Weights at t = 0..T as few enough evenly spaced numbers for a training file."""
    T = len(weights) - 1
    parts = min(T, KNOTS)
    return tuple(np.interp(np.linspace(0, T, parts + 1), np.arange(T + 1), weights).round(4).tolist())


def from_knots(knots: Sequence[float], T: int) -> Array:
    """``(T + 1,)``: what a training file gives at evenly spaced times of 0..T, linear between, of mean 1 over 1..T."""
    values = np.interp(np.linspace(0, 1, T + 1), np.linspace(0, 1, len(knots)), knots)
    mean = values[1:].mean()
    require(mean > 0, InputError, "timestep_weights are 0 at every time. Give at least one that is greater.")
    return values / mean


class Fingerprint(BaseModel):
    """What a training needs of ``fingerprint.json``; what else stands there is for the reader."""

    model_config = ConfigDict(frozen=True)

    T: int = Field(ge=2)
    shift: float = Field(gt=0)
    residual_scale: float = Field(gt=0)
    smoothing: float = Field(ge=0)
    floor: float = Field(ge=0, le=1)
    t: tuple[int, ...] = Field(min_length=2)
    err: tuple[float, ...] = Field(min_length=2)

    @property
    def curve(self) -> ErrorCurve:
        """The error against the noise, which any schedule can read."""
        rhobar = cosine_rhobar(self.T, shift=self.shift)[list(self.t)]
        return ErrorCurve(noise_angle(rhobar, self.residual_scale), np.array(self.err))

    def weights(self, rhobar: Array, scale: float = 1.0) -> Array:
        """Weights at t = 0..T of a schedule, which need not be the one of the measurement."""
        return weights_of(slope(self.curve.at(rhobar, scale), self.smoothing), self.floor)


def read_fingerprint(path: Path) -> Fingerprint:
    """Read and check what ``pgrd fingerprint`` wrote.

    Raises
    ------
    InputError
        If the file is missing, no such file, or its times do not rise from 0 to T.
    """
    try:
        found = Fingerprint.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"There is no {path.name}. Run 'pgrd fingerprint' and name the file it writes.") from error
    except ValidationError as error:
        raise InputError(f"{path.name} is no fingerprint. Give the file that 'pgrd fingerprint' wrote.") from error
    whole = (found.t[0], found.t[-1], len(found.t)) == (0, found.T, len(found.err)) and all(np.isfinite(found.err))
    require(
        whole and bool((np.diff(found.t) > 0).all()),
        InputError,
        f"{path.name} does not hold an error for each of its times, rising from 0 to T. Run 'pgrd fingerprint' again.",
    )
    return found


def weighted(
    config: DenoiserTraining, rhobar: Array, scale: float = 1.0
) -> tuple[DenoiserTraining, dict[str, Any] | None]:
    """The configuration with its weights as numbers, for the schedule given, and what a record says of them."""
    if config.weighting == "uniform":
        return config, None
    record: dict[str, Any] = {"kind": config.weighting}
    if config.fingerprint is not None:
        path = Path(config.fingerprint)
        found = read_fingerprint(path)
        knots = at_knots(found.weights(rhobar, scale))
        config = config.model_copy(update={"fingerprint": None, "timestep_weights": knots})
        record |= {"floor": found.floor, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    w = from_knots(config.timestep_weights or (1, 1), config.T)[1:]
    middle = np.searchsorted(np.cumsum(w), 0.5 * config.T)
    record |= {"least": round(float(w.min()), 3), "most": round(float(w.max()), 3)}
    return config, {**record, "half_of_the_draws_above": round(float(middle + 1) / config.T, 3)}


class Times:
    """The times of a batch: one in each equal part of the probability, so that a small batch still covers it all.

    Parameters
    ----------
    T : int
        Times are 1..T.
    knots : sequence of float, optional
        How often, see :func:`from_knots`; None draws every time equally often.
    """

    def __init__(self, T: int, knots: Sequence[float] | None = None) -> None:
        self.T = T
        self.upto = None if knots is None else np.cumsum(from_knots(knots, T)[1:]) / T

    def __call__(self, rng: np.random.Generator, batch: int) -> NDArray[np.int64]:
        """``(batch,)``, rising."""
        part = (np.arange(batch) + rng.random(batch)) / batch
        if self.upto is None:
            t = 1 + np.floor(part * self.T).astype(np.int64)
        else:
            t = 1 + np.searchsorted(self.upto, part, side="right").astype(np.int64)
        return np.minimum(t, self.T)
