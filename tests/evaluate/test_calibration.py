"""Fitted temperatures against known generating temperatures and against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax

from napari_pgrd.engine.errors import InputError
from napari_pgrd.evaluate.calibration import fit_map, fit_temperature, temperature_nll


def draw(logits: np.ndarray, temperature: float, rng: np.random.Generator) -> np.ndarray:
    """Labels that follow ``softmax(logits / temperature)`` (Gumbel-max)."""
    return np.argmax(logits / temperature + rng.gumbel(size=logits.shape), 0)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_that_generated_the_labels_is_found(temperature: float) -> None:
    rng = np.random.default_rng(1)
    logits = [rng.normal(0, 2, (3, 40_000)) for _ in range(3)]
    labels = [draw(z, temperature, rng) for z in logits]
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.03)


def test_nll_is_torchs_cross_entropy() -> None:
    rng = np.random.default_rng(2)
    logits, labels = rng.normal(size=(4, 500)), rng.integers(4, size=500)
    expected = torch.nn.functional.cross_entropy(torch.tensor(logits.T) / 0.7, torch.tensor(labels)).item()
    assert temperature_nll([logits], [labels], 0.7) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("blur", [0.02, 0.4])
def test_tau_and_weight_match_a_brute_force_search(blur: float) -> None:
    rng = np.random.default_rng(3)
    cases = []
    for _ in range(2):
        mean = softmax(rng.normal(0, 2, (3, 3000)), 0)
        yhat = np.clip(mean + rng.normal(0, 0.1, (5, 3, 3000)), 0, 1).astype(np.float32)
        first = np.clip(mean + rng.normal(0, blur, (5, 3, 3000)), 0, 1).astype(np.float32)
        cases.append((yhat, first, draw(np.log(mean), 1, rng)))

    def nll(tau: float, w: float) -> float:
        per_case = []
        for yhat, first, labels in cases:
            f = (first + 1e-6) / (first + 1e-6).sum(1, keepdims=True)
            p = ((1 - w) * softmax(yhat.astype(float) / tau, 1) + w * f).mean(0)
            per_case.append(-np.log(np.clip(p[labels, np.arange(len(labels))], 1e-6, None)).mean())
        return float(np.mean(per_case))

    best = min((nll(t, w), t, w) for t in np.geomspace(0.02, 1, 60) for w in np.linspace(0, 0.95, 20))
    fit = fit_map(iter(cases))
    assert fit.nll == pytest.approx(best[0], abs=3e-4)
    assert fit.mean_weight == pytest.approx(best[2], abs=0.1)
    assert nll(fit.tau, fit.mean_weight) == pytest.approx(best[0], abs=3e-4)
    assert fit.nll_start == pytest.approx(nll(0.1, 0), abs=1e-5)


def test_with_several_readers_the_nll_is_the_mean_over_them() -> None:
    rng = np.random.default_rng(4)
    logits, readers = rng.normal(0, 2, (2, 400)), rng.integers(0, 2, (4, 400))
    each = [temperature_nll([logits], [labels], 0.7) for labels in readers]
    assert temperature_nll([logits], [readers], 0.7) == pytest.approx(np.mean(each), rel=1e-9)
    yhat = np.clip(softmax(logits, 0) + rng.normal(0, 0.2, (3, 2, 400)), 0, 1)
    alone = [fit_map([(yhat, yhat, labels)]).nll_start for labels in readers]
    assert fit_map([(yhat, yhat, readers)]).nll_start == pytest.approx(np.mean(alone), rel=1e-9)


def test_where_readers_part_the_temperature_says_so() -> None:
    """Four readers follow a temperature of 2; a case of which one alone is heard would do as well, not better."""
    rng = np.random.default_rng(5)
    logits = rng.normal(0, 2, (2, 20_000))
    readers = np.stack([draw(logits, 2.0, rng) for _ in range(4)])
    assert fit_temperature([logits], [readers]) == pytest.approx(2, rel=0.03)


def test_no_case_is_a_sentence() -> None:
    with pytest.raises(InputError, match="calibration cases"):
        fit_map([])
    with pytest.raises(InputError, match="calibration cases"):
        fit_temperature([], [])
