"""Orientation, reordering, cropping and embedding, against nibabel."""

from __future__ import annotations

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import axcodes2ornt, ornt_transform

from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.volume import Affine, Box, Reorder, Volume, embed, orientation

SHAPE = (4, 5, 6)
CODES = ["".join(c) for p in permutations(["LR", "PA", "IS"]) for c in product(*p)]
DATA = np.arange(np.prod(SHAPE), dtype=np.int32).reshape(SHAPE)


def affine_of(code: str, spacing: tuple[float, float, float] = (0.8, 1.1, 2.5), tilt: float = 0.0) -> Affine:
    """An affine with this orientation, turned by ``tilt`` radians about a skew axis."""
    affine = nib.orientations.inv_ornt_aff(axcodes2ornt(code), SHAPE)
    affine = affine @ np.diag([*spacing, 1])
    axis = np.array([1.0, 2.0, -1.0]) / np.sqrt(6)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.eye(4)
    turn[:3, :3] = np.eye(3) + np.sin(tilt) * cross + (1 - np.cos(tilt)) * cross @ cross  # Rodrigues
    turn[:3, 3] = 12.5, -40, 7
    out: Affine = turn @ affine
    return out


def test_there_are_48_orientations() -> None:
    assert len(set(CODES)) == 48


@pytest.mark.parametrize("tilt", [0.0, 0.3, -0.5])
@pytest.mark.parametrize("code", CODES)
def test_orientation_is_nibabels(code: str, tilt: float) -> None:
    affine = affine_of(code, tilt=tilt)
    assert orientation(affine) == "".join(nib.aff2axcodes(affine))


@pytest.mark.parametrize("target", ["RAS", "LPI", "LPS", "ASR", "SRA"])
@pytest.mark.parametrize("code", CODES)
def test_reorder_is_nibabels(code: str, target: str) -> None:
    affine = affine_of(code, tilt=0.2)
    image = nib.Nifti1Image(DATA, affine)
    theirs = image.as_reoriented(ornt_transform(nib.io_orientation(affine), axcodes2ornt(target)))
    reorder = Reorder.between(affine, target)
    assert np.array_equal(reorder.apply(DATA), np.asarray(theirs.dataobj))
    np.testing.assert_allclose(reorder.affine(affine, SHAPE), theirs.affine, atol=1e-12)
    assert np.array_equal(reorder.invert(reorder.apply(DATA)), DATA)
    assert np.array_equal(reorder.inverse().apply(reorder.apply(DATA)), DATA)


def test_reorder_moves_only_the_last_three_axes() -> None:
    reorder = Reorder.between(affine_of("PSL"), "RAS")
    stack = np.stack([DATA, DATA + 1000])
    assert np.array_equal(reorder.apply(stack)[1], reorder.apply(DATA + 1000))
    assert np.array_equal(reorder.invert(reorder.apply(stack)), stack)


def _boxes() -> st.SearchStrategy[Box]:
    pairs = [st.tuples(st.integers(0, n - 1), st.integers(1, n)).filter(lambda p: p[0] < p[1]) for n in SHAPE]
    return st.tuples(*pairs)


@given(box=_boxes(), code=st.sampled_from(CODES), tilt=st.floats(-0.5, 0.5))
@settings(max_examples=80, deadline=None)
def test_a_crop_leaves_every_voxel_where_it_was(box: Box, code: str, tilt: float) -> None:
    affine = affine_of(code, tilt=tilt)
    part = Volume(DATA[None], affine).crop(box)
    theirs = nib.Nifti1Image(DATA, affine).slicer[tuple(slice(lo, hi) for lo, hi in box)]
    assert np.array_equal(part.data[0], np.asarray(theirs.dataobj))
    np.testing.assert_allclose(part.affine, theirs.affine, atol=1e-9)


@given(box=_boxes(), code=st.sampled_from(CODES))
@settings(max_examples=80, deadline=None)
def test_a_box_follows_its_voxels_through_a_reordering(box: Box, code: str) -> None:
    reorder = Reorder.between(affine_of(code), "LPI")
    inside = np.zeros(SHAPE, bool)
    inside[tuple(slice(lo, hi) for lo, hi in box)] = True
    moved = np.zeros_like(reorder.apply(inside))
    moved[tuple(slice(lo, hi) for lo, hi in reorder.box(box, SHAPE))] = True
    assert np.array_equal(moved, reorder.apply(inside))


@given(box=_boxes())
@settings(max_examples=40, deadline=None)
def test_embed_is_assignment_into_a_filled_grid(box: Box) -> None:
    part = np.stack([DATA, -DATA])[(slice(None), *(slice(lo, hi) for lo, hi in box))]
    expected = np.full((2, *SHAPE), 7, part.dtype)
    expected[(slice(None), *(slice(lo, hi) for lo, hi in box))] = part
    assert np.array_equal(embed(part, box, SHAPE, fill=7), expected)
    assert embed(part, None, SHAPE) is part


def test_spacing_and_extent_are_nibabels() -> None:
    affine = affine_of("SPL", (0.7, 1.3, 3.0), tilt=0.4)
    volume = Volume(DATA[None], affine)
    zooms = nib.affines.voxel_sizes(affine)
    np.testing.assert_allclose(volume.spacing, zooms)
    np.testing.assert_allclose(volume.extent_mm, zooms * SHAPE)


@pytest.mark.parametrize(
    ("affine", "words"),
    [
        (np.diag([1, 1, 0, 1.0]), "singular"),
        (np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "singular"),
        (np.diag([1, np.nan, 1, 1.0]), "finite"),
        (np.eye(3), "4 x 4"),
    ],
)
def test_an_affine_that_cannot_measure_is_a_sentence(affine: Affine, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Volume(DATA[None], affine)


def test_a_tiny_but_regular_affine_is_accepted() -> None:
    assert Volume(DATA[None], np.diag([1e-4, 1e-4, 2e-4, 1])).spacing == pytest.approx((1e-4, 1e-4, 2e-4))


@pytest.mark.parametrize("box", [((0, 5), (0, 5), (0, 6)), ((-1, 2), (0, 5), (0, 6)), ((2, 2), (0, 5), (0, 6))])
def test_a_box_outside_the_image_is_a_sentence(box: Box) -> None:
    with pytest.raises(InputError, match="on x, but the image has 0 to 4"):
        Volume(DATA[None], np.eye(4)).crop(box)


def test_a_volume_needs_a_channel_axis() -> None:
    with pytest.raises(InputError, match=r"\(4, 5, 6\)"):
        Volume(DATA, np.eye(4))


def test_the_digest_is_of_the_voxels_in_their_order() -> None:
    volume = Volume(DATA[None], np.eye(4))
    assert volume.digest == Volume(DATA[None].copy(order="F"), np.eye(4)).digest
    changed = DATA.copy()
    changed[1, 2, 3] += 1
    assert volume.digest != Volume(changed[None], np.eye(4)).digest


@pytest.mark.parametrize("target", ["RRS", "RAX"])
def test_a_name_that_is_no_orientation_is_a_sentence(target: str) -> None:
    with pytest.raises(InputError, match="orientation|direction"):
        Reorder.between(np.eye(4), target)
