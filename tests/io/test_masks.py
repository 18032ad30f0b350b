"""Existing masks on an image's grid, against nibabel, which turns the files."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.spec import BundleSpec, read_spec
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.masks import NEAR, place_mask, read_mask, take_mask
from tests.io.test_nifti import ORIENTATIONS
from tests.tiny import make_tiny_bundle

VALUES = (0, 7, 40)  # label values that are not class indices
COLOURS = ("#000000", "#19E0FF", "#FFE14D")
SHAPE = (5, 6, 4)
AFFINE = np.array([[0, -1.5, 0, 30], [0, 0, 1.0, -5], [2.0, 0, 0, 2], [0, 0, 0, 1]])
BOX = ((1, 4), (0, 5), (2, 4))


def turned(degrees: float = 21) -> np.ndarray:
    """An oblique affine: turned about an axis that is none of the three."""
    axis = np.array([1, 2, -1]) / np.sqrt(6)
    cross = np.cross(np.eye(3), axis)
    a = np.deg2rad(degrees)
    out = np.eye(4)
    out[:3, :3] = (np.eye(3) + np.sin(a) * cross + (1 - np.cos(a)) * cross @ cross) @ np.diag([0.7, 1.1, 3.0])
    out[:3, 3] = (-20, 7, 3.5)
    return out


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> BundleSpec:
    labels = [{"value": v, "name": f"label {v}", "colour": c} for v, c in zip(VALUES, COLOURS, strict=True)]
    return read_spec(make_tiny_bundle(tmp_path_factory.mktemp("tiny"), labels=labels))


def image(affine: np.ndarray = AFFINE, known: bool = True) -> Volume:
    return Volume(np.zeros((1, *SHAPE), np.float32), affine, known)


def mask() -> np.ndarray:
    return np.array(VALUES, np.uint8)[np.random.default_rng(0).integers(0, 3, SHAPE)]


def saved(path: Path, data: np.ndarray, affine: np.ndarray = AFFINE, unit: str = "mm") -> Path:
    out = nib.Nifti1Image(data, affine)
    out.header.set_xyzt_units(unit)
    nib.save(out, path)
    return path


@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_every_order_of_the_axes_gives_the_same_mask(tmp_path: Path, spec: BundleSpec, axes: str) -> None:
    for affine in (AFFINE, turned(), turned(45)):
        same = nib.Nifti1Image(mask(), affine)
        same.header.set_xyzt_units("mm")
        other = same.as_reoriented(ornt_transform(io_orientation(affine), axcodes2ornt(tuple(axes))))
        nib.save(other, tmp_path / "mask.nii.gz")
        taken = read_mask(tmp_path / "mask.nii.gz", image(affine), spec)
        np.testing.assert_array_equal(taken.values, mask())
        assert taken.values.dtype == np.uint8 and taken.outside == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64])
def test_every_stored_type_is_read(tmp_path: Path, spec: BundleSpec, dtype: type) -> None:
    taken = read_mask(saved(tmp_path / "mask.nii.gz", mask().astype(dtype)), image(), spec)
    np.testing.assert_array_equal(taken.values, mask())


def test_of_a_box_its_part_is_taken_and_the_rest_counted(tmp_path: Path, spec: BundleSpec) -> None:
    inside = tuple(slice(lo, hi) for lo, hi in BOX)
    taken = read_mask(saved(tmp_path / "whole.nii.gz", mask()), image(), spec, BOX)
    np.testing.assert_array_equal(taken.values, mask()[inside])
    assert taken.outside == np.count_nonzero(mask()) - np.count_nonzero(mask()[inside])
    cut = image().crop(BOX)
    flipped = nib.Nifti1Image(mask()[inside], cut.affine)
    flipped.header.set_xyzt_units("mm")
    nib.save(flipped.as_reoriented([[2, -1], [0, 1], [1, 1]]), tmp_path / "box.nii.gz")
    taken = read_mask(tmp_path / "box.nii.gz", image(), spec, BOX)
    np.testing.assert_array_equal(taken.values, mask()[inside])
    assert taken.outside == 0
    with pytest.raises(InputError, match="lies on another grid: 5 x 2 x 3 voxels"):
        read_mask(tmp_path / "box.nii.gz", image(), spec)


def test_files_round_their_geometry_but_half_a_voxel_is_another_place(tmp_path: Path, spec: BundleSpec) -> None:
    rounded = AFFINE + np.random.default_rng(0).uniform(-1e-4, 1e-4, (4, 4)) * (np.arange(4) < 3)[:, None]
    path = saved(tmp_path / "mask.nii.gz", mask(), rounded)
    np.testing.assert_array_equal(read_mask(path, image(), spec).values, mask())
    for share in (0.9 * NEAR, 1.1 * NEAR):
        moved = AFFINE.copy()
        moved[:3, 3] += share * AFFINE[:3, 1]
        path = saved(tmp_path / "moved.nii.gz", mask(), moved)
        if share < NEAR:
            np.testing.assert_array_equal(read_mask(path, image(), spec).values, mask())
        else:
            with pytest.raises(InputError, match="moved.nii.gz has as many voxels .* but not in the same place"):
                read_mask(path, image(), spec)


@pytest.mark.parametrize(
    ("data", "affine", "sentence"),
    [
        (np.ones((5, 6, 5), np.uint8), AFFINE, "5 x 6 x 5 voxels of 2 x 1.5 x 1 mm, but the image has 5 x 6 x 4"),
        (np.ones(SHAPE, np.uint8), AFFINE @ np.diag([1, 1, 1.25, 1]), "of 2 x 1.5 x 1.25 mm, but the image has"),
        (np.ones(SHAPE, np.uint8), AFFINE @ np.diag([1, 1, 1.02, 1]), "of 2 x 1.5 x 1.02 mm, but the image has"),
        (np.ones(SHAPE, np.uint8), turned(), "of 0.7 x 1.1 x 3 mm, but the image has"),
        (np.ones((*SHAPE, 3), np.uint8), AFFINE, "holds 3 volumes; a mask has one"),
        (mask() * 0.5, AFFINE, "values between whole numbers"),
        (np.full(SHAPE, np.nan, np.float32), AFFINE, "NaN or infinite"),
        (np.zeros(SHAPE, np.uint8), AFFINE, "holds no label, so there is nothing to correct"),
        (mask() + np.uint8(3), AFFINE, r"labels 3, 10, 43, which the model tiny does not know. It knows 0 label 0, 7 "),
        (np.where(mask() == 7, -2, 0).astype(np.int16), AFFINE, "the label -2, which"),
        (np.arange(120).reshape(SHAPE).astype(np.int16), AFFINE, r"labels 1, 2, 3, 4, 5, 6, 8, 9 \.\.\.,"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_a_reason(
    tmp_path: Path, spec: BundleSpec, data, affine, sentence
) -> None:
    with pytest.raises(InputError, match=sentence) as refused:
        read_mask(saved(tmp_path / "mask.nii.gz", data, affine), image(), spec)
    assert str(refused.value).startswith("mask.nii.gz ")


def test_files_that_are_no_files_are_refused(tmp_path: Path, spec: BundleSpec) -> None:
    (tmp_path / "empty.nii.gz").touch()
    whole = saved(tmp_path / "whole.nii", mask()).read_bytes()
    (tmp_path / "cut.nii").write_bytes(whole[:-20])
    packed = saved(tmp_path / "packed.nii.gz", mask()).read_bytes()
    (tmp_path / "torn.nii.gz").write_bytes(packed[:-12])
    for name, sentence in (("empty.nii.gz", "is empty"), ("cut.nii", "truncated"), ("torn.nii.gz", "not a readable")):
        with pytest.raises(InputError, match=f"{name} .*{sentence}"):
            read_mask(tmp_path / name, image(), spec)
    with pytest.raises(InputError, match="no file gone.nii.gz"):
        read_mask(tmp_path / "gone.nii.gz", image(), spec)
    with pytest.raises(InputError, match="is not NIfTI"):
        read_mask(Path(__file__), image(), spec)


def test_a_mask_without_geometry_is_no_guess_unless_the_image_has_none_either(tmp_path: Path, spec: BundleSpec) -> None:
    plain = saved(tmp_path / "plain.nii.gz", mask(), np.eye(4), "unknown")
    with pytest.raises(InputError, match="does not say where it lies"):
        read_mask(plain, image(), spec)
    np.testing.assert_array_equal(read_mask(plain, image(np.eye(4), known=False), spec).values, mask())


def test_a_label_outside_the_box_need_not_be_known(spec: BundleSpec) -> None:
    labels = mask().astype(np.int64)
    labels[0, 0, 0] = 99
    taken = take_mask(labels, AFFINE, image(), spec, BOX, "mask")
    assert 99 not in taken.values
    labels[2, 2, 2] = 98
    with pytest.raises(InputError, match="the label 98, which"):
        take_mask(labels, AFFINE, image(), spec, BOX, "mask")
    with pytest.raises(InputError, match="holds no label inside the box"):
        take_mask(np.where(np.indices(SHAPE)[0] == 0, 7, 0), AFFINE, image(), spec, BOX, "mask")


def test_an_empty_mask_is_an_opinion_but_no_start(spec: BundleSpec) -> None:
    volume = Volume(np.zeros((1, *SHAPE), np.float32), AFFINE)
    nothing = np.zeros(SHAPE, np.uint8)
    assert not place_mask(nothing, AFFINE, volume, spec, None, "m").values.any()
    with pytest.raises(InputError, match="holds no label"):
        take_mask(nothing, AFFINE, volume, spec, None, "m")


def test_the_mask_is_a_copy(spec: BundleSpec) -> None:
    labels = mask()
    taken = take_mask(labels, AFFINE, image(), spec, None, "mask")
    assert not np.shares_memory(taken.values, labels)
