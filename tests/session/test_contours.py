"""Outlines as polygons and back, against an independent point-in-polygon test and shapes that are known."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.path import Path

from napari_pgrd.engine.errors import InputError
from napari_pgrd.session.contours import Polygon, outline, polygons_to_slice, redraw, slice_to_polygons
from napari_pgrd.session.simplify import simple, simplified
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


def meet(a, b, c, d) -> bool:
    """Whether the segments a-b and c-d share a point, by solving for it; in whole numbers, so exactly."""
    a, b, c, d = (np.rint(2 * np.asarray(p)).astype(int).tolist() for p in (a, b, c, d))

    def side(p, q, r):
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    def between(p, q, r):
        return min(p[0], q[0]) <= r[0] <= max(p[0], q[0]) and min(p[1], q[1]) <= r[1] <= max(p[1], q[1])

    on = ((side(c, d, a), c, d, a), (side(c, d, b), c, d, b), (side(a, b, c), a, b, c), (side(a, b, d), a, b, d))
    if any(s == 0 and between(p, q, r) for s, p, q, r in on):
        return True
    return on[0][0] * on[1][0] < 0 and on[2][0] * on[3][0] < 0


def crossings(polygons) -> int:
    """Pairs of edges of one piece that meet anywhere but at a shared end."""
    count = 0
    for polygon in polygons:
        rings = (polygon.exterior, *polygon.holes)
        edges = [(r, i, ring[i], ring[(i + 1) % len(ring)]) for r, ring in enumerate(rings) for i in range(len(ring))]
        for (r, i, a, b), (s, j, c, d) in combinations(edges, 2):
            if r == s and (j - i) % len(rings[r]) in (1, len(rings[r]) - 1):
                shared, one, other = (b, a, d) if (i + 1) % len(rings[r]) == j else (a, b, c)
                count += bool(np.cross([*(one - shared), 0], [*(other - shared), 0])[2] == 0) and (
                    np.dot(one - shared, other - shared) > 0
                )
            else:
                count += meet(a, b, c, d)
    return count


LARGER = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14))


@st.composite
def threads(draw) -> np.ndarray:
    """A block with a thread, a pixel wide, that turns: Dice hardly feels what becomes of it."""
    mask = np.zeros((16, 16), bool)
    mask[:5, :5] = True
    at = np.array([4, 4])
    for step in draw(st.lists(st.tuples(st.integers(-1, 1), st.integers(-1, 1)), max_size=12)):
        for _ in range(draw(st.integers(1, 3))):
            at = np.clip(at + step, 0, 15)
            mask[tuple(at)] = True
    return mask


def mask_of(*rows: str) -> np.ndarray:
    return np.array([[c == "#" for c in row] for row in rows])


# Outlines of these cross themselves if nobody looks.
KNOT = mask_of("#####.....#", "#####....##", "#####...#.#", "#####..#..#", "#####.#....", ".....#.....")
LOOP = mask_of(*["####"] * 4, *["...#"] * 3, ".#.#", "#.##", "#..#", "#...", "#...")


@settings(max_examples=200, deadline=None)
@given(st.one_of(LARGER, threads()), GRIDS, st.sampled_from([None, 1.5, 3.0, 50.0]))
@example(KNOT, None, None)
@example(LOOP, None, 1.5)
def test_no_outline_crosses_or_touches_itself(mask, spacing, tolerance):
    assert crossings(slice_to_polygons(mask, spacing, tolerance)) == 0


def test_crossings_are_seen():
    square = np.array([(0, 0), (0, 4), (4, 4), (4, 0)], float)
    bow, spike = square[[0, 2, 1, 3]], np.array([(0, 0), (0, 4), (0, 2), (3, 1)], float)
    touching = np.array([(0, 0), (0, 4), (4, 4), (0, 2)], float)
    flat = np.array([(0, 0), (0, 4), (0, 2)], float)
    for ring, free in ((square, True), (bow, False), (spike, False), (touching, False), (flat, False)):
        assert (crossings([Polygon(ring)]) == 0) == free
        assert simple([ring]) is free
        assert simple([ring + 9, ring]) is free
    assert simple([square, square[::-1] / 2 + 1])
    for hole in (square / 2, square / 2 + 3, square + 2):
        assert not simple([square, hole])
        assert crossings([Polygon(square, (hole,))])
    many = 400
    angles = np.linspace(0, 2 * np.pi, many, endpoint=False)
    circle = np.round(2000 * np.stack([np.cos(angles), np.sin(angles)], axis=1))
    assert simple([circle])
    circle[[many - 3, many - 2]] = circle[[many - 2, many - 3]]  # beyond the first block of edges
    assert not simple([circle])


@settings(max_examples=200, deadline=None)
@given(st.one_of(LARGER, threads()), GRIDS, st.sampled_from([None, 1.5, 3.0, 50.0]))
@example(disc((70, 70), 30), (0.4, 3.0), 3.0)
def test_drawn_again_only_pixels_half_a_voxel_from_the_border_differ(mask, spacing, tolerance):
    back = polygons_to_slice(slice_to_polygons(mask, spacing, tolerance), mask.shape)
    around = np.pad(mask, 1)
    for r, c in np.argwhere(back != mask):
        beside = (around[r, c + 1], around[r + 2, c + 1], around[r + 1, c], around[r + 1, c + 2])
        assert (not mask[r, c]) in beside, "it has a neighbour on the other side"


@settings(max_examples=100, deadline=None)
@given(LARGER, GRIDS, st.sampled_from([0.3, 0.75, 2.0]))
def test_no_point_of_the_exact_outline_lies_further_than_the_tolerance(mask, spacing, tolerance):
    steps = np.array(spacing or (1.0, 1.0))
    for exact in (p.exterior for p in slice_to_polygons(mask, spacing, tolerance=0)):
        ring = simplified(exact, tolerance, steps)
        assert {tuple(p) for p in ring} <= {tuple(p) for p in exact}
        a, b, at = ring * steps, np.roll(ring, -1, axis=0) * steps, exact[:, None] * steps
        length = np.maximum(((b - a) ** 2).sum(-1), 1e-12)
        share = np.clip(((at - a) * (b - a)).sum(-1) / length, 0, 1)
        assert np.linalg.norm(at - a - share[..., None] * (b - a), axis=-1).min(1).max() <= tolerance + 1e-9


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


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_pieces_dragged_over_each_other_become_their_union(axis):
    flat = np.zeros((12, 14), np.uint8)
    flat[1:5, 1:5] = flat[7:11, 7:12] = 3
    flat[8:10, 9:11] = 0  # a hole in the second
    flat[5, 5] = 2
    labels = np.moveaxis(np.stack([flat, flat * 0, flat]), 0, axis)
    before = outline(labels, 3, axis, 0, tolerance=0)
    first, second = sorted(before, key=lambda polygon: polygon.exterior[:, 0].min())
    assert len(before) == 2 and len(second.holes) == 1
    for by, order in ((4, 1), (4, -1), (6, 1), (6, -1)):
        moved = Polygon(first.exterior + by)
        after = redraw(labels, 3, axis, 0, [moved, second][::order], before).applied_to(labels)
        expected = flat.copy()
        expected[1:5, 1:5] = 0
        expected[1 + by : 5 + by, 1 + by : 5 + by] = 3  # its hole is filled where the first lies over it
        expected[7:11, 7:12][flat[7:11, 7:12] == 3] = 3
        expected[5, 5] = 2  # another label keeps its voxel
        np.testing.assert_array_equal(np.take(after, 0, axis), expected)
        np.testing.assert_array_equal(np.take(after, 2, axis), flat)


@pytest.mark.parametrize("seed", range(5))
def test_an_overlap_is_inside_if_it_is_inside_any_piece(seed):
    rng = np.random.default_rng(seed)
    rings = [np.column_stack([rng.uniform(-2, 14, 3), rng.uniform(-2, 14, 3)]) for _ in range(4)]
    drawn = polygons_to_slice([Polygon(ring) for ring in rings], (12, 12))
    centres = np.stack(np.meshgrid(range(12), range(12), indexing="ij"), -1).reshape(-1, 2)
    expected = np.any([Path(ring).contains_points(centres) for ring in rings], axis=0)
    np.testing.assert_array_equal(drawn, expected.reshape(12, 12))


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
