"""``pgrd compare`` as a user types it: one table in three formats, pictures, and sentences for what cannot be."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from matplotlib.image import imread

from tests.cli.conftest import Pgrd, write
from tests.tiny import LABELS, blob_volume, make_tiny_bundle

QUICK = ("--steps", 1, "--samples", 2, "--device", "cpu")


@pytest.fixture
def folders(dataset: Path, tmp_path: Path) -> tuple[object, ...]:
    names = tmp_path / "names.json"
    names.write_text('["blob_002", "blob_000"]', encoding="utf-8")
    return ("--images", dataset / "imagesTr", "--labels", dataset / "labelsTr", "--cases", names)


def test_one_table_and_its_pictures(pgrd: Pgrd, tiny: Path, folders: tuple[object, ...], tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("compare", "--entry", f"PGRD={tiny}", "--entry", f"two steps={tiny}@2", *folders, *QUICK, "--out", out)
    words += ("--reference", "two steps", "--curve", "2,1", "--curve-entry", "PGRD", "--picture", "blob_002")
    result = pgrd(*words)
    assert result.code == 0, result.err
    assert "prior, scaled" in result.out and str(out) in result.out
    made = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    assert [row["case"] for row in made["per_case"]["PGRD"]] == ["blob_002", "blob_000"]
    assert made["reference"] == "two steps" and [p["steps"] for p in made["curve"]["PGRD"]] == [1, 2]
    assert made["command"].startswith(f"pgrd compare --entry PGRD={tiny.name} --entry 'two steps={tiny.name}@steps=2'")
    table = list(csv.DictReader((out / "comparison.csv").open(encoding="utf-8")))
    assert {"dice", "nll", "ged2", "hd95", "ause"} <= {row["number"] for row in table}
    assert "| DSC ↑ |" in (out / "comparison.md").read_text(encoding="utf-8")
    for name in ("reliability", "sparsification", "steps", "case-blob_002"):
        pixels = imread(out / f"{name}.png")[..., :3]
        assert pixels.std() > 0.05 and pixels.shape[1] > 800, name

    before = {p: p.stat().st_mtime_ns for p in (out / "rows").rglob("*.json")}
    assert pgrd(*words).code == 0
    assert {p: p.stat().st_mtime_ns for p in (out / "rows").rglob("*.json")} == before


def test_committed_slices_with_a_bundle_of_slices(pgrd: Pgrd, tmp_path: Path) -> None:
    flat = make_tiny_bundle(tmp_path / "flat", dims=2, labels=LABELS[:2], patch=(16, 16, 1))
    for name in ("a", "b"):
        volume, truth = blob_volume((16, 16, 5), classes=2, seed=ord(name))
        write(tmp_path / "images" / f"{name}.nii.gz", volume.data[0])
        write(tmp_path / "labels" / f"{name}.nii.gz", truth)
    slices = [{"case": "a", "slice": 2}, {"case": "a", "slice": 0}, {"case": "b", "slice": 2}]
    (tmp_path / "slices.json").write_text(json.dumps({"validation": slices}), encoding="utf-8")
    words = ("compare", "--entry", f"PGRD={flat}", "--images", tmp_path / "images", "--labels", tmp_path / "labels")
    words += ("--cases", tmp_path / "slices.json", *QUICK, "--out", tmp_path / "out", "--picture", "a, slice 2")
    result = pgrd(*words)
    assert result.code == 0, result.err
    made = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert (made["measured"], made["cases"]) == (3, 2)
    assert made["table"]["dice"]["systems"]["prior"]["pairs"] == 2
    text = (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")
    assert "3 slices of 2 cases" in text
    assert len(list((tmp_path / "out").glob("case-*.png"))) == 1


def test_what_cannot_be_compared_is_one_sentence(
    pgrd: Pgrd, tiny: Path, folders: tuple[object, ...], tmp_path: Path
) -> None:
    def refused(*words: object, entries: tuple[str, ...] = (f"A={tiny}",), out: Path = tmp_path / "out") -> str:
        given = [word for entry in entries for word in ("--entry", entry)]
        result = pgrd("compare", *given, *(words or folders), *QUICK, "--out", out)
        assert result.code == 2 and result.err.count("\n") == 1, result.err
        assert not list(out.rglob("*.json")) if out.is_dir() else True
        return result.err

    assert "'tiny' is not understood" in refused(entries=("tiny",))
    assert "Two entries are named A" in refused(entries=(f"A={tiny}", "A=elsewhere"))
    assert "There is no bundle 'nowhere'" in refused(entries=("A=nowhere",))
    assert "A: " in refused(entries=(f"A={tiny}:magic",))
    assert "no entry named B for the reference" in refused(*folders, "--reference", "B")
    assert "numbers of steps from 1 on" in refused(*folders, "--curve", "1,x")
    assert "--curve-entry needs --curve" in refused(*folders, "--curve-entry", "A")
    assert "no listed case named blob_001 for the picture" in refused(*folders, "--picture", "blob_001")
    (tmp_path / "names.json").write_text('["blob_002", "nobody"]', encoding="utf-8")
    assert "not in the data: nobody" in refused()
    (tmp_path / "names.json").write_text('["blob_002"]', encoding="utf-8")
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    assert "is a file" in refused(out=tmp_path / "file")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"
    assert "out cannot be written" in refused(out=tmp_path / "file" / "out")


def test_an_entry_that_fails_on_a_case_is_named(pgrd: Pgrd, tiny: Path, tmp_path: Path) -> None:
    volume, truth = blob_volume((16, 18, 14))
    for name, data in (("good", volume.data[0]), ("flat", np.ones_like(volume.data[0]))):
        write(tmp_path / "images" / f"{name}.nii.gz", data)
        write(tmp_path / "labels" / f"{name}.nii.gz", truth)
    (tmp_path / "names.txt").write_text("good flat", encoding="utf-8")
    words = ("compare", "--entry", f"A={tiny}", "--images", tmp_path / "images", "--labels", tmp_path / "labels")
    words += ("--cases", tmp_path / "names.txt", *QUICK, "--out", tmp_path / "out")
    result = pgrd(*words)
    assert result.code == 2 and result.err.startswith("pgrd: A, flat: The image is constant")
    assert not (tmp_path / "out" / "comparison.md").exists()
    assert len(list((tmp_path / "out" / "rows").rglob("good.json"))) == 1
    nib.save(nib.Nifti1Image(volume.data[0], np.eye(4)), tmp_path / "images" / "flat.nii.gz")
    assert pgrd(*words).code == 0  # repaired, it goes on
