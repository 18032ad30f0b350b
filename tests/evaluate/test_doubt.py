"""Rank correlation and sparsification against scipy, brute force and cases whose answer is known."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, rankdata

from napari_pgrd.evaluate.doubt import SHARES, remaining_error, sparsify, spearman

pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=5)


@given(pairs)
def test_spearman_is_pearson_of_ranks(rows: list[tuple[int, int]]) -> None:
    score, error = np.array(rows, float).T
    if len(set(score)) < 2 or len(set(error)) < 2:
        assert spearman(score, error) is None
    else:
        assert spearman(score, error) == pytest.approx(pearsonr(rankdata(score), rankdata(error)).statistic)


@given(pairs)
def test_ties_are_the_mean_over_their_orders(rows: list[tuple[int, int]]) -> None:
    score, error = np.array(rows, float).T
    n, curves = len(rows), []
    for order in permutations(range(n)):
        if (np.diff(score[list(order)]) <= 0).all():  # the highest first
            kept = [error[list(order)][n * i // 100 :] for i in range(100)]
            curves.append([k.mean() for k in kept])
    assert remaining_error(score, error) == pytest.approx(np.mean(curves, 0))


def test_perfect_random_and_wrong_orders() -> None:
    error = np.zeros(1000)
    error[:100] = 1
    perfect = sparsify(error, error)
    assert perfect.ause == 0 and perfect.aurg > 0
    assert perfect.curve[0] == 0.1 and perfect.curve[10] == 0  # every error is gone with the first tenth
    constant = sparsify(np.ones(1000), error)
    assert constant.aurg == pytest.approx(0) and constant.ause == pytest.approx(perfect.aurg)
    backwards = sparsify(-error, error)
    assert backwards.aurg < 0 and backwards.curve[90] == pytest.approx(1)
    # The area above the oracle, 0.1 - (0.1 - f) / (1 - f) until f = 0.1 and 0.1 after it, in closed form.
    expected = 0.1 * 0.99 - (0.1 + 0.9 * np.log(0.9))
    assert perfect.aurg == pytest.approx(expected, abs=1e-4)


def test_the_order_of_voxels_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    score, error = rng.integers(0, 9, 500) / 9, (rng.random(500) < 0.2).astype(float)
    order = rng.permutation(500)
    assert remaining_error(score, error) == pytest.approx(remaining_error(score[order], error[order]))
    assert len(remaining_error(score, error)) == len(SHARES)


def test_no_voxel_has_no_curve() -> None:
    assert sparsify(np.zeros(0), np.zeros(0)) is None and spearman(np.zeros(0), np.zeros(0)) is None
