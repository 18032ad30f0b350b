"""Outlines as polygons and back, against an independent point-in-polygon test and shapes that are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.path import Path

from napari_pgrd.engine.errors import InputError
from napari_pgrd.session.contours import Polygon, outline, polygons_to_slice, redraw, slice_to_polygons
from tests.session.shapes import assert_is_an_edit, dice, maps

QUICK = settings(max_examples=25, deadline=None)
MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9))
GRIDS = st.sampled_from([None, (1.0, 1.0), (0.4, 3.0), (2.0, 0.7)])


def disc(shape, radius, centre=None):
    rows, columns = np.indices(shape)
    r, c = centre or ((shape[0] - 1) / 2, (shape[1] - 1) / 2)
    return np.hypot(rows - r, columns - c) <= radius


@QUICK
@given(MASKS, GRIDS)
def test_without_tolerance_every_mask_comes_back(mask, spacing):
    polygons = slice_to_polygons(mask, spacing, tolerance=0)
    np.testing.assert_array_equal(polygons_to_slice(polygons, mask.shape), mask)


@QUICK
@given(MASKS, GRIDS, st.sampled_from([None, 0.5, 3.0, 50.0]))
def test_a_simplified_mask_comes_back_as_far_as_promised(mask, spacing, tolerance):
    polygons = slice_to_polygons(mask, spacing, tolerance)
    back = polygons_to_slice(polygons, mask.shape)
    assert not mask.any() or dice(back, mask) >= 0.95


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 2.0)])
def test_a_round_shape_has_few_vertices_near_its_outline(spacing):
    rows, columns = np.indices((int(80 / spacing[0]), int(80 / spacing[1])))
    mask = np.hypot((rows + 0.5) * spacing[0] - 40, (columns + 0.5) * spacing[1] - 40) <= 30
    (polygon,) = slice_to_polygons(mask, spacing, tolerance=1.0)
    assert 8 <= len(polygon.exterior) <= 30
    assert not polygon.holes
    distance = np.linalg.norm((polygon.exterior + 0.5) * spacing - 40, axis=1)
    np.testing.assert_allclose(distance, 30, atol=max(spacing) / 2 + 0.1)
    assert dice(polygons_to_slice([polygon], mask.shape), mask) > 0.97


def test_a_rectangle_has_its_corners_only():
    mask = np.zeros((20, 30), bool)
    mask[4:15, 3:21] = True
    (polygon,) = slice_to_polygons(mask)
    wanted = np.array([(3.5, 3), (3.5, 20), (14.5, 3), (14.5, 20)])
    assert len(polygon.exterior) <= 8
    for corner in wanted:
        assert np.linalg.norm(polygon.exterior - corner, axis=1).min() <= 0.75
    np.testing.assert_array_equal(polygons_to_slice([polygon], mask.shape), mask)


def test_holes_and_islands_keep_their_places():
    shape = (41, 41)
    mask = (disc(shape, 18) & ~disc(shape, 12)) | disc(shape, 5)
    mask[0, 0] = True
    polygons = slice_to_polygons(mask)
    assert [len(p.holes) for p in polygons] == [0, 1, 0]
    assert dice(polygons_to_slice(polygons, shape), mask) >= 0.95
    ring = polygons[1]
    without = polygons_to_slice([Polygon(ring.exterior)], shape)
    assert without[20, 20]
    assert not polygons_to_slice([ring], shape)[20, 20]


def test_a_shape_at_the_border_and_a_full_slice_are_closed():
    full = np.ones((7, 9), bool)
    (polygon,) = slice_to_polygons(full)
    assert polygon.exterior.min(0).tolist() == [-0.5, -0.5]
    assert polygon.exterior.max(0).tolist() == [6.5, 8.5]
    np.testing.assert_array_equal(polygons_to_slice([polygon], full.shape), full)
    assert slice_to_polygons(np.zeros((7, 9), bool)) == []


@QUICK
@given(st.integers(0, 2**32 - 1), st.integers(3, 12))
def test_a_pixel_is_inside_if_its_centre_is(seed, count):
    rng = np.random.default_rng(seed)
    angles, radii = np.sort(rng.random(count)) * 2 * np.pi, rng.uniform(2, 9, count)  # star-shaped, partly outside
    ring = np.array([6.3, 5.1]) + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    wanted = Path([*ring, ring[0]]).contains_points(np.argwhere(np.ones((12, 11))))
    np.testing.assert_array_equal(polygons_to_slice([Polygon(ring)], (12, 11)).ravel(), wanted)


@QUICK
@given(maps(), st.integers(0, 2), st.data())
def test_an_untouched_outline_changes_nothing(labels, axis, data):
    index = data.draw(st.integers(0, labels.shape[axis] - 1))
    polygons = outline(labels, 1, axis, index, (3.0, 0.7, 1.1), tolerance=2.0)
    assert len(redraw(labels, 1, axis, index, polygons, polygons).indices) == 0
    exact = outline(labels, 1, axis, index, tolerance=0)
    assert len(redraw(labels, 1, axis, index, exact).indices) == 0


@QUICK
@given(maps(), st.integers(0, 2), st.data())
def test_a_drawn_outline_changes_its_slice_and_no_neighbour(labels, axis, data):
    index = data.draw(st.integers(0, labels.shape[axis] - 1))
    shape = tuple(np.delete(labels.shape, axis).tolist())
    ring = data.draw(hnp.arrays(float, (4, 2), elements=st.floats(-1, 6)))
    change = redraw(labels, 1, axis, index, [Polygon(ring)])
    assert_is_an_edit(labels, 1, change)
    after = change.applied_to(labels)
    np.testing.assert_array_equal(np.delete(after, index, axis), np.delete(labels, index, axis))
    drawn = polygons_to_slice([Polygon(ring)], shape)
    np.testing.assert_array_equal(after.take(index, axis) == 1, drawn & (labels.take(index, axis) != 2))
    over = redraw(labels, 1, axis, index, [Polygon(ring)], preserve=False).applied_to(labels)
    np.testing.assert_array_equal(over.take(index, axis) == 1, drawn)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_dragged_vertex_changes_pixels_beside_it_only(axis):
    labels = np.moveaxis(np.repeat(disc((40, 44), 14)[None].astype(np.uint8), 3, 0), 0, axis)
    before = outline(labels, 1, axis, 1)
    ring = before[0].exterior.copy()
    right = int(ring[:, 1].argmax())
    ring[right, 1] += 6
    change = redraw(labels, 1, axis, 1, [Polygon(ring)], before)
    assert_is_an_edit(labels, 1, change)
    places = np.array(np.unravel_index(change.indices, labels.shape))
    assert len(change.indices) > 5
    assert (places[axis] == 1).all()
    assert (np.delete(places, axis, 0)[1] > 21.5).all(), "the other side stays as it was"
    assert (change.values == 1).all()


def test_no_polygons_clear_the_slice():
    labels = np.ones((3, 4, 5), np.uint8)
    after = redraw(labels, 1, 1, 2, []).applied_to(labels)
    assert not after[:, 2].any()
    assert after.sum() == 3 * 3 * 5


def test_the_map_s_spacing_is_that_of_the_slice():
    labels = np.moveaxis(disc((60, 60), 25)[None].astype(np.uint8), 0, 1)
    (coarse,) = outline(labels, 1, 1, 0, (2.0, 1.0, 2.0), tolerance=2.0)
    (same,) = outline(labels, 1, 1, 0, (1.0, 9.0, 1.0), tolerance=1.0)
    np.testing.assert_allclose(coarse.exterior, same.exterior)


def test_what_is_no_outline_is_refused():
    for ring in (np.zeros((2, 2)), np.zeros((4, 3)), np.array([[0, 0], [1, 1], [np.nan, 2]])):
        with pytest.raises(InputError, match="no area"):
            Polygon(ring)
        with pytest.raises(InputError, match="no area"):
            Polygon(np.eye(3)[:, :2], (ring,))
    with pytest.raises(InputError, match="tolerance of -1"):
        slice_to_polygons(np.ones((3, 3)), tolerance=-1)
    with pytest.raises(InputError, match="no slice 9"):
        redraw(np.ones((3, 4, 5), np.uint8), 1, 0, 9, [])
