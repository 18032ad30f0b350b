"""From cases on disk to a bundle that segments, by commands alone; a killed training goes on as if never stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.cli.conftest import Pgrd, write

PRIOR = """
[prepare]
patch = [16, 16, 16]
stride = 4
[network]
filters = [4, 8, 8]
deep_supervision = 1
[optimisation]
steps = {steps}
validate_every = {steps}
warmup = 2
learning_rate = 1e-2
ema = 0.8
precision = "float32"
checkpoint_seconds = 0.001
"""
DENOISER = """
[network]
widths = [8, 8]
attention = [false, false]
supervised = [1]
[optimisation]
steps = 6
validate_every = 3
precision = "float32"
"""
META = """
name = "trained"
title = "Blobs"
modality = "synthetic MRI"
channels = ["bright"]
commands = ["pgrd train prior"]
labels = [
  {value = 0, name = "background", colour = "#000000"},
  {value = 1, name = "anterior", colour = "#19E0FF"},
  {value = 2, name = "posterior", colour = "#FFE14D"},
]
[scope]
sentence = "trained reads blobs."
[sampling]
steps = 2
samples = 3
[data]
source = "drawn by a random number generator"
licence = "none needed"
"""


def config(folder: Path, text: str, name: str = "config.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_from_cases_to_a_bundle_that_segments(pgrd: Pgrd, dataset: Path, tmp_path: Path) -> None:
    split = {"train": [0, 1, 2], "calibration": [3, 4], "validation": [5, 6]}
    named = {block: [f"blob_{i:03d}" for i in numbers] for block, numbers in split.items()}
    (tmp_path / "split.json").write_text(json.dumps(named), encoding="utf-8")
    data = ("--data", dataset, "--split", tmp_path / "split.json")
    prior, denoiser, bundle = (tmp_path / name for name in ("prior", "denoiser", "bundle"))

    words = ("train", "prior", *data, "--config", config(tmp_path, PRIOR.format(steps=60)), "--device", "cpu")
    result = pgrd(*words, "--out", prior)
    assert result.code == 0, result.err
    assert "temperature" in result.err and "left" in result.err
    record = json.loads((prior / "training.json").read_text(encoding="utf-8"))
    assert record["config"]["labels"] == {"0": "background", "1": "anterior", "2": "posterior"}  # from dataset.json
    assert record["nll_at_temperature"] <= record["nll_at_temperature_1"]
    assert (prior / "learning.png").read_bytes().startswith(b"\x89PNG")

    words = ("train", "denoiser", *data, "--config", config(tmp_path, DENOISER), "--device", "cpu")
    result = pgrd(*words, "--prior", prior, "--out", denoiser)
    assert result.code == 0, result.err
    used = json.loads((denoiser / "training.json").read_text(encoding="utf-8"))["config"]["prior_temperature"]
    assert used == record["temperature"] != 1

    meta = config(tmp_path, META, "meta.toml")
    result = pgrd("bundle", "pack", "--prior", prior, "--denoiser", denoiser, *data, "--meta", meta, "--out", bundle)
    assert result.code == 0, result.err
    content = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    assert content["prior_temperature"] == used
    assert content["provenance"]["map"]["nll"] <= content["provenance"]["map"]["nll_start"]
    assert content["tau"] == pytest.approx(content["provenance"]["map"]["tau"], abs=1e-5)
    assert content["volume_interval"] is None and "needs 9 calibration cases or more; there are 2" in result.err
    assert content["provenance"]["cases"] == {"train": 3, "calibration": 2, "validation": 2}
    assert all(t.dtype == np.float16 for t in load_file(bundle / "denoiser.safetensors").values())
    assert pgrd("bundle", "check", bundle).code == 0

    report = tmp_path / "report.json"
    folders = ("--images", dataset / "imagesTr", "--labels", dataset / "labelsTr", "--cases", tmp_path / "split.json")
    result = pgrd("evaluate", "--bundle", bundle, *folders, "--steps", 2, "--samples", 2, "--out", report)
    assert result.code == 0, result.err
    measured = json.loads(report.read_text(encoding="utf-8"))
    assert [row["case"] for row in measured["methods"]["pgrd"]["per_case"]] == named["validation"]
    assert measured["methods"]["prior_scaled"]["dice"]["mean"] > 0.6  # brightness alone tells the blobs apart
    assert str(tmp_path) not in report.read_text(encoding="utf-8")

    result = pgrd("bundle", "card", "--bundle", bundle, "--evaluation", report)
    assert result.code == 0, result.err
    card = (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    for method in measured["methods"].values():
        assert f"{method['dice']['mean']:.4f}" in card and f"{method['nll']:.4f}" in card
    assert "not a medical device" in card and measured["command"] in card
    assert "measured on 2 validation cases" in pgrd("bundle", "show", bundle).out

    image = dataset / "imagesTr" / "blob_006_0000.nii.gz"
    result = pgrd("predict", image, "--bundle", bundle, "--out", tmp_path / "out")
    assert result.code == 0, result.err
    mask = np.asarray(nib.load(tmp_path / "out" / "segmentation.nii.gz").dataobj)
    assert mask.shape == (16, 18, 14) and set(np.unique(mask)) <= {0, 1, 2}

    measured["bundle"]["tau"] = 0.5  # an evaluation of another state of the bundle
    report.write_text(json.dumps(measured), encoding="utf-8")
    result = pgrd("bundle", "card", "--bundle", bundle, "--evaluation", report)
    assert result.code == 2 and "not of this bundle" in result.err

    words = ("train", "prior", *data, "--config", config(tmp_path, PRIOR.format(steps=3)), "--device", "cpu")
    result = pgrd(*words, "--start", bundle, "--out", tmp_path / "further")
    assert result.code == 0, result.err
    further = json.loads((tmp_path / "further" / "training.json").read_text(encoding="utf-8"))
    (earlier,) = further["before"]
    assert earlier["sha256"] == content["weights"]["prior.safetensors"] and earlier["steps"] == 60
    first = load_file(tmp_path / "further" / "prior.safetensors")
    gap = max(
        float(np.abs(first[k].astype(np.float32) - v).max()) for k, v in load_file(prior / "prior.safetensors").items()
    )
    assert 0 < gap < 0.2  # three steps away from where it began, not from chance
    result = pgrd(*words, "--start", tmp_path / "nowhere", "--out", tmp_path / "other")
    assert result.code == 2 and "nowhere" in result.err

    words = ("train", "denoiser", *data, "--config", config(tmp_path, DENOISER), "--prior", bundle)
    assert pgrd(*words, "--out", tmp_path / "beside").code == 0  # the bundle's prior as it is
    words = ("bundle", "pack", "--denoiser", tmp_path / "beside", *data, "--meta", meta, "--out", tmp_path / "again")
    result = pgrd(*words, "--prior", bundle)
    assert result.code == 0, result.err
    again = json.loads((tmp_path / "again" / "bundle.json").read_text(encoding="utf-8"))
    for key in ("prior", "prepare", "labels", "prior_temperature"):
        assert again[key] == content[key]
    made, was = again["provenance"], content["provenance"]
    assert made["training"]["prior"] == was["training"]["prior"]
    assert made["prior_temperature"] == was["prior_temperature"]
    assert again["weights"]["prior.safetensors"] == content["weights"]["prior.safetensors"]

    words = ("bundle", "pack", "--denoiser", denoiser, *data, "--meta", meta, "--out", tmp_path / "mixed")
    result = pgrd(*words, "--prior", tmp_path / "further")
    assert result.code == 2 and "trained beside another prior" in result.err

    folds = [tmp_path / f"without-{k}" for k in (1, 2)]
    for k, fold in enumerate(folds, 1):
        words = ("train", "prior", *data, "--config", config(tmp_path, PRIOR.format(steps=3)), "--device", "cpu")
        assert pgrd(*words, "--leave-out", f"{k}/2", "--out", fold).code == 0
    seen = [json.loads((f / "training.json").read_text(encoding="utf-8"))["train_cases"] for f in folds]
    assert seen == [["blob_001"], ["blob_000", "blob_002"]]
    words = ("train", "denoiser", *data, "--config", config(tmp_path, DENOISER), "--prior", prior, "--out")
    result = pgrd(*words, tmp_path / "stacked", *(w for f in folds for w in ("--out-of-fold", f)))
    assert result.code == 0, result.err
    stacked = json.loads((tmp_path / "stacked" / "training.json").read_text(encoding="utf-8"))
    assert [(f["cases"], f["steps"]) for f in stacked["out_of_fold"]] == [(1, 3), (2, 3)]
    result = pgrd(*words, tmp_path / "half", "--out-of-fold", folds[1])
    assert result.code == 2 and "was trained on blob_000" in result.err
    for part in ("0/2", "3/2", "1/4", "half"):
        result = pgrd("train", "prior", *data, "--leave-out", part, "--out", tmp_path / "other")
        assert result.code == 2 and repr(part) in result.err

    before = load_file(prior / "prior.safetensors")
    words = ("train", "prior", *data, "--config", config(tmp_path, PRIOR.format(steps=60)), "--device", "cpu")
    assert pgrd(*words, "--out", prior).code == 0  # a finished training is only finished again
    assert all(np.array_equal(before[k], v) for k, v in load_file(prior / "prior.safetensors").items())
    words = ("train", "prior", *data, "--config", config(tmp_path, PRIOR.format(steps=61)), "--device", "cpu")
    result = pgrd(*words, "--out", prior)
    assert result.code == 2 and "other settings" in result.err


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX")
def test_a_killed_training_ends_in_the_same_weights(dataset: Path, tmp_path: Path) -> None:
    settings = config(tmp_path, PRIOR.format(steps=40))

    def words(out: str) -> list[str]:
        code = "import torch; torch.set_num_threads(1); from napari_pgrd.cli import main; main()"
        options = ["--data", str(dataset), "--config", str(settings), "--device", "cpu", "--out", str(tmp_path / out)]
        return [sys.executable, "-c", code, "train", "prior", *options]

    subprocess.run(words("whole"), check=True, capture_output=True)
    stopped = subprocess.Popen(words("killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (tmp_path / "killed" / "checkpoint.safetensors").exists():
        assert stopped.poll() is None
        time.sleep(0.002)
    stopped.send_signal(signal.SIGKILL)
    stopped.wait()
    assert not (tmp_path / "killed" / "prior.safetensors").exists()  # it really was under way
    subprocess.run(words("killed"), check=True, capture_output=True)
    whole, killed = (load_file(tmp_path / out / "prior.safetensors") for out in ("whole", "killed"))
    assert whole.keys() == killed.keys()
    assert all(np.array_equal(whole[k], killed[k]) for k in whole)


def break_label(root: Path, fault: str) -> None:
    """Spoil the label map of one case of a fresh data set."""
    path = root / "labelsTr" / "blob_001.nii.gz"
    image = nib.load(path)
    data = np.asarray(image.dataobj).copy()
    if fault == "unpaired":
        path.unlink()
    elif fault == "shape":
        write(path, data[:-1])
    elif fault == "affine":
        write(path, data, np.diag([1, 1, 1.5, 1]))
    elif fault == "value":
        data[0, 0, 0] = 9
        write(path, data)
    elif fault == "fraction":
        write(path, data + np.float32(0.5))
    elif fault == "nan":
        scan = root / "imagesTr" / "blob_001_0000.nii.gz"
        voxels = nib.load(scan).get_fdata(dtype=np.float32)
        voxels[1, 2, 3] = np.nan
        write(scan, voxels)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("unpaired", "1 cases lack an image or a label: blob_001"),
        ("shape", "blob_001: the label map has shape (15, 18, 14), its image (16, 18, 14)"),
        ("affine", "blob_001: image and label map have different affines"),
        ("value", "blob_001: the label map holds the values [9]"),
        ("fraction", "blob_001.nii.gz holds values between whole numbers"),
        ("nan", "blob_001_0000.nii.gz holds 1 voxels that are NaN or infinite, the first at (1, 2, 3"),
    ],
)
def test_a_faulty_case_is_named(pgrd: Pgrd, tmp_path: Path, dataset: Path, fault: str, sentence: str) -> None:
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
        for file in (dataset / folder).iterdir():
            (tmp_path / folder / file.name).write_bytes(file.read_bytes())
    (tmp_path / "dataset.json").write_bytes((dataset / "dataset.json").read_bytes())
    break_label(tmp_path, fault)
    settings = config(tmp_path, PRIOR.format(steps=1))
    words = ("--data", tmp_path, "--config", settings, "--device", "cpu", "--out", tmp_path / "o")
    result = pgrd("train", "prior", *words)
    assert result.code == 2
    assert sentence in result.err and "Traceback" not in result.err


@pytest.mark.parametrize(
    ("split", "sentence"),
    [
        ("{", "split.json is no readable JSON file"),
        ('{"train": []}', "split.json must hold the lists train, calibration, validation"),
        ('{"train": ["a"], "calibration": ["a"], "validation": []}', "split.json puts a into more than one block"),
        ('{"train": ["who"], "calibration": [], "validation": []}', "1 listed cases are not in the data: who"),
        ('{"train": ["blob_000"], "calibration": [], "validation": []}', "A block of the split is empty"),
    ],
)
def test_a_faulty_split_is_one_sentence(pgrd: Pgrd, dataset: Path, tmp_path: Path, split: str, sentence: str) -> None:
    (tmp_path / "split.json").write_text(split, encoding="utf-8")
    settings = config(tmp_path, PRIOR.format(steps=1))
    words = ("--data", dataset, "--config", settings, "--split", tmp_path / "split.json", "--out", tmp_path / "o")
    result = pgrd("train", "prior", *words)
    assert result.code == 2 and sentence in result.err


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[optimisation\n", "config.toml is no readable TOML file"),
        ("[optimisation]\nsteps = 0\n", "optimisation.steps"),
        ("[optimisation]\nstepz = 5\n", "optimisation.stepz"),
        ('preset = "paper"\n', "There is no preset 'paper' here"),
    ],
)
def test_a_faulty_configuration_is_one_sentence(
    pgrd: Pgrd, dataset: Path, tmp_path: Path, text: str, sentence: str
) -> None:
    settings = config(tmp_path, text)
    result = pgrd("train", "prior", "--data", dataset, "--config", settings, "--out", tmp_path / "o")
    assert result.code == 2 and sentence in result.err


def test_a_patch_that_no_memory_holds_is_one_sentence(pgrd: Pgrd, dataset: Path, tmp_path: Path) -> None:
    for patch, sentence in (
        ("[4096, 4096, 4096]", "out of all proportion"),
        ("[8, 100000, 8]", "less than or equal to 4096"),
    ):
        settings = config(tmp_path, PRIOR.format(steps=1).replace("[16, 16, 16]", patch))
        result = pgrd("train", "prior", "--data", dataset, "--config", settings, "--out", tmp_path / "o")
        assert result.code == 2 and sentence in result.err and "Traceback" not in result.err


def test_stages_in_the_wrong_order_are_refused(pgrd: Pgrd, dataset: Path, tmp_path: Path) -> None:
    result = pgrd("train", "denoiser", "--data", dataset, "--prior", tmp_path, "--out", tmp_path / "o")
    assert result.code == 2 and "Run 'pgrd train prior' first" in result.err
    split = tmp_path / "split.json"
    split.write_text('{"train": [], "calibration": ["blob_000"], "validation": []}', encoding="utf-8")
    words = ("--data", dataset, "--split", split, "--meta", config(tmp_path, META), "--out", tmp_path / "b")
    result = pgrd("bundle", "pack", "--prior", tmp_path, "--denoiser", tmp_path, *words)
    assert result.code == 2 and "training.json" in result.err


def test_without_a_split_one_is_made_and_kept(pgrd: Pgrd, dataset: Path, tmp_path: Path) -> None:
    settings = config(tmp_path, PRIOR.format(steps=1))
    result = pgrd("train", "prior", "--data", dataset, "--config", settings, "--device", "cpu", "--out", tmp_path / "o")
    assert result.code == 0, result.err
    split = json.loads((tmp_path / "o" / "split.json").read_text(encoding="utf-8"))
    assert [name for block in split.values() for name in block] == [f"blob_{i:03d}" for i in range(7)]
