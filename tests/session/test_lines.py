"""Agreement lines against geometry that is known."""

from __future__ import annotations

import numpy as np
import pytest

from napari_pgrd.session.lines import agreement_lines, sample_outlines


def ball(shape=(20, 24, 22), radius=7.0):
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"))
    centre = (np.array(shape) - 1)[:, None, None, None] / 2
    return np.sqrt(((grid - centre) ** 2).sum(0)), centre[:, 0, 0, 0], radius


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_lines_lie_at_the_right_radius(axis):
    distance, centre, radius = ball()
    fraction = np.clip((radius + 2 - distance) / 4, 0, 1)  # falls linearly from 1 to 0 over four voxels
    votes = np.stack([1 - fraction, fraction]).astype(np.float32)
    index = int(centre[axis])
    lines = agreement_lines(votes, axis, index)
    assert set(np.unique(lines.levels)) == {0.25, 0.5, 0.75}
    assert set(lines.classes) == {1}
    for level in (0.25, 0.5, 0.75):
        starts = lines.vectors[lines.levels == level][:, 0]
        assert (starts[:, axis] == index).all()
        wanted = radius + 2 - 4 * level
        np.testing.assert_allclose(np.linalg.norm(starts - centre, axis=1), wanted, atol=0.15)


def test_segments_join_into_closed_lines():
    distance, _, radius = ball()
    votes = np.stack([distance >= radius, distance < radius]).astype(np.float32)
    lines = agreement_lines(votes, 0, 9, (0.5,))
    starts, ends = lines.vectors[:, 0], lines.vectors[:, 0] + lines.vectors[:, 1]
    as_set = lambda points: {tuple(np.round(p, 4)) for p in points}  # noqa: E731
    assert as_set(starts) == as_set(ends)


def test_a_structure_at_the_edge_gets_a_closed_line():
    votes = np.zeros((2, 4, 6, 6), np.float32)
    votes[1, :, :3, :3] = 1
    lines = agreement_lines(votes, 0, 1, (0.5,))
    ends = lines.vectors[:, 0] + lines.vectors[:, 1]
    np.testing.assert_allclose(np.sort(ends, axis=0), np.sort(lines.vectors[:, 0], axis=0), atol=1e-5)


def test_nothing_to_draw_is_an_empty_array():
    lines = agreement_lines(np.zeros((3, 4, 5, 6), np.float32), 1, 2)
    assert lines.vectors.shape == (0, 2, 3)


def test_outlines_hold_every_sample():
    distance, centre, _ = ball()
    masks = [(distance < r).astype(np.uint8) for r in (4, 6, 8)]
    lines = sample_outlines(masks, 2, int(centre[2]), 2)
    radii = np.linalg.norm(lines.vectors[:, 0] - centre, axis=1)
    assert (lines.vectors[:, 0, 2] == int(centre[2])).all()
    for r in (4, 6, 8):
        assert (np.abs(radii - r) < 1).sum() > 10
