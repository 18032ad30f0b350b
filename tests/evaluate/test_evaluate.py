"""A whole evaluation: its structure, and its numbers recomputed from files on disk with other libraries."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.nets import build_prior, load_weights
from napari_pgrd.engine.request import Request
from napari_pgrd.evaluate.evaluate import evaluate
from napari_pgrd.io.cases import pair
from tests.tiny import LABELS, blob_volume, make_tiny_bundle

KEYS = {
    "dice", "nll", "ece", "ece_roi", "brier", "auroc_entropy_error", "sample_dice", "pairwise_dice", "volume_coverage",
    "unanimous_error_share", "seconds_per_case", "per_case",
}  # fmt: skip
VALUES = np.array([0, 7, 3], np.uint8)  # label values in files, deliberately out of order


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    labels = [{**label, "value": int(v)} for label, v in zip(LABELS, VALUES, strict=True)]
    return Bundle.load(make_tiny_bundle(tmp_path_factory.mktemp("bundle"), labels=labels, prior_temperature=0.5))


def write_case(folder: Path, name: str, seed: int, axes: str = "RAS") -> None:
    """A blob case on disk, its array reoriented by nibabel without moving it in the world."""
    volume, truth = blob_volume(seed=seed)
    for kind, data in (("images", volume.data[0]), ("labels", VALUES[truth])):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        image = nib.Nifti1Image(data, np.eye(4))
        image.header.set_xyzt_units("mm")
        change = nib.orientations.ornt_transform(
            nib.io_orientation(np.eye(4)), nib.orientations.axcodes2ornt(tuple(axes))
        )
        nib.save(image.as_reoriented(change), folder / kind / f"{name}.nii.gz")


def test_structure_and_prior_figures(bundle: Bundle, tmp_path: Path) -> None:
    for seed in (3, 4):
        write_case(tmp_path, f"case{seed}", seed)
    heard: list[float] = []
    report = evaluate(
        bundle,
        pair(tmp_path / "images", tmp_path / "labels"),
        Request(samples=3, steps=2, device="cpu"),
        lambda fraction, text: heard.append(fraction),
    )
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["cases"] == 2 and set(report["methods"]) == {"pgrd", "prior", "prior_scaled"}
    assert heard == sorted(heard) and heard[-1] == pytest.approx(1)
    for name, method in report["methods"].items():
        assert method.keys() >= KEYS
        assert set(method["dice"]["per_class"]) == {"anterior", "posterior"}
        assert [row["case"] for row in method["per_case"]] == ["case3", "case4"]
        sampled = ("sample_dice", "pairwise_dice", "volume_coverage", "unanimous_error_share")
        assert all((method[key] is None) == (name != "pgrd") for key in sampled)

    prior = build_prior(bundle.spec.prior).eval()
    load_weights(prior, load_file(bundle.folder / "prior.safetensors"))
    for method, temperature in (("prior", 1.0), ("prior_scaled", 0.5)):
        expected = []
        for seed in (3, 4):
            volume, truth = blob_volume(seed=seed)
            low, high = np.percentile(volume.data, (0.5, 99.5))
            x = np.clip(volume.data, low, high)
            padded = np.pad((x - x.mean()) / x.std(), ((0, 0), (0, 0), (0, 0), (1, 1)), mode="edge")
            with torch.no_grad():
                logits = prior(torch.from_numpy(padded.astype(np.float32))[None])[..., 1:-1]
            target = torch.from_numpy(truth).long()[None]
            expected.append(torch.nn.functional.cross_entropy(logits / temperature, target).item())
        assert report["methods"][method]["nll"] == pytest.approx(
            np.mean(expected), rel=0.02
        )  # bfloat16 on some machines


def test_the_first_row_is_named_by_the_method(tmp_path: Path) -> None:
    write_case(tmp_path, "case", 3)
    labels = [{**label, "value": int(v)} for label, v in zip(LABELS, VALUES, strict=True)]
    bundle = Bundle.load(make_tiny_bundle(tmp_path / "bundle", labels=labels, method="thresholded"))
    found = pair(tmp_path / "images", tmp_path / "labels")
    for asked, row in ((None, "thresholded"), ("pgrd", "pgrd"), ("tta", "tta")):
        report = evaluate(bundle, found, Request(samples=2, method=asked, device="cpu"))
        assert list(report["methods"]) == [row, "prior", "prior_scaled"]


def test_any_orientation_gives_the_same_figures(bundle: Bundle, tmp_path: Path) -> None:
    figures = []
    for axes in ("RAS", "SLA", "PIR"):
        write_case(tmp_path / axes, "case", 3, axes)
        cases = pair(tmp_path / axes / "images", tmp_path / axes / "labels")
        report = evaluate(bundle, cases, Request(samples=2, steps=2, device="cpu"))
        figures.append([report["methods"][m][k] for m in ("pgrd", "prior") for k in ("nll", "brier", "ece_roi")])
    assert np.allclose(figures[1:], figures[0], rtol=1e-5)


def test_a_label_the_bundle_does_not_know_is_named(bundle: Bundle, tmp_path: Path) -> None:
    write_case(tmp_path, "odd", 3)
    path = tmp_path / "labels" / "odd.nii.gz"
    data = np.asarray(nib.load(path).dataobj).copy()
    data[0, 0, 0] = 5
    nib.save(nib.Nifti1Image(data, np.eye(4)), path)
    with pytest.raises(InputError, match=r"odd: .*\[5\].*\[0, 3, 7\]"):
        evaluate(bundle, pair(tmp_path / "images", tmp_path / "labels"), Request(samples=1, steps=1))


def test_a_case_out_of_scope_is_named(bundle: Bundle, tmp_path: Path) -> None:
    write_case(tmp_path, "flat", 3)
    nib.save(nib.Nifti1Image(np.ones((20, 24, 18), np.float32), np.eye(4)), tmp_path / "images" / "flat.nii.gz")
    with pytest.raises(InputError, match="flat: .*constant"):
        evaluate(bundle, pair(tmp_path / "images", tmp_path / "labels"), Request(samples=1, steps=1))


def test_several_readers_are_one_report(bundle: Bundle, tmp_path: Path) -> None:
    write_case(tmp_path, "case", 3)
    label = tmp_path / "labels" / "case.nii.gz"
    single = evaluate(bundle, pair(tmp_path / "images", tmp_path / "labels"), Request(samples=3, steps=2, device="cpu"))
    loaded = nib.load(label)
    content = nib.Nifti1Image(np.asarray(loaded.dataobj).copy(), loaded.affine, loaded.header)
    label.unlink()
    for reader in ("one", "two", "three"):
        (tmp_path / "labels" / reader).mkdir()
        nib.save(content, tmp_path / "labels" / reader / "case.nii.gz")
    empty = nib.Nifti1Image(np.zeros(content.shape, np.uint8), content.affine, content.header)
    nib.save(empty, tmp_path / "labels" / "three" / "case.nii.gz")
    several = evaluate(
        bundle, pair(tmp_path / "images", tmp_path / "labels"), Request(samples=3, steps=2, device="cpu")
    )
    assert json.loads(json.dumps(several, allow_nan=False)) == several
    one, three = single["methods"]["pgrd"], several["methods"]["pgrd"]
    assert one.keys() == three.keys()
    assert three["dice"] == one["dice"] and three["hd95"] == one["hd95"]  # two of three are the majority
    assert three["nll"] > one["nll"] and three["empty_raters"] == pytest.approx(1 / 3)
    assert one["rater_diversity"] is None and three["rater_diversity"] == pytest.approx(2 / 3)
    assert set(three["volume_coverage"]) == {"anterior", "posterior"}
