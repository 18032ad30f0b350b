"""Losses and batches against numpy and torch written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_pgrd.engine.spec import PrepareSpec
from napari_pgrd.train.config import Optimisation
from napari_pgrd.train.data import Batches, TrainCase, augmentation
from napari_pgrd.train.loop import rate
from napari_pgrd.train.losses import PriorLoss, deep_diffusion_supervision, diffusion_loss
from tests.tiny import blob_volume


def truth(*shape: int) -> torch.Tensor:
    """One-hot labels ``(B, 3, *shape)``."""
    label = torch.from_numpy(np.random.default_rng(0).integers(3, size=shape))
    return torch.nn.functional.one_hot(label, 3).movedim(-1, 1).float()


def test_diffusion_loss_is_the_mean_square() -> None:
    a, b = torch.randn(2, 3, 4, 4, 4), torch.randn(2, 3, 4, 4, 4)
    assert diffusion_loss(a, b).item() == pytest.approx(float(np.mean((a.numpy() - b.numpy()) ** 2)), rel=1e-5)


def test_prior_loss_is_dice_plus_cross_entropy() -> None:
    y, logits = truth(2, 4, 4, 4), torch.randn(2, 3, 4, 4, 4)
    p = logits.softmax(1)
    both = (p * y).sum((0, 2, 3, 4))
    dice = 1 - (2 * both + 1e-5) / ((p + y).sum((0, 2, 3, 4)) + 1e-5)
    expected = dice[1:].mean() + torch.nn.functional.cross_entropy(logits, y.argmax(1))
    assert PriorLoss()(logits, y).item() == pytest.approx(expected.item(), rel=1e-4)
    heads = torch.stack([logits, logits + 1, logits * 2], 1)
    each = [PriorLoss()(heads[:, i], y).item() for i in range(3)]
    assert PriorLoss()(heads, y).item() == pytest.approx(float(np.average(each, weights=[1, 0.5, 0.25])), rel=1e-5)
    cross = torch.nn.functional.cross_entropy(logits, y.argmax(1)).item()
    assert PriorLoss(0.0)(logits, y).item() == pytest.approx(cross, rel=1e-4)


def test_cross_entropy_alone_learns_the_share_of_readers_where_dice_decides() -> None:
    """Ten voxels that three of ten readers mark together: the logit that the loss is content with."""
    y = torch.zeros(10, 2, 10, 1)
    y[:, 0], y[:3, 0], y[:3, 1] = 1, 0, 1

    def learnt(weight: float) -> float:
        z = torch.zeros((), requires_grad=True)
        optimiser = torch.optim.Adam([z], 0.1)
        for _ in range(400):
            optimiser.zero_grad()
            logits = torch.stack([torch.zeros(10, 10, 1), z.expand(10, 10, 1)], 1)
            each = [PriorLoss(weight)(logits[i : i + 1], y[i : i + 1]) for i in range(10)]
            torch.stack(each).mean().backward()
            optimiser.step()
        return float(torch.sigmoid(z.detach()))

    assert learnt(0.0) == pytest.approx(0.3, abs=0.01)
    assert abs(learnt(1.0) - 0.3) > 0.03


def test_what_is_added_to_grey_values_is_a_share_of_their_deviation() -> None:
    """On an image of zeros, scaled intensities stay zero: what is seen is what was added."""
    zeros = {"image": torch.zeros(1, 16, 16), "label": torch.ones(1, 16, 16)}

    def added(grey_deviation: float) -> list[float]:
        transform = augmentation(1, (16, 16, 1), 2, (), grey_deviation=grey_deviation)
        transform.set_random_state(seed=3)
        return [float(transform(dict(zeros))["image"].abs().max()) for _ in range(40)]

    whole = np.array(added(1.0))
    assert (whole > 0).any()
    np.testing.assert_allclose(added(0.25), whole / 4, rtol=1e-3, atol=1e-6)


def test_deep_supervision_compares_a_coarse_head_with_the_fractions_in_its_voxels() -> None:
    y, psi = truth(2, 4, 4, 4), torch.randn(2, 3, 2, 2, 2)
    soft = y.reshape(2, 3, 2, 2, 2, 2, 2, 2).mean((3, 5, 7))
    log_p = torch.log_softmax(psi / 0.5, 1)
    per_case = -(soft * log_p).sum(1).mean((1, 2, 3))
    first_only = deep_diffusion_supervision([psi], y, torch.tensor([1.0, 0.0]), tau=0.5)
    assert first_only.item() == pytest.approx(per_case[0].item(), rel=1e-5)
    both = deep_diffusion_supervision([psi, psi], y, torch.ones(2), tau=0.5)
    assert both.item() == pytest.approx(per_case.mean().item(), rel=1e-5)
    assert deep_diffusion_supervision([psi], y, torch.zeros(2), tau=0.5).item() == 0


def test_batches_depend_on_seed_and_step_alone() -> None:
    spec = PrepareSpec(patch=(12, 12, 12), stride=4)
    cases = []
    for seed in range(3):
        volume, label = blob_volume((16, 16, 16), seed=seed)
        cases.append(TrainCase(str(seed), torch.from_numpy(volume.data), torch.from_numpy(label[None])))
    batches = Batches(cases, 3, spec, batch=2, seed=1, mirror=(0,))
    image, y = batches(5)
    batches(0)
    again = Batches(cases, 3, spec, batch=2, seed=1, mirror=(0,))(5)
    assert torch.equal(image, again[0]) and torch.equal(y, again[1])
    assert image.shape == (2, 1, 12, 12, 12) and y.shape == (2, 3, 12, 12, 12)
    assert torch.equal(y.sum(1), torch.ones(2, 12, 12, 12))
    other = Batches(cases, 3, spec, batch=2, seed=2, mirror=(0,))(5)
    assert not torch.equal(image, other[0])


def test_the_learning_rate_warms_up_and_falls_to_zero() -> None:
    config = Optimisation(steps=100, warmup=10)
    assert [rate(s, config) for s in (0, 4, 9, 10)] == pytest.approx([0.1, 0.5, 1.0, 1.0])
    assert rate(55, config) == pytest.approx(0.5)
    assert rate(100, config) == pytest.approx(0, abs=1e-9)
    assert rate(99, Optimisation(steps=100, decay="none")) == pytest.approx(1)
