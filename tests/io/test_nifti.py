"""NIfTI in and out against nibabel, whose files are the oracle."""

from __future__ import annotations

import os
import stat
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from napari_pgrd.engine.errors import ExportError, InputError
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.nifti import is_nifti, read_labels, read_volume, stem, write_atomically, write_nifti

SHAPE = (4, 5, 6)
ORIENTATIONS = ["".join(p) for triple in permutations(("LR", "PA", "IS")) for p in product(*triple)]


def saved(path: Path, data: np.ndarray, affine: np.ndarray | None = None, unit: str = "mm") -> Path:
    image = nib.Nifti1Image(data, np.diag([1.0, 2, 3, 1]) if affine is None else affine)
    image.header.set_xyzt_units(unit)
    nib.save(image, path)
    return path


def ramp(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_all_48_orientations_come_back_as_they_were(tmp_path: Path, axes: str) -> None:
    affine = np.diag([1.0, 2, 3, 1])
    affine[:3, 3] = (-20, 7, 3.5)
    image = nib.Nifti1Image(ramp(*SHAPE), affine)
    image = image.as_reoriented(ornt_transform(io_orientation(affine), axcodes2ornt(tuple(axes))))
    nib.save(image, tmp_path / "in.nii.gz")
    volume = read_volume(tmp_path / "in.nii.gz")
    assert np.array_equal(volume.data[0], image.get_fdata())
    assert np.allclose(volume.affine, image.affine)
    back = nib.load(write_nifti(tmp_path / "out.nii.gz", volume.data[0], volume))
    assert np.array_equal(back.get_fdata(), image.get_fdata())
    assert np.array_equal(back.affine, nib.load(tmp_path / "in.nii.gz").affine)
    assert nib.aff2axcodes(back.affine) == tuple(axes)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_every_stored_type_and_scaling_is_read(tmp_path: Path, dtype: type) -> None:
    image = nib.Nifti1Image(ramp(*SHAPE).astype(dtype), np.eye(4))
    image.header.set_slope_inter(2, -10)
    nib.save(image, tmp_path / "a.nii")
    assert np.allclose(read_volume(tmp_path / "a.nii").data[0], nib.load(tmp_path / "a.nii").get_fdata())


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("meter", 1000), ("micron", 0.001)])
def test_units_become_mm_and_are_written_as_they_were(tmp_path: Path, unit: str, factor: float) -> None:
    volume = read_volume(saved(tmp_path / "a.nii.gz", ramp(*SHAPE), unit=unit))
    assert volume.spacing == pytest.approx((1 * factor, 2 * factor, 3 * factor))
    back = nib.load(write_nifti(tmp_path / "b.nii.gz", volume.data[0], volume))
    assert back.header.get_xyzt_units()[0] == unit
    assert np.allclose(back.affine, np.diag([1, 2, 3, 1]))


def test_spacing_is_unknown_where_the_file_says_nothing(tmp_path: Path) -> None:
    image = nib.Nifti1Image(ramp(*SHAPE), None)
    image.header["qform_code"] = image.header["sform_code"] = 0
    image.header.set_xyzt_units("unknown")
    nib.save(image, tmp_path / "plain.nii.gz")
    assert not read_volume(tmp_path / "plain.nii.gz").spacing_known


def test_flat_images_and_channels(tmp_path: Path) -> None:
    assert read_volume(saved(tmp_path / "flat.nii.gz", ramp(4, 5))).data.shape == (1, 4, 5, 1)
    four = ramp(4, 5, 6, 3)
    assert np.array_equal(read_volume(saved(tmp_path / "four.nii.gz", four)).data, four.transpose(3, 0, 1, 2))
    assert read_volume(saved(tmp_path / "one.nii.gz", ramp(4, 5, 6, 1, 1))).data.shape == (1, 4, 5, 6)
    files = [saved(tmp_path / f"c{i}.nii.gz", ramp(*SHAPE) + i) for i in range(2)]
    assert np.array_equal(read_volume(files).data, [ramp(*SHAPE), ramp(*SHAPE) + 1])


def test_channels_on_different_grids_are_refused(tmp_path: Path) -> None:
    first = saved(tmp_path / "a.nii.gz", ramp(*SHAPE))
    with pytest.raises(InputError, match=r"b.nii.gz has another grid"):
        read_volume([first, saved(tmp_path / "b.nii.gz", ramp(4, 5, 7))])
    with pytest.raises(InputError, match=r"c.nii.gz has another grid"):
        read_volume([first, saved(tmp_path / "c.nii.gz", ramp(*SHAPE), np.eye(4))])


def test_colour_and_complex_images_are_refused(tmp_path: Path) -> None:
    colour = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    for name, data in (("colour", colour), ("complex", np.zeros(SHAPE, np.complex64))):
        with pytest.raises(InputError, match="colour or complex"):
            read_volume(saved(tmp_path / f"{name}.nii.gz", data))


def test_labels_are_whole_numbers(tmp_path: Path) -> None:
    truth = np.zeros(SHAPE, np.float32)  # some masks are stored as floats
    truth[1:3] = 2
    labels, volume = read_labels(saved(tmp_path / "a.nii.gz", truth))
    assert labels.dtype == np.int32 and np.array_equal(labels, truth)
    assert volume.shape == SHAPE
    with pytest.raises(InputError, match="no label map"):
        read_labels(saved(tmp_path / "b.nii.gz", truth + np.float32(0.25)))
    with pytest.raises(InputError, match="holds 2 volumes"):
        read_labels(saved(tmp_path / "c.nii.gz", np.zeros((*SHAPE, 2), np.float32)))


def test_a_volume_from_no_file_is_written_in_mm(tmp_path: Path) -> None:
    affine = np.diag([0.5, 0.5, 2, 1])
    back = nib.load(write_nifti(tmp_path / "a.nii.gz", ramp(*SHAPE), Volume(ramp(1, *SHAPE), affine)))
    assert np.allclose(back.affine, affine)
    assert (back.header["qform_code"], back.header["sform_code"]) == (1, 1)
    assert back.header.get_xyzt_units()[0] == "mm"


def test_private_header_fields_do_not_travel(tmp_path: Path) -> None:
    image = nib.Nifti1Image(ramp(*SHAPE), np.eye(4))
    image.header["descrip"], image.header["db_name"], image.header["aux_file"] = b"DOE^JANE", b"DOE", b"JANE"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"DOE^JANE 1970-01-01"))
    nib.save(image, tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    write_nifti(tmp_path / "b.nii", volume.data[0], volume)
    assert b"DOE" in (tmp_path / "a.nii").read_bytes()
    written = (tmp_path / "b.nii").read_bytes()
    assert b"DOE" not in written and b"JANE" not in written


def test_a_name_without_gz_is_written_without_compression(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii", ramp(*SHAPE), Volume(ramp(1, *SHAPE), np.eye(4)))
    assert (tmp_path / "a.nii").read_bytes()[344:347] == b"n+1"
    assert np.array_equal(nib.load(tmp_path / "a.nii").get_fdata(), ramp(*SHAPE))


def test_writing_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("earlier", encoding="utf-8")

    def fails(temporary: Path) -> None:
        temporary.write_text("half", encoding="utf-8")
        raise OSError(28, "No space left on device")

    with pytest.raises(ExportError, match=r"a.txt could not be written \(No space left on device\)"):
        write_atomically(path, fails)
    assert path.read_text(encoding="utf-8") == "earlier"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_a_written_file_has_the_usual_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a.txt", lambda temporary: temporary.write_text("x"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_names() -> None:
    assert is_nifti("A.NII.GZ") and is_nifti("a.nii") and not is_nifti("a.gz")
    assert stem("x/case_1.nii.gz") == stem("case_1.nii") == "case_1"
