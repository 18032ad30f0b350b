"""Words for positions, against shapes whose ends are known and against what the screen shows."""

from __future__ import annotations

import numpy as np
import pytest

from napari_pgrd.engine.volume import Reorder, Volume
from napari_pgrd.session.display import Display
from napari_pgrd.session.naming import Structure
from tests.session.drawn import ball, volume

SHAPE = (40, 40, 40)


def rod(axis):
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(3, 37) if a == axis else slice(15, 25) for a in range(3))] = True
    return mask


@pytest.mark.parametrize(
    ("axis", "low", "high"), [(0, "left", "right"), (1, "posterior", "anterior"), (2, "inferior", "superior")]
)
def test_a_rod_has_ends_and_thirds(axis, low, high):
    structure = Structure.of(rod(axis), volume(SHAPE))
    at = lambda i: structure.position(tuple(i if a == axis else 19.5 for a in range(3)))  # noqa: E731
    assert [at(i) for i in (0, 5, 11, 19, 28, 35, 39)] == [
        f"{low} end", f"{low} end", f"{low} third", "middle third", f"{high} third", f"{high} end", f"{high} end"
    ]  # fmt: skip


def test_the_sides_of_a_rod():
    structure = Structure.of(rod(1), volume(SHAPE))
    assert structure.position((19, 20, 25)) == "middle third (superior)"
    assert structure.position((14, 20, 20)) == "middle third (left)"
    assert structure.position((25, 36, 14)) == "anterior end (inferior right)"


def risen(by):
    """A rod along y whose every cross-section is moved up by ``by(y)`` voxels."""
    mask = rod(1)
    for y in range(40):
        mask[:, y] = np.roll(mask[:, y], round(by(y)), axis=1)
    return Structure.of(mask, volume(SHAPE))


def test_an_arch_is_judged_where_the_place_is():
    arch = risen(lambda y: 6 - 8 * ((y - 19.5) / 19.5) ** 2)
    assert arch.position((20, 35, 25)) == "anterior end (superior)"  # at the height of the middle of the whole
    assert arch.position((20, 5, 25)) == "posterior end (superior)"
    assert arch.position((20, 20, 25)) == "middle third"


def test_a_side_is_never_named_along_the_long_axis():
    slope = risen(lambda y: 0.6 * (y - 19.5))
    assert slope.position((20, 34, 29)) == "anterior end"
    assert slope.position((20, 16, 25)) == "middle third (superior)"  # posterior of the axis as well as above it


@pytest.mark.parametrize("orientation", ["RAS", "LPI", "PIR", "SLA"])
def test_words_do_not_depend_on_the_axis_order(orientation):
    mask, v = rod(1), volume(SHAPE, (1, 1.5, 1))
    order = Reorder.between(v.affine, orientation)
    moved = Structure.of(order.apply(mask), Volume(order.apply(v.data), order.affine(v.affine, v.shape)))
    marked = np.zeros(SHAPE, bool)
    marked[25, 35, 20] = True
    assert moved.position(np.argwhere(order.apply(marked))[0]) == "anterior end (right)"


def test_a_ball_has_directions_and_a_centre():
    structure = Structure.of(ball(SHAPE, (20, 20, 20), 10), volume(SHAPE))
    assert structure.position((20, 20, 20)) == "centre"
    assert structure.position((20, 29, 29)) == "anterior superior"
    assert structure.position((11, 20, 20)) == "left"
    assert structure.position((20, 12, 13)) == "posterior inferior"


def test_thick_slices_do_not_make_a_ball_a_rod():
    mask = ball((40, 40, 8), (20, 20, 4), 10, (1, 1, 5))
    assert Structure.of(mask, volume(mask.shape, (1, 1, 5))).position((20, 20, 5)) == "superior"
    assert Structure.of(mask, volume(mask.shape, (1, 1, 1))).position((20, 27, 4)) == "anterior"


@pytest.mark.parametrize("codes", ["RAS", "LPI", "LAS"])
def test_without_a_voxel_size_the_words_are_those_of_the_picture(codes):
    flat = volume((30, 30, 1))
    order = Reorder.between(flat.affine, codes)
    image = Volume(order.apply(flat.data), order.affine(flat.affine, flat.shape), spacing_known=False)
    display = Display.of(image)
    shown = np.zeros(display.show(image.data[0]).shape, bool)
    shown[0, 10:20, 10:20] = True
    structure = Structure.of(np.ascontiguousarray(display.hide(shown)), image)
    for row, column, words in ((10, 10, "upper left"), (19, 14, "lower"), (14, 19, "right"), (14, 14, "centre")):
        pixel = np.zeros_like(shown)
        pixel[0, row, column] = True
        assert structure.position(np.argwhere(display.hide(pixel))[0]) == words


def test_a_single_voxel_has_a_place_too():
    mask = np.zeros(SHAPE, bool)
    mask[4, 5, 6] = True
    structure = Structure.of(mask, volume(SHAPE))
    assert structure.position((4, 5, 6)) == "centre"
    assert structure.position((4, 9, 6)) == "anterior"
