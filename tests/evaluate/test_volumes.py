"""The interval holds the truth as often as it says, also where the samples alone do not."""

from __future__ import annotations

import numpy as np
import pytest

from napari_pgrd.engine.errors import InputError
from napari_pgrd.evaluate.volumes import conformal_range, fit_widening, sample_range


def cases(n: int, rng: np.random.Generator) -> tuple[list[np.ndarray], list[float]]:
    """True volumes about 1000 and samples that agree far too well about a guess that is off by 10 %."""
    truths = rng.normal(1000, 150, n)
    guesses = truths * rng.normal(1.03, 0.1, n)
    return [rng.normal(g, 15, 16) for g in guesses], [float(t) for t in truths]


def held(samples: list[np.ndarray], truths: list[float], widening: float) -> float:
    inside = [
        lo <= t <= hi for (lo, hi), t in zip((conformal_range(s, widening) for s in samples), truths, strict=True)
    ]
    return float(np.mean(inside))


def test_coverage_on_new_cases_is_what_was_asked() -> None:
    rng = np.random.default_rng(0)
    alone, widened = [], []
    for _ in range(200):
        fitted = fit_widening(*cases(21, rng))
        new = cases(50, rng)
        widened.append(held(*new, fitted))
        alone.append(np.mean([lo <= t <= hi for (lo, hi), t in zip(map(sample_range, new[0]), new[1], strict=True)]))
    assert np.mean(alone) < 0.25
    assert np.mean(widened) == pytest.approx(20 / 22, abs=0.012)  # rank 20 of 21, exactly 20 / 22 on average


def test_widening_by_hand() -> None:
    samples = [np.full(4, 100.0)] * 9
    truths = [100.0, 101, 99, 102, 98, 103, 97, 104, 80]
    assert fit_widening(samples, truths) == pytest.approx(0.2)  # of nine, 90 % needs them all
    assert fit_widening(samples, truths, 0.8) == pytest.approx(0.04)
    assert conformal_range(samples[0], 0.2) == pytest.approx((80, 120))
    assert conformal_range(samples[0], 1.5) == pytest.approx((0, 250))


def test_samples_that_spread_too_much_are_narrowed() -> None:
    samples = [np.array([50.0, 150, 100, 100])] * 9
    widening = fit_widening(samples, [100.0] * 9)
    low, high = conformal_range(samples[0], widening)
    assert widening < 0 and sample_range(samples[0])[0] < low <= 100 <= high
    low, high = conformal_range([90.0, 110], -5)
    assert low == high == pytest.approx(100)


def test_coverage_of_a_random_reader_of_a_new_case_is_what_was_asked() -> None:
    """Readers of one case share its error, so four times twelve cases are no forty-eight."""

    def cases_of_readers(n: int) -> tuple[list[np.ndarray], np.ndarray]:
        middle = rng.normal(1000, 150, n)
        truths = middle[:, None] * rng.normal(1, 0.03, (n, 4))
        return [rng.normal(m, 15, 16) for m in middle * rng.normal(1, 0.1, n)], truths

    rng, widened = np.random.default_rng(1), []
    for _ in range(300):
        fitted = fit_widening(*cases_of_readers(12))
        samples, truths = cases_of_readers(50)
        widened += [held(samples, list(truths[:, j]), fitted) for j in range(4)]
    assert 0.9 <= np.mean(widened) < 0.945


def test_widening_of_several_readers_by_hand() -> None:
    samples = [np.full(4, 100.0)] * 9
    truths = [[100.0 + i, 100 - i] for i in range(9)]  # of 18 distances 0, 0, 1, 1 ... 8, 8 all of 9, or 16 of 9 + 1
    assert fit_widening(samples, truths) == pytest.approx(0.08)
    assert fit_widening(samples, truths, 0.8) == pytest.approx(0.07)
    with pytest.raises(InputError, match="needs 9 calibration cases or more; there are 8"):
        fit_widening(samples[:8], truths[:8])


def test_too_few_cases_are_refused() -> None:
    with pytest.raises(InputError, match="needs 9 calibration cases or more; there are 8"):
        fit_widening([np.ones(3)] * 8, [1.0] * 8)


def test_an_empty_label_is_no_division_by_zero() -> None:
    assert np.isfinite(fit_widening([np.zeros(4)] * 9, [0.0] * 9))
    assert conformal_range(np.zeros(4), 0.3) == (0, 0)
