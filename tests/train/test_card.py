"""The model card: what an evaluation measured, in words, in numbers and as a diagram."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from matplotlib.image import imread

from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.request import Request
from napari_pgrd.evaluate.evaluate import evaluate
from napari_pgrd.io.cases import pair
from napari_pgrd.train.card import card
from tests.tiny import blob_volume, make_tiny_bundle


def cases(folder: Path, readers: int) -> Path:
    """Two blob cases on disk; every further reader marks a slice less."""
    for seed in (3, 4):
        volume, truth = blob_volume(seed=seed)
        affine = nib.Nifti1Image(volume.data[0], np.eye(4))
        affine.header.set_xyzt_units("mm")
        (folder / "images").mkdir(parents=True, exist_ok=True)
        nib.save(affine, folder / "images" / f"case{seed}.nii.gz")
        for reader in range(readers):
            marked = truth.copy()
            marked[:, :, : 6 + 2 * reader] = 0
            where = folder / "labels" / (f"reader{reader}" if readers > 1 else "")
            where.mkdir(parents=True, exist_ok=True)
            image = nib.Nifti1Image(marked, np.eye(4))
            image.header.set_xyzt_units("mm")
            nib.save(image, where / f"case{seed}.nii.gz")
    return folder


def measured(folder: Path, readers: int) -> tuple[Bundle, dict[str, Any]]:
    bundle = Bundle.load(make_tiny_bundle(folder / "bundle", prior_temperature=0.5))
    data = cases(folder, readers)
    found = evaluate(bundle, pair(data / "images", data / "labels"), Request(samples=3, steps=2, device="cpu"))
    return bundle, {**found, "command": "pgrd evaluate --bundle tiny"}


def rows(text: str) -> list[str]:
    """First cells of the table of numbers."""
    table = text.split("## Measured")[1].split("## ")[0]
    return [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("|")][2:]


@pytest.mark.parametrize("readers", [1, 3])
def test_the_bundle_keeps_the_counts_and_the_card_shows_them(tmp_path: Path, readers: int) -> None:
    bundle, found = measured(tmp_path, readers)
    weights = {name: (bundle.folder / name).read_bytes() for name in bundle.spec.weights}
    made = card(bundle, json.loads(json.dumps(found)))
    r = made.spec.reliability
    assert r is not None and r.diagram is not None and r.raters == readers == found["raters"]
    assert {name: (made.folder / name).read_bytes() for name in made.spec.weights} == weights
    for method, bins in (("pgrd", r.diagram.own), ("prior_scaled", r.diagram.prior)):
        kept = found["methods"][method]["reliability_roi"]
        assert list(bins.count) == kept["count"] and list(bins.right) == kept["right"]
        assert np.allclose(bins.confidence, kept["confidence"], atol=0.01)
    text = (made.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "![Reliability diagram of tiny](reliability.png)" in text and "2 validation cases" in text
    assert ("all 3 readers" in text) == (readers > 1)
    bins = r.diagram.own
    last = f"| {bins.count[-1]} | {bins.confidence[-1] / bins.count[-1]:.3f} | {bins.right[-1] / bins.count[-1]:.3f} |"
    assert f"| 0.93 to 1.00 {last}" in text
    assert imread(made.folder / "reliability.png")[..., :3].std() > 0.05


def test_counts_are_of_every_voxel_near_truth_or_prediction(tmp_path: Path) -> None:
    _, found = measured(tmp_path, 2)
    for m in found["methods"].values():
        whole, near = m["reliability"], m["reliability_roi"]
        assert sum(whole["count"]) == 2 * 2 * 20 * 24 * 18  # cases, readers, voxels
        assert 0 < sum(near["count"]) < sum(whole["count"])
        assert all(right <= count for right, count in zip(near["right"], near["count"], strict=True))
        assert sum(whole["right"]) - sum(near["right"]) == sum(whole["count"]) - sum(near["count"])  # beyond: all right
        assert "reliability" not in m["per_case"][0]


def test_with_several_readers_their_numbers_come_first(tmp_path: Path) -> None:
    bundle, found = measured(tmp_path, 3)
    made = card(bundle, found)
    text = (made.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert rows(text)[:5] == ["GED²", "HM-IoU", "diversity of samples", "diversity of readers", "Dice, mean (std)"]
    assert made.spec.reliability is not None and made.spec.reliability.among["ged2"] == pytest.approx(
        found["methods"]["pgrd"]["ged2"], abs=1e-4
    )
    assert "with 3 readers each" in text


def test_one_reader_has_the_newer_numbers_after_the_usual_ones(tmp_path: Path) -> None:
    bundle, found = measured(tmp_path, 1)
    named = rows((card(bundle, found).folder / "MODEL_CARD.md").read_text(encoding="utf-8"))
    assert named[0] == "Dice, mean (std)" and "diversity of readers" not in named
    newer = {"adaptive ECE, whole volume", "HD95", "NSD", "AUSE", "AURG", "Spearman of entropy against error"}
    assert newer | {"GED²", "HM-IoU", "diversity of samples"} <= set(named)


def test_an_evaluation_of_an_earlier_version_has_no_diagram(tmp_path: Path) -> None:
    bundle, found = measured(tmp_path, 1)
    older = copy.deepcopy(found)
    for m in older["methods"].values():
        for key in ("reliability", "reliability_roi", "ged2", "hd95", "diversity", "rater_diversity"):
            del m[key]
    del older["raters"]
    made = card(card(bundle, found), older)
    text = (made.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert made.spec.reliability is not None and made.spec.reliability.diagram is None
    assert "reliability.png" not in text and not (made.folder / "reliability.png").exists()
    assert "HD95" not in rows(text) and "NLL, nats" in rows(text)


def test_the_card_says_in_words_where_the_prior_alone_is_better(tmp_path: Path) -> None:
    bundle, found = measured(tmp_path, 1)
    mine, prior = found["methods"]["pgrd"], found["methods"]["prior_scaled"]
    mine["dice"]["mean"], prior["dice"]["mean"] = 0.8738, 0.8744
    mine["nll"], prior["nll"] = 0.02, 0.03
    mine["ece"], prior["ece"] = 0.005, 0.004
    mine["ece_roi"], prior["ece_roi"] = 0.02, 0.02
    text = (card(bundle, found).folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert (
        "- It is not in everything better than its own prior at the fitted temperature: "
        "Dice 0.8738 against 0.8744, ECE 0.0050 against 0.0040.\n"
    ) in text
    prior["dice"]["mean"], prior["ece"] = 0.87, 0.006
    text = (card(bundle, found).folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "its own prior at the fitted" not in text
