"""DDPM against its own closed form: an ideal predictor of eps for masks in {-1, 1}, written without the residual."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from napari_pgrd.engine.entries import Diffusion
from napari_pgrd.engine.methods import METHODS, Kit
from napari_pgrd.engine.netspec import DenoiserConfig, SamplingDefaults, ScheduleSpec
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.sampler import Case, Known, sample_rng
from napari_pgrd.engine.schedule import linear_rhobar
from tests.oracles.closed_forms import mixture, onehot

MODES = onehot(np.array([[[0, 0, 1]], [[0, 1, 1]], [[1, 0, 0]]]), 2)  # (3, 2, 1, 3)
WEIGHTS = torch.tensor([0.5, 0.3, 0.2])


def _ideal(y: Tensor, image: Tensor, pi: Tensor, t: int, rb: float) -> Tensor:
    """``E[eps | y_t]`` where the mask is one of three, ``y_t = sqrt(rb) (2 y - 1) + sqrt(1 - rb) eps``."""
    centres = (2 * MODES - 1).flatten(1)
    flat = y.double().flatten(1)
    distance = ((flat[:, None] - np.sqrt(rb) * centres) ** 2).sum(-1)
    chance = torch.softmax(WEIGHTS.double().log() - distance / (2 * (1 - rb)), 1)
    clean = (chance @ centres).reshape(y.shape)
    return ((y.double() - np.sqrt(rb) * clean) / np.sqrt(1 - rb)).to(y.dtype)


def _entry(name: str) -> Diffusion:
    if name == "ddpm":
        schedule = ScheduleSpec(kind="linear", residual_scale=2.0, prior_guided=False)
    else:
        schedule = ScheduleSpec(prior_guided=METHODS[name].settings.get("prior_guided", True))
    return Diffusion(network=DenoiserConfig(dims=2, classes=2), schedule=schedule, sampling=SamplingDefaults())


def _draw(name: str, request: Request, m: int, known: Known | None = None) -> Tensor:
    net = _ideal if name == "ddpm" else mixture(MODES, WEIGHTS)
    sampler = METHODS[name].sampler(Kit(_entry(name), request, lambda image: image, [net]))
    pi = torch.tensor([0.6, 0.4]).reshape(1, 2, 1, 1).expand(1, 2, 1, 3)
    *_, y = sampler.draw(Case(torch.zeros(1, 1, 1, 3), pi, known), [sample_rng(1, i) for i in range(m)])
    return y


@pytest.mark.parametrize(
    ("name", "steps", "solver", "eta"),
    [
        ("ddpm", 1000, "ddpm", 0.0),
        ("ddpm", 50, "ddpm", 0.0),
        ("ddpm", 50, "ddim", 0.0),
        ("no-pgr", 50, "ddim", 1.0),
        ("no-dds", 50, "ddim", 1.0),
        ("pgrd", 50, "ddim", 1.0),
    ],
)
def test_every_mask_comes_as_often_as_it_is_true(name: str, steps: int, solver: str, eta: float) -> None:
    n = 300 if steps == 1000 else 1000
    y = _draw(name, Request(steps=steps, solver=solver, eta=eta), n)
    distance = (y[:, None] - MODES[None].float()).flatten(2).norm(dim=2)
    assert (distance.min(1).values < 0.05).all(), "a sample is a mask, not a blend"
    counts = torch.bincount(distance.argmin(1), minlength=3).numpy()
    assert chisquare(counts, n * WEIGHTS.numpy().astype(float) / WEIGHTS.sum().item()).pvalue > 1e-3, counts


def test_locked_voxels_are_kept() -> None:
    """Where the middle voxel is known to be 1, only one of the three masks is left."""
    mask = torch.zeros(1, 1, 1, 3, dtype=torch.bool)
    mask[..., 1] = True
    truth = MODES[1:2].float() * mask
    request = Request(steps=50, solver="ddpm", eta=0.0, lock_method="replacement")
    y = _draw("ddpm", request, 64, Known(truth, mask))
    assert torch.equal(torch.where(mask, y, 0), truth.expand_as(y))
    assert ((y - MODES[1].float()).flatten(1).norm(dim=1) < 0.05).double().mean() > 0.8


def test_the_schedule_is_that_of_ho_et_al() -> None:
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler(1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear").alphas_cumprod.numpy()
    ours = linear_rhobar(1000)
    assert ours[0] == 1
    np.testing.assert_allclose(ours[1:], theirs, rtol=1e-4)
    for T in (20, 100, 250):
        assert (np.diff(linear_rhobar(T)) < 0).all() and 0 < linear_rhobar(T)[-1] < 1e-3
