"""Changes, and what every edit refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_pgrd.engine.errors import InputError
from napari_pgrd.session.change import Scope, checked_steps, label_window, rewrite
from tests.session.shapes import assert_is_an_edit, maps


@settings(max_examples=25, deadline=None)
@given(maps(), st.booleans(), st.integers(0, 2**32 - 1))
def test_a_label_becomes_what_was_wished_but_for_its_neighbours(labels, preserve, seed):
    wanted = np.random.default_rng(seed).random(labels.shape) < 0.5
    window = Scope().window(labels.shape)
    change = rewrite(labels, 1, wanted, window, preserve=preserve)
    assert_is_an_edit(labels, 1, change, preserve)
    after = change.applied_to(labels)
    np.testing.assert_array_equal(after == 1, wanted & (labels != 2) if preserve else wanted)
    np.testing.assert_array_equal(after == 2, (labels == 2) & (preserve | ~wanted))
    assert len(rewrite(after, 1, wanted, window, preserve=preserve).indices) == 0


def test_indices_are_those_of_the_shape_whatever_the_memory_order():
    labels = np.zeros((3, 4, 5), np.uint8).transpose(2, 0, 1)  # a view, as display arrays are
    labels[1, 2, 3] = 1
    window = label_window(labels, 1)
    change = rewrite(labels, 1, np.zeros(labels[window].shape, bool), window, preserve=True)
    assert change.indices.tolist() == [np.ravel_multi_index((1, 2, 3), (5, 3, 4))]
    assert not change.applied_to(labels).any()
    assert labels.any(), "the map itself stays"


def test_the_window_leaves_room_in_mm_and_stops_at_the_border():
    labels = np.zeros((9, 30, 40), np.uint8)
    labels[1, 10, 20:23] = 4
    window = label_window(labels, 4, reach=3.0, steps=np.array([5.0, 1.0, 1.5]))
    assert window == (slice(0, 4), slice(6, 15), slice(17, 26))
    window = label_window(labels, 4, Scope(1, 10), reach=3.0)
    assert window[1] == slice(10, 11)


@pytest.mark.parametrize(
    ("labels", "label", "spacing"),
    [
        (np.ones((2, 3)), 1, None),
        (np.ones((2, 3, 4)), 1, None),
        (np.ones((2, 3, 4), np.uint8), 0, None),
        (np.ones((2, 3, 4), np.uint8), 256, None),
        (np.ones((2, 3, 4), np.uint8), -1, None),
        (np.ones((2, 3, 4), np.uint8), 1, (1.0, 1.0)),
        (np.ones((2, 3, 4), np.uint8), 1, (1.0, 0.0, 1.0)),
        (np.ones((2, 3, 4), np.uint8), 1, (1.0, float("nan"), 1.0)),
    ],
)
def test_what_cannot_be_edited_is_refused(labels, label, spacing):
    with pytest.raises(InputError, match="give|choose"):
        checked_steps(labels, label, spacing)


def test_scopes_that_do_not_exist_are_refused():
    with pytest.raises(InputError, match="Axis 3"):
        Scope(3)
    with pytest.raises(InputError, match="Give the axis"):
        Scope(None, 4)
    for index in (-1, 4):
        with pytest.raises(InputError, match="from 0 to 3"):
            Scope(2, index).window((2, 3, 4))


def test_an_absent_label_is_named_with_its_place():
    labels = np.zeros((3, 4, 5), np.uint8)
    labels[0, 0, 0] = 1
    with pytest.raises(InputError, match="Label 2 has no voxel in this image"):
        label_window(labels, 2)
    with pytest.raises(InputError, match="Label 1 has no voxel on slice 2"):
        label_window(labels, 1, Scope(0, 2))
