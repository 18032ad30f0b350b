"""The whole of a reader's job in real windows with mouse and keys alone, through a kill -9 in its middle."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_pgrd.io.samples import sample_cases
from tests.e2e.reader_job import second_half

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX")
def test_settle_three_places_crash_resume_export(make_window, qtbot, tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_PGRD_STATE", str(tmp_path / "state"))
    first = tmp_path / "first"
    first.mkdir()
    with open(first / "said", "w", encoding="utf-8") as said:
        process = subprocess.Popen([sys.executable, "-m", "tests.e2e.reader_job", str(first)], cwd=ROOT, stderr=said)
        try:
            until = time.monotonic() + 900
            while not (first / "ready").exists():
                assert process.poll() is None, (first / "said").read_text(encoding="utf-8")[-4000:]
                assert time.monotonic() < until, "the first half did not end"
                time.sleep(0.2)
        finally:
            process.kill()
            process.wait(60)
    kept, out = np.load(first / "correction.npy"), tmp_path / "out"

    second_half(make_window(), qtbot, lambda name: None, kept, out)

    source = nib.load(sample_cases()[0].image)
    corrected, samples = (nib.load(out / f"{name}.nii.gz") for name in ("corrected", "samples"))
    np.testing.assert_array_equal(corrected.affine, source.affine)
    mask = np.asarray(corrected.dataobj)
    # The window shows (S, P, L) going up, nibabel reads the file's own order: compare through the header alone.
    turned = nib.as_closest_canonical(corrected)
    shown = np.asarray(turned.dataobj)[::-1, ::-1, ::-1].transpose(2, 1, 0)
    np.testing.assert_array_equal(shown, kept)
    assert mask.dtype == np.uint8 and set(np.unique(mask)) <= {0, 1, 2}
    assert samples.shape == (*source.shape, 4)
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    states = json.dumps(manifest)
    assert "changed" in states and "hippocampus_" not in states
    log = (out / "edits.log").read_bytes().decode("latin-1")  # facts in plain text between compressed voxels
    for operation in ("alternative 1", "outline", "interpolate", "accept resampling", "undo", "redo"):
        assert operation in log, operation
    rows = list(csv.DictReader((out / "volumes.csv").open(encoding="utf-8")))
    assert rows
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "not a medical device" in report and "mL" in report
