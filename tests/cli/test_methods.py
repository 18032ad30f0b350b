"""Other methods on the command line: trained, added to a bundle, chosen."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np

from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.spec import read_spec
from tests.cli.conftest import Pgrd
from tests.cli.test_training import META, PRIOR
from tests.tiny import make_tiny_bundle


def test_a_method_is_trained_added_and_chosen(pgrd: Pgrd, dataset: Path, image: Path, tmp_path: Path) -> None:
    split = tmp_path / "split.json"
    blocks = {"train": [0, 1, 2], "calibration": [3, 4], "validation": [5, 6]}
    named = {block: [f"blob_{i:03d}" for i in numbers] for block, numbers in blocks.items()}
    split.write_text(json.dumps(named), encoding="utf-8")
    config, meta = tmp_path / "prior.toml", tmp_path / "meta.toml"
    config.write_text(PRIOR.format(steps=3), encoding="utf-8")
    meta.write_text(META, encoding="utf-8")
    data = ("--data", dataset, "--split", split)
    for method, out in (("deterministic", "prior"), ("dropout", "dropout")):
        words = ("--method", method, *data, "--config", config, "--device", "cpu", "--out", tmp_path / out)
        result = pgrd("train", *words)
        assert result.code == 0, result.err
    bundle = tmp_path / "bundle"
    result = pgrd("bundle", "pack", "--prior", tmp_path / "prior", *data, "--meta", meta, "--out", bundle)
    assert result.code == 0, result.err
    assert read_spec(bundle).offered == ("deterministic", "thresholded", "tta")
    result = pgrd("bundle", "add", "--bundle", bundle, "--training", tmp_path / "dropout", *data)
    assert result.code == 0, result.err
    assert "offers deterministic, thresholded, tta, dropout" in result.out and "temperature" in result.err
    shown = pgrd("bundle", "show", bundle).out
    assert "method thresholded (its own): prior, thresholded; 3 samples" in shown
    assert "method dropout: MC dropout; 3 samples" in shown and "deterministic U-Net; 1 segmentation" in shown
    assert pgrd("bundle", "check", bundle).code == 0

    assert pgrd("predict", image, "--bundle", bundle, "--method", "dropout", "--out", tmp_path / "out").code == 0
    asked = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))["request"]
    assert (asked["method"], asked["samples"], asked["steps"], asked["solver"]) == ("dropout", 3, 1, None)
    assert np.asarray(nib.load(tmp_path / "out" / "samples.nii.gz").dataobj).shape[-1] == 3
    result = pgrd("predict", image, "--bundle", bundle, "--method", "pgrd", "--out", tmp_path / "no")
    assert result.code == 2 and "cannot do 'pgrd'; choose one of deterministic" in result.err
    result = pgrd("predict", image, "--bundle", bundle, "--method", "tta", "--steps", 8, "--out", tmp_path / "no")
    assert result.code == 2 and "comes at once" in result.err


def test_the_report_names_the_method(pgrd: Pgrd, image: Path, tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle")
    words = ("--bundle", bundle, "--method", "thresholded", "--report", "--out", tmp_path / "out")
    result = pgrd("predict", image, *words)
    assert result.code == 0, result.err
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "prior, thresholded" in page and "solver" not in page
    assert Bundle.load(bundle).spec.method == "pgrd"


def test_words_that_do_not_go_together_are_a_sentence(pgrd: Pgrd, dataset: Path, tmp_path: Path) -> None:
    result = pgrd("train", "--method", "dropout", "prior", "--data", dataset, "--out", tmp_path / "o")
    assert result.code == 2 and "stand without 'prior'" in result.err
    result = pgrd("train", "--method", "dropout", "--data", dataset)
    assert result.code == 2 and "needs --method, --data and --out" in result.err
    result = pgrd("train", "--method", "oracle", "--data", dataset, "--out", tmp_path / "o")
    assert result.code == 2 and "no method 'oracle' to train; choose one of pgrd" in result.err
    assert not (tmp_path / "o").exists()
    result = pgrd("train", "--method", "no-pgr", "--data", dataset, "--out", tmp_path / "o")
    assert result.code == 2 and "Give --prior" in result.err


def test_another_method_is_evaluated_beside_the_prior(pgrd: Pgrd, dataset: Path, tmp_path: Path) -> None:
    bundle, report = make_tiny_bundle(tmp_path / "bundle"), tmp_path / "report.json"
    interval = {"level": 0.9, "cases": 9, "widening": {"anterior": 0.1, "posterior": 0.1}}
    make_tiny_bundle(bundle, volume_interval=interval)
    (tmp_path / "cases.txt").write_text("blob_005\n", encoding="utf-8")
    folders = ("--images", dataset / "imagesTr", "--labels", dataset / "labelsTr", "--cases", tmp_path / "cases.txt")
    words = ("--bundle", bundle, *folders, "--method", "thresholded", "--samples", 3, "--out", report)
    result = pgrd("evaluate", *words)
    assert result.code == 0, result.err
    measured = json.loads(report.read_text(encoding="utf-8"))
    assert list(measured["methods"]) == ["thresholded", "prior", "prior_scaled"]
    own, scaled = (measured["methods"][name] for name in ("thresholded", "prior_scaled"))
    assert abs(own["nll"] - scaled["nll"]) < 1e-3, "its map is the prior's"
    assert own["interval_coverage"] is None, "the interval was fitted to PGRD's samples"
    assert "--method thresholded" in measured["command"] and "--solver" not in measured["command"]
    result = pgrd("bundle", "card", "--bundle", bundle, "--evaluation", report)
    assert result.code == 2 and "uses pgrd. Evaluate it without --method" in result.err
