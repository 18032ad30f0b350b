"""Every metric against another library or a brute force on small arrays."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.metrics import DiceMetric
from scipy.spatial.distance import cdist
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from napari_pgrd.evaluate import metrics

SHAPE = (7, 6, 5)


@pytest.fixture
def case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities, samples and a truth that resemble each other."""
    rng = np.random.default_rng(5)
    truth = np.zeros(SHAPE, int)
    truth[2:5, 2:5, 1:3], truth[2:5, 2:5, 3:4] = 1, 2
    logits = rng.normal(0, 1, (3, *SHAPE)) + 2.5 * np.eye(3)[truth].transpose(3, 0, 1, 2)
    p = np.exp(logits) / np.exp(logits).sum(0)
    masks = np.array([(logits + rng.gumbel(size=logits.shape)).argmax(0) for _ in range(4)])
    return p.astype(np.float32), masks, truth


def monai_dice(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    hot = [torch.nn.functional.one_hot(torch.from_numpy(x), 3).movedim(-1, 0)[None] for x in (a, b)]
    return DiceMetric(include_background=False, ignore_empty=False)(*hot)[0].numpy()


def test_dice_is_monais(case: tuple[np.ndarray, ...]) -> None:
    p, masks, truth = case
    assert metrics.dice(p.argmax(0), truth, 3) == pytest.approx(monai_dice(p.argmax(0), truth), rel=1e-5)
    assert metrics.sample_dice(masks, truth, 3) == pytest.approx(
        np.mean([monai_dice(m, truth) for m in masks]), rel=1e-5
    )


def test_two_empty_masks_agree_and_one_does_not() -> None:
    empty, full = np.zeros(SHAPE, int), np.ones(SHAPE, int)
    assert metrics.dice(empty, empty, 3) == [1, 1]
    assert metrics.dice(full, empty, 3) == [0, 1]
    assert metrics.pairwise_dice(np.array([empty, full]), 3) == 0.5


def test_pairwise_dice_is_the_mean_over_distinct_pairs(case: tuple[np.ndarray, ...]) -> None:
    _, masks, _ = case
    per_class = []
    for k in (1, 2):
        flat = (masks == k).reshape(len(masks), -1)
        distance = cdist(flat, flat, "dice")  # scipy's dissimilarity
        per_class.append(1 - distance[np.triu_indices(len(masks), 1)].mean())
    assert metrics.pairwise_dice(masks, 3) == pytest.approx(np.mean(per_class))
    assert metrics.pairwise_dice(masks[:1], 3) is None


def test_nll_and_brier_are_scikit_learns(case: tuple[np.ndarray, ...]) -> None:
    p, _, truth = case
    flat = p.reshape(3, -1).T.astype(float)
    flat /= flat.sum(1, keepdims=True)
    assert metrics.nll(p, truth) == pytest.approx(log_loss(truth.ravel(), flat), rel=1e-5)
    two = np.stack([p[0], p[1:].sum(0)])
    expected = 2 * brier_score_loss((truth > 0).ravel(), two[1].ravel())  # both classes miss by the same
    assert metrics.brier(two, (truth > 0).astype(int)) == pytest.approx(expected, rel=1e-5)


def test_a_sure_error_costs_what_the_floor_says() -> None:
    p = np.zeros((2, 1, 1, 1), np.float32)
    p[0] = 1
    assert metrics.nll(p, np.ones((1, 1, 1), int)) == pytest.approx(-np.log(1e-6))


def ece_by_hand(confidence: np.ndarray, right: np.ndarray) -> float:
    total, edges = 0.0, np.linspace(0, 1, 16)
    for lo, hi in pairwise(edges):
        inside = (confidence > lo) & (confidence <= hi)
        if inside.any():
            total += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    return total


def test_ece_is_the_textbook_sum(case: tuple[np.ndarray, ...]) -> None:
    p, _, truth = case
    confidence, right = metrics.top_label(p, truth)
    assert metrics.ece(confidence, right) == pytest.approx(ece_by_hand(confidence, right), rel=1e-5)
    parts = np.array_split(np.argsort(confidence.ravel(), kind="stable"), 15)
    assert len(parts[0]) == len(parts[-1])  # 210 voxels, so bins are unambiguous
    gaps = [len(i) * abs(confidence.ravel()[i].mean() - right.ravel()[i].mean()) for i in parts]
    assert metrics.adaptive_ece(confidence, right) == pytest.approx(sum(gaps) / confidence.size, rel=1e-5)


def test_a_calibrated_predictor_has_no_error_and_a_boastful_one_has() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 200_000)
    right = rng.random(200_000) < confidence
    assert metrics.ece(confidence, right) < 0.006
    assert metrics.ece(np.full(1000, 1.0), np.arange(1000) < 700) == pytest.approx(0.3)


def test_the_region_is_within_three_steps_of_either_foreground() -> None:
    truth, mask = np.zeros((15, 15, 15), int), np.zeros((15, 15, 15), int)
    truth[4, 7, 7], mask[10, 7, 7] = 1, 2
    grid = np.stack(np.meshgrid(*[np.arange(15)] * 3, indexing="ij"), -1).reshape(-1, 3)
    steps = cdist(grid, np.array([[4, 7, 7], [10, 7, 7]]), "cityblock").min(1)
    assert (metrics.region(truth, mask).ravel() == (steps <= 3)).all()
    assert not metrics.region(truth * 0, mask * 0).any()


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=40))
def test_auroc_is_scikit_learns(pairs: list[tuple[int, bool]]) -> None:
    score, positive = np.array([s for s, _ in pairs], float), np.array([b for _, b in pairs])
    if positive.all() or not positive.any():
        assert metrics.auroc(score, positive) is None
    else:
        assert metrics.auroc(score, positive) == pytest.approx(roc_auc_score(positive, score))


def test_coverage_and_unanimous_errors_by_counting() -> None:
    truth = np.array([1, 1, 0, 2]).reshape(4, 1, 1)
    masks = np.array([[1, 1, 1, 2], [1, 0, 1, 1], [1, 0, 1, 1]]).reshape(3, 4, 1, 1)
    consensus = np.array([1, 0, 1, 1]).reshape(4, 1, 1)
    assert metrics.unanimous_errors(masks, consensus, truth) == (1, 3)  # voxel 2 alone is agreed upon and wrong
    assert metrics.volume_covered(masks, truth, 1) is False  # 3, 3, 3 voxels against 2
    assert metrics.volume_covered(masks, truth, 2) is False  # 1, 0, 0: the 95 % quantile is 0.9
    assert metrics.volume_covered(masks[:2], truth, 2) is False
    assert metrics.volume_covered(masks[:1], truth, 2) is True


def test_every_number_has_a_definition() -> None:
    named = {"dice", "nll", "ece", "ece_roi", "brier", "auroc_entropy_error", "sample_dice", "pairwise_dice"}
    assert named | {"volume_coverage", "unanimous_error_share", "seconds_per_case"} <= set(metrics.DEFINITIONS)
