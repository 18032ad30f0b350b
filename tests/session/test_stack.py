"""The array of all samples against one that numpy stacks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import basic_indices

from napari_pgrd.session.stack import Stack

VALUES = np.array([0, 7, 3], np.uint8)
MASKS = [np.random.default_rng(i).integers(0, 3, (4, 3, 2)).astype(np.uint8) for i in range(5)]


def show(mask):
    """Another order of axes, one of them turned round."""
    return np.swapaxes(mask, 0, 2)[:, ::-1]


def stacks(lead=()):
    whole = np.stack([np.zeros((2, 3, 4), np.uint8), *(VALUES[show(m)] for m in MASKS)])
    whole = np.broadcast_to(whole.reshape(6, *[1] * len(lead), 2, 3, 4), (6, *lead, 2, 3, 4))
    return Stack(MASKS, show, VALUES, lead), whole


@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_it_is_what_numpy_makes_of_it(lead):
    ours, whole = stacks(lead)
    assert (ours.shape, ours.ndim, ours.size, len(ours), ours.dtype) == (
        whole.shape, whole.ndim, whole.size, 6, whole.dtype,
    )  # fmt: skip
    np.testing.assert_array_equal(np.asarray(ours), whole)
    assert np.asarray(ours, float).dtype == float


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_slices_are_numpys_slices(data):
    ours, whole = stacks(data.draw(st.sampled_from([(), (2,)])))
    key = data.draw(basic_indices(whole.shape))
    np.testing.assert_array_equal(ours[key], whole[key])


def test_points_are_numpys_points():
    ours, whole = stacks()
    points = tuple(np.random.default_rng(0).integers(0, n, 20) for n in whole.shape)
    np.testing.assert_array_equal(ours[points], whole[points])
    np.testing.assert_array_equal(ours[(3, *points[1:])], whole[(3, *points[1:])])
    np.testing.assert_array_equal(ours[(slice(None), *points[1:])], whole[(slice(None), *points[1:])])


def test_only_the_sample_that_is_asked_for_is_read():
    read = []

    def watched(mask):
        read.append(mask)
        return show(mask)

    ours = Stack(MASKS, watched, VALUES)
    read.clear()
    ours[2, 1]
    assert [m is MASKS[1] for m in read] == [True]
    with pytest.raises(IndexError):
        ours[6]
