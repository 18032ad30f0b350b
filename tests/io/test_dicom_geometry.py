"""Where DICOM voxels lie, with SimpleITK's reader as the oracle."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from SimpleITK import GetArrayFromImage, ImageSeriesReader

from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.dicom.series import DicomSource, read_series
from napari_pgrd.io.nifti import write_nifti
from tests.dicoms import base, ramp, write_enhanced, write_series

AXES = [np.eye(3)[:, list(p)] * s for p in permutations(range(3)) for s in product((1.0, -1.0), repeat=3)]
SPACING = (0.75, 1.5, 2.25)


def by_simpleitk(folder: Path) -> Volume:
    """The series of a folder, with an affine to RAS+."""
    reader = ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return Volume(GetArrayFromImage(image).T[None], np.diag([-1, -1, 1, 1]) @ affine)


def places(volume: Volume) -> dict[float, tuple[float, ...]]:
    """Of every value, which occurs once, the place in the world."""
    index = np.argwhere(volume.data[0] == volume.data[0])
    world = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    return {float(volume.data[0][tuple(i)]): tuple(np.round(w, 4) + 0.0) for i, w in zip(index, world, strict=True)}


def turned(*degrees: float) -> np.ndarray:
    a, b, c = np.radians(degrees)
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return z @ y @ x


@pytest.mark.parametrize(
    "axes", AXES, ids=lambda a: "".join(f"{int(v):+d}" for v in a.sum(0) * (np.argmax(abs(a), 0) + 1))
)
def test_all_48_orientations_lie_where_simpleitk_has_them(tmp_path: Path, axes: np.ndarray) -> None:
    write_series(tmp_path, ramp(), axes=axes, spacing=SPACING)
    volume, oracle = read_series(tmp_path), by_simpleitk(tmp_path)
    assert np.array_equal(volume.data, oracle.data)
    assert np.allclose(volume.affine, oracle.affine, atol=1e-6)
    assert volume.affine[:3, :3] @ volume.affine[:3, :3].T == pytest.approx(np.diag((axes * SPACING) ** 2 @ np.ones(3)))
    across, down, along = axes.T * np.reshape(SPACING, (3, 1))  # from what was written, too
    for i, j, k in ((0, 0, 0), (5, 4, 3), (2, 1, 3)):
        lps = np.array((-20, 7, 3.5)) + i * across + j * down + k * along
        assert places(volume)[float(ramp()[i, j, k])] == pytest.approx((-lps[0], -lps[1], lps[2]))


@pytest.mark.parametrize("degrees", [(10, 20, 30), (-75, 12, 160), (0.5, -0.2, 0.1)])
def test_an_oblique_series_lies_where_simpleitk_has_it(tmp_path: Path, degrees: tuple[float, ...]) -> None:
    write_series(tmp_path, ramp(7, 5, 6), axes=turned(*degrees), spacing=SPACING)
    volume, oracle = read_series(tmp_path), by_simpleitk(tmp_path)
    assert np.array_equal(volume.data, oracle.data)
    assert np.allclose(volume.affine, oracle.affine, atol=1e-6)


def test_the_order_is_that_of_places_whatever_names_numbers_and_thickness_say(tmp_path: Path) -> None:
    numbers = (7, 2, 9, 1)

    def shuffle(k: int, ds) -> None:
        ds.InstanceNumber, ds.SliceThickness, ds.SpacingBetweenSlices, ds.SliceLocation = numbers[k], 1.0, 7.0, -k

    write_series(tmp_path, ramp(), change=shuffle, names=lambda k: ("IM2", "zz", "IM10", "a.b.1")[k])
    volume = read_series(tmp_path)
    assert np.array_equal(volume.data[0], ramp()) and volume.spacing == (1, 1, 2)
    source = volume.source
    assert isinstance(source, DicomSource)
    assert [int(ds.InstanceNumber) for ds in source.datasets] == list(numbers) and source.frames == (0,) * 4
    assert [path.name for path in source.files] == ["IM2", "zz", "IM10", "a.b.1"]
    first = source.datasets[0]
    assert (source.series_uid, source.study_uid) == (first.SeriesInstanceUID, first.StudyInstanceUID)
    assert source.frame_of_reference_uid == first.FrameOfReferenceUID
    assert "PixelData" not in first and first.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"


def test_the_source_is_in_the_order_of_the_third_axis_when_slices_run_backwards(tmp_path: Path) -> None:
    write_series(tmp_path, ramp(), axes=np.diag([1.0, 1.0, -1.0]))
    volume = read_series(tmp_path)
    assert np.array_equal(volume.data[0], ramp()[:, :, ::-1])
    for k, ds in enumerate(volume.source.datasets):
        x, y, z = (float(v) for v in ds.ImagePositionPatient)
        assert (volume.affine @ (0, 0, k, 1))[:3] == pytest.approx((-x, -y, z))


@pytest.mark.parametrize("axes", [np.eye(3), turned(10, 20, 30), np.eye(3)[:, [2, 0, 1]]])
def test_an_enhanced_object_is_as_its_slices_one_by_one(tmp_path: Path, axes: np.ndarray) -> None:
    slopes = [(2.0, -3.0), (5.0, 4.0), (1.0, 0.0), (3.0, 1.0)]
    path = write_enhanced(tmp_path / "one", ramp(), axes=axes, spacing=SPACING, order=(2, 0, 3, 1), slopes=slopes)

    def scale(k: int, ds) -> None:
        ds.RescaleSlope, ds.RescaleIntercept = slopes[k]

    write_series(tmp_path / "many", ramp(), axes=axes, spacing=SPACING, change=scale)
    volume, oracle = read_series(path), by_simpleitk(tmp_path / "many")
    assert np.allclose(volume.data, oracle.data) and np.allclose(volume.affine, oracle.affine, atol=1e-6)
    up = axes[:, 2] @ np.cross(axes[:, 0], axes[:, 1]) > 0
    assert volume.source.frames == ((2, 4, 1, 3) if up else (3, 1, 4, 2))
    assert len({id(ds) for ds in volume.source.datasets}) == 1


def test_results_of_a_dicom_image_are_written_as_nifti_where_it_lies(tmp_path: Path) -> None:
    write_series(tmp_path / "in", ramp(), axes=turned(10, 20, 30), spacing=SPACING)
    volume = read_series(tmp_path / "in")
    back = nib.load(write_nifti(tmp_path / "out.nii.gz", volume.data[0], volume))
    assert np.array_equal(back.get_fdata(), volume.data[0])
    assert np.allclose(back.affine, volume.affine, atol=1e-5) and np.allclose(
        back.get_qform(), volume.affine, atol=1e-4
    )
    assert back.header.get_xyzt_units()[0] == "mm"
    assert b"Sally" not in (tmp_path / "out.nii.gz").read_bytes()


def test_a_single_slice_has_no_known_depth(tmp_path: Path) -> None:
    write_series(tmp_path, ramp(slices=1), spacing=SPACING)
    volume = read_series(tmp_path)
    assert volume.shape == (6, 5, 1) and not volume.spacing_known
    assert volume.spacing[:2] == SPACING[:2]


def sentence(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_series(folder)
    return str(caught.value)


def test_rounded_positions_are_no_unequal_spacing(tmp_path: Path) -> None:
    def rounded(k: int, ds) -> None:
        ds.ImagePositionPatient = [round(float(v), 1) for v in ds.ImagePositionPatient]

    write_series(tmp_path, ramp(slices=9), axes=turned(3, 4, 5), spacing=(1, 1, 1.25), change=rounded)
    volume = read_series(tmp_path)
    assert volume.spacing[2] == pytest.approx(1.25, abs=0.02)


def test_a_missing_slice_is_named(tmp_path: Path) -> None:
    write_series(tmp_path, ramp(slices=8), change=lambda k, ds: k != 3)
    text = sentence(tmp_path)
    assert "series 3" in text and "image 3 and image 5 (slices 3 and 4 of 7)" in text
    assert "4 mm apart, but most slices 2 mm: 1 is missing between them" in text


def test_unequal_steps_are_named(tmp_path: Path) -> None:
    def move(k: int, ds) -> None:
        ds.ImagePositionPatient = [0, 0, 2.0 * k + (0.7 if k > 4 else 0)]

    write_series(tmp_path, ramp(slices=8), change=move)
    text = sentence(tmp_path)
    assert "image 5 and image 6" in text and "2.7 mm" in text and "missing" not in text and "evenly" in text


def test_a_slice_beside_the_line_is_named(tmp_path: Path) -> None:
    def move(k: int, ds) -> None:
        ds.ImagePositionPatient = [0.4 * (k == 2), 0, 2.0 * k]

    write_series(tmp_path, ramp(slices=6), change=move)
    assert "image 3 (slice 3 of 6) lies 0.4 mm beside" in sentence(tmp_path)


def test_two_slices_at_one_place_are_named(tmp_path: Path) -> None:
    shared = base()
    write_series(tmp_path, ramp(), shared=shared)
    write_series(tmp_path, ramp(), shared=shared, change=lambda k, ds: k == 2, names=lambda k: f"copy{k}")
    text = sentence(tmp_path)
    assert "image 3 and image 3 lie at the same place" in text and "series 3" in text


def test_a_tilted_gantry_is_named_with_its_angle(tmp_path: Path) -> None:
    write_series(tmp_path, ramp(slices=6), step=(0, 2 * np.tan(np.radians(15)), 2))
    text = sentence(tmp_path)
    assert "series 3" in text and "15.0 degrees" in text and "from image 1 to image 6" in text and "tilt" in text


def test_an_oblique_series_is_not_tilted(tmp_path: Path) -> None:
    axes = turned(15, 0, 0)
    write_series(tmp_path, ramp(slices=6), axes=axes)
    assert np.allclose(np.linalg.inv(volume := read_series(tmp_path).affine) @ volume, np.eye(4))
    assert abs(volume[:3, 1] @ volume[:3, 2]) < 1e-6


@pytest.mark.parametrize(
    ("what", "element", "value"),
    [
        ("direction", "ImageOrientationPatient", [1, 0, 0, 0, 0, -1]),
        ("pixel spacing", "PixelSpacing", [1.2, 1.0]),
        ("frame of reference", "FrameOfReferenceUID", "1.2.3"),
    ],
)
def test_a_slice_unlike_the_others_is_named(tmp_path: Path, what: str, element: str, value: object) -> None:
    write_series(tmp_path, ramp(slices=6), change=lambda k, ds: setattr(ds, element, value) if k == 3 else None)
    text = sentence(tmp_path)
    assert "In series 3, image 4" in text and f"one {what}" in text and "5 of the 6 slices" in text


def test_a_slice_of_another_size_is_named(tmp_path: Path) -> None:
    shared = base()
    write_series(tmp_path, ramp(slices=5), shared=shared, change=lambda k, ds: k != 2)
    write_series(tmp_path, ramp(8, 9, 5), shared=shared, change=lambda k, ds: k == 2)
    assert "In series 3, image 3 has 8 x 9 pixels, unlike 4 of the 5 slices" in sentence(tmp_path)


@pytest.mark.parametrize(
    ("element", "value", "part"),
    [
        ("ImagePositionPatient", None, "does not say where it lies"),
        ("PixelSpacing", [1.0], "does not say where it lies"),
        ("ImageOrientationPatient", [1, 0, 0, 0.5, 1, 0], "impossible geometry"),
        ("ImageOrientationPatient", [2, 0, 0, 0, 1, 0], "impossible geometry"),
        ("PixelSpacing", [0, 1.0], "impossible geometry"),
        ("ImagePositionPatient", [0, 0, 1e9], "impossible geometry"),
    ],
)
def test_an_impossible_place_is_named(tmp_path: Path, element: str, value: object, part: str) -> None:
    write_series(tmp_path, ramp(), change=lambda k, ds: setattr(ds, element, value) if k == 1 else None)
    assert "In series 3, image 2" in (text := sentence(tmp_path)) and part in text


def test_frames_that_share_a_place_or_have_none_are_refused(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "twice", ramp(), order=(0, 1, 2, 2))
    assert "image 1, frame 3 and image 1, frame 4 lie at the same place" in sentence(tmp_path / "twice")

    def no_place(ds) -> None:
        del ds.PerFrameFunctionalGroupsSequence
        ds.ImagePositionPatient = [0, 0, 0]

    write_enhanced(tmp_path / "none", ramp(), change=no_place)
    assert "image 1, frame 1 does not say where it lies" in sentence(tmp_path / "none")

    def too_few(ds) -> None:
        ds.PerFrameFunctionalGroupsSequence = ds.PerFrameFunctionalGroupsSequence[:2]

    write_enhanced(tmp_path / "few", ramp(), change=too_few)
    assert "claims 4 frames, but describes 2" in sentence(tmp_path / "few")
