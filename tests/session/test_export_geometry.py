"""What a reader painted on the screen lies in the file where it was painted, compared with nibabel alone."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.predict import predict
from napari_pgrd.engine.request import Request
from napari_pgrd.io.nifti import read_volume
from napari_pgrd.session.display import Display
from napari_pgrd.session.export import export
from tests.session.test_export import draw
from tests.tiny import blob_volume, make_tiny_bundle

CODES = ["RAS", "LPS", "LPI", "SAR", "PIL", "IRA", "ASL", "SLP"]
SPACING = (0.9, 1.3, 2.5)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.load(make_tiny_bundle(tmp_path_factory.mktemp("bundle")))


def upright() -> np.ndarray:
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = (-40.5, 12.25, 7)
    return affine


def oblique() -> np.ndarray:
    """Turned by 17 degrees about one axis and by 11 about another."""
    a, b = np.deg2rad((17, 11))
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = upright()
    affine[:3, :3] = about_z @ about_x @ affine[:3, :3]
    return affine


def saved(path: Path, ras: np.ndarray, affine: np.ndarray, codes: str) -> nib.Nifti1Image:
    """A head whose world is that of ``ras`` and ``affine``, stored in another axis order, and read back from disk."""
    image = nib.Nifti1Image(ras.astype(np.float32), affine)
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(tuple(codes)))
    image = image.as_reoriented(turn)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return nib.load(path)


@pytest.mark.parametrize("shape", [(7, 6, 5), (7, 6, 1)], ids=["3D", "one slice"])
@pytest.mark.parametrize("affine", [upright(), oblique()], ids=["upright", "oblique"])
@pytest.mark.parametrize("codes", CODES)
def test_a_correction_lies_where_it_was_painted(
    bundle: Bundle, tmp_path: Path, codes: str, affine: np.ndarray, shape: tuple[int, int, int]
) -> None:
    rng = np.random.default_rng(0)
    painted = rng.integers(0, 3, shape).astype(np.uint8)  # by the patient's directions: right, anterior, superior
    original = saved(tmp_path / "head.nii.gz", rng.normal(size=shape), affine, codes)
    volume = read_volume(tmp_path / "head.nii.gz")
    display = Display.of(volume)
    screen = np.zeros(display.show(volume.data[0]).shape, np.uint8)
    screen[:] = painted[::-1, ::-1, ::-1].transpose(2, 1, 0)  # rows run to posterior, columns to left, slices downwards
    prediction, _ = draw(volume.shape, 2)
    export(tmp_path, prediction, volume, bundle, Request(), what=["mask"], correction=display.hide(screen))

    written = nib.load(tmp_path / "corrected.nii.gz")
    assert written.shape == original.shape and np.array_equal(written.affine, original.affine)
    for field in ("qform_code", "sform_code", "xyzt_units", "pixdim", "srow_x", "srow_y", "srow_z", "qoffset_x"):
        assert np.array_equal(written.header[field], original.header[field]), field
    world = nib.as_closest_canonical(written)
    assert np.array_equal(np.asarray(world.dataobj), painted)
    assert np.allclose(world.affine, affine, atol=1e-5)


def test_a_correction_of_a_flat_file_lies_on_it(bundle: Bundle, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = nib.Nifti1Image(rng.normal(size=(7, 6)).astype(np.float32), upright())
    image.header.set_xyzt_units("mm")
    nib.save(image, tmp_path / "flat.nii.gz")
    volume = read_volume(tmp_path / "flat.nii.gz")
    painted = rng.integers(0, 3, volume.shape).astype(np.uint8)
    prediction, _ = draw(volume.shape, 2)
    export(tmp_path, prediction, volume, bundle, Request(), what=["mask", "report"], correction=painted)
    written = nib.load(tmp_path / "corrected.nii.gz")
    assert np.array_equal(np.asarray(written.dataobj).reshape(7, 6), painted[..., 0])
    assert np.array_equal(written.affine, nib.load(tmp_path / "flat.nii.gz").affine)
    assert "data:image/png" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("codes", ["LPS", "SAR", "PIL"])
@pytest.mark.parametrize("affine", [upright(), oblique()], ids=["upright", "oblique"])
def test_the_same_head_in_another_axis_order_gives_the_same_mask_in_the_world(
    bundle: Bundle, tmp_path: Path, codes: str, affine: np.ndarray
) -> None:
    request = Request(samples=2, steps=2, device="cpu")
    ras = blob_volume()[0].data[0]
    files = {}
    for name, order in (("a", "RAS"), ("b", codes)):
        saved(tmp_path / f"{name}.nii.gz", ras, affine, order)
        volume = read_volume(tmp_path / f"{name}.nii.gz")
        *_, last = predict(volume, bundle, request)
        assert last.prediction is not None
        export(tmp_path / name, last.prediction, volume, bundle, request)
        files[name] = [
            nib.as_closest_canonical(nib.load(tmp_path / name / f"{part}.nii.gz"))
            for part in ("segmentation", "samples", "entropy")
        ]
    assert np.asarray(files["a"][0].dataobj).any()
    for one, other in zip(*files.values(), strict=True):
        assert np.allclose(one.affine, other.affine, atol=1e-5)
        assert np.array_equal(np.asarray(one.dataobj), np.asarray(other.dataobj))
