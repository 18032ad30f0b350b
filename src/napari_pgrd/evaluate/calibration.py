"""Fitting the two numbers that make probabilities honest: the prior's temperature and tau.

Both minimise the negative log-likelihood of the truth, averaged over the voxels of a case and then over cases, on the
calibration block only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

from napari_pgrd.engine.errors import InputError, require

FLOOR = 1e-6  # a probability counts as at least this much, so that one sure error is not infinitely bad
TEMPERATURES = (0.05, 20.0)
TAUS = np.geomspace(0.02, 1.0, 25)

Floats = NDArray[np.floating]
Indices = NDArray[np.integer]


class Fit(NamedTuple):
    """A fitted number and the negative log-likelihood, in nats, before (at ``start``) and after."""

    value: float
    nll: float
    start: float
    nll_start: float


def temperature_nll(logits: Sequence[Floats], labels: Sequence[Indices], temperature: float) -> float:
    """NLL of ``softmax(logits / temperature)``; per case ``logits (K, N)`` and true class indices ``labels (N,)``."""
    return float(np.mean([_nll(log_softmax(z / temperature, 0), y) for z, y in zip(logits, labels, strict=True)]))


def fit_temperature(logits: Sequence[Floats], labels: Sequence[Indices]) -> float:
    """The temperature with the lowest NLL (Guo et al. 2017).

    Parameters
    ----------
    logits : sequence of (K, N) arrays
        One a case.
    labels : sequence of (N,) arrays
        True class indices.
    """
    require(len(logits) > 0, InputError, "A temperature needs calibration cases, but none were given.")
    found = minimize_scalar(
        lambda log_t: temperature_nll(logits, labels, float(np.exp(log_t))),
        bounds=tuple(np.log(TEMPERATURES)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return float(np.exp(found.x))


def fit_tau(cases: Iterable[tuple[Floats, Indices]], start: float = 0.1) -> Fit:
    """The tau with the lowest NLL of ``p = mean over samples of softmax(yhat / tau)``.

    One pass over the cases on a grid even in ``log tau``, refined by a parabola through the three lowest neighbours, so
    that only one case's samples are in memory at a time.

    Parameters
    ----------
    cases : iterable of (yhat, labels)
        ``yhat (M, K, N)`` clean estimates of M samples, ``labels (N,)`` true class indices.
    start : float
        The value to compare with.
    """
    taus = np.append(TAUS, start)
    rows = [[_nll(_log_mean_softmax(yhat, tau), labels) for tau in taus] for yhat, labels in cases]
    require(len(rows) > 0, InputError, "Fitting tau needs calibration cases, but none were given.")
    *curve, nll_start = np.mean(rows, 0)
    value, nll = _vertex(np.log(TAUS), np.array(curve))
    return Fit(float(np.exp(value)), nll, start, float(nll_start))


def _log_mean_softmax(yhat: Floats, tau: float) -> Floats:
    """``(M, K, N) -> (K, N)``: log of the mean over samples, in float64 where it matters, sample by sample."""
    total = np.zeros(yhat.shape[1:], np.float64)
    for y in yhat:
        z = y.astype(np.float32) / np.float32(tau)
        total += np.exp(z - logsumexp(z, 0, keepdims=True))
    mean: Floats = np.log(np.maximum(total / len(yhat), 1e-300))
    return mean


def _nll(log_p: Floats, labels: Indices) -> float:
    true = np.take_along_axis(log_p, labels.reshape(1, -1), 0)
    return float(-np.maximum(true, np.log(FLOOR)).mean())


def _vertex(x: Floats, y: Floats) -> tuple[float, float]:
    """Lowest point of the parabola through the lowest value and its neighbours; at an edge, the edge itself."""
    i = int(np.argmin(y))
    if i in (0, len(y) - 1):
        return float(x[i]), float(y[i])
    a, b, c = np.polyfit(x[i - 1 : i + 2] - x[i], y[i - 1 : i + 2], 2)
    shift = -b / (2 * a) if a > 0 else 0.0
    return float(x[i] + shift), float(c + b * shift + a * shift**2)
