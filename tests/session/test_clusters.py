"""Distances and groups of masks, against brute force and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from napari_pgrd.session import clusters
from napari_pgrd.session.clusters import differing, groups, iou_distance, medoid, silhouette


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(clusters, "CHUNK", 17)  # so that every sum runs over several


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_distances_are_the_brute_force_ones(classes):
    values = np.random.default_rng(classes).integers(0, classes, (6, 100)).astype(np.uint8)
    differ, iou = differing(values), iou_distance(values, shared=7)
    for i, a in enumerate(values):
        for j, b in enumerate(values):
            assert differ[i, j] == np.count_nonzero(a != b)
            both, either = np.count_nonzero((a == b) & (a > 0)) + 7, np.count_nonzero((a > 0) | (b > 0)) + 7
            assert iou[i, j] == pytest.approx(1 - both / either)


def test_two_empty_masks_are_the_same():
    np.testing.assert_array_equal(iou_distance(np.zeros((2, 5), np.uint8)), np.zeros((2, 2)))


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_silhouette_is_that_of_scikit_learn(count):
    rng = np.random.default_rng(count)
    for trial in range(10):
        distance = iou_distance(rng.integers(0, 3, (9, 40)).astype(np.uint8))
        group = np.concatenate([np.arange(count), rng.integers(0, count, 9 - count)])
        assert silhouette(distance, group) == pytest.approx(silhouette_score(distance, group, metric="precomputed"))
        if trial == 0:
            alone = np.array([0, *[1] * 8])  # one sample alone in its group
            assert silhouette(distance, alone) == pytest.approx(silhouette_score(distance, alone, metric="precomputed"))


def test_samples_that_coincide_do_not_divide_by_zero():
    assert silhouette(np.zeros((4, 4)), np.array([0, 0, 1, 1])) == 0


def test_an_outlier_is_not_split_off_before_two_groups_are():
    points = np.array([0.0] * 4 + [2.0] * 4 + [4.5])
    group = groups((points[:, None] - points) ** 2, 2)
    assert set(group[:4]) != set(group[4:8])


def test_groups_and_their_medoids():
    points = np.array([0.0, 0.1, 0.3, 5.0, 5.1, 5.5, 5.6])
    distance = (points[:, None] - points) ** 2
    group = groups(distance, 2)
    assert len(set(group[:3])) == len(set(group[3:])) == 1 and group[0] != group[3]
    assert medoid(distance, np.arange(3)) == 1
    assert medoid(distance, np.array([3, 4, 5])) == 4
    assert set(groups(distance, 1)) == {0}
    np.testing.assert_array_equal(groups(np.zeros((1, 1)), 3), [0])
    assert set(groups(np.zeros((4, 4)), 3)) == {0}  # nothing to part
