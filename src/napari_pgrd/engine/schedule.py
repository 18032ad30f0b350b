"""The noise schedule and the time steps a solver visits.

``rhobar[t]`` is the product of ``rho`` up to step ``t``, for ``t = 0..T`` with ``rhobar[0] = 1``. The cosine
schedule (Nichol & Dhariwal 2021) is rescaled so that ``rhobar[T] = 0`` exactly (Lin et al. 2024): at ``T`` the state is
pure noise around the prior, so sampling may honestly start there. Everything is float64 on the CPU.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.errors import InputError, require

Array = NDArray[np.float64]
LAMBDA_RANGE = (-6.0, 4.0)  # where the half log signal-to-noise ratio is neither all noise nor all signal


def cosine_rhobar(T: int = 1000, offset: float = 0.008, shift: float = 1.0) -> Array:
    """Cumulative signal power of the cosine schedule with zero terminal signal-to-noise ratio.

    Parameters
    ----------
    T : int
        Number of training steps.
    offset : float
        The ``s`` of Nichol & Dhariwal (2021), equation 17.
    shift : float
        Factor on the amplitude signal-to-noise ratio; below 1 gives noisier steps (Hoogeboom et al. 2023).

    Returns
    -------
    numpy.ndarray
        ``(T + 1,)``, from exactly 1 down to exactly 0.
    """
    t = np.arange(T + 1) / T
    root = np.cos((t + offset) / (1 + offset) * np.pi / 2)  # sqrt of the cumulative product
    root = (root - root[-1]) / (root[0] - root[-1])  # Lin et al. 2024, algorithm 1
    power = root**2
    shifted = shift**2 * power / (shift**2 * power + (1 - power))
    shifted[0], shifted[-1] = 1.0, 0.0
    return shifted


def linear_rhobar(T: int = 1000) -> Array:
    """Cumulative signal power of the schedule of Ho et al. (2020): beta even from 1e-4 to 0.02 over 1000 steps.

    Other T cover the same range in larger or smaller steps. About 4e-5 of the signal is left at T, where a prediction
    of the noise still says something of the mask.

    Returns
    -------
    numpy.ndarray
        ``(T + 1,)``, from exactly 1 down.
    """
    beta = np.minimum(np.linspace(1e-4, 0.02, T) * 1000 / T, 0.999)
    return np.concatenate([[1.0], np.cumprod(1 - beta)])


def half_log_snr(rhobar: Array) -> Array:
    """``lambda = log(sqrt(rhobar) / sqrt(1 - rhobar))``: +inf at 0, -inf at T."""
    with np.errstate(divide="ignore"):
        return 0.5 * (np.log(rhobar) - np.log1p(-rhobar))


def trailing_steps(T: int, S: int) -> list[int]:
    """S times uniform in t, the first of them T, and a last 0: ``[T, ..., 0]`` of length S + 1."""
    _check(T, S)
    return [round(T - i * T / S) for i in range(S)] + [0]


def lambda_steps(rhobar: Array, S: int) -> list[int]:
    """S distinct times for a multistep solver: T first, the rest uniform in lambda on [-6, 4], and a last 0.

    A grid this fine may ask for the same integer twice; neighbours are then spread to the nearest free times, so
    that exactly S network calls happen.
    """
    T = len(rhobar) - 1
    _check(T, S)
    if S == 1:
        return [T, 0]
    inner = half_log_snr(rhobar)[1:T]  # strictly decreasing in t
    wanted = np.linspace(*LAMBDA_RANGE, S - 1) if S > 2 else np.array([np.mean(LAMBDA_RANGE)])
    times = T - 1 - np.searchsorted(inner[::-1], wanted)  # descending as lambda rises
    times = np.clip(times, 1, T - 1)
    for i in range(1, len(times)):  # strictly descending, never below what the rest still needs
        times[i] = min(times[i], times[i - 1] - 1)
    for i in range(len(times) - 1, -1, -1):
        times[i] = max(times[i], len(times) - i)
    return [T, *(int(t) for t in times), 0]


def _check(T: int, S: int) -> None:
    require(1 <= S <= T, InputError, f"{S} steps were asked for; choose between 1 and {T}.")
