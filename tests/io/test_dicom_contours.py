"""Polygons around pixels: filled by any rule, they give back the very mask."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.path import Path as Outline

from napari_pgrd.io.dicom.contours import polygons


def even_odd(polygon: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    points = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 2)
    return Outline(np.vstack([polygon, polygon[:1]])).contains_points(points).reshape(shape)


def winding(polygon: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Pixels that the polygon goes around at least once: by the angle it turns through as seen from them."""
    rows, columns = np.meshgrid(*map(np.arange, shape), indexing="ij")
    angle = np.arctan2(polygon[:, :1, None] - rows, polygon[:, 1:, None] - columns)
    steps = np.diff(np.concatenate([angle, angle[:1]]), axis=0)
    turns = ((steps + np.pi) % (2 * np.pi) - np.pi).sum(0) / (2 * np.pi)
    return np.rint(turns) != 0


def cases() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    drawn = [rng.random(rng.integers(1, 16, 2)) < rng.choice([0.3, 0.5, 0.7, 0.85, 0.95]) for _ in range(60)]
    rings = np.ones((11, 15), bool)
    rings[1:10, 1:14] = False
    rings[2:9, 2:13] = True
    rings[3:5, 3:6] = rings[3:5, 8:11] = rings[6:8, 4:5] = rings[6:8, 6:12] = False  # holes side by side
    rings[6, 8] = True  # an island in a hole
    corner = np.array([[1, 0], [0, 1]], bool)
    return [*drawn, rings, corner, np.ones((1, 1), bool), np.zeros((3, 4), bool), np.ones((2, 5), bool)]


@pytest.mark.parametrize("rule", [even_odd, winding])
def test_every_rule_of_filling_gives_the_mask_back(rule) -> None:
    for mask in cases():
        count = np.zeros(mask.shape, int)
        for polygon in polygons(mask):
            count += rule(polygon, mask.shape)
        assert np.array_equal(count, mask)  # each pixel of the mask in one polygon, no other in any


def test_no_point_is_further_than_half_a_pixel_from_an_edge_between_pixels() -> None:
    for mask in cases():
        padded = np.pad(mask, 1)
        down = np.argwhere(padded[1:] != padded[:-1]) - (0.5, 1)
        right = np.argwhere(padded[:, 1:] != padded[:, :-1]) - (1, 0.5)
        edges = np.concatenate([down, right])  # the middles of the edges
        border = [point for polygon in polygons(mask) for point in polygon]
        for point in border:
            assert np.abs(edges - point).sum(1).min() <= 0.5
        assert bool(border) == bool(mask.any())


def test_only_corners_are_written() -> None:
    (square,) = polygons(np.ones((200, 300), bool))
    assert len(square) == 8  # a square with its corners cut
    area = abs(np.sum(square[:, 0] * np.roll(square[:, 1], -1) - square[:, 1] * np.roll(square[:, 0], -1))) / 2
    assert area == 200 * 300 - 0.5


def test_a_hole_is_reached_between_two_rows_of_pixels() -> None:
    mask = np.ones((7, 9), bool)
    mask[3, 3] = False
    (outline,) = polygons(mask)
    same = (outline[:, None] == outline[None]).all(-1).sum(1)
    channel = outline[same == 2]
    assert len(channel) == 4 and len(np.unique(channel[:, 0])) == 1 and channel[0, 0] % 1 == 0.5
