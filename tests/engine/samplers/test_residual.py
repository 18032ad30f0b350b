"""The residual sampler with denoisers whose answer is known in closed form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import cos, sqrt
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.stats import chisquare
from torch import Tensor

from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.sampler import Case, sample_rng
from napari_pgrd.engine.samplers.residual import ResidualSampler
from napari_pgrd.engine.schedule import cosine_rhobar
from tests.oracles.closed_forms import knows_the_truth, mixture, onehot

RHOBAR = cosine_rhobar(1000)
SOLVERS = [("ddim", 0.0), ("ddim", 0.5), ("ddim", 1.0), ("ddpm", 0.0), ("dpmpp2m", 0.0)]


def _case(classes: int, shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Case:
    draw = torch.Generator().manual_seed(7)
    logits = torch.randn(1, classes, *shape, generator=draw, dtype=dtype)
    return Case(torch.zeros(1, 1, *shape, dtype=dtype), torch.softmax(logits, 1))


def _rngs(n: int, seed: int = 0) -> list[np.random.Generator]:
    return [sample_rng(seed, i) for i in range(n)]


def _last(updates: Iterator[Tensor]) -> Tensor:
    *_, last = updates
    return last


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize(("solver", "eta"), SOLVERS)
@pytest.mark.parametrize("steps", [1, 2, 5, 10, 100, 1000])
def test_the_true_velocity_gives_the_true_mask(
    steps: int, solver: Any, eta: float, scale: float, dtype: torch.dtype
) -> None:
    case = _case(3, (3, 4), dtype)
    truth = onehot(np.random.default_rng(1).integers(0, 3, (1, 3, 4)), 3).to(dtype)
    exact = ResidualSampler(knows_the_truth(truth, scale), RHOBAR, steps, solver, eta, scale, clip=False)
    updates = list(exact.draw(case, _rngs(2)))
    assert len(updates) == steps
    tolerance = 1e-12 if dtype is torch.float64 else 1e-5
    torch.testing.assert_close(updates[-1], truth.expand(2, 3, 3, 4), atol=tolerance / scale, rtol=0)


@pytest.mark.parametrize(("solver", "eta"), SOLVERS)
@pytest.mark.parametrize("prior_guided", [True, False])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_modes_come_as_often_as_they_should(solver: Any, eta: float, prior_guided: bool, scale: float) -> None:
    """Three masks of 2 x 2 voxels and three classes; the prior is neither their mean nor anything like it."""
    modes = onehot(np.array([[[0, 0], [0, 0]], [[0, 1], [1, 2]], [[0, 1], [2, 2]]]), 3)
    weights, n = torch.tensor([0.5, 0.3, 0.2]), 2000
    sampler = ResidualSampler(mixture(modes, weights, scale), RHOBAR, 60, solver, eta, scale, prior_guided)
    y = _last(sampler.draw(_case(3, (2, 2)), _rngs(n)))
    distance = (y[:, None] - modes[None]).abs().flatten(2).amax(2)  # (n, J)
    nearest, which = distance.min(1)
    assert float((nearest < 0.02).double().mean()) > 0.99, "a sample is no mode"
    counts = torch.bincount(which, minlength=3).numpy()
    assert chisquare(counts, n * weights.numpy() / weights.sum().item()).pvalue > 1e-3, counts


@pytest.mark.parametrize(("solver", "eta"), SOLVERS)
def test_an_empty_mask_is_as_frequent_as_among_the_raters(solver: Any, eta: float) -> None:
    """Half of the opinions are empty, unlike the prior: starting at N(0, I) or adding the prior twice fails here."""
    masks = np.zeros((2, 3, 3), int)
    masks[1, 1:, 1:] = 1
    modes, n = onehot(masks, 2), 1000
    case = Case(torch.zeros(1, 1, 3, 3), torch.tensor([0.2, 0.8]).reshape(1, 2, 1, 1).expand(1, 2, 3, 3).double())
    y = _last(ResidualSampler(mixture(modes, torch.tensor([0.5, 0.5])), RHOBAR, 60, solver, eta).draw(case, _rngs(n)))
    empty = int((y.argmax(1) == 0).flatten(1).all(1).sum())
    assert abs(empty - n / 2) < 4 * sqrt(n / 4)


@pytest.mark.parametrize("solver", ["ddim", "ddpm", "dpmpp2m"])
def test_one_step_is_the_mean(solver: Any) -> None:
    modes, weights = onehot(np.array([[[0, 0]], [[0, 1]], [[1, 1]]]), 2), torch.tensor([0.2, 0.5, 0.3])
    y = _last(ResidualSampler(mixture(modes, weights), RHOBAR, 1, solver).draw(_case(2, (1, 2)), _rngs(3)))
    mean = (weights.double()[:, None, None, None] * modes).sum(0) / weights.double().sum()
    torch.testing.assert_close(y, mean.expand(3, 2, 1, 2), atol=1e-7, rtol=0)


def _soft_mixture() -> tuple[Case, Any]:
    modes = onehot(np.array([[[0, 0]], [[0, 1]], [[1, 1]]]), 2)
    return _case(2, (1, 2)), mixture(modes, torch.tensor([0.2, 0.5, 0.3]), spread=0.4)


@pytest.fixture(scope="module")
def flow() -> tuple[Tensor, Tensor]:
    """The probability flow ODE from the same noises, integrated by SciPy: ``dr / dphi = v``, rhobar = cos^2 phi."""
    case, denoise = _soft_mixture()
    n = 48
    start = np.stack([rng.standard_normal((2, 1, 2), dtype=np.float32) for rng in _rngs(n)]).astype(float)

    def slope(phi: float, flat: np.ndarray) -> np.ndarray:
        r = torch.from_numpy(flat.reshape(start.shape))
        return denoise(case.pi + r, case.image, case.pi, 0, cos(phi) ** 2).numpy().ravel()

    solved = solve_ivp(slope, (np.pi / 2, 1e-6), start.ravel(), rtol=1e-9, atol=1e-10, method="DOP853")
    end = torch.from_numpy(solved.y[:, -1].reshape(start.shape))
    return case.pi + end, torch.from_numpy(start)


def _error(flow: tuple[Tensor, Tensor], solver: Any, steps: int) -> float:
    case, denoise = _soft_mixture()
    exact, start = flow
    y = _last(ResidualSampler(denoise, RHOBAR, steps, solver, clip=False).draw(case, _rngs(len(start))))
    return float((y - exact).square().mean().sqrt())


def test_ddim_converges_to_the_probability_flow(flow: tuple[Tensor, Tensor]) -> None:
    errors = [_error(flow, "ddim", steps) for steps in (25, 50, 100, 500)]
    assert errors[-1] < 0.01
    for coarse, fine in pairwise(errors[:3]):
        assert 1.5 < coarse / fine < 3, "first order halves its error with twice the steps"


@pytest.mark.parametrize("steps", [8, 10, 15, 20, 30])
def test_dpmpp2m_is_nearer_to_the_probability_flow_than_ddim(flow: tuple[Tensor, Tensor], steps: int) -> None:
    assert _error(flow, "dpmpp2m", steps) < _error(flow, "ddim", steps)


def test_ten_steps_of_dpmpp2m_match_about_twenty_of_ddim(flow: tuple[Tensor, Tensor]) -> None:
    assert _error(flow, "dpmpp2m", 10) < 1.25 * _error(flow, "ddim", 20)


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize(("solver", "eta"), SOLVERS)
def test_a_network_that_overshoots_is_brought_back_to_the_path_of_the_true_one(
    solver: Any, eta: float, scale: float
) -> None:
    """Three times the true residual leaves the simplex; clipped it is the truth, so no later state may differ."""
    case = _case(3, (2, 2))
    truth = onehot(np.array([[[0, 1], [2, 0]]]), 3)
    beyond = case.pi + 3 * (truth - case.pi)

    def states(y: Tensor, clip: bool) -> list[Tensor]:
        seen: list[Tensor] = []
        known = knows_the_truth(y, scale)

        def spy(s: Tensor, image: Tensor, pi: Tensor, t: int, rb: float) -> Tensor:
            seen.append(s)
            return known(s, image, pi, t, rb)

        list(ResidualSampler(spy, RHOBAR, 6, solver, eta, scale, clip=clip).draw(case, _rngs(2)))
        return seen

    for clipped, true in zip(states(beyond, True), states(truth, False), strict=True):
        torch.testing.assert_close(clipped, true, atol=1e-9, rtol=0)


def test_every_yield_is_a_mask_distribution() -> None:
    modes = onehot(np.array([[[0, 0]], [[0, 1]]]), 2)
    sampler = ResidualSampler(mixture(modes, torch.tensor([0.3, 0.7])), RHOBAR, 8)
    for y in sampler.draw(_case(2, (1, 2)), _rngs(20)):
        assert float(y.min()) >= -1e-9
        torch.testing.assert_close(y.sum(1), torch.ones(20, 1, 2, dtype=torch.float64))


@pytest.mark.parametrize(("solver", "eta"), SOLVERS)
def test_a_sample_does_not_depend_on_what_is_drawn_beside_it(solver: Any, eta: float) -> None:
    case, denoise = _soft_mixture()

    def draw(indices: Sequence[int]) -> Tensor:
        return _last(ResidualSampler(denoise, RHOBAR, 6, solver, eta).draw(case, [sample_rng(3, i) for i in indices]))

    together = draw(range(6))
    torch.testing.assert_close(draw([4, 1]), together[[4, 1]], atol=1e-12, rtol=0)
    torch.testing.assert_close(torch.cat([draw([0]), draw([1, 2, 3]), draw([4, 5])]), together, atol=1e-12, rtol=0)


def test_without_the_prior_the_network_never_sees_it() -> None:
    seen: list[Tensor] = []

    def spy(s: Tensor, image: Tensor, pi: Tensor, t: int, rb: float) -> Tensor:
        seen.append(pi)
        return torch.zeros_like(s)

    case = _case(2, (2, 2))
    list(ResidualSampler(spy, RHOBAR, 2, prior_guided=False).draw(case, _rngs(1)))
    assert all((pi == 0).all() for pi in seen)
    list(ResidualSampler(spy, RHOBAR, 2).draw(case, _rngs(1)))
    assert torch.equal(seen[-1], case.pi)


def test_the_first_state_is_the_prior_and_the_samples_own_noise_at_t_equals_T() -> None:
    calls: list[tuple[Tensor, int, float]] = []

    def spy(s: Tensor, image: Tensor, pi: Tensor, t: int, rb: float) -> Tensor:
        calls.append((s, t, rb))
        return torch.zeros_like(s)

    case = _case(2, (2, 3))
    list(ResidualSampler(spy, RHOBAR, 4).draw(case, [sample_rng(5, 2)]))
    own = np.random.Generator(np.random.PCG64(np.random.SeedSequence([5, 2]))).standard_normal((2, 2, 3), np.float32)
    torch.testing.assert_close(calls[0][0][0], case.pi[0] + torch.from_numpy(own), atol=0, rtol=0)
    assert [(t, rb) for _, t, rb in calls] == [(t, RHOBAR[t]) for t in (1000, 750, 500, 250)]


@pytest.mark.parametrize(
    ("options", "words"), [({"solver": "euler"}, "ddim, ddpm, dpmpp2m"), ({"eta": 1.5}, "0 and 1")]
)
def test_a_setting_that_does_not_exist_is_a_sentence(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ResidualSampler(_soft_mixture()[1], RHOBAR, **options)
