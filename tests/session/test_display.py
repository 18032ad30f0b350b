"""Where things lie on the screen, against nibabel."""

from __future__ import annotations

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest

from napari_pgrd.engine.volume import Volume
from napari_pgrd.session.display import PLANES, Display, first_plane, plane_text

SHAPE = (5, 6, 7)
CODES = [
    "".join(("LR", "PA", "IS")[axis][side] for axis, side in zip(order, sides, strict=True))
    for order in permutations(range(3))
    for sides in product((0, 1), repeat=3)
]


def volume_in(codes: str, spacing=(1.0, 2.0, 3.0)) -> tuple[Volume, np.ndarray]:
    """The same world, stored in another axis order; also the RAS array for comparison."""
    rng = np.random.default_rng(0)
    ras = nib.Nifti1Image(rng.random(SHAPE), np.diag([*spacing, 1.0]))
    moved = ras.as_reoriented(nib.orientations.ornt_transform(
        nib.io_orientation(ras.affine), nib.orientations.axcodes2ornt(tuple(codes))
    ))  # fmt: skip
    return Volume(np.asarray(moved.dataobj)[None], moved.affine), np.asarray(ras.dataobj)


@pytest.mark.parametrize("codes", CODES)
def test_every_axis_order_looks_the_same(codes):
    volume, ras = volume_in(codes)
    display = Display.of(volume)
    shown = display.show(volume.data[0])
    # Rows of an axial slice run from anterior to posterior, columns from the patient's right to left, slices downwards.
    np.testing.assert_array_equal(shown, ras[::-1, ::-1, ::-1].transpose(2, 1, 0))
    assert display.scale == pytest.approx((3, 2, 1))
    np.testing.assert_array_equal(display.hide(shown), volume.data[0])


@pytest.mark.parametrize("codes", ["RAS", "LPI", "SAL", "PIR"])
def test_a_crop_lies_on_its_volume(codes):
    volume, _ = volume_in(codes)
    box = ((1, 3), (0, 4), (2, 5))
    whole, part = Display.of(volume), Display.of(volume, box)
    assert whole.shape == whole.show(volume.data[0]).shape and part.shape == part.show(volume.crop(box).data[0]).shape
    marked = np.zeros(volume.shape)
    marked[1:3, 0:4, 2:5] = 1
    first = np.argwhere(whole.show(marked)).min(0)
    np.testing.assert_allclose(np.array(part.translate), np.array(whole.translate) + first * whole.scale)


def test_an_oblique_volume_keeps_its_middle_where_it_is():
    angle = np.deg2rad(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([1.0, 1.5, 2.0])
    affine[:3, 3] = (11, -7, 3)
    volume = Volume(np.zeros((1, *SHAPE)), affine)
    display = Display.of(volume)
    middle = affine @ [*((np.array(SHAPE) - 1) / 2), 1]
    shown_shape = np.array(display.show(volume.data[0]).shape)
    centre = np.array(display.translate) + np.array(display.scale) * (shown_shape - 1) / 2
    np.testing.assert_allclose(centre, -middle[:3][::-1], atol=1e-9)


def test_planes_put_the_named_axis_on_the_slider():
    assert {name: order[0] for name, order in PLANES.items()} == {"sagittal": 2, "coronal": 1, "axial": 0}
    assert all(list(order[1:]) == sorted(order[1:]) for order in PLANES.values())  # superior and anterior stay up


@pytest.mark.parametrize("codes", ["RAS", "LAS", "LPI"])
def test_slices_of_unknown_directions_lie_as_they_are_stored(codes):
    volume, _ = volume_in(codes)
    stack = Volume(volume.data, volume.affine, spacing_known=False)
    display = Display.of(stack)
    np.testing.assert_array_equal(display.show(stack.data[0]), stack.data[0].transpose(2, 1, 0))
    np.testing.assert_array_equal(display.hide(display.show(stack.data[0])), stack.data[0])
    assert (display.scale, display.translate, display.unit) == ((1, 1, 1), (0, 0, 0), "pixel")
    assert display.layer["axis_labels"] == ("slice", "row", "column")
    assert plane_text("axial", display.known) == "axial  \u00b7  orientation not known"
    assert first_plane(stack, "sagittal") == "axial"
    assert first_plane(volume, "sagittal") == "sagittal" and Display.of(volume).known
