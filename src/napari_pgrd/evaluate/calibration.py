"""Fitting the numbers that make probabilities honest: the prior's temperature, and tau and w of the samples' map.

All minimise the negative log-likelihood of the truth, averaged over the voxels of a case and then over cases, on the
calibration block only. Where several readers marked a case, every one of them is a truth, and the mean goes over them
too.
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
WEIGHTS = np.linspace(0, 0.95, 20)  # w = 1 would leave the samples out

Floats = NDArray[np.floating]
Indices = NDArray[np.integer]


class MapFit(NamedTuple):
    """Fitted tau and w, and the negative log-likelihood, in nats, with them and at tau = ``start``, w = 0."""

    tau: float
    mean_weight: float
    nll: float
    start: float
    nll_start: float


def temperature_nll(logits: Sequence[Floats], labels: Sequence[Indices], temperature: float) -> float:
    """NLL of ``softmax(logits / temperature)``; per case ``logits (K, N)`` and ``labels``, see below."""
    return float(np.mean([_nll(log_softmax(z / temperature, 0), y) for z, y in zip(logits, labels, strict=True)]))


def fit_temperature(logits: Sequence[Floats], labels: Sequence[Indices]) -> float:
    """The temperature with the lowest NLL (Guo et al. 2017).

    Parameters
    ----------
    logits : sequence of (K, N) arrays
        One a case.
    labels : sequence of (N,) or (readers, N) arrays
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


def fit_map(cases: Iterable[tuple[Floats, Floats, Indices]], start: float = 0.1) -> MapFit:
    """The tau and w with the lowest NLL of ``p = mean over samples of (1 - w) softmax(yhat / tau) + w mean``.

    One pass over the cases on a grid even in ``log tau`` and in w, tau then refined by a parabola through the three
    lowest neighbours, so that only one case's samples are in memory at a time.

    Parameters
    ----------
    cases : iterable of (yhat, first, labels)
        ``yhat (M, K, N)`` estimates of M samples, ``first (M, K, N)`` those of their first network call,
        ``labels (N,)`` or ``(readers, N)`` true class indices.
    start : float
        The tau to compare with, at w = 0.
    """
    taus = np.append(TAUS, start)
    tables = [_map_nll(*case, taus) for case in cases]
    require(len(tables) > 0, InputError, "Fitting tau needs calibration cases, but none were given.")
    table = np.mean(tables, 0)  # (taus, weights)
    curve = table[:-1]
    weight = int(np.unravel_index(np.argmin(curve), curve.shape)[1])
    value, nll = _vertex(np.log(TAUS), curve[:, weight])
    return MapFit(float(np.exp(value)), float(WEIGHTS[weight]), nll, start, float(table[-1, 0]))


def _map_nll(yhat: Floats, first: Floats, labels: Indices, taus: Floats) -> Floats:
    """NLL of one case for every tau and every w, ``(taus, weights)``; only the true class' probability matters."""
    labels = np.atleast_2d(labels)
    kept = np.maximum(first, 0) + 1e-6
    mean = _true((kept / kept.sum(1, keepdims=True)).mean(0), labels)
    rows = []
    for tau in taus:
        samples = np.zeros(labels.shape)
        for y in yhat:
            z = y.astype(np.float32) / np.float32(tau)
            samples += np.exp(_true(z, labels) - logsumexp(z, 0))
        rows.append([_floored((1 - w) * samples / len(yhat) + w * mean) for w in WEIGHTS])
    return np.array(rows)


def _true(x: Floats, labels: Indices) -> Floats:
    taken: Floats = np.take_along_axis(x, labels, 0)  # (readers, N)
    return taken


def _floored(p: Floats) -> float:
    return float(-np.log(np.maximum(p, FLOOR)).mean())


def _nll(log_p: Floats, labels: Indices) -> float:
    return float(-np.maximum(_true(log_p, np.atleast_2d(labels)), np.log(FLOOR)).mean())


def _vertex(x: Floats, y: Floats) -> tuple[float, float]:
    """Lowest point of the parabola through the lowest value and its neighbours; at an edge, the edge itself."""
    i = int(np.argmin(y))
    if i in (0, len(y) - 1):
        return float(x[i]), float(y[i])
    a, b, c = np.polyfit(x[i - 1 : i + 2] - x[i], y[i - 1 : i + 2], 2)
    shift = -b / (2 * a) if a > 0 else 0.0
    return float(x[i] + shift), float(c + b * shift + a * shift**2)
