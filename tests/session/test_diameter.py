"""Diameters against brute force and closed forms under anisotropic spacing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from napari_pgrd.engine.errors import InputError
from napari_pgrd.session.diameter import Diameter, drawn, long_axis, measure, slice_axes
from tests.session.shapes import SPACINGS, centres, maps

QUICK = settings(max_examples=25, deadline=None)


def faces(mask):
    """Middles of all sides of all voxels, in voxels."""
    points = np.argwhere(mask)
    half = np.eye(mask.ndim) / 2
    return np.concatenate([points + h for h in (*half, *-half)])


def widest(points, start, end):
    """Brute force: lines across a diameter, cut off by the half planes of a hull; the longest of many."""
    length = np.linalg.norm(end - start)
    along = (end - start) / length
    aside = np.array([-along[1], along[0]])
    hull = ConvexHull(points).equations
    slope = hull[:, :2] @ aside
    spans = []
    for u in np.linspace(0, length, 201)[1:-1]:
        room = -(hull[:, :2] @ (start + u * along) + hull[:, 2])
        upper = (room[slope > 1e-12] / slope[slope > 1e-12]).min()
        lower = (room[slope < -1e-12] / slope[slope < -1e-12]).max()
        spans.append(upper - lower)
    return max(spans)


@QUICK
@given(maps(), SPACINGS)
def test_no_two_points_of_the_surface_are_further_apart(labels, spacing):
    steps = np.ones(3) if spacing is None else np.array(spacing)
    found = long_axis(labels, 1, spacing)
    assert found.length == pytest.approx(pdist(faces(labels == 1) * steps).max())
    ends = np.array([found.start, found.end])
    assert np.linalg.norm((ends[1] - ends[0]) * steps) == pytest.approx(found.length)
    for end in ends:
        assert np.abs(faces(labels == 1) - end).max(1).min() < 1e-9, "an end lies on the surface"


@QUICK
@given(maps(), SPACINGS, st.integers(0, 2), st.data())
def test_the_axes_of_a_slice_are_the_longest_and_the_longest_across(labels, spacing, axis, data):
    there = np.flatnonzero((labels == 1).any(axis=tuple({0, 1, 2} - {axis})))
    index = data.draw(st.sampled_from(there.tolist()))
    steps = np.ones(3) if spacing is None else np.array(spacing)
    flat = np.delete(steps, axis)
    points = faces(labels.take(index, axis) == 1) * flat
    long, short = slice_axes(labels, 1, axis, index, spacing)
    assert {p[axis] for d in (long, short) for p in (d.start, d.end)} == {index}
    ends = [np.delete(np.array([d.start, d.end]), axis, axis=1) * flat for d in (long, short)]
    assert long.length == pytest.approx(pdist(points).max())
    assert short.length <= long.length + 1e-9
    (a, b), (c, d) = ends
    along = (b - a) / long.length
    assert abs((d - c) @ along) < 1e-6
    longest = widest(points, a, b)
    assert longest <= short.length + 1e-6
    assert longest >= short.length * 0.98
    hull = ConvexHull(points).equations
    assert (hull[:, :2] @ np.array([c, d]).T + hull[:, 2:] < 1e-6).all(), "both ends lie on the hull"


def test_rounding_at_the_ends_of_the_long_axis_does_not_widen_the_short_one():
    labels = np.eye(2, dtype=np.uint8)[None]
    steps = np.array([0.7, 1.1])
    long, short = slice_axes(labels, 1, 0, 0, (1.0, 0.7, 1.1))
    ends = np.array([long.start, long.end])[:, 1:] * steps
    assert short.length == pytest.approx(widest(faces(labels[0] == 1) * steps, *ends), rel=0.02)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.7, 1.3)])
def test_a_ball_measures_its_diameter(spacing):
    shape = tuple(int(34 / s) | 1 for s in spacing)
    labels = (centres(shape, spacing) <= 14).astype(np.uint8)
    assert long_axis(labels, 1, spacing).length == pytest.approx(28, abs=max(spacing))


def test_a_box_measures_its_diagonal_wherever_it_lies():
    labels = np.zeros((9, 20, 30), np.int32)
    labels[2:6, 3:15, 10:19] = 7
    sides = np.array([4, 12, 9])
    spacing = np.array([5.0, 1.0, 0.5])
    inner = (sides - 1) * spacing
    # From a side's middle to a side's middle: half a voxel beyond the outermost centres, along one axis or along two.
    wanted = max(
        np.linalg.norm(inner + (np.eye(3)[i] + np.eye(3)[j]) * spacing / 2) for i in range(3) for j in range(3)
    )
    found = long_axis(labels, 7, spacing.tolist())
    assert found.length == pytest.approx(wanted)
    ends = np.array([found.start, found.end])
    np.testing.assert_allclose(ends.mean(0), [3.5, 8.5, 14], atol=0.5)


@pytest.mark.parametrize("spacing", [(2.0, 1.0, 1.0), (2.0, 0.5, 1.5)])
@pytest.mark.parametrize("angle", [0, 25, 90])
def test_an_ellipse_measures_its_two_axes(spacing, angle):
    shape = (3, int(70 / spacing[1]), int(70 / spacing[2]))
    rows, columns = ((np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape[1:], spacing[1:], strict=True))
    y, x = np.meshgrid(rows, columns, indexing="ij")
    turn = np.deg2rad(angle)
    u, w = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    labels = np.zeros(shape, np.uint8)
    labels[1] = (u / 30) ** 2 + (w / 12) ** 2 <= 1
    long, short = slice_axes(labels, 1, 0, 1, spacing)
    assert long.length == pytest.approx(60, abs=1.5)
    assert short.length == pytest.approx(24, abs=1.5)
    direction = (np.array(long.end) - long.start) * spacing / long.length
    assert abs(direction @ [0, np.sin(turn), np.cos(turn)]) > 0.99


def test_a_single_voxel_measures_its_longest_side():
    labels = np.zeros((3, 3, 3), np.uint8)
    labels[0, 1, 2] = 1
    found = long_axis(labels, 1, (5.0, 1.0, 2.0))
    assert found.length == 5
    assert sorted([found.start, found.end]) == [(-0.5, 1, 2), (0.5, 1, 2)]
    long, short = slice_axes(labels, 1, 0, 0, (5.0, 1.0, 2.0))
    assert (long.length, short.length) == (2, 1)


def test_a_label_that_is_not_there_has_no_diameter():
    labels = np.zeros((3, 4, 5), np.uint8)
    labels[0, 0, 0] = 1
    with pytest.raises(InputError, match="Label 2 has no voxel in this image"):
        long_axis(labels, 2)
    with pytest.raises(InputError, match="on slice 1"):
        slice_axes(labels, 1, 0, 1)


def test_what_is_drawn_on_a_slice_is_the_shadow_with_ticks_at_a_right_angle():
    spacing = (2.0, 1.0, 0.5)
    line = Diameter(0, (1.0, 2.0, 3.0), (5.0, 8.0, 11.0))
    np.testing.assert_array_equal(drawn(line, spacing), [[[1, 2, 3], [4, 6, 8]]])
    shadow, *ticks = drawn(line, spacing, 0, 4)
    np.testing.assert_array_equal(shadow, [[4, 2, 3], [0, 6, 8]])
    for tick, end in zip(ticks, ([4, 2, 3], [4, 8, 11]), strict=True):
        np.testing.assert_allclose(tick[0] + tick[1] / 2, end)  # its middle
        assert np.linalg.norm(tick[1] * spacing) == pytest.approx(3)
        assert np.dot(tick[1] * spacing, shadow[1] * spacing) == pytest.approx(0)
    seen_from_its_end = drawn(Diameter(0, (1.0, 2.0, 3.0), (5.0, 2.0, 3.0)), spacing, 0, 4)
    assert np.isfinite(seen_from_its_end).all() and np.linalg.norm(seen_from_its_end[1, 1] * spacing) == pytest.approx(
        3
    )


def test_a_label_that_is_not_there_has_no_axis():
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1, 2, 1:4] = 7
    there, gone = measure(labels, (7, 9))
    assert (there.value, there.voxels) == (7, 3) and there.axis == long_axis(labels, 7)
    assert (gone.value, gone.voxels, gone.axis) == (9, 0, None)
