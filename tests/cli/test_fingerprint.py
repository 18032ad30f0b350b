"""From cases to a fingerprint, and from there to a training that follows it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_pgrd.engine.spec import read_spec
from napari_pgrd.io.cases import find_cases
from napari_pgrd.train.card import _training
from napari_pgrd.train.config import FingerprintTraining, read_config
from napari_pgrd.train.fingerprint import make_fingerprint
from tests.cli.conftest import Pgrd
from tests.cli.test_training import DENOISER, META, PRIOR, config

FINGERPRINT = """
shift = 0.5
draws = 6
times = 8
smoothing = 0.05
[prepare]
patch = [16, 16, 16]
stride = 4
[network]
widths = [8, 8]
[optimisation]
steps = {steps}
batch = 2
validate_every = 3
warmup = 0
precision = "float32"
checkpoint_seconds = 0.001
"""


def test_a_fingerprint_weights_the_training_that_names_it(pgrd: Pgrd, dataset: Path, tmp_path: Path) -> None:
    out, fast = tmp_path / "fingerprint", ("--data", dataset, "--device", "cpu")
    words = ("fingerprint", *fast, "--out", out, "--config")
    result = pgrd(*words, config(tmp_path, FINGERPRINT.format(steps=6)))
    assert result.code == 0, result.err
    assert "measured on mask 6/6" in result.err and "fingerprint.json" in result.out
    assert (out / "fingerprint.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((out / "fingerprint.json").read_text(encoding="utf-8"))
    assert found["cases"] == {"train": 5, "measured": 1} and found["draws"] == 6
    assert str(tmp_path) not in json.dumps(found) and found["command"].startswith(
        "pgrd fingerprint --data DIR --config"
    )
    assert np.mean(found["weights"][1:]) == pytest.approx(1, abs=0.02) and min(found["weights"]) >= 0.2
    record = json.loads((out / "training.json").read_text(encoding="utf-8"))
    assert record["stage"] == "masks" and record["config"]["labels"]["2"] == "posterior"  # from dataset.json
    before = (out / "masks.safetensors").read_bytes()
    result = pgrd(
        *words, config(tmp_path, "floor = 0.5\n" + FINGERPRINT.format(steps=6))
    )  # measured again, not trained
    again = json.loads((out / "fingerprint.json").read_text(encoding="utf-8"))
    assert result.code == 0 and again["err"] == found["err"] and again["weights"] != found["weights"]
    assert (out / "masks.safetensors").read_bytes() == before
    result = pgrd(*words, config(tmp_path, FINGERPRINT.format(steps=7)))
    assert result.code == 2 and "other settings" in result.err
    for was, now, sentence in (
        ("16, 16, 16", "15, 16, 16", "has a side that 2 does not divide"),
        ("[8, 8]", "[8, 6]", "groups is 4, which does not divide"),
    ):
        result = pgrd(*words, config(tmp_path, FINGERPRINT.format(steps=6).replace(was, now)))
        assert result.code == 2 and sentence in result.err

    prior, denoiser, bundle = (tmp_path / name for name in ("prior", "denoiser", "bundle"))
    assert pgrd("train", "prior", *fast, "--config", config(tmp_path, PRIOR.format(steps=4)), "--out", prior).code == 0
    text = 'weighting = "fingerprint"\nfingerprint = "fingerprint/fingerprint.json"\n' + DENOISER
    words = ("train", "denoiser", *fast, "--prior", prior, "--out", denoiser, "--config", config(tmp_path, text))
    result = pgrd(*words)
    assert result.code == 0, result.err
    trained = json.loads((denoiser / "training.json").read_text(encoding="utf-8"))
    assert trained["weighting"]["floor"] == 0.5 and str(tmp_path) not in json.dumps(trained)
    assert len(trained["config"]["timestep_weights"]) == 201 and trained["config"]["weighting"] == "fingerprint"
    meta = config(tmp_path, META, "meta.toml")
    pack = ("--prior", prior, "--denoiser", denoiser, "--data", dataset, "--meta", meta, "--out", bundle)
    result = pgrd("bundle", "pack", *pack, "--split", out / "split.json")
    assert result.code == 0, result.err
    card = _training(read_spec(bundle))
    assert (
        f"to {trained['weighting']['most']:g} times as often as evenly" in card
        and "drawn by weight (fingerprint)" in card
    )
    (out / "fingerprint.json").write_text(json.dumps(found), encoding="utf-8")  # another floor: another training
    result = pgrd(*words)
    assert result.code == 2 and "other settings" in result.err


def test_a_stopped_fingerprint_goes_on_to_the_same_numbers(dataset: Path, tmp_path: Path) -> None:
    asked = read_config(config(tmp_path, FINGERPRINT.format(steps=5)), FingerprintTraining)
    asked = asked.model_copy(update={"labels": {0: "background", 1: "anterior", 2: "posterior"}})
    cases, cpu = find_cases(dataset), torch.device("cpu")

    def stop(text: str) -> None:
        if text.startswith("validation at step 3"):
            raise KeyboardInterrupt

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    make_fingerprint(cases[:4], cases[4:6], asked, whole, cpu, lambda text: None)
    with pytest.raises(KeyboardInterrupt):
        make_fingerprint(cases[:4], cases[4:6], asked, killed, cpu, stop)
    assert (killed / "checkpoint.safetensors").exists() and not (killed / "fingerprint.json").exists()
    said: list[str] = []
    make_fingerprint(cases[:4], cases[4:6], asked, killed, cpu, said.append)
    assert any(text.startswith("validation at step 3") for text in said)  # not from the end
    first, second = (json.loads((f / "fingerprint.json").read_text(encoding="utf-8")) for f in (whole, killed))
    for key in ("err", "err_se", "slope", "weights", "mean_mask_err", "cases"):
        assert first[key] == second[key]
    assert first["cases"] == {"train": 4, "measured": 2}
