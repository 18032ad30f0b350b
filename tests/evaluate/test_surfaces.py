"""Surface distances against scipy's distance transforms, and masks whose distance is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_erosion, distance_transform_edt

from napari_pgrd.evaluate.surfaces import surfaces


def by_scipy(a: np.ndarray, b: np.ndarray, spacing: tuple[float, ...]) -> tuple[float, float]:
    """HD95 and surface Dice of two masks that are not empty."""
    edges = [m & ~binary_erosion(m) for m in (a, b)]
    to = [distance_transform_edt(~e, spacing) for e in edges]
    there, back = to[1][edges[0]], to[0][edges[1]]
    near = (there <= 1).sum() + (back <= 1).sum()
    return max(np.percentile(there, 95), np.percentile(back, 95)), near / (len(there) + len(back))


@settings(max_examples=40, deadline=None)
@given(arrays(np.uint8, (2, 5, 4, 3), elements=st.integers(0, 1)), st.tuples(*[st.sampled_from([0.5, 1.0, 2.5])] * 3))
def test_distances_are_scipys(masks: np.ndarray, spacing: tuple[float, float, float]) -> None:
    found = surfaces(masks[0], masks[1], 2, spacing)
    if masks[0].any() and masks[1].any():
        assert found == pytest.approx(by_scipy(*masks.astype(bool), spacing), rel=1e-5)


def test_a_shifted_box_is_as_far_as_it_was_shifted() -> None:
    a, b = np.zeros((12, 12, 12), int), np.zeros((12, 12, 12), int)
    a[2:6, 2:6, 2:6], b[5:9, 2:6, 2:6] = 2, 2
    both = surfaces(a, b, 3, (2.0, 1, 1))
    assert both.hd95 == pytest.approx((0 + 6) / 2)  # class 1 is empty in both: distance 0
    assert surfaces(a, a, 3, (2.0, 1, 1)) == (0, 1)


def test_an_empty_mask_costs_the_diagonal() -> None:
    empty, full = np.zeros((3, 4, 12), int), np.ones((3, 4, 12), int)
    assert surfaces(empty, empty, 2, (1, 1, 1)) == (0, 1)
    assert surfaces(empty, full, 2, (1, 1, 1)) == surfaces(full, empty, 2, (1, 1, 1)) == (13, 0)
    assert surfaces(empty, full, 2, (2, 2, 2)).hd95 == 26


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_slice_is_compared_in_its_plane(axis: int) -> None:
    """In three dimensions every voxel of a single slice would be surface, and inner voxels would hide the distance."""
    a, b = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    a[2:12, 2:12], b[2:18, 2:12] = True, True
    spacing = (1.0, 1.0)
    x, y = (np.expand_dims(m, axis).astype(int) for m in (a, b))
    assert surfaces(x, y, 2, np.insert(spacing, axis, 5.0)) == pytest.approx(by_scipy(a, b, spacing))


def test_a_single_row_is_no_error() -> None:
    row = np.zeros((1, 1, 6), int)
    row[..., 1:3] = 1
    assert surfaces(row, row, 2, (1, 1, 1)) == (0, 1)
