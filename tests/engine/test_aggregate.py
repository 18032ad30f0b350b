"""From samples to maps, against brute force over all the samples at once."""

from __future__ import annotations

import mmap

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy

from napari_pgrd.engine.aggregate import Aggregate, Prediction, entropy_of

TAU, SHAPE = 0.1, (5, 6, 7)


def _samples(n: int, classes: int) -> np.ndarray:
    """Blurred one-hot masks ``(n, K, *SHAPE)``, as a sampler yields them."""
    rng = np.random.default_rng(n)
    y = rng.dirichlet(np.full(classes, 0.3), (n, *SHAPE))
    return np.moveaxis(y, -1, 1).astype(np.float32)


def _run(y: np.ndarray, so_far: Prediction | None = None) -> Prediction:
    prior = np.full(y.shape[1:], 1 / y.shape[1], np.float32)
    aggregate = Aggregate(prior, TAU, ("key",), so_far)
    for one in torch.from_numpy(y):
        aggregate.add(one)
    return aggregate.snapshot()


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("n", [1, 2, 16])
def test_every_map_is_the_brute_force_one(n: int, classes: int) -> None:
    y = _samples(n, classes)
    p = _run(y)
    each = softmax(y.astype(np.float64) / TAU, axis=1)
    mean, masks = each.mean(0), y.argmax(1)
    stack = (masks[:, None] == np.arange(classes)[:, None, None, None]).astype(np.float64)  # (n, K, *SHAPE)
    np.testing.assert_allclose(p.probability, mean, atol=1e-6)
    clear = np.ptp(np.sort(mean, axis=0)[-2:], axis=0) > 1e-6  # float32 may settle a tie either way
    assert clear.mean() > 0.95
    assert np.array_equal(p.consensus[clear], mean.argmax(0)[clear])
    assert np.array_equal(np.stack(p.masks), masks)
    assert np.array_equal(p.votes, stack.sum(0))
    np.testing.assert_allclose(p.variance, np.var(stack, axis=0).sum(0), atol=1e-6)
    np.testing.assert_allclose(p.entropy, entropy(mean, axis=0), atol=2e-6)
    information = entropy(mean, axis=0) - entropy(each, axis=1).mean(0)
    np.testing.assert_allclose(p.mutual_information, information, atol=1e-5)
    for k in range(classes):
        np.testing.assert_allclose(p.agreement(k), stack[:, k].mean(0), atol=1e-7)


@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_the_first_calls_mean_is_mixed_in(weight: float) -> None:
    y, first = _samples(5, 3), _samples(5, 3)[::-1].copy()
    aggregate = Aggregate(np.full(y.shape[1:], 1 / 3, np.float32), TAU, mean_weight=weight)
    for one, mean in zip(torch.from_numpy(y), torch.from_numpy(first), strict=True):
        aggregate.add(one, mean)
    p = aggregate.snapshot()
    each = (1 - weight) * softmax(y.astype(np.float64) / TAU, axis=1) + weight * first
    np.testing.assert_allclose(p.probability, each.mean(0), atol=1e-5)
    np.testing.assert_allclose(p.entropy, entropy(each.mean(0), axis=0), atol=1e-4)
    information = entropy(each.mean(0), axis=0) - entropy(each, axis=1).mean(0)
    np.testing.assert_allclose(p.mutual_information, information, atol=1e-4)
    assert np.array_equal(np.stack(p.masks), y.argmax(1))  # a sample's mask is its own


def test_order_and_grouping_do_not_matter() -> None:
    y = _samples(9, 3)
    whole, turned, grouped = _run(y), _run(y[::-1].copy()), _run(y[4:], so_far=_run(y[:4]))
    for other in (turned, grouped):
        np.testing.assert_allclose(other.probability, whole.probability, atol=1e-6)
        np.testing.assert_allclose(other.mutual_information, whole.mutual_information, atol=1e-5)
        assert np.array_equal(other.votes, whole.votes)
    assert np.array_equal(np.stack(grouped.masks), np.stack(whole.masks))


def test_ties_go_to_the_lowest_class() -> None:
    y = np.zeros((2, 3, *SHAPE), np.float32)
    y[0, 2], y[1, 1] = 1, 1  # one vote for class 2, then one for class 1
    assert (_run(y).consensus == 1).all()
    assert (_run(np.full((1, 3, *SHAPE), 1 / 3, np.float32)).consensus == 0).all()


def test_before_the_first_sample_the_maps_are_the_priors() -> None:
    prior = softmax(np.random.default_rng(0).normal(size=(3, *SHAPE)), axis=0).astype(np.float32)
    p = Aggregate(prior, TAU).snapshot()
    np.testing.assert_allclose(p.probability, prior, atol=1e-6)
    np.testing.assert_allclose(p.entropy, entropy(prior, axis=0), atol=1e-5)
    assert p.samples == 0
    assert (p.variance == 0).all()


def test_a_snapshot_stays_as_it_was() -> None:
    y = _samples(4, 3)
    aggregate = Aggregate(np.full(y.shape[1:], 1 / 3, np.float32), TAU)
    aggregate.add(torch.from_numpy(y[0]))
    early = aggregate.snapshot()
    before = [x.copy() for x in (early.probability, early.votes, early.sample_entropy, *early.masks)]
    for one in torch.from_numpy(y[1:]):
        aggregate.add(one)
    resumed = Aggregate(early.prior, TAU, so_far=early)
    resumed.add(torch.from_numpy(y[1]))
    after = [early.probability, early.votes, early.sample_entropy, *early.masks]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_memory_grows_by_one_byte_a_voxel_and_sample_only() -> None:
    y = _samples(12, 3)
    aggregate = Aggregate(np.full(y.shape[1:], 1 / 3, np.float32), TAU)

    def held() -> int:
        arrays = [v for v in vars(aggregate).values() if isinstance(v, np.ndarray)]
        lists = [a for v in vars(aggregate).values() if isinstance(v, list) for a in v]
        owners = {id(o): o.nbytes for o in (a if a.base is None else a.base for a in arrays + lists)}
        return sum(owners.values())

    sizes = [held()]
    for one in torch.from_numpy(y):
        mask = aggregate.add(one)
        assert mask.dtype == np.uint8
        sizes.append(held())
    assert np.diff(sizes).tolist() == [np.prod(SHAPE)] * 12


def test_masks_lie_in_pages_of_their_own() -> None:
    y = torch.from_numpy(_samples(2, 3))
    aggregate = Aggregate(np.full(y.shape[1:], 1 / 3, np.float32), TAU)
    first, second = aggregate.add(y[0]), aggregate.add(y[1])
    assert np.array_equal(first, y[0].argmax(0))
    starts = [m.__array_interface__["data"][0] for m in (first, second)]
    assert all(start % mmap.PAGESIZE == 0 for start in starts)
    assert starts[0] != starts[1]


def test_entropy_of_certainty_and_of_ignorance() -> None:
    certain = np.zeros((4, 2), np.float32)
    certain[1] = 1
    assert (entropy_of(certain) == 0).all()
    np.testing.assert_allclose(entropy_of(np.full((4, 2), 0.25)), np.log(4), rtol=1e-6)
