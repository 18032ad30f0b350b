"""Samples against raters: brute force over pairs and matchings, and samplers whose score is known."""

from __future__ import annotations

from itertools import permutations
from math import lcm

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import jaccard

from napari_pgrd.evaluate.raters import agreement, iou_matrix, majority, perfect_ged2

tiny_masks = arrays(np.uint8, st.tuples(st.integers(1, 4), st.just(2), st.just(3)), elements=st.integers(0, 2))


def d(a: np.ndarray, b: np.ndarray) -> float:
    """scipy's Jaccard dissimilarity, 0 for two empty masks."""
    return float(jaccard((a > 0).ravel(), (b > 0).ravel()))


@given(tiny_masks, tiny_masks)
def test_every_number_is_its_definition(masks: np.ndarray, truths: np.ndarray) -> None:
    found = agreement(masks, truths)

    def mean(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.mean([d(a, b) for a in x for b in y]))

    assert found.ged2 == pytest.approx(2 * mean(masks, truths) - mean(masks, masks) - mean(truths, truths), abs=1e-9)
    for mine, some in ((found.diversity, masks), (found.rater_diversity, truths)):
        pairs = [d(a, b) for i, a in enumerate(some) for b in some[:i]]
        assert mine == (pytest.approx(np.mean(pairs)) if pairs else None)
    assert found.empty_samples == np.mean([m.sum() == 0 for m in masks])
    assert found.empty_raters == np.mean([t.sum() == 0 for t in truths])


@given(
    arrays(bool, st.tuples(st.sampled_from([1, 2, 3]), st.just(4))),
    arrays(bool, st.tuples(st.sampled_from([1, 2, 3]), st.just(4))),
)
def test_the_matching_is_the_best_of_all(masks: np.ndarray, truths: np.ndarray) -> None:
    n = lcm(len(masks), len(truths))
    x, y = [m for m in masks for _ in range(n // len(masks))], [t for t in truths for _ in range(n // len(truths))]
    best = max(sum(1 - d(a, b) for a, b in zip(x, order, strict=True)) / n for order in permutations(y))
    assert agreement(masks.astype(int), truths.astype(int)).hm_iou == pytest.approx(best)


def test_a_perfect_sampler_has_no_distance() -> None:
    raters = np.random.default_rng(0).random((4, 8, 8)) < 0.4
    samples = np.concatenate([raters] * 4)[np.random.default_rng(1).permutation(16)]
    found = agreement(samples.astype(int), raters.astype(int))
    assert found.ged2 == pytest.approx(0, abs=1e-12) and found.hm_iou == pytest.approx(1)
    assert found.diversity == pytest.approx(found.rater_diversity * (1 - 1 / 4) / (1 - 1 / 16))  # fewer equal pairs


def test_samples_from_the_raters_own_distribution_score_what_is_said() -> None:
    """Opinions drawn at random from a population; the raters' diversity of each draw forecasts the score on average."""
    rng = np.random.default_rng(0)
    population = (rng.random((30, 20)) < rng.uniform(0, 0.6, (30, 1))).astype(int)
    population[:5] = 0
    found, said = [], []
    for _ in range(600):
        raters, samples = population[rng.integers(30, size=4)], population[rng.integers(30, size=16)]
        score = agreement(samples, raters)
        found.append(score.ged2)
        said.append(perfect_ged2(score.rater_diversity, 16, 4))
    assert np.mean(found) == pytest.approx(np.mean(said), rel=0.03)


def test_equal_samples_have_no_diversity() -> None:
    raters = np.zeros((2, 4, 4), int)
    raters[0, :2], raters[1, :1] = 1, 1
    found = agreement(raters[[0] * 3], raters)
    assert found.diversity == 0
    assert found.ged2 == pytest.approx(2 * 0.25 - 0 - 0.25)  # d = 0 and 1/2 to the raters, who differ by 1/2
    assert found.hm_iou == pytest.approx(0.75)


def test_empty_masks_agree_with_each_other_alone() -> None:
    empty, full = np.zeros((2, 5, 5), int), np.ones((1, 5, 5), int)
    assert agreement(empty, empty) == (0, 1, 0, 0, 1, 1)
    assert agreement(empty, full) == (2, 0, 0, None, 1, 0)
    assert (iou_matrix(empty, full) == 0).all()


def test_the_foreground_of_several_classes_is_one() -> None:
    one, two = np.full((1, 3, 3), 1), np.full((1, 3, 3), 2)
    assert agreement(one, two).ged2 == 0


def test_half_of_the_raters_are_a_majority() -> None:
    raters = np.array([[1, 1, 1, 0, 2], [1, 1, 0, 0, 2], [1, 0, 0, 0, 1], [1, 0, 0, 0, 0]])
    assert majority(raters).tolist() == [1, 1, 0, 0, 2]
    assert majority(raters[:3]).tolist() == [1, 1, 0, 0, 2]
    assert majority(raters[2:3]).tolist() == raters[2].tolist()
    assert majority(np.array([[2, 0], [1, 0]])).tolist() == [1, 0]  # the lowest of equals
    assert not majority(np.zeros((4, 2), int)).any()


@given(arrays(np.int64, st.tuples(st.integers(1, 5), st.just(6)), elements=st.integers(0, 3)))
def test_the_majority_by_counting(truths: np.ndarray) -> None:
    for votes, mine in zip(truths.T, majority(truths), strict=True):
        marked = votes[votes > 0]
        expected = np.bincount(marked).argmax() if 2 * len(marked) >= len(votes) and len(marked) else 0
        assert mine == expected
