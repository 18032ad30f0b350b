"""The example session runs as it stands, and what it leaves is checked with nibabel alone."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

TOP = Path(__file__).resolve().parents[2]
SOURCE = TOP / "sample_data" / "hippocampus" / "images" / "hippocampus_375.nii.gz"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("example")
    command = [sys.executable, str(TOP / "docs" / "example_session.py"), str(folder)]
    done = subprocess.run(
        [*command, "--steps", "2", "--samples", "3"], capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert "voxels locked" in said and "others move" in said and "manifest.json" in said
    return folder


def voxels(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def test_every_file_lies_on_the_image(out: Path) -> None:
    source = nib.load(SOURCE)
    for name in ("segmentation", "corrected", "samples", "probability", "entropy", "variance"):
        file = nib.load(out / "export" / f"{name}.nii.gz")
        assert file.shape[:3] == source.shape
        np.testing.assert_array_equal(file.affine, source.affine)
    saved = nib.load(out / "example.pgrd" / "correction-1.nii.gz")
    np.testing.assert_array_equal(saved.affine, source.affine)
    np.testing.assert_array_equal(np.asarray(saved.dataobj), voxels(out / "export" / "corrected.nii.gz"))


def test_the_voxels_are_those_of_the_session(out: Path) -> None:
    corrected, samples = voxels(out / "export" / "corrected.nii.gz"), voxels(out / "export" / "samples.nii.gz")
    assert set(np.unique(corrected)) == {0, 1, 2} and samples.shape[3] == 3
    # It ended with the accepted proposal, which is the consensus of the samples around the locks.
    np.testing.assert_array_equal(corrected, voxels(out / "export" / "segmentation.nii.gz"))
    assert (samples != corrected[..., None]).any()
    session = json.loads((out / "example.pgrd" / "session.json").read_text(encoding="utf-8"))
    with np.load(out / "example.pgrd" / session["request"]["locks"]["file"]) as arrays:
        mask = arrays["mask"].reshape(corrected.shape)  # what was changed before sampling again ...
        assert mask.sum() > 20
        for i in range(3):  # ... is the same in every sample
            np.testing.assert_array_equal(samples[..., i][mask], corrected[mask])


def test_the_record_tells_what_was_done(out: Path) -> None:
    folder = out / "export"
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["request"]["steps"] == 2 and manifest["request"]["samples"] == 3
    assert manifest["request"]["locks"]["voxels"] > 20
    # Grown; where an answer or the new samples change nothing, nothing is logged.
    assert manifest["review"]["edits"]["operation"] >= 1
    assert b"grow" in (folder / "edits.log").read_bytes()
    states = [place["state"] for place in manifest["review"]["places"]]
    assert len(set(states) - {"open"}) == 1 and len(states) > 1
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    with (folder / "volumes.csv").open(encoding="utf-8") as stream:
        sizes = {(r["label"], r["sample"]): float(r["mL"]) for r in csv.DictReader(stream)}
    corrected, zooms = voxels(folder / "corrected.nii.gz"), nib.load(SOURCE).header.get_zooms()
    for value, name in ((1, "anterior"), (2, "posterior")):
        assert sizes[name, "correction"] == pytest.approx(
            (corrected == value).sum() * np.prod(zooms[:3]) / 1000, rel=1e-4
        )
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "research use" in page and "data:image/png" in page
    assert (folder / "edits.log").stat().st_size > 0
