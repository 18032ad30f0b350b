"""A model of somebody else's as the prior: its network or its maps, by commands alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from napari_pgrd.io.nifti import read_volume
from tests.cli.conftest import Pgrd, write
from tests.nnunet_folder import make_nnunet
from tests.tiny import make_tiny_bundle

SMALL = """
[network]
widths = [8, 8]
attention = [false, false]
supervised = [1]
[optimisation]
steps = {steps}
validate_every = {steps}
warmup = 0
precision = "float32"
"""
META = """
name = "theirs"
title = "Blobs"
modality = "synthetic MRI"
channels = ["bright"]
labels = [
  {value = 0, name = "background", colour = "#000000"},
  {value = 1, name = "anterior", colour = "#19E0FF"},
  {value = 2, name = "posterior", colour = "#FFE14D"},
]
[scope]
sentence = "theirs reads blobs."
[sampling]
steps = 2
samples = 2
"""


@pytest.fixture
def split(tmp_path: Path) -> Path:
    named = {
        block: [f"blob_{i:03d}" for i in numbers]
        for block, numbers in {"train": [0, 1], "calibration": [2], "validation": [3]}.items()
    }
    path = tmp_path / "split.json"
    path.write_text(json.dumps(named), encoding="utf-8")
    return path


def text(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def test_a_denoiser_is_trained_beside_a_network_of_nnunet(
    pgrd: Pgrd, dataset: Path, split: Path, tmp_path: Path, image: Path
) -> None:
    theirs, prior, runs, bundle = (tmp_path / name for name in ("nn", "prior", "runs", "bundle"))
    make_nnunet(theirs)
    result = pgrd("bundle", "import-nnunet", theirs, "--out", prior, "--orientation", "RAS")
    assert result.code == 0, result.err
    assert "'pgrd train denoiser --prior' trains what is missing" in result.out
    assert pgrd("bundle", "check", prior).code == 0
    data = ("--data", dataset, "--split", split)
    words = ("train", "denoiser", *data, "--device", "cpu", "--out", runs)
    result = pgrd(*words, "--prior", prior, "--config", text(tmp_path, "a.toml", SMALL.format(steps=2)))
    assert result.code == 0, result.err
    meta = text(tmp_path, "meta.toml", META)
    result = pgrd("bundle", "pack", "--prior", prior, "--denoiser", runs, *data, "--meta", meta, "--out", bundle)
    assert result.code == 0, result.err
    content = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    assert content["prior"]["kind"] == "plain" and content["prepare"]["nnunet"]["schemes"] == ["zscore"]
    assert content["provenance"]["training"]["prior"]["imported"]["program"] == "nnU-Net v2"
    result = pgrd("predict", image, "--bundle", bundle, "--out", tmp_path / "out", "--device", "cpu")
    assert result.code == 0, result.err
    two = write(tmp_path / "two.nii.gz", np.random.default_rng(0).normal(0, 1, (16, 16, 16, 2)).astype(np.float32))
    result = pgrd("predict", two, "--bundle", bundle, "--out", tmp_path / "none")
    assert result.code == 2 and "needs 1 channel (bright), but the image has 2" in result.err
    deep = (
        SMALL.format(steps=2)
        .replace("[8, 8]", "[8, 8, 8, 8]")
        .replace("[false, false]", "[false, false, false, false]")
    )
    result = pgrd(*words[:-1], tmp_path / "deep", "--prior", prior, "--config", text(tmp_path, "b.toml", deep))
    assert result.code == 2 and "Give fewer widths" in result.err


def test_a_denoiser_is_trained_beside_maps_alone(pgrd: Pgrd, dataset: Path, split: Path, tmp_path: Path) -> None:
    maps, runs, bundle, out = (tmp_path / name for name in ("maps", "runs", "bundle", "out"))
    for number in range(4):
        truth = read_volume(dataset / "labelsTr" / f"blob_{number:03d}.nii.gz").data[0].astype(int)
        soft = 0.85 * np.eye(3, dtype=np.float32)[truth] + 0.05
        write(maps / f"blob_{number:03d}.nii.gz", soft.astype(np.float32))
    data = ("--data", dataset, "--split", split)
    config = text(tmp_path, "a.toml", SMALL.format(steps=2) + "[prepare]\npatch = [16, 16, 16]\nstride = 4\n")
    words = ("train", "denoiser", *data, "--config", config, "--device", "cpu", "--out", runs)
    result = pgrd(*words)
    assert result.code == 2 and "Give one of --prior and --prior-probabilities" in result.err
    result = pgrd(*words, "--prior-probabilities", maps)
    assert result.code == 0, result.err
    record = json.loads((runs / "training.json").read_text(encoding="utf-8"))
    assert record["history"][-1]["dice_prior"] == 1  # these maps know the truth
    meta = text(tmp_path, "meta.toml", META)
    words = ("bundle", "pack", "--denoiser", runs, *data, "--meta", meta, "--out", bundle)
    result = pgrd(*words, "--prior-probabilities", maps)
    assert result.code == 0, result.err
    assert json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))["prior"] is None
    assert not (bundle / "prior.safetensors").exists() and pgrd("bundle", "check", bundle).code == 0
    case = dataset / "imagesTr" / "blob_003_0000.nii.gz"
    words = ("predict", case, "--bundle", bundle, "--device", "cpu", "--out", out)
    result = pgrd(*words)
    assert result.code == 2 and "holds no prior network" in result.err and not out.exists()
    result = pgrd(*words, "--prior-probabilities", maps / "blob_003.nii.gz")
    assert result.code == 0, result.err
    assert "prior_probabilities" in json.loads((out / "manifest.json").read_text(encoding="utf-8"))["request"]
    moved = write(tmp_path / "moved.nii.gz", soft.astype(np.float32), np.diag([1.0, 1, 2, 1]))
    result = pgrd(*words, "--prior-probabilities", moved)
    assert result.code == 2 and "their affines differ" in result.err
    (maps / "blob_001.nii.gz").unlink()
    words = ("train", "denoiser", *data, "--config", config, "--out", tmp_path / "more", "--prior-probabilities", maps)
    result = pgrd(*words)
    assert result.code == 2 and "holds no map for blob_001" in result.err


def test_a_bundle_without_a_prior_is_refused_before_anything_is_made(
    pgrd: Pgrd, tiny: Path, dataset: Path, image: Path, tmp_path: Path
) -> None:
    bundle, out = make_tiny_bundle(tmp_path / "without", name="without", prior=None), tmp_path / "out" / "deeper"
    (bundle / "prior.safetensors").unlink()
    cases = ("--images", dataset / "imagesTr", "--labels", dataset / "labelsTr")
    names = tmp_path / "names.json"
    names.write_text('["blob_000"]', encoding="utf-8")
    compared = ("--entry", f"good={tiny}", "--entry", f"theirs={bundle}", *cases, "--cases", names)
    for words in (
        ("predict", image, "--bundle", bundle, "--out", out),
        ("evaluate", *cases, "--bundle", bundle, "--out", out / "evaluation.json"),
        ("compare", *compared, "--out", out),
        ("batch", dataset / "imagesTr", "--bundle", bundle, "--out", out),
    ):
        result = pgrd(*words)
        assert result.code == 2 and result.out == "", words
        assert "without holds no prior network: give the probabilities" in result.err, words
        assert "'pgrd predict --prior-probabilities'" in result.err and result.err.count("\n") == 1, words
        assert not out.parent.exists(), words


def test_an_image_that_the_bundle_does_not_take_leaves_no_folder(pgrd: Pgrd, tiny: Path, tmp_path: Path) -> None:
    flat = write(tmp_path / "flat.nii.gz", np.zeros((16, 16, 16), np.float32))
    result = pgrd("predict", flat, "--bundle", tiny, "--out", tmp_path / "out")
    assert result.code == 2 and "image is constant" in result.err and not (tmp_path / "out").exists()
    result = pgrd("predict", flat, "--bundle", tiny, "--steps", 9999, "--out", tmp_path / "out")
    assert result.code == 2 and "9999 steps were asked for" in result.err and not (tmp_path / "out").exists()
