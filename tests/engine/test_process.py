"""The formulas of the process, against simulation, Gaussian conditioning and diffusers."""

from __future__ import annotations

from itertools import pairwise
from math import sqrt

import numpy as np
import pytest
import torch

from napari_pgrd.engine import process
from napari_pgrd.engine.schedule import cosine_rhobar

T = 1000
RHOBAR = cosine_rhobar(T)
PI = torch.tensor([[0.8, 0.2]], dtype=torch.float64)
Y = torch.tensor([[0.0, 1.0]], dtype=torch.float64)


def _rho(t: int) -> float:
    return float(RHOBAR[t] / RHOBAR[t - 1])


def _line(t: int) -> tuple[float, float]:
    """One noising step as ``s -> slope s + ...`` with noise of standard deviation sigma, read off the code."""
    zero, one = torch.zeros(1, 2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)
    offset = process.forward_step(zero, PI, zero, _rho(t))
    slope = float((process.forward_step(one, PI, zero, _rho(t)) - offset)[0, 0])
    sigma = float((process.forward_step(zero, PI, one, _rho(t)) - offset)[0, 0])
    return slope, sigma


def test_steps_chained_exactly_have_the_marginals_mean_and_variance() -> None:
    zero = torch.zeros_like(PI)
    mean, variance = Y.clone(), 0.0
    for t in range(1, T + 1):
        slope, sigma = _line(t)
        mean, variance = process.forward_step(mean, PI, zero, _rho(t)), slope**2 * variance + sigma**2
        if t in (1, 10, 250, 500, 900, T):
            expected = PI + process.diffuse(process.residual(Y, PI), zero, float(RHOBAR[t]))
            torch.testing.assert_close(mean, expected, atol=1e-9, rtol=0)
            noise = process.diffuse(zero, torch.ones_like(PI), float(RHOBAR[t]))
            assert variance == pytest.approx(float(noise[0, 0]) ** 2, abs=1e-9)


def test_steps_simulated_have_the_marginals_distribution() -> None:
    n, end = 20_000, 400
    draw = torch.Generator().manual_seed(0)
    s = Y.expand(n, 2).clone()
    for t in range(1, end + 1):
        s = process.forward_step(s, PI, torch.randn(s.shape, generator=draw, dtype=torch.float64), _rho(t))
    rb = float(RHOBAR[end])
    mean, variance = (PI + sqrt(rb) * (Y - PI)).numpy()[0], 1 - rb
    assert np.abs(s.mean(0).numpy() - mean).max() < 5 * sqrt(variance / n)
    assert np.abs(s.var(0).numpy() - variance).max() < 5 * variance * sqrt(2 / n)


@pytest.mark.parametrize("t", [1, 2, 137, 500, 999, 1000])
def test_recover_undoes_diffuse_and_velocity(t: int) -> None:
    draw = torch.Generator().manual_seed(t)
    r0, eps = (torch.randn(4, 3, 5, 5, generator=draw, dtype=torch.float64) for _ in range(2))
    rb = float(RHOBAR[t])
    r0_hat, eps_hat = process.recover(process.diffuse(r0, eps, rb), process.velocity(r0, eps, rb), rb)
    torch.testing.assert_close(r0_hat, r0, atol=1e-14, rtol=0)
    torch.testing.assert_close(eps_hat, eps, atol=1e-14, rtol=0)


def test_a_time_may_differ_between_the_members_of_a_batch() -> None:
    r0, eps = torch.randn(2, 3, 2, 4, 4, dtype=torch.float64).unbind(0)
    times = [1, 500, 1000]
    rb = torch.from_numpy(RHOBAR[times]).reshape(3, 1, 1, 1)
    together = process.velocity(r0, eps, rb)
    for i, t in enumerate(times):
        torch.testing.assert_close(together[i], process.velocity(r0[i], eps[i], float(RHOBAR[t])))


def test_the_velocity_is_defined_where_nothing_of_the_signal_is_left() -> None:
    r0, eps = torch.full((1, 2), 0.7), torch.full((1, 2), -1.3)
    assert torch.equal(process.velocity(r0, eps, 0.0), -r0)
    assert torch.equal(process.recover(eps, -r0, 0.0)[0], r0)


@pytest.mark.parametrize(("t", "u"), [(1000, 999), (1000, 500), (1000, 1), (700, 300), (2, 1), (500, 499), (300, 0)])
def test_ddpm_step_is_the_posterior_of_a_joint_gaussian(t: int, u: int) -> None:
    """``r_u | r_t, r_0`` for given ``r_0``: condition the joint Gaussian of ``(r_u, r_t)`` by linear algebra."""
    rb_t, rb_u = RHOBAR[t], RHOBAR[u]
    keep = sqrt(rb_t / rb_u)  # r_t = keep r_u + noise
    joint = np.array([[1 - rb_u, keep * (1 - rb_u)], [keep * (1 - rb_u), 1 - rb_t]])
    r0, r_t = 0.6, -0.9
    gain = np.linalg.solve(joint[1:, 1:], joint[1:, :1])[0, 0]
    mean = sqrt(rb_u) * r0 + gain * (r_t - sqrt(rb_t) * r0)
    sigma = sqrt(max(joint[0, 0] - gain * joint[1, 0], 0))

    def one(value: float) -> torch.Tensor:
        return torch.tensor([value], dtype=torch.float64)

    at_mean = process.ddpm_step(one(r_t), one(r0), one(0), rb_t, rb_u)
    assert float(at_mean) == pytest.approx(mean, abs=1e-12)
    assert float(process.ddpm_step(one(r_t), one(r0), one(1), rb_t, rb_u) - at_mean) == pytest.approx(sigma, abs=1e-7)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize(("t", "u"), [(900, 400), (500, 0), (3, 2), (1000, 900)])
def test_ddim_step_keeps_the_marginal(t: int, u: int, eta: float) -> None:
    """With the true ``r_0`` and fresh noises, ``r_u`` must have mean ``sqrt(rb_u) r_0`` and variance ``1 - rb_u``."""
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    rb_t, rb_u = float(RHOBAR[t]), float(RHOBAR[u])
    mean = float(process.ddim_step(one, zero, zero, rb_t, rb_u, eta))
    parts = [float(process.ddim_step(zero, a, b, rb_t, rb_u, eta)) for a, b in ((one, zero), (zero, one))]
    assert mean == pytest.approx(sqrt(rb_u), abs=1e-14)
    assert sum(p**2 for p in parts) == pytest.approx(1 - rb_u, abs=1e-12)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_ddim_step_is_diffusers(eta: float) -> None:
    diffusers = pytest.importorskip("diffusers")
    betas = 1 - RHOBAR[1:] / RHOBAR[:-1]
    scheduler = diffusers.DDIMScheduler(
        trained_betas=betas, prediction_type="v_prediction", timestep_spacing="trailing", clip_sample=False
    )
    scheduler.set_timesteps(10)
    draw = torch.Generator().manual_seed(0)
    for t in (1000, 900, 500, 200, 100):
        r, v, z = (torch.randn(2, 3, 4, 4, generator=draw) for _ in range(3))
        theirs = scheduler.step(v, t - 1, r, eta=eta, variance_noise=z if eta else None).prev_sample
        rb_t, rb_u = float(RHOBAR[t]), float(RHOBAR[t - 100])
        ours = process.ddim_step(*process.recover(r, v, rb_t), z, rb_t, rb_u, eta)
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)


def test_dpmpp2m_steps_are_diffusers() -> None:
    """A whole trajectory between finite times, then the last step to zero."""
    diffusers = pytest.importorskip("diffusers")
    times = [960, 800, 610, 400, 220, 90, 30, 0]
    betas = 1 - RHOBAR[1:] / RHOBAR[:-1]
    scheduler = diffusers.DPMSolverMultistepScheduler(
        trained_betas=betas[:-1], num_train_timesteps=T - 1, prediction_type="v_prediction", solver_order=2,
        algorithm_type="dpmsolver++", lower_order_final=False, final_sigmas_type="zero",
    )  # fmt: skip
    scheduler.set_timesteps(timesteps=[t - 1 for t in times[:-1]])
    with np.errstate(divide="ignore"):
        lam = 0.5 * np.log(RHOBAR / (1 - RHOBAR))

    def network(r: torch.Tensor, t: int) -> torch.Tensor:
        return torch.tanh(r.flip(1) + t / 500)  # any smooth function will do

    ours = theirs = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    previous: tuple[int, torch.Tensor] | None = None
    for t, u in pairwise(times):
        theirs = scheduler.step(network(theirs, t), t - 1, theirs).prev_sample
        r0, _ = process.recover(ours, network(ours, t), float(RHOBAR[t]))
        lam_s = lam[previous[0]] if previous else -np.inf
        ours = process.dpmpp2m_step(ours, r0, previous[1] if previous else None, (lam_s, lam[t], lam[u]))
        previous = (t, r0)
        torch.testing.assert_close(ours, theirs, atol=5e-5, rtol=0)


@pytest.mark.parametrize(("t", "u"), [(1000, 0), (1000, 600), (600, 300), (300, 0)])
def test_a_first_order_step_of_dpmpp2m_is_ddim(t: int, u: int) -> None:
    draw = torch.Generator().manual_seed(0)
    r, v = (torch.randn(2, 3, 4, generator=draw, dtype=torch.float64) for _ in range(2))
    rb_t, rb_u = float(RHOBAR[t]), float(RHOBAR[u])
    r0, eps = process.recover(r, v, rb_t)
    with np.errstate(divide="ignore"):
        lam_t, lam_u = (0.5 * np.log(RHOBAR[x] / (1 - RHOBAR[x])) if x else np.inf for x in (t, u))
    ours = process.dpmpp2m_step(r, r0, r0 + 9, (-np.inf, lam_t, lam_u))
    torch.testing.assert_close(ours, process.ddim_step(r0, eps, None, rb_t, rb_u), atol=1e-12, rtol=0)


def test_clean_is_a_distribution_and_undoes_the_residual_scale() -> None:
    draw = torch.Generator().manual_seed(0)
    pi = torch.softmax(torch.randn(3, 4, 6, 6, generator=draw), 1)
    y = process.clean(3 * torch.randn(3, 4, 6, 6, generator=draw), pi, 0.5)
    assert 0 <= float(y.min()) <= float(y.max()) <= 1
    torch.testing.assert_close(y.sum(1), torch.ones(3, 6, 6))
    truth = torch.softmax(torch.randn(3, 4, 6, 6, generator=draw), 1)
    torch.testing.assert_close(process.clean(process.residual(truth, pi, 0.5), pi, 0.5), truth)


def test_clean_falls_back_to_the_prior_where_every_class_is_clipped_away() -> None:
    pi = torch.tensor([[0.7, 0.3]])
    assert torch.equal(process.clean(torch.tensor([[-5.0, -5.0]]), pi), pi)
