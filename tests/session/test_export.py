"""Exported files, read with nibabel alone and compared with the definitions."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from napari_pgrd.engine.aggregate import Aggregate, Prediction
from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.errors import ExportError, InputError
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.nifti import read_volume
from napari_pgrd.session.export import check_destination, export
from napari_pgrd.session.phases import RULE
from napari_pgrd.session.summary import PlaceRow, ReviewSummary
from tests.tiny import LABELS, make_tiny_bundle

SHAPE = (7, 6, 5)
VALUES = np.array([0, 9, 4])
REVIEW = ReviewSummary(
    (PlaceRow("tip", "changed", 0.25, "mL", (1, 2, 3)),),
    (4, 7), "A.B.", {"review": 61.5}, {"stroke": 3, "undo": 1}, source_name="DOE, JANE",
)  # fmt: skip
ALL = {
    "segmentation.nii.gz", "samples.nii.gz", "probability.nii.gz", "variance.nii.gz", "entropy.nii.gz", "volumes.csv",
    "manifest.json",
}  # fmt: skip


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    labels = [{**label, "value": int(v)} for label, v in zip(LABELS, VALUES, strict=True)]
    return Bundle.load(make_tiny_bundle(tmp_path_factory.mktemp("bundle"), labels=labels))


def oblique() -> np.ndarray:
    """A rotated, anisotropic, left-handed affine far from the origin."""
    c, s = np.cos(0.3), np.sin(0.3)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0.0]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-0.8, 1.1, 2.5])
    affine[:3, 3] = (-71.5, 103.25, 12)
    return affine


def source(folder: Path, affine: np.ndarray, qform: int = 1, sform: int = 2) -> Path:
    image = nib.Nifti1Image(np.random.default_rng(0).normal(size=SHAPE).astype(np.float32), affine)
    image.set_qform(affine, qform)
    image.set_sform(affine, sform)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"DOE^JANE 1970"
    path = folder / "DOE_JANE.nii.gz"
    nib.save(image, path)
    return path


def draw(shape: tuple[int, ...], samples: int = 3, seed: int = 0) -> tuple[Prediction, np.ndarray]:
    """A prediction of random estimates, and the estimates ``(M, K, *shape)``."""
    rng = np.random.default_rng(seed)
    yhat = rng.dirichlet((0.4, 0.4, 0.4), (samples, *shape)).astype(np.float32).transpose(0, 4, 1, 2, 3)
    aggregate = Aggregate(rng.dirichlet((1, 1, 1), shape).astype(np.float32).transpose(3, 0, 1, 2).copy(), tau=0.1)
    for y in yhat:
        aggregate.add(torch.from_numpy(y.copy()))
    return aggregate.snapshot(), yhat


def load(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize(("qform", "sform"), [(1, 2), (1, 0), (0, 3), (4, 4)])
def test_every_file_lies_exactly_on_the_source(bundle: Bundle, tmp_path: Path, qform: int, sform: int) -> None:
    path = source(tmp_path, oblique(), qform, sform)
    prediction, _ = draw(SHAPE)
    correction = np.full(SHAPE, 4)
    written = export(
        tmp_path / "out", prediction, read_volume(path), bundle, Request(), correction=correction, source=[path]
    )
    assert {p.name for p in written} == ALL | {"corrected.nii.gz"} == {p.name for p in (tmp_path / "out").iterdir()}
    original = nib.load(path)
    for file in written:
        if file.name.endswith(".nii.gz"):
            image = nib.load(file)
            assert image.shape[:3] == SHAPE
            assert np.array_equal(image.affine, original.affine), file.name
            for field in ("qform_code", "sform_code", "xyzt_units", "quatern_b", "qoffset_x", "srow_x"):
                assert np.array_equal(image.header[field], original.header[field]), (file.name, field)
            assert np.array_equal(image.header.get_zooms()[:3], original.header.get_zooms())
            kind = np.float32 if file.name.split(".")[0] in ("probability", "variance", "entropy") else np.uint8
            assert image.get_data_dtype() == kind


def test_contents_follow_the_definitions(bundle: Bundle, tmp_path: Path) -> None:
    volume = read_volume(source(tmp_path, oblique()))
    prediction, yhat = draw(SHAPE)
    out = tmp_path / "out"
    export(out, prediction, volume, bundle, Request())
    soft = np.exp(yhat / 0.1) / np.exp(yhat / 0.1).sum(1, keepdims=True)
    p = soft.mean(0)
    hot = np.eye(3)[yhat.argmax(1)]  # (M, x, y, z, K)
    assert np.allclose(load(out / "probability.nii.gz"), p.transpose(1, 2, 3, 0), atol=1e-5)
    assert np.allclose(load(out / "entropy.nii.gz"), -(p * np.log(p)).sum(0), atol=1e-5)
    assert np.allclose(load(out / "variance.nii.gz"), hot.var(0).sum(-1), atol=1e-6)
    assert np.array_equal(load(out / "segmentation.nii.gz"), VALUES[p.argmax(0)])
    assert np.array_equal(load(out / "samples.nii.gz"), VALUES[yhat.argmax(1)].transpose(1, 2, 3, 0))


def test_volumes_are_counted_voxels_times_their_size(bundle: Bundle, tmp_path: Path) -> None:
    volume = read_volume(source(tmp_path, oblique()))
    prediction, yhat = draw(SHAPE)
    correction = np.zeros(SHAPE, np.uint8)
    correction[:2] = 9
    export(tmp_path, prediction, volume, bundle, Request(), what=(), correction=correction)
    rows = table(tmp_path / "volumes.csv")
    assert {r["label"] for r in rows} == {"anterior", "posterior"}
    ml = {(r["label"], r["sample"]): float(r["mL"]) for r in rows}
    assert len(ml) == 2 * (3 + 3)
    voxel = 0.8 * 1.1 * 2.5 / 1000
    for k, label in ((1, "anterior"), (2, "posterior")):
        for i in range(3):
            assert ml[label, str(i + 1)] == pytest.approx((yhat[i].argmax(0) == k).sum() * voxel, rel=1e-5)
        assert ml[label, "prior"] == pytest.approx((prediction.prior.argmax(0) == k).sum() * voxel, rel=1e-5)
    assert ml["anterior", "correction"] == pytest.approx(60 * voxel, rel=1e-5)
    assert ml["posterior", "correction"] == 0


def test_unknown_spacing_is_given_in_voxels(bundle: Bundle, tmp_path: Path) -> None:
    prediction, yhat = draw(SHAPE)
    volume = Volume(np.zeros((1, *SHAPE), np.float32), np.diag([2.0, 2, 2, 1]), spacing_known=False)
    export(tmp_path, prediction, volume, bundle, Request(), what=())
    rows = table(tmp_path / "volumes.csv")
    assert set(rows[0]) == {"label", "sample", "voxels"}
    first = next(r for r in rows if r["label"] == "anterior" and r["sample"] == "1")
    assert float(first["voxels"]) == (yhat[0].argmax(0) == 1).sum()


def test_a_box_is_put_back_where_it_was(bundle: Bundle, tmp_path: Path) -> None:
    volume = read_volume(source(tmp_path, oblique()))
    box = ((1, 5), (2, 6), (0, 3))
    inside = tuple(slice(lo, hi) for lo, hi in box)
    prediction, yhat = draw((4, 4, 3))
    correction = np.full((4, 4, 3), 9)
    export(tmp_path / "out", prediction, volume, bundle, Request(box=box), correction=correction)
    expected = {
        "segmentation": (VALUES[prediction.probability.argmax(0)], 0),
        "corrected": (correction, 0),
        "samples": (VALUES[yhat.argmax(1)].transpose(1, 2, 3, 0), 0),
        "probability": (prediction.probability.transpose(1, 2, 3, 0), np.array([1, 0, 0])),
        "entropy": (prediction.entropy, 0),
        "variance": (prediction.variance, 0),
    }
    for name, (part, around) in expected.items():
        data = load(tmp_path / "out" / f"{name}.nii.gz")
        whole = np.broadcast_to(around, data.shape).astype(data.dtype).copy()
        whole[inside] = part
        assert np.array_equal(data, whole), name


def test_the_manifest_tells_how_and_not_who(bundle: Bundle, tmp_path: Path) -> None:
    path = source(tmp_path, oblique())
    prediction, _ = draw(SHAPE)
    out = tmp_path / "out"
    request = Request(samples=3, steps=2, seed=5, solver="ddpm", device="cpu")
    export(out, prediction, read_volume(path), bundle, request, review=REVIEW)
    text = (out / "manifest.json").read_text(encoding="utf-8")
    manifest = json.loads(text)
    assert manifest["bundle"]["sha256"] == hashlib.sha256((bundle.folder / "bundle.json").read_bytes()).hexdigest()
    asked = manifest["request"]
    assert (asked["samples"], asked["steps"], asked["seed"], asked["solver"]) == (3, 2, 5, "ddpm")
    assert manifest["device"] == "cpu"
    assert manifest["review"] == {
        "places": [{"name": "tip", "state": "changed", "stake": 0.25, "unit": "mL", "centre": [1, 2, 3]}],
        "slices_seen": [4, 7],
        "initials": "A.B.",
        "seconds": {"review": 61.5},
        "seconds_rule": RULE,
        "edits": {"stroke": 3, "undo": 1},
    }
    assert manifest["versions"]["torch"] == torch.__version__ and manifest["versions"]["numpy"] == np.__version__
    assert manifest["shape"] == list(SHAPE) and np.allclose(manifest["affine"], oblique())
    assert set(manifest["files"]) == ALL - {"manifest.json"}
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    assert "not a medical device" in manifest["note"]
    everything = text.encode() + b"".join(nib.load(p).header.binaryblock for p in out.glob("*.nii.gz"))
    assert b"DOE" not in everything and b"JANE" not in everything and str(tmp_path).encode() not in everything


def test_only_what_was_asked_for_is_written(bundle: Bundle, tmp_path: Path) -> None:
    prediction, _ = draw(SHAPE)
    volume = read_volume(source(tmp_path, oblique()))
    export(tmp_path / "out", prediction, volume, bundle, Request(), what=["mask"])
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"segmentation.nii.gz", "volumes.csv", "manifest.json"}
    with pytest.raises(InputError, match="nothing called masks.*mask, maps, samples, report"):
        export(tmp_path / "out", prediction, volume, bundle, Request(), what=["masks"])


def test_a_correction_of_a_mask_needs_no_samples(bundle: Bundle, tmp_path: Path) -> None:
    file = source(tmp_path, oblique())
    volume, box = read_volume(file), ((1, 6), (0, 6), (2, 5))
    mask = VALUES[np.random.default_rng(3).integers(0, 3, SHAPE)].astype(np.uint8)
    part = mask[1:6, :, 2:5]
    for correction, request in ((mask, Request()), (part, Request(box=box))):
        out = tmp_path / f"out {correction.shape}"
        what = ("mask", "maps", "samples", "report")
        files = export(out, None, volume, bundle, request, what=what, correction=correction, review=REVIEW)
        assert [f.name for f in files] == ["corrected.nii.gz", "volumes.csv", "manifest.json"]
        written = nib.load(out / "corrected.nii.gz")
        expected = np.zeros(SHAPE, np.uint8)
        expected[tuple(slice(lo, hi) for lo, hi in request.box) if request.box else ...] = correction
        np.testing.assert_array_equal(np.asarray(written.dataobj), expected)
        np.testing.assert_allclose(written.affine, nib.load(file).affine)
        manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
        assert manifest["request"] is None and "device" not in manifest
        assert manifest["review"]["edits"] == {"stroke": 3, "undo": 1}
        with (out / "volumes.csv").open(encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        assert {row["sample"] for row in rows} == {"correction"}
        size = abs(np.linalg.det(volume.affine[:3, :3])) / 1000
        for row, value in zip(rows, VALUES[1:], strict=True):
            assert float(row["mL"]) == pytest.approx((correction == value).sum() * size, rel=1e-5)
    with pytest.raises(InputError, match="neither a prediction nor a correction"):
        export(tmp_path / "none", None, volume, bundle, Request())
    assert not (tmp_path / "none").exists()


def test_a_review_comes_with_its_report_and_its_edit_log(bundle: Bundle, tmp_path: Path) -> None:
    prediction, _ = draw(SHAPE)
    volume = read_volume(source(tmp_path, oblique()))
    log = bytes(range(256)) * 3  # no text, and no line that is whole
    export(
        tmp_path / "out", prediction, volume, bundle, Request(), what=["mask", "report"],
        correction=np.full(SHAPE, 9), review=REVIEW, edit_log=log,
    )  # fmt: skip
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "segmentation.nii.gz", "corrected.nii.gz", "volumes.csv", "report.html", "edits.log", "manifest.json",
    }  # fmt: skip
    assert (tmp_path / "out" / "edits.log").read_bytes() == log
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "1 of 1 place settled, 1 changed, 4 of 7 slices seen" in page and "DOE, JANE" in page
    assert f"{210 * 0.8 * 1.1 * 2.5 / 1000:.2f} mL" in page and bundle.digest in page
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert {"report.html", "edits.log"} < set(manifest["files"])
    assert manifest["files"]["edits.log"] == hashlib.sha256(log).hexdigest()


def test_a_report_on_a_box_shows_and_counts_the_whole(bundle: Bundle, tmp_path: Path) -> None:
    volume = read_volume(source(tmp_path, oblique()))
    prediction, _ = draw((4, 4, 3))
    request = Request(box=((1, 5), (2, 6), (0, 3)))
    correction = np.full((4, 4, 3), 9)
    review = ReviewSummary((PlaceRow("corner", "open", 0.1, "mL", (6, 5, 4)),))  # outside the box, inside the image
    export(tmp_path, prediction, volume, bundle, request, what=["report"], correction=correction, review=review)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"{48 * 0.8 * 1.1 * 2.5 / 1000:.2f} mL" in page and page.count("data:image/png") == 3


def test_a_correction_with_an_unknown_value_or_shape_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    prediction, _ = draw(SHAPE)
    volume = read_volume(source(tmp_path, oblique()))
    with pytest.raises(InputError, match=r"\[5\].*\[0, 9, 4\]"):
        export(tmp_path / "out", prediction, volume, bundle, Request(), correction=np.full(SHAPE, 5))
    with pytest.raises(InputError, match=r"shape \(2, 2, 2\)"):
        export(tmp_path / "out", prediction, volume, bundle, Request(), correction=np.zeros((2, 2, 2), int))
    assert not (tmp_path / "out").exists()


def test_the_source_is_never_overwritten(bundle: Bundle, tmp_path: Path) -> None:
    path = source(tmp_path, oblique()).rename(tmp_path / "segmentation.nii.gz")
    (tmp_path / "link").symlink_to(tmp_path)
    before = path.read_bytes()
    prediction, _ = draw(SHAPE)
    for folder in (tmp_path, tmp_path / "link"):
        with pytest.raises(ExportError, match="is the image itself"):
            export(folder, prediction, read_volume(path), bundle, Request(), source=[path])
    assert path.read_bytes() == before
    for name in ("report.html", "edits.log"):  # an image under such a name would be odd, but it would be the reader's
        image = path.rename(tmp_path / name)
        with pytest.raises(ExportError, match=f"{name} in that folder is the image itself"):
            check_destination(tmp_path, [image])
        path = image


def test_a_folder_that_cannot_be_written_is_a_sentence(bundle: Bundle, tmp_path: Path) -> None:
    prediction, _ = draw(SHAPE)
    volume = read_volume(source(tmp_path, oblique()))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ExportError, match="cannot be written .* Choose another"):
        export(tmp_path / "file", prediction, volume, bundle, Request())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = os.name == "posix" and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    ).returncode == 0  # fmt: skip
    if not made:
        pytest.skip("no right to mount a file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_really_full_disk_leaves_the_earlier_export_whole(bundle: Bundle, small_disk: Path) -> None:
    small, _ = draw((4, 4, 3))
    volume = Volume(np.zeros((1, 4, 4, 3), np.float32), np.eye(4))
    export(small_disk, small, volume, bundle, Request())
    before = {p.name: p.read_bytes() for p in small_disk.iterdir()}
    large, _ = draw((24, 24, 24))
    with pytest.raises(ExportError, match="could not be written .*earlier file of that name is untouched"):
        export(small_disk, large, Volume(np.zeros((1, 24, 24, 24), np.float32), np.eye(4)), bundle, Request())
    assert {p.name: p.read_bytes() for p in small_disk.iterdir()} == before


LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.errors import ExportError
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.volume import Volume
from napari_pgrd.session.export import check_destination, export
from napari_pgrd.session.phases import RULE
from napari_pgrd.session.summary import PlaceRow, ReviewSummary
from tests.session.test_export import draw
prediction, _ = draw((24, 24, 24))
volume, bundle = Volume(np.zeros((1, 24, 24, 24), np.float32), np.eye(4)), Bundle.load(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    export(sys.argv[2], prediction, volume, bundle, Request(), what=sys.argv[3:])
except ExportError as error:
    print(error)
    sys.exit(7)
"""


@pytest.mark.skipif(os.name != "posix", reason="file size limits are POSIX")
@pytest.mark.parametrize("part", ["maps", "report"])
def test_a_write_that_fails_half_way_leaves_the_earlier_export_whole(bundle: Bundle, tmp_path: Path, part: str) -> None:
    small, _ = draw((4, 4, 3))
    volume = Volume(np.zeros((1, 4, 4, 3), np.float32), np.eye(4))
    export(tmp_path, small, volume, bundle, Request(), what=["mask", "maps", "samples", "report"], edit_log=b"edits")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert set(before) == ALL | {"report.html", "edits.log"}
    words = [sys.executable, "-c", LIMITED, str(bundle.folder), str(tmp_path), part]
    run = subprocess.run(words, capture_output=True, text=True, check=False)
    assert run.returncode == 7, run.stderr
    assert "could not be written (File too large)" in run.stdout
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
