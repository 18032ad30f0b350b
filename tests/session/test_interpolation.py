"""Interpolation between slices against shapes whose sections are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.distance import cdist

from napari_pgrd.engine.errors import InputError
from napari_pgrd.session.interpolation import interpolate, signed_distance
from tests.session.shapes import assert_is_an_edit, centres, dice, maps

QUICK = settings(max_examples=25, deadline=None)


def disc(shape, spacing, radius, at=(0.0, 0.0)):
    """Pixels within ``radius`` mm of a point ``at`` mm from the middle."""
    axes = [(np.arange(n) - (n - 1) / 2) * s - c for n, s, c in zip(shape, spacing, at, strict=True)]
    return np.hypot(*np.meshgrid(*axes, indexing="ij")) <= radius


def stack(count, shapes, axis=0):
    """A map that holds nothing but the given slices."""
    shape = next(iter(shapes.values())).shape
    labels = np.zeros((count, *shape), np.uint8)
    for index, plane in shapes.items():
        labels[index] = plane
    return np.moveaxis(labels, 0, axis)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 1.5)])
def test_two_circles_become_a_cone(axis, spacing):
    shape = tuple(int(52 / s) for s in spacing)
    labels = stack(12, {1: disc(shape, spacing, 8), 9: disc(shape, spacing, 20)}, axis)
    steps = np.insert(spacing, axis, 4.0).tolist()
    change = interpolate(labels, 1, axis, [9, 1], steps)
    assert_is_an_edit(labels, 1, change)
    after = np.moveaxis(change.applied_to(labels), axis, 0)
    for i in range(2, 9):
        radius = 8 + 12 * (i - 1) / 8
        assert dice(after[i] == 1, disc(shape, spacing, radius)) > 0.97
        measured = np.sqrt((after[i] == 1).sum() * np.prod(spacing) / np.pi)
        assert measured == pytest.approx(radius, abs=0.3)
    assert not after[[0, 10, 11]].any()


@pytest.mark.parametrize("shift", [4, 8, 24])  # overlapping, touching at 8, apart
def test_a_square_moves_on_a_straight_line(shift):
    first, last = np.zeros((2, 16, 44), bool)
    first[4:12, 4:12] = True
    last[4:12, 4 + shift : 12 + shift] = True
    after = interpolate(labels := stack(5, {0: first, 4: last}), 1, 0, [0, 4]).applied_to(labels)
    for i in range(5):
        wanted = np.roll(first, shift * i // 4, axis=1)
        np.testing.assert_array_equal(after[i] == 1, wanted)


def test_one_piece_becomes_two_without_vanishing():
    spacing, shape = (1.0, 1.0), (30, 70)
    two = disc(shape, spacing, 6, (0, -22)) | disc(shape, spacing, 6, (0, 22))
    labels = stack(11, {0: disc(shape, spacing, 6), 10: two})
    after = interpolate(labels, 1, 0, [0, 10]).applied_to(labels) == 1
    for i in range(1, 10):
        way = 22 * i / 10
        wanted = disc(shape, spacing, 6, (0, -way)) | disc(shape, spacing, 6, (0, way))
        assert dice(after[i], wanted) > 0.95
    assert [ndimage.label(plane)[1] for plane in after[[1, 9]]] == [1, 2]


def test_a_ring_becomes_a_disc_and_nested_pieces_stay_apart():
    shape = (44, 44)
    ring = disc(shape, (1, 1), 18) & ~disc(shape, (1, 1), 17)
    core = disc(shape, (1, 1), 3)
    after = interpolate(labels := stack(7, {0: ring, 6: core}), 1, 0, [0, 6]).applied_to(labels)
    assert (after.sum((1, 2)) >= min(ring.sum(), core.sum())).all()
    target = ring | core
    after = interpolate(labels := stack(4, {0: target, 3: target}), 1, 0, [0, 3]).applied_to(labels)
    assert all((plane == target).all() for plane in after)


def test_several_key_slices_are_met_and_only_slices_between_them_change():
    shape = (30, 30)
    labels = stack(12, {2: disc(shape, (1, 1), 4), 5: disc(shape, (1, 1), 10), 9: disc(shape, (1, 1), 6)})
    labels[[0, 3, 7, 11], 0, :5] = 1  # strokes that interpolation replaces between keys, and leaves elsewhere
    after = interpolate(labels, 1, 0, [2, 5, 9]).applied_to(labels)
    np.testing.assert_array_equal(after[[0, 1, 2, 5, 9, 10, 11]], labels[[0, 1, 2, 5, 9, 10, 11]])
    radii = np.sqrt(after.sum((1, 2))[2:10] / np.pi)
    np.testing.assert_allclose(radii, [4, 6, 8, 10, 9, 8, 7, 6], atol=0.3)
    assert not after[[3, 7], 0].any()


def test_a_small_shape_beside_a_large_one_grows_to_it_only():
    first, last = np.zeros((2, 48, 60), bool)
    first[4:44, 6:11] = True  # columns 6 to 10
    last[4:44, 4:45] = True  # columns 4 to 44
    after = interpolate(labels := stack(3, {0: first, 2: last}), 1, 0, [0, 2]).applied_to(labels)
    assert np.flatnonzero(after[1].any(0)).tolist() == list(range(5, 28))


def test_half_a_disc_at_the_border_stays_at_the_border():
    whole = [disc((61, 61), (1, 1), r) for r in (8, 16, 12)]
    first, last, wanted = (plane[30:] for plane in whole)
    after = interpolate(labels := stack(3, {0: first, 2: last}), 1, 0, [0, 2]).applied_to(labels)
    assert dice(after[1] == 1, wanted) > 0.95
    np.testing.assert_allclose(after[1, 0].sum(), 25, atol=2)


def test_a_full_slice_shrinks_from_the_border():
    after = interpolate(
        labels := stack(5, {0: np.ones((21, 21), bool), 4: disc((21, 21), (1, 1), 2)}), 1, 0, [0, 4]
    ).applied_to(labels)
    areas = after.sum((1, 2)).astype(int)
    assert (np.diff(areas) < 0).all()
    for plane in after:
        for turned in (plane.T, plane[::-1], plane[:, ::-1]):
            np.testing.assert_array_equal(turned, plane)


def test_neighbours_stay_unless_asked():
    labels = stack(5, {0: disc((20, 20), (1, 1), 6), 4: disc((20, 20), (1, 1), 6)})
    labels[2, 8:12, 8:12] = 3
    change = interpolate(labels, 1, 0, [0, 4])
    assert_is_an_edit(labels, 1, change)
    np.testing.assert_array_equal(change.applied_to(labels) == 3, labels == 3)
    over = interpolate(labels, 1, 0, [0, 4], preserve=False).applied_to(labels)
    np.testing.assert_array_equal(over[2], labels[0])


@QUICK
@given(maps(), st.integers(0, 2), st.integers(2, 4))
def test_equal_slices_stay_equal_and_nothing_vanishes(labels, axis, gap):
    plane = labels.max(axis) == 1
    if not plane.any():
        plane[0, 0] = True
    stacked = stack(gap + 1, {0: plane, gap: plane}, axis)
    after = interpolate(stacked, 1, axis, [0, gap]).applied_to(stacked)
    for i in range(gap + 1):
        np.testing.assert_array_equal(after.take(i, axis), plane)
    turned = stack(gap + 1, {0: plane, gap: plane[::-1, ::-1]}, axis)
    after = interpolate(turned, 1, axis, [0, gap]).applied_to(turned)
    assert after.any(axis=tuple({0, 1, 2} - {axis})).all()


@QUICK
@given(maps(labels=2), st.sampled_from([(1.0, 1.0), (0.7, 3.0)]))
def test_signed_distance_is_that_to_the_outline_between_pixels(labels, spacing):
    mask, steps = labels[0] == 1, np.array(spacing)
    if mask.all() or not mask.any():
        return
    fine = 8  # brute force: points on the sides of pixels, an eighth of a pixel apart
    points = []
    for axis in range(2):
        sides = np.argwhere(np.diff(mask, axis=axis)) + 0.5 * np.eye(2)[axis]
        along = np.linspace(-0.5, 0.5, fine + 1)[:, None] * np.eye(2)[1 - axis]
        points.append((sides[:, None] + along).reshape(-1, 2))
    voxels = np.argwhere(np.ones(mask.shape))
    inside = np.clip(np.concatenate(points), 0, np.array(mask.shape) - 1)
    wanted = cdist(voxels * steps, inside * steps).min(1).reshape(mask.shape)
    np.testing.assert_allclose(signed_distance(mask, steps), np.where(mask, wanted, -wanted), atol=1e-9)


def test_what_cannot_be_interpolated_is_refused():
    labels = stack(6, {1: np.ones((4, 4), bool), 4: np.ones((4, 4), bool)})
    with pytest.raises(InputError, match="two or more edited slices"):
        interpolate(labels, 1, 0, [1, 1])
    with pytest.raises(InputError, match="No slice lies between slices 1, 2"):
        interpolate(labels, 1, 0, [2, 1])
    with pytest.raises(InputError, match="Slice 3 does not show label 1"):
        interpolate(labels, 1, 0, [1, 3])
    with pytest.raises(InputError, match="no slice 6"):
        interpolate(labels, 1, 0, [1, 6])
    with pytest.raises(InputError, match="Axis 3"):
        interpolate(labels, 1, 3, [1, 4])


def test_distance_from_the_middle_is_in_mm():
    assert centres((3, 5, 1), (2.0, 1.0, 4.0)).max() == pytest.approx(np.sqrt(4 + 4))
