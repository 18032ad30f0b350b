"""``pgrd predict``: what it writes, and what bad input gets."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from napari_pgrd.io.nifti import read_volume
from napari_pgrd.io.samples import sample_cases
from tests.cli.conftest import Pgrd, write
from tests.tiny import blob_volume, make_tiny_bundle

QUICK = ("--steps", 2, "--samples", 2, "--device", "cpu")


def test_predict_writes_everything_on_the_input_grid(pgrd: Pgrd, tiny: Path, tmp_path: Path) -> None:
    affine = np.array([[0, -1.0, 0, 30], [0, 0, 1.0, -5], [1.0, 0, 0, 2], [0, 0, 0, 1]])
    image = write(tmp_path / "in.nii.gz", blob_volume()[0].data[0], affine)
    result = pgrd(
        "predict", image, "--bundle", tiny, *QUICK, "--seed", 3, "--solver", "dpmpp2m", "--out", tmp_path / "out"
    )
    assert result.code == 0, result.err
    assert "anterior" in result.out and "mL" in result.out
    foretold = r"Takes about \d+ s and \d+\.\d GB of memory\.\n"
    assert re.fullmatch(foretold, result.err)  # and no bar where stderr is no terminal
    shapes = {p.name: nib.load(p).shape for p in (tmp_path / "out").glob("*.nii.gz")}
    grid = (20, 24, 18)
    assert shapes == {
        "segmentation.nii.gz": grid,
        "samples.nii.gz": (*grid, 2),
        "probability.nii.gz": (*grid, 3),
        "variance.nii.gz": grid,
        "entropy.nii.gz": grid,
    }
    assert np.array_equal(nib.load(tmp_path / "out" / "samples.nii.gz").affine, affine)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["request"] | {"eta": 0, "box": None} == {
        "method": "pgrd", "samples": 2, "steps": 2, "seed": 3, "solver": "dpmpp2m", "eta": 0, "box": None,
    }  # fmt: skip


def test_a_box_and_several_channels(pgrd: Pgrd, tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "two", channels=2)
    data = blob_volume(channels=2)[0].data
    files = [write(tmp_path / f"c{i}.nii.gz", data[i]) for i in range(2)]
    out = tmp_path / "out"
    result = pgrd("predict", *files, "--bundle", bundle, *QUICK, "--box", "2:18,0:20,1:17", "--out", out)
    assert result.code == 0, result.err
    p = np.asarray(nib.load(out / "probability.nii.gz").dataobj)
    assert (p[:2, ..., 0] == 1).all() and (p[2:18, :20, 1:17, 0] < 1).any()
    assert np.allclose(p.sum(-1), 1, atol=1e-5)


def test_a_stack_of_slices_without_a_voxel_size_has_voxels_everywhere(pgrd: Pgrd, tmp_path: Path) -> None:
    """A real nodule: grey values 0..255, identity affine, no unit."""
    nodule = next(case for case in sample_cases() if case.contrast == "CT")
    prepare = {"normalisation": "unit", "spacing": None}
    labels = (
        {"value": 0, "name": "background", "colour": "#000000"},
        {"value": 1, "name": "nodule", "colour": "#FFE14D"},
    )
    scope = {"intensity": "ct", "start_plane": "sagittal"}
    bundle = make_tiny_bundle(tmp_path / "flat", dims=2, labels=labels, patch=(16, 16, 1), prepare=prepare, scope=scope)
    out = tmp_path / "out"
    result = pgrd("predict", nodule.image, "--bundle", bundle, *QUICK, "--report", "--out", out)
    assert result.code == 0, result.err
    consensus = int((np.asarray(nib.load(out / "segmentation.nii.gz").dataobj) == 1).sum())
    assert f"nodule: {consensus} voxels" in result.out
    table = (out / "volumes.csv").read_text(encoding="utf-8").splitlines()
    assert table[0] == "label,sample,voxels" and f"nodule,consensus,{consensus}" in table
    page = (out / "report.html").read_text(encoding="utf-8")
    assert f"{consensus} voxels" in page
    for text in (result.out, "\n".join(table), re.sub(r"data:image[^\"]*", "", page)):
        assert not re.search(r"\bmL\b|\bmm\b", text)
    for name in ("segmentation", "samples", "probability", "entropy"):
        written = read_volume(out / f"{name}.nii.gz")
        assert not written.spacing_known and np.array_equal(written.affine, np.eye(4))
    hounsfield = write(
        tmp_path / "hu.nii.gz", np.linspace(-1000, 900, 40 * 40 * 3, dtype=np.float32).reshape(40, 40, 3)
    )
    refused = pgrd("predict", hounsfield, "--bundle", bundle, *QUICK, "--out", tmp_path / "none")
    assert refused.code == 2 and "look like CT numbers (HU)" in refused.err


def test_a_report_comes_if_asked_for(pgrd: Pgrd, tiny: Path, tmp_path: Path, image: Path) -> None:
    result = pgrd("predict", image, "--bundle", tiny, *QUICK, "--report", "--out", tmp_path / "out")
    assert result.code == 0 and "report.html" in result.out
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    volume = re.search(r"anterior: ([\d.]+) mL", result.out)
    assert volume is not None and "consensus of 2 samples, not corrected" in page
    assert f"{float(volume[1]):.2f} mL" in page
    assert image.name.partition(".")[0] not in page
    assert not (pgrd("predict", image, "--bundle", tiny, *QUICK, "--out", tmp_path / "bare").code)
    assert not (tmp_path / "bare" / "report.html").exists()


def refused(pgrd: Pgrd, out: Path, *words: object) -> str:
    """The sentence of a refusal: exit status 2, nothing on stdout, nothing written."""
    result = pgrd("predict", *words, "--out", out)
    assert result.code == 2, (result.out, result.err)
    assert result.out == ""
    assert not out.is_dir() or not list(out.iterdir())
    assert result.err.startswith("pgrd: ") and result.err.count("\n") == 1, result.err
    assert "Traceback" not in result.err
    return result.err


def bad_file(folder: Path, kind: str) -> Path:
    """One way in which an image can be unusable."""
    data = blob_volume()[0].data[0]
    path = folder / f"{kind}.nii.gz"
    if kind == "missing":
        return path
    if kind == "text":
        path.write_text("this is no image" * 100, encoding="utf-8")
    elif kind == "not_nifti":
        path = folder / "image.png"
        path.write_bytes(b"\x89PNG\r\n\x1a\n")
    elif kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    elif kind in ("truncated", "absurd", "negative"):
        write(path, data)
        whole = path.read_bytes()
        if kind == "truncated":
            path.write_bytes(whole[: len(whole) // 2])
        else:
            raw = bytearray(gzip.decompress(whole))
            raw[40:56] = struct.pack("<8h", 3, *((30000,) * 3 if kind == "absurd" else (-4, 20, 18)), 1, 1, 1, 1)
            path.write_bytes(gzip.compress(bytes(raw)))
    elif kind == "dimensions":
        write(path, data[..., None, None] * np.ones((1, 1, 1, 2, 2), np.float32))
    elif kind == "channels":
        write(path, np.stack([data, data], -1))
    elif kind in ("nan", "infinite"):
        data = data.copy()
        data[3, 4, 5] = np.nan if kind == "nan" else np.inf
        write(path, data)
    elif kind == "constant":
        write(path, np.full_like(data, 7))
    elif kind == "singular":
        write(path, data)
        image = nib.load(path)
        image.header["sform_code"], image.header["qform_code"] = 1, 0
        image.header["srow_x"] = image.header["srow_y"] = (1, 0, 0, 0)
        nib.save(nib.Nifti1Image(data, None, image.header), path)
    return path


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("missing", "There is no file missing.nii.gz"),
        ("text", "text.nii.gz is not a readable NIfTI image"),
        ("not_nifti", "image.png is not NIfTI"),
        ("empty", "empty.nii.gz is empty"),
        ("folder", "folder.nii.gz is a folder"),
        ("truncated", "truncated.nii.gz is truncated"),
        ("absurd", "claims 30000 x 30000 x 30000"),
        ("negative", "negative.nii.gz"),
        ("dimensions", "has 5 dimensions"),
        ("channels", "tiny needs 1 channel"),
        ("nan", "1 voxels that are NaN or infinite, the first at (3, 4, 5"),
        ("infinite", "1 voxels that are NaN or infinite"),
        ("constant", "The image is constant"),
        ("singular", "The affine is singular"),
    ],
)
def test_an_unusable_image_is_one_sentence(pgrd: Pgrd, tiny: Path, tmp_path: Path, kind: str, sentence: str) -> None:
    path = bad_file(tmp_path, kind)
    assert sentence in refused(pgrd, tmp_path / "out", path, "--bundle", tiny, *QUICK)


def test_an_absurd_header_is_refused_before_memory_is_taken(tiny: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = bad_file(tmp_path, "absurd")
    code = "from napari_pgrd.io.nifti import read_volume; import sys; read_volume(sys.argv[1])"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))

    words = [sys.executable, "-c", code, str(path)]
    run = subprocess.run(words, preexec_fn=limit, capture_output=True, text=True, check=False)
    assert "InputError" in run.stderr and "claims 30000" in run.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--steps", 0), "0 steps were asked for; choose between 1 and 1000"),
        (("--steps", 1001), "1001 steps were asked for"),
        (("--samples", 0), "0 samples were asked for; choose between 1 and 1024"),
        (("--samples", 9999), "9999 samples were asked for"),
        (("--seed", -1), "The seed is -1"),
        (("--solver", "euler"), "There is no solver 'euler'; choose one of ddim, ddpm, dpmpp2m"),
        (("--eta", 1.5), "eta is 1.5"),
        (("--device", "tpu"), "There is no device 'tpu'"),
        (("--box", "1:2"), "The box '1:2' is not understood; give voxel ranges as x0:x1,y0:y1,z0:z1"),
        (("--box", "0:90,0:5,0:5"), "0 to 90 on x, but the image has 0 to 20"),
        (("--box", "5:5,0:5,0:5"), "5 to 5 on x"),
        (("--bundle", "nowhere"), "There is no bundle 'nowhere'"),
    ],
)
def test_a_setting_out_of_range_is_one_sentence(
    pgrd: Pgrd, tiny: Path, tmp_path: Path, image: Path, words: tuple[object, ...], sentence: str
) -> None:
    given = ("--device", "cpu", "--bundle", tiny, *words)
    assert sentence in refused(pgrd, tmp_path / "out", image, *given)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_where_there_is_none(pgrd: Pgrd, tiny: Path, tmp_path: Path, image: Path) -> None:
    sentence = refused(pgrd, tmp_path / "out", image, "--bundle", tiny, "--device", "cuda")
    assert "no CUDA device" in sentence and "'cpu'" in sentence


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("no json", "lacks bundle.json"),
        ("no weights", "lacks denoiser.safetensors"),
        ("checksum", "another checksum"),
        ("version", "schema version 99"),
        ("pickle", "pickled weights can run code"),
        ("broken json", "not valid JSON"),
        ("field", "tau"),
    ],
)
def test_a_faulty_bundle_is_one_sentence(pgrd: Pgrd, tmp_path: Path, image: Path, fault: str, sentence: str) -> None:
    folder = make_tiny_bundle(tmp_path / "faulty")
    description = folder / "bundle.json"
    content = json.loads(description.read_text(encoding="utf-8"))
    if fault == "no json":
        description.unlink()
    elif fault == "no weights":
        (folder / "denoiser.safetensors").unlink()
    elif fault == "checksum":
        with open(folder / "prior.safetensors", "r+b") as stream:
            stream.seek(-4, os.SEEK_END)
            stream.write(b"\1\2\3\4")
    elif fault == "pickle":
        torch.save({"a": torch.zeros(1)}, folder / "weights.pt")
    elif fault == "broken json":
        description.write_text("{", encoding="utf-8")
    else:
        content |= {"schema_version": 99} if fault == "version" else {"tau": -1}
        description.write_text(json.dumps(content), encoding="utf-8")
    assert sentence in refused(pgrd, tmp_path / "out", image, "--bundle", folder, *QUICK)


def test_an_output_folder_that_cannot_be_written(pgrd: Pgrd, tiny: Path, tmp_path: Path, image: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    result = pgrd("predict", image, "--bundle", tiny, *QUICK, "--out", tmp_path / "file" / "out")
    assert result.code == 2
    assert "cannot be written" in result.err and result.err.count("\n") == 1


def test_the_image_itself_is_never_overwritten(pgrd: Pgrd, tiny: Path, tmp_path: Path, image: Path) -> None:
    image = image.rename(tmp_path / "entropy.nii.gz")
    before = image.read_bytes()
    result = pgrd("predict", image, "--bundle", tiny, *QUICK, "--out", tmp_path)
    assert result.code == 2 and "is the image itself" in result.err
    assert image.read_bytes() == before


def test_missing_and_unknown_options_are_usage_errors(pgrd: Pgrd, image: Path) -> None:
    assert pgrd("predict", image).code == 2
    assert pgrd("predict", image, "--out", "x", "--stepz", 3).code == 2
    assert pgrd("predikt").code == 2


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_ctrl_c_ends_with_130_and_writes_nothing(tiny: Path, tmp_path: Path, image: Path) -> None:
    code = "from napari_pgrd.cli import main; main()"
    words = [
        "predict",
        str(image),
        "--bundle",
        str(tiny),
        "--steps",
        "900",
        "--samples",
        "900",
        "--out",
        str(tmp_path / "out"),
    ]
    run = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # A shell that starts the tests in the background makes them, and so their children, deaf to SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        while not (tmp_path / "out").exists():  # made just before sampling begins
            assert run.poll() is None, run.stderr.read() if run.stderr else ""
            time.sleep(0.2)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 130
    assert "Traceback" not in err and out == ""
    assert not list((tmp_path / "out").iterdir())


def lock_files(folder: Path) -> tuple[Path, Path, np.ndarray, np.ndarray]:
    """A correction that no sample would make by itself, the mask of a slice, and both as arrays."""
    labels = ((blob_volume()[1] + 1) % 3).astype(np.uint8)
    mask = np.zeros(labels.shape, np.uint8)
    mask[9] = 1
    elsewhere = np.where(mask, labels, 9).astype(np.uint8)  # the bundle knows no 9, but nobody locked it
    return write(folder / "correction.nii.gz", elsewhere), write(folder / "locked.nii.gz", mask), labels, mask > 0


def test_locked_voxels_are_kept_and_the_manifest_says_so(pgrd: Pgrd, tiny: Path, image: Path, tmp_path: Path) -> None:
    correction, locked, labels, mask = lock_files(tmp_path)
    out = tmp_path / "out"
    words = ("--correction", correction, "--locked", locked, "--lock-method", "replacement")
    result = pgrd("predict", image, "--bundle", tiny, *QUICK, *words, "--out", out)
    assert result.code == 0, result.err
    segmentation, samples, probability = (
        np.asarray(nib.load(out / f"{name}.nii.gz").dataobj) for name in ("segmentation", "samples", "probability")
    )
    assert np.array_equal(segmentation[mask], labels[mask])
    assert all(np.array_equal(samples[..., i][mask], labels[mask]) for i in range(2))
    assert np.array_equal(probability[mask], np.eye(3)[labels[mask]])
    kept = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["request"]["locks"]
    assert (kept["method"], kept["voxels"]) == ("replacement", int(mask.sum()))


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("alone", "Locks need two files"),
        ("method alone", "there are none. Give --correction and --locked"),
        ("grid", "correction.nii.gz has another grid"),
        ("empty", "locked.nii.gz is 0 everywhere"),
        ("value", "correction.nii.gz: the label map holds the values [9]"),
        ("hint", "was not trained to hear locks"),
        ("over", "segmentation.nii.gz in that folder is the image itself"),
    ],
)
def test_locks_that_cannot_be_used_are_one_sentence(
    pgrd: Pgrd, tiny: Path, image: Path, tmp_path: Path, fault: str, sentence: str
) -> None:
    correction, locked, labels, _ = lock_files(tmp_path)
    words: tuple[object, ...] = ("--correction", correction, "--locked", locked)
    out = tmp_path / "out"
    if fault == "alone":
        words = words[:2]
    elif fault == "method alone":
        words = ("--lock-method", "guidance")
    elif fault == "grid":
        write(correction, labels, np.diag([1, 1, 1.5, 1]))
    elif fault == "empty":
        write(locked, np.zeros_like(labels))
    elif fault == "value":
        write(locked, np.ones_like(labels))
    elif fault == "hint":
        words = (*words, "--lock-method", "hint")
    elif fault == "over":
        out.mkdir()
        words = ("--correction", correction.rename(out / "segmentation.nii.gz"), "--locked", locked)
        result = pgrd("predict", image, "--bundle", tiny, *QUICK, *words, "--out", out)
        assert result.code == 2 and sentence in result.err
        return
    assert sentence in refused(pgrd, out, image, "--bundle", tiny, *QUICK, *words)


def four_channels(folder: Path) -> dict[str, Path]:
    volume, _ = blob_volume((32, 24, 16), channels=4)
    names = ("flair", "t1", "t1_post", "t2")
    return {
        n: write(folder / f"p1_{n}.nii.gz", x + 10 * i) for i, (n, x) in enumerate(zip(names, volume.data, strict=True))
    }


def test_channels_are_found_by_their_names_and_a_large_volume_is_seen_through_windows(
    pgrd: Pgrd, tmp_path: Path
) -> None:
    named = ["FLAIR", "T1", "T1 post", "T2"]
    folder = make_tiny_bundle(tmp_path / "b", channels=4, named=named, prepare={"window": (16, 16, 16)})
    files = four_channels(tmp_path)
    straight = pgrd("predict", *files.values(), "--bundle", folder, *QUICK, "--out", tmp_path / "a")
    assert straight.code == 0, straight.err
    assert "Channels: FLAIR is p1_flair, T1 is p1_t1, T1 post is p1_t1_post, T2 is p1_t2." in straight.err
    assert "6 windows a step, foretold by one of them." in straight.err
    mixed = [files[n] for n in ("t2", "t1_post", "flair", "t1")]
    other = pgrd("predict", *mixed, "--bundle", folder, *QUICK, "--out", tmp_path / "c")
    assert other.code == 0, other.err
    a, c = (nib.load(tmp_path / n / "probability.nii.gz").get_fdata() for n in "ac")
    assert np.array_equal(a, c)


def test_channels_on_two_grids_are_resampled_on_request(pgrd: Pgrd, tmp_path: Path) -> None:
    folder = make_tiny_bundle(tmp_path / "b", channels=2)
    fine, _ = blob_volume()
    one = write(tmp_path / "one.nii.gz", fine.data[0])
    two = write(tmp_path / "two.nii.gz", fine.data[0, ::2, ::2, ::2], np.diag([2.0, 2, 2, 1]))
    words = ("predict", one, two, "--bundle", folder, *QUICK, "--out", tmp_path / "out")
    refused = pgrd(*words)
    assert refused.code == 2 and "--resample" in refused.err
    assert pgrd(*words, "--resample").code == 0
    assert nib.load(tmp_path / "out" / "segmentation.nii.gz").shape == fine.shape


def test_memory_that_does_not_suffice_for_a_measurement_stops_no_run(
    pgrd: Pgrd, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object) -> None:
        torch.empty(2**60, dtype=torch.uint8)

    monkeypatch.setattr("napari_pgrd.engine.measure.measure", refuse)
    image = write(tmp_path / "in.nii.gz", blob_volume()[0].data[0])
    result = pgrd("predict", image, "--bundle", tiny, *QUICK, "--out", tmp_path / "out")
    assert result.code == 0, result.err
    assert result.err.startswith("Memory ran out while time and memory were measured")
