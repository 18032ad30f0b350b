"""Slices that several readers marked: from folders of label maps to a bundle whose samples part, by commands alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.cli.conftest import Pgrd, write
from tests.cli.test_training import config

PRIOR = """
labels = {0 = "background", 1 = "disc"}
[prepare]
dims = 2
spacing = "none"
patch = [16, 16, 1]
stride = 4
normalisation = "unit"
[network]
dims = 2
filters = [8, 8, 8]
deep_supervision = 1
[optimisation]
steps = 60
batch = 4
validate_every = 60
validate_cases = 2
warmup = 2
learning_rate = 1e-2
ema = 0.8
precision = "float32"
translate = 2.0
"""
DENOISER = """
[network]
widths = [8, 8]
attention = [false, false]
supervised = [1]
[optimisation]
steps = 4
batch = 4
validate_every = 4
validate_cases = 2
precision = "float32"
"""
META = """
name = "discs"
title = "Discs"
modality = "drawn"
channels = ["bright"]
labels = [
  {value = 0, name = "background", colour = "#000000"},
  {value = 1, name = "disc", colour = "#FFE14D"},
]
[scope]
sentence = "discs reads discs."
intensity = "ct"
[sampling]
steps = 2
samples = 3
"""


def discs(folder: Path, cases: int = 12) -> list[float]:
    """Bright discs of three slices; of four readers two mark them and two mark nothing. The share that is disc."""
    shares = []
    rng, grid = np.random.default_rng(0), np.indices((20, 24))
    for i in range(cases):
        middle = rng.uniform(8, 12, 2)[:, None, None]
        disc = np.repeat((((grid - middle) ** 2).sum(0) < 16)[..., None], 3, -1)
        grey = np.clip(40 + 150 * disc + rng.normal(0, 5, disc.shape), 0, 255).astype(np.uint8)
        write(folder / "images" / f"c{i:02d}.nii.gz", grey)
        for j in range(4):
            write(folder / "labels" / f"reader{j}" / f"c{i:02d}.nii.gz", (disc * (j < 2)).astype(np.uint8))
        shares.append(float(disc.mean()))
    return shares


def test_from_four_readers_to_a_bundle(pgrd: Pgrd, tmp_path: Path) -> None:
    data, prior, denoiser, bundle = (tmp_path / name for name in ("data", "prior", "denoiser", "bundle"))
    shares = discs(data)
    names = [f"c{i:02d}" for i in range(12)]
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": names[:2], "calibration": names[2:11], "validation": names[11:]}), "utf-8")
    common = ("--data", data, "--split", split)
    words = ("--config", config(tmp_path, PRIOR, "p.toml"), "--out", prior, "--device", "cpu")
    result = pgrd("train", "prior", *common, *words)
    assert result.code == 0, result.err
    record = json.loads((prior / "training.json").read_text(encoding="utf-8"))
    # Where half of the readers mark a disc no map does better than a half: ln 2 there, nothing elsewhere.
    assert np.mean(shares[2:11]) * np.log(2) < record["nll_at_temperature"] <= record["nll_at_temperature_1"]
    words = ("--config", config(tmp_path, DENOISER, "d.toml"), "--prior", prior, "--out", denoiser, "--device", "cpu")
    result = pgrd("train", "denoiser", *common, *words)
    assert result.code == 0, result.err
    assert {"nll_prior", "dice_five"} <= set(json.loads((denoiser / "training.json").read_text("utf-8"))["history"][0])
    meta = config(tmp_path, META, "m.toml")
    result = pgrd("bundle", "pack", "--prior", prior, "--denoiser", denoiser, *common, "--meta", meta, "--out", bundle)
    assert result.code == 0, result.err
    content = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    assert content["volume_interval"]["cases"] == 9  # cases, not opinions
    assert content["prepare"]["spacing"] is None
    folders = ("--images", data / "images", "--labels", data / "labels", "--cases", split)
    result = pgrd("evaluate", "--bundle", bundle, *folders, "--out", tmp_path / "report.json")
    assert result.code == 0, result.err
    (data / "labels" / "reader3" / "c05.nii.gz").unlink()
    result = pgrd("train", "prior", *common, "--out", tmp_path / "again")
    assert result.code == 2 and "1 cases lack the label map of reader3: c05" in result.err
