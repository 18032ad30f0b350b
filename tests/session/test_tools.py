"""Correction tools against brute force and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.distance import cdist

from napari_pgrd.engine.errors import InputError
from napari_pgrd.session.change import Scope
from napari_pgrd.session.tools import assign, fill_holes, grow, keep_largest, shrink, smooth, swap
from tests.session.shapes import SPACINGS, assert_is_an_edit, centres, dice, maps

QUICK = settings(max_examples=25, deadline=None)
SCOPES = st.one_of(st.just(Scope()), st.sampled_from([Scope(0), Scope(1), Scope(2)]))
TOOLS = {
    "smooth": lambda labels, spacing, scope: smooth(labels, 1, 1.5, spacing, scope),
    "fill": lambda labels, spacing, scope: fill_holes(labels, 1, scope),
    "largest": lambda labels, spacing, scope: keep_largest(labels, 1, scope),
    "grow": lambda labels, spacing, scope: grow(labels, 1, 3.5, spacing, scope),
}


def reached(labels, mm, spacing):
    """Brute force: voxels whose centre lies within ``mm`` of a voxel of label 1."""
    steps = np.ones(3) if spacing is None else np.array(spacing)
    voxels = np.argwhere(np.ones(labels.shape)) * steps
    near = cdist(voxels, np.argwhere(labels == 1) * steps).min(1) <= mm + 1e-5
    return near.reshape(labels.shape)


@pytest.mark.parametrize("name", TOOLS)
@QUICK
@given(labels=maps(), spacing=SPACINGS, scope=SCOPES)
def test_neighbours_never_change(name, labels, spacing, scope):
    assert_is_an_edit(labels, 1, TOOLS[name](labels, spacing, scope))


@pytest.mark.parametrize("name", TOOLS)
@QUICK
@given(labels=maps(), axis=st.integers(0, 2), data=st.data())
def test_one_slice_is_edited_as_among_all_slices_and_no_other_changes(name, labels, axis, data):
    there = np.flatnonzero((labels == 1).any(axis=tuple({0, 1, 2} - {axis})))
    index = data.draw(st.sampled_from(there.tolist()))
    one = TOOLS[name](labels, None, Scope(axis, index)).applied_to(labels)
    every = TOOLS[name](labels, None, Scope(axis)).applied_to(labels)
    np.testing.assert_array_equal(one.take(index, axis), every.take(index, axis))
    np.testing.assert_array_equal(np.delete(one, index, axis), np.delete(labels, index, axis))


@pytest.mark.parametrize("name", ["fill", "largest"])
@QUICK
@given(labels=maps(), scope=SCOPES)
def test_once_is_enough(name, labels, scope):
    after = TOOLS[name](labels, None, scope).applied_to(labels)
    assert len(TOOLS[name](after, None, scope).indices) == 0


@pytest.mark.parametrize("name", TOOLS)
@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 4, 5), (3, 1, 1), (1, 1, 1)])
def test_a_label_that_fills_everything_stays(name, shape):
    assert len(TOOLS[name](np.ones(shape, np.uint8), None, Scope()).indices) == 0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_map_of_one_slice_is_flat(axis):
    labels = np.expand_dims(np.pad(np.zeros((3, 3), np.uint8), 2, constant_values=1), axis)
    assert len(fill_holes(labels, 1).indices) == 9
    spacing = np.insert([1.0, 1.0], axis, 0.2).tolist()  # a thickness that nothing can be grown by
    with pytest.raises(InputError, match="give 1 mm"):
        grow(labels, 1, 0.5, spacing)


# Grow and shrink


@QUICK
@given(maps(labels=2), SPACINGS, st.sampled_from([3.0, 3.3, 4.5]))
def test_growing_reaches_exactly_as_far_as_said(labels, spacing, mm):
    after = grow(labels, 1, mm, spacing).applied_to(labels)
    np.testing.assert_array_equal(after == 1, reached(labels, mm, spacing))


@QUICK
@given(maps(), SPACINGS)
def test_growing_over_neighbours_takes_them_when_asked(labels, spacing):
    after = grow(labels, 1, 3.5, spacing, preserve=False).applied_to(labels)
    np.testing.assert_array_equal(after == 1, reached(labels, 3.5, spacing))


@QUICK
@given(maps(), SPACINGS)
def test_shrinking_takes_exactly_what_lies_near_the_outside(labels, spacing):
    outside = (labels != 1).astype(np.uint8)
    assume(outside.any())
    wanted = (labels == 1) & ~reached(outside, 3.0, spacing)
    if wanted.any():
        after = shrink(labels, 1, 3.0, spacing).applied_to(labels)
        np.testing.assert_array_equal(after == 1, wanted)
        np.testing.assert_array_equal(after == 2, labels == 2)
    else:
        with pytest.raises(InputError, match="nothing of label 1"):
            shrink(labels, 1, 3.0, spacing)


@QUICK
@given(maps(labels=2), SPACINGS, st.sampled_from([3.0, 4.5]))
def test_growing_then_shrinking_keeps_the_label(labels, spacing, mm):
    grown = grow(labels, 1, mm, spacing).applied_to(labels)
    after = shrink(grown, 1, mm, spacing).applied_to(grown)
    assert (after[labels == 1] == 1).all()


def test_rounding_of_the_spacing_leaves_no_layer_out():
    labels = np.zeros((1, 1, 9), np.uint8)
    labels[0, 0, 4] = 1
    after = grow(labels, 1, 0.3, (0.1, 0.1, 0.1)).applied_to(labels)  # 3 * 0.1 > 0.3 in floating point
    assert after[0, 0].tolist() == [0, 1, 1, 1, 1, 1, 1, 1, 0]
    assert shrink(after, 1, 0.3, (0.1, 0.1, 0.1)).applied_to(after).nonzero()[2].tolist() == [4]


def test_nothing_grows_behind_a_neighbour():
    labels = np.zeros((3, 5, 12), np.uint8)
    labels[..., :3], labels[..., 3] = 1, 2
    assert len(grow(labels, 1, 5).indices) == 0
    labels[1, 2, 3] = 0  # a hole in the wall
    assert len(grow(labels, 1, 1).indices) == 1


def test_the_border_of_the_image_does_not_recede():
    labels = np.zeros((4, 6, 10), np.uint8)
    labels[..., :7] = 1
    after = shrink(labels, 1, 2).applied_to(labels)
    np.testing.assert_array_equal(after[..., :5], 1)
    np.testing.assert_array_equal(after[..., 5:], 0)
    full = np.ones((2, 3, 4), np.uint8)
    assert len(shrink(full, 1, 2).indices) == 0


def test_lengths_that_do_nothing_are_refused_with_the_least_that_does_something():
    labels = np.ones((3, 4, 5), np.uint8)
    for tool in (grow, shrink):
        with pytest.raises(InputError, match="0.4 mm is less than a voxel and changes nothing; give 0.5 mm"):
            tool(labels, 1, 0.4, (3, 0.5, 0.5))
        with pytest.raises(InputError, match="give 2 mm"):
            tool(labels, 1, 1.5, (1, 2, 2), Scope(0))
        with pytest.raises(InputError, match="0.4 voxels"):
            tool(labels, 1, 0.4)
        for mm in (0, -1, float("nan"), float("inf")):
            with pytest.raises(InputError, match="above zero"):
                tool(labels, 1, mm)


# Smooth


@QUICK
@given(maps(), SPACINGS, SCOPES, st.sampled_from([0.5, 1.0, 4.0]))
def test_smoothing_keeps_the_number_of_voxels(labels, spacing, scope, mm):
    after = smooth(labels, 1, mm, spacing, scope).applied_to(labels)
    axes = None if scope.axis is None else tuple({0, 1, 2} - {scope.axis})
    np.testing.assert_array_equal((after == 1).sum(axes), (labels == 1).sum(axes))


def rough_ball(spacing, seed=0):
    shape = tuple(int(26 / s) for s in spacing)
    distance = centres(shape, spacing)
    noise = np.random.default_rng(seed).normal(0, 1.2, shape)
    rough = distance + noise < 9
    return rough.astype(np.uint8), distance <= np.sort(distance, axis=None)[np.count_nonzero(rough) - 1]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.5, 0.8, 1.0)])
def test_a_rough_ball_becomes_the_ball(spacing):
    labels, ball = rough_ball(spacing)
    after = smooth(labels, 1, 2.0, spacing).applied_to(labels) == 1
    assert dice(labels == 1, ball) < 0.92
    assert dice(after, ball) > 0.96
    assert ndimage.label(after)[1] == 1


def test_a_spike_goes_and_a_straight_border_stays():
    labels = np.zeros((9, 12, 12), np.uint8)
    labels[:, :6] = 1
    assert len(smooth(labels, 1, 2.0).indices) == 0, "a plane is smooth, at the border of the image too"
    labels[4, 6:10, 6] = 1
    after = smooth(labels, 1, 2.0).applied_to(labels)
    assert not after[4, 8:10, 6].any()


def test_a_shared_border_opens_no_gap():
    labels = np.zeros((8, 20, 20), np.uint8)
    labels[:, 2:10, 2:18], labels[:, 10:18, 2:18] = 1, 2
    labels[:, 9, 2:18:2], labels[:, 10, 3:18:2] = 2, 1  # teeth
    after = smooth(labels, 1, 2.5).applied_to(labels)
    assert (after[:, 7:12, 6:14] > 0).all()
    assert not after[:, 2, 2].any(), "the outer corners are rounded"


def test_a_single_voxel_stays():
    labels = np.zeros((5, 5, 5), np.uint8)
    labels[2, 2, 2] = 1
    for change in (smooth(labels, 1, 1.0), fill_holes(labels, 1), keep_largest(labels, 1)):
        assert len(change.indices) == 0


# Fill and keep


@QUICK
@given(maps(), SCOPES)
def test_what_is_filled_cannot_reach_the_border(labels, scope):
    after = fill_holes(labels, 1, scope).applied_to(labels)
    structure = ndimage.generate_binary_structure(3, 1)
    sides = [a for a in range(3) if a != scope.axis]
    if scope.axis is not None:
        structure.swapaxes(0, scope.axis)[[0, 2]] = False
    pieces, _ = ndimage.label(labels != 1, structure)
    outer = {0}
    for a in sides:
        outer |= set(pieces.take([0, -1], a).ravel().tolist())
    holes = ~np.isin(pieces, list(outer))
    np.testing.assert_array_equal(after == 1, (labels == 1) | (holes & (labels == 0)))


def test_a_tunnel_is_a_hole_on_slices_only_and_a_lesion_inside_stays():
    labels = np.zeros((5, 7, 7), np.uint8)
    labels[:, 1:6, 1:6] = 1
    labels[:, 3, 3] = 0
    labels[2, 3, 3] = 2
    assert len(fill_holes(labels, 1).indices) == 0
    after = fill_holes(labels, 1, Scope(0)).applied_to(labels)
    assert after[:, 3, 3].tolist() == [1, 1, 2, 1, 1]
    assert (fill_holes(labels, 1, Scope(0), preserve=False).applied_to(labels)[:, 3, 3] == 1).all()


@QUICK
@given(maps(), SCOPES)
def test_one_piece_is_left_and_none_was_larger(labels, scope):
    after = keep_largest(labels, 1, scope).applied_to(labels)
    assert not (after[labels != 1] == 1).any()
    planes = [(labels, after)] if scope.axis is None else zip(
        np.moveaxis(labels, scope.axis, 0), np.moveaxis(after, scope.axis, 0), strict=True
    )  # fmt: skip
    for before, kept in planes:
        pieces, count = ndimage.label(before == 1, np.ones((3,) * before.ndim))
        assert ndimage.label(kept == 1, np.ones((3,) * before.ndim))[1] == min(count, 1)
        assert np.count_nonzero(kept == 1) == max(np.bincount(pieces[pieces > 0], minlength=1))


# Swap and assign


@QUICK
@given(maps(), st.integers(0, 2**32 - 1), st.sampled_from([(1, 2), (1, 0), (0, 1), (2, 1)]))
def test_labels_change_places_inside_the_region_only(labels, seed, pair):
    region = np.random.default_rng(seed).random(labels.shape) < 0.6
    a, b = pair
    there = region & ((labels == a) | (labels == b))
    assume((region & (labels == a)).any())
    change = swap(labels, a, b, region)
    after = change.applied_to(labels)
    np.testing.assert_array_equal(change.indices, np.flatnonzero(there))
    np.testing.assert_array_equal(after[there], np.where(labels == a, b, a)[there])
    np.testing.assert_array_equal(swap(after, a, b, region).applied_to(after), labels)
    given_away = assign(labels, a, b, region).applied_to(labels)
    np.testing.assert_array_equal(given_away, np.where(region & (labels == a), b, labels))


def test_a_swap_of_nothing_is_refused():
    labels = np.zeros((2, 3, 4), np.uint8)
    labels[0, 0, 0] = 1
    region = np.ones(labels.shape, bool)
    region[0, 0, 0] = False
    with pytest.raises(InputError, match="no voxel of label 1 and 2"):
        swap(labels, 1, 2, region)
    with pytest.raises(InputError, match="no voxel of label 1;"):
        assign(labels, 1, 0, region)
    with pytest.raises(InputError, match="given twice"):
        swap(labels, 1, 1, region)
    with pytest.raises(InputError, match="same shape"):
        swap(labels, 1, 2, region[0])
    with pytest.raises(InputError, match="Label 300"):
        assign(labels, 1, 300, ~region)
    with pytest.raises(InputError, match="Label -1"):
        assign(labels, 0, -1, region)
