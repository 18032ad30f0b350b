"""What the prior gives alone: masks whose frequencies are its probability, and answers to a changed image."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from napari_pgrd.engine.sampler import Case, sample_rng
from napari_pgrd.engine.samplers.augmentation import AugmentationSampler
from napari_pgrd.engine.samplers.prior import DeterministicSampler, ThresholdSampler, level


def _case(pi: Tensor, image: Tensor | None = None) -> Case:
    return Case(torch.zeros(1, 1, *pi.shape[2:]) if image is None else image, pi)


def _probabilities(classes: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).dirichlet([0.5] * classes, (1, 6, 7, 5))).movedim(-1, 1).float()


def _rngs(m: int, first: int = 0) -> list[np.random.Generator]:
    return [sample_rng(3, i) for i in range(first, first + m)]


def test_the_levels_are_evenly_spaced_and_stay_where_they_are() -> None:
    for k in range(1, 9):
        n = 2**k
        assert sorted(level(i) for i in range(n - 1)) == [j / n for j in range(1, n)]
    for m in range(1, 200):  # any number of them leaves no gap of more than two cells
        levels = [0.0, *sorted(level(i) for i in range(m)), 1.0]
        assert np.diff(levels).max() <= 2 / (m + 1)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_frequency_of_a_voxel_is_its_probability(classes: int) -> None:
    pi, m = _probabilities(classes), 255
    first, masks = ThresholdSampler().draw(_case(pi), _rngs(m))
    assert torch.equal(first, pi.expand(m, -1, -1, -1, -1)), "the map is the prior's own"
    frequency = 1 - masks[:, 0].mean(0)
    assert (frequency - (1 - pi[0, 0])).abs().max() <= 1 / (m + 1)
    assert set(masks.unique().tolist()) == {0.0, 1.0} and (masks.sum(1) == 1).all()
    shown = masks.argmax(1)
    assert ((shown == 0) | (shown == 1 + pi[:, 1:].argmax(1))).all(), "inside, the most probable label"


def test_a_lower_level_holds_every_higher_one() -> None:
    _, masks = ThresholdSampler().draw(_case(_probabilities(3)), _rngs(31))
    inside = masks[:, 0] == 0
    order = np.argsort([level(i) for i in range(31)])
    for low, high in pairwise(order):
        assert not (inside[high] & ~inside[low]).any()


def test_a_sample_depends_on_its_index_alone() -> None:
    pi = _probabilities(3)
    *_, whole = ThresholdSampler().draw(_case(pi), _rngs(8))
    *_, part = ThresholdSampler().draw(Case(torch.zeros(1, 1, 6, 7, 5), pi, None, [5, 2]), _rngs(2))
    assert torch.equal(part, whole[[5, 2]])


def test_one_segmentation_is_the_prior_itself() -> None:
    pi = _probabilities(3)
    (y,) = DeterministicSampler().draw(_case(pi), _rngs(2))
    assert torch.equal(y, pi.expand(2, -1, -1, -1, -1))


def _bright(image: Tensor) -> Tensor:
    """A prior in closed form: the label is where the image is above zero, as a logistic of its brightness."""
    p = torch.sigmoid(4 * image)
    return torch.cat([1 - p, p], 1)


def test_the_frequency_under_augmentation_is_the_gaussians() -> None:
    """On an even image at c, the answer is the label where ``c + offset + noise > 0``."""
    sampler = AugmentationSampler(_bright, turn=0, scale=0, shift=0, contrast=0, brightness=0.3, noise=0.4)
    for c in (-0.3, 0.0, 0.5):
        image, m = torch.full((1, 1, 3, 3, 3), c), 600
        (y,) = sampler.draw(_case(torch.zeros(1, 2, 3, 3, 3), image), _rngs(m))
        share = (y.argmax(1)[:, 1, 2, 1] == 1).double().mean()
        p = norm.cdf(c / 0.5)
        assert abs(share - p) < 4 * np.sqrt(p * (1 - p) / m)


def test_what_is_turned_is_turned_back() -> None:
    """A ball stays where it is, whichever way the image was turned, scaled and shifted."""
    grid = torch.stack(torch.meshgrid(*[torch.arange(24.0)] * 3, indexing="ij"))
    middle = torch.tensor([13.0, 11.0, 12.0]).reshape(3, 1, 1, 1)
    far = (grid - middle).norm(dim=0)
    image = (5 - far)[None, None] / 5
    still = _bright(image)
    moving = AugmentationSampler(_bright, turn=0.3, scale=0.1, shift=1, contrast=0, brightness=0, noise=0)
    (y,) = moving.draw(_case(still, image), _rngs(6))
    inside = (far < 7) & (far > 1)  # the tip of the cone is rounded by resampling
    assert (y - still)[:, :, inside].abs().max() < 0.06
    seen: list[Tensor] = []

    def watched(x: Tensor) -> Tensor:
        seen.append(x)
        return _bright(x)

    next(iter(AugmentationSampler(watched, turn=0.3, noise=0).draw(_case(still, image), _rngs(6))))
    assert (seen[0] - image)[:, :, inside].abs().max() > 0.2, "the prior did see other images"


@pytest.mark.parametrize("flat", [False, True])
def test_an_augmented_sample_depends_on_its_generator_alone(flat: bool) -> None:
    image = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 1, 8, 9, 5))).float()
    sampler, pi = AugmentationSampler(_bright, flat=flat), torch.zeros(1, 2, 8, 9, 5)
    (whole,) = sampler.draw(_case(pi, image), _rngs(4))
    (late,) = sampler.draw(_case(pi, image), _rngs(2, first=2))
    assert whole.shape == (4, 2, 8, 9, 5)
    torch.testing.assert_close(whole[2:], late, atol=1e-6, rtol=0)
    assert not torch.allclose(whole[0], whole[1], atol=0.05)


def test_slices_are_augmented_each_on_its_own() -> None:
    image = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 1, 8, 9, 1))).float().repeat(1, 1, 1, 1, 4)
    (y,) = AugmentationSampler(_bright, flat=True).draw(_case(torch.zeros(1, 2, 8, 9, 4), image), _rngs(1))
    assert not any(torch.allclose(y[..., 0], y[..., z], atol=0.05) for z in (1, 2, 3))
    changed = image.clone()
    changed[..., 2] += 3
    (other,) = AugmentationSampler(_bright, flat=True).draw(_case(torch.zeros(1, 2, 8, 9, 4), changed), _rngs(1))
    assert torch.equal(y[..., [0, 1, 3]], other[..., [0, 1, 3]]) and not torch.equal(y[..., 2], other[..., 2])
