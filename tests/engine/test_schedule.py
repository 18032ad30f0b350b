"""The schedule and the time grids, against diffusers and against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.schedule import LAMBDA_RANGE, cosine_rhobar, half_log_snr, lambda_steps, trailing_steps


@pytest.mark.parametrize("T", [2, 10, 100, 1000, 4000])
@pytest.mark.parametrize("shift", [0.3, 1.0, 2.0])
def test_rhobar_runs_from_exactly_one_down_to_exactly_zero(T: int, shift: float) -> None:
    rhobar = cosine_rhobar(T, shift=shift)
    assert rhobar.shape == (T + 1,)
    assert rhobar[0] == 1
    assert rhobar[-1] == 0
    assert (np.diff(rhobar) < 0).all()


def test_rhobar_is_diffusers_cosine_rescaled_to_zero_terminal_snr() -> None:
    ddim = pytest.importorskip("diffusers.schedulers.scheduling_ddim")
    betas = torch.cat([torch.zeros(1, dtype=torch.float64), ddim.betas_for_alpha_bar(1000).double()])  # t = 0 is clean
    theirs = (1 - ddim.rescale_zero_terminal_snr(betas)).cumprod(0)
    # Theirs caps the last beta at 0.999, which moves the root by 5e-5 before it is rescaled.
    np.testing.assert_allclose(np.sqrt(cosine_rhobar(1000)), theirs.sqrt().numpy(), atol=1e-4)


@pytest.mark.parametrize("shift", [0.25, 0.5, 2.0])
def test_shift_moves_the_half_log_snr_by_its_logarithm(shift: float) -> None:
    plain, shifted = cosine_rhobar(1000)[1:-1], cosine_rhobar(1000, shift=shift)[1:-1]
    log_ratio = 0.5 * np.log(shifted / (1 - shifted)) - 0.5 * np.log(plain / (1 - plain))
    np.testing.assert_allclose(log_ratio, np.log(shift), atol=1e-9)


def test_half_log_snr_is_infinite_at_the_ends_and_right_between() -> None:
    lam = half_log_snr(cosine_rhobar(1000))
    assert lam[0] == np.inf
    assert lam[-1] == -np.inf
    np.testing.assert_allclose(1 / (1 + np.exp(-2 * lam[1:-1])), cosine_rhobar(1000)[1:-1], rtol=1e-9)


@pytest.mark.parametrize("S", [1, 2, 4, 5, 8, 10, 20, 25, 50, 100, 200, 250, 300, 500, 1000])
def test_trailing_steps_are_diffusers_trailing(S: int) -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMScheduler(num_train_timesteps=1000, timestep_spacing="trailing")
    scheduler.set_timesteps(S)
    assert trailing_steps(1000, S)[:-1] == [int(t) + 1 for t in scheduler.timesteps]  # their 0 is our 1


@given(T=st.integers(1, 1200), share=st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_trailing_steps_are_distinct_and_even(T: int, share: float) -> None:
    S = max(1, round(share * T))
    times = trailing_steps(T, S)
    assert (len(times), times[0], times[-1]) == (S + 1, T, 0)
    gaps = -np.diff(times)
    assert gaps.min() >= 1
    assert abs(gaps - T / S).max() <= 1


@given(T=st.integers(2, 1200), share=st.floats(0, 1), shift=st.floats(0.2, 3))
@settings(max_examples=300, deadline=None)
def test_lambda_steps_make_exactly_the_calls_asked_for(T: int, share: float, shift: float) -> None:
    S = max(1, round(share * T))
    times = lambda_steps(cosine_rhobar(T, shift=shift), S)
    assert all(type(t) is int for t in times)
    assert (len(times), times[0], times[-1]) == (S + 1, T, 0)
    assert (np.diff(times) < 0).all()


def test_lambda_steps_of_every_length() -> None:
    rhobar = cosine_rhobar(1000)
    for S in range(1, 1001):
        times = lambda_steps(rhobar, S)
        assert len(set(times)) == S + 1
        assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("S", [3, 5, 8, 10, 20])
def test_lambda_steps_are_uniform_up_to_one_grid_cell(S: int) -> None:
    rhobar = cosine_rhobar(1000)
    inner = np.array(lambda_steps(rhobar, S)[1:-1])
    lam = half_log_snr(rhobar)
    wanted = np.linspace(*LAMBDA_RANGE, S - 1)
    with np.errstate(invalid="ignore"):
        cell = np.maximum(lam[inner - 1] - lam[inner], lam[inner] - lam[inner + 1])
    assert (np.abs(lam[inner] - wanted) <= np.where(np.isfinite(cell), cell, 1)).all()


@pytest.mark.parametrize("S", [0, -1, 1001])
def test_a_number_of_steps_out_of_range_is_a_sentence(S: int) -> None:
    for ask in (lambda: trailing_steps(1000, S), lambda: lambda_steps(cosine_rhobar(1000), S)):
        with pytest.raises(InputError, match=rf"{S} steps.*between 1 and 1000"):
            ask()
