"""The error of the mask denoiser, where it is known in closed form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_pgrd.engine.schedule import cosine_rhobar
from napari_pgrd.engine.spec import PrepareSpec
from napari_pgrd.train.config import FingerprintTraining, MaskNetwork, Optimisation
from napari_pgrd.train.fingerprint import describe, estimate_of, measure, standard_error, times_of, train_masks
from napari_pgrd.train.masks import MaskDenoiser
from napari_pgrd.train.weighting import slope, weights_of
from tests.oracles.closed_forms import mixture, onehot
from tests.oracles.masks import bernoulli_error, bernoulli_estimate, two_masks_error, two_masks_estimate

CPU = torch.device("cpu")


def hot(mask: np.ndarray) -> Tensor:
    """``(*spatial)`` to one-hot ``(1, 2, *spatial)`` float32."""
    return onehot(mask[None], 2).float()


@pytest.mark.parametrize(("shift", "scale"), [(1.0, 1.0), (0.6, 0.8)])
def test_independent_voxels_have_the_error_derivative_and_weights_of_the_closed_form(
    shift: float, scale: float
) -> None:
    asked = FingerprintTraining(T=200, shift=shift, residual_scale=scale, times=40, smoothing=0.03)
    rhobar, rng = cosine_rhobar(200, shift=shift), np.random.default_rng(0)
    masks = [(f"case {i % 20}", hot(rng.random((64, 64)) < 0.2)) for i in range(60)]
    found, each = measure(bernoulli_estimate(0.2, scale), masks, times_of(asked), rhobar, scale, 0, CPU)
    assert each.err.shape == (20, len(times_of(asked)))
    exact = bernoulli_error(rhobar, 0.2, scale)
    assert exact[-1] == pytest.approx(2 * 0.2 * 0.8)
    out = describe(found, each, asked)
    at, se = list(times_of(asked)), np.array(out["err_se"])
    assert at[0] == 0 and at[-1] == 200 and out["err"][0] == 0
    assert np.all(np.abs(np.array(out["err"]) - exact[at]) <= 4 * se + 1e-4)
    assert 0 < se[-1] < 0.01 * exact[-1]
    exact_slope = slope(exact, 0.03)[at]
    assert np.abs(np.array(out["slope"]) - exact_slope).max() < 0.04 * exact_slope.max()
    weights = weights_of(slope(exact, 0.03), asked.floor)
    assert np.abs(np.array(out["weights"]) - weights).max() < 0.04 * weights.max()
    plain = np.gradient(exact) * 200  # what no smoothing has touched
    assert np.abs(slope(exact, 0.03) - plain).mean() < 0.1 * plain.mean()


def test_standard_errors_hold_the_truth_as_often_as_they_should() -> None:
    asked, rhobar = FingerprintTraining(T=50, times=4), cosine_rhobar(50)
    times, outside = times_of(asked), []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        masks = [(str(i), hot(rng.random((16, 16)) < 0.3)) for i in range(20)]
        found, each = measure(bernoulli_estimate(0.3), masks, times, rhobar, 1.0, seed, CPU)
        gap = np.abs(found.err - bernoulli_error(rhobar, 0.3)[list(times)])[-2:]
        outside.append(gap > 2.1 * np.array(standard_error(each.err))[-2:])  # 95 % of Student's t of 19
    assert np.all(np.sum(outside, 0) <= 7)  # 2 expected; 8 or more in less than 1 of 1000 such tests


def test_two_whole_masks_are_told_apart_in_far_more_noise_than_single_voxels() -> None:
    first, second = np.zeros((16, 16), int), np.zeros((16, 16), int)
    second[4:12, 4:12] = 1
    modes = torch.cat([hot(first), hot(second)])
    asked, rhobar = FingerprintTraining(T=100, times=24), cosine_rhobar(100)
    rng = np.random.default_rng(1)
    masks = [(str(i), modes[[int(rng.random() < 0.6)]]) for i in range(400)]
    estimate = two_masks_estimate(modes[:1], modes[1:], 0.6)
    found, each = measure(estimate, masks, times_of(asked), rhobar, 1.0, 0, CPU)
    exact = two_masks_error(rhobar, 64, 256, 0.6)
    assert exact[-1] == pytest.approx(2 * 64 / 256 * 0.6 * 0.4)
    miss = np.abs(found.err - exact[list(times_of(asked))])
    assert np.all(miss <= 4 * np.array(standard_error(each.err)) + 0.005 * exact[-1])
    alone = weights_of(slope(bernoulli_error(rhobar, 0.25), 0.02), 0.2)
    assert np.argmax(describe(found, each, asked)["weights"]) > np.argmax(alone) + 20


def test_the_two_oracles_of_two_masks_agree() -> None:
    rng = np.random.default_rng(0)
    first, second = hot(rng.integers(2, size=(4, 4))), hot(rng.integers(2, size=(4, 4)))
    s = torch.from_numpy(rng.standard_normal((3, 2, 4, 4)))
    velocity = mixture(torch.cat([first, second]), torch.tensor([0.3, 0.7]))(s, s, torch.zeros(1, 2, 4, 4), 1, 0.4)
    clean = 0.4**0.5 * s - 0.6**0.5 * velocity
    mine = two_masks_estimate(first, second, 0.7)(s, torch.full((3,), 0.4, dtype=torch.float64))
    assert torch.allclose(clean, mine, atol=1e-6)


def test_the_untrained_network_is_right_for_independent_voxels() -> None:
    rng = np.random.default_rng(2)
    net = MaskDenoiser(MaskNetwork(widths=(8, 8)), 2, (0.8, 0.2), scale=0.7).eval()
    ideal = bernoulli_estimate(0.2, 0.7)
    for rb in (0.0, 0.2, 0.9, 0.999):
        r = torch.full((2,), rb)
        noise = torch.from_numpy(rng.standard_normal((2, 2, 8, 8))).float()
        s = rb**0.5 * 0.7 * hot(rng.random((8, 8)) < 0.2) + (1 - rb) ** 0.5 * noise
        with torch.no_grad():  # MONAI's last layer starts at 0
            assert torch.allclose(net(s, r).double(), ideal(s, r), atol=1e-5)


def test_cases_with_many_masks_count_for_more_and_are_one_observation_each() -> None:
    rng = np.random.default_rng(0)
    names, sizes = [*"aaaabbc"], [30, 40, 20, 30, 4, 8, 12]
    masks = []
    for name, size in zip(names, sizes, strict=True):
        mask = np.zeros(64, int)
        mask[:size] = 1
        masks.append((name, hot(rng.permutation(mask).reshape(8, 8))))
    found, each = measure(lambda s, rb: torch.zeros(1, 2, 8, 8) + 0.5, masks, (0, 9), cosine_rhobar(9), 1.0, 0, CPU)
    assert found.err[-1] == pytest.approx(0.5)  # the same for every mask: no spread
    assert standard_error(each.err) == [0, 0]
    nothing = hot(np.zeros((8, 8), int))
    found, each = measure(lambda s, rb: nothing, masks, (0, 9), cosine_rhobar(9), 1.0, 0, CPU)
    share = 2 * np.array(sizes) / 64
    assert found.err[-1] == pytest.approx(share.mean())
    sums = [(share - share.mean())[[n == case for n in names]].sum() for case in "abc"]
    robust = np.sqrt(3 / 2 * np.sum(np.square(sums))) / 7  # the sandwich estimate for clusters (Liang and Zeger 1986)
    assert (standard_error(each.err) or [])[-1] == pytest.approx(robust, rel=1e-4)
    assert each.err.mean(0)[-1] == pytest.approx(share.mean())


class TwoMasks:
    """Batches of a data set that holds two masks."""

    batch = 16

    def names(self, step: int) -> list[str]:
        return [f"case {step * self.batch + i}" for i in range(self.batch)]

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        mask = np.zeros((self.batch, 8, 8), int)
        mask[np.random.default_rng((3, step)).random(self.batch) < 0.5, 2:6, 2:6] = 1
        return torch.zeros(self.batch, 1, 8, 8), onehot(mask, 2).float()


def test_a_trained_mask_denoiser_comes_near_the_ideal_one(tmp_path: Path) -> None:
    asked = FingerprintTraining(
        shift=0.5,
        times=20,
        prepare=PrepareSpec(dims=2, patch=(8, 8, 1)),
        network=MaskNetwork(widths=(8, 8)),
        optimisation=Optimisation(
            steps=60, batch=16, learning_rate=1e-2, ema=0.9, warmup=10, precision="float32", validate_every=60
        ),
    )
    said: list[str] = []
    masks = TwoMasks()
    trainer = train_masks(masks, masks, asked, tmp_path, CPU, "two masks", said.append)
    assert "err at 1000" in "".join(said)
    rhobar, times = cosine_rhobar(1000, shift=0.5), times_of(asked)
    seen = [pair for step in range(100, 106) for pair in zip(masks.names(step), masks(step)[1][:, None], strict=True)]
    found, each = measure(estimate_of(trainer.averaged.eval(), CPU, "float32"), seen, times, rhobar, 1.0, 0, CPU)
    exact = two_masks_error(rhobar, 16, 64, 0.5)[list(times)]
    assert exact[-1] == pytest.approx(2 * 16 / 64 / 4) and each.err.shape[0] == 96
    assert np.abs(found.err - exact).max() < 0.3 * exact[-1]
    alone = bernoulli_error(rhobar, 1 / 8)[list(times)]
    learnt = (alone - found.err) / (alone - exact + 1e-9)
    assert np.all(learnt[alone - exact > 0.2 * exact[-1]] > 0.7)  # shapes, of which single voxels know nothing
