"""``pgrd demo`` and ``pgrd review`` where there is a display: the window opens on the image and ends cleanly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_pgrd.cli.inference import has_display

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "sample_data/hippocampus/images/hippocampus_375.nii.gz"
pytestmark = pytest.mark.skipif(not has_display(), reason="without a display no window opens")


def seen(layers, *words):
    """What stood in the window when it had these layers, from below; its process ended without a word."""
    command = [sys.executable, "-m", "tests.viewer.launch_job", json.dumps(layers), *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    window = json.loads(done.stdout)
    assert window["layers"] == layers
    assert "PGRD Review" in window["title"]
    assert window["exposed"] and window["dock"]
    assert window["contrast"] > 100  # not a black canvas
    return window


def total(image):
    return pytest.approx(float(np.asarray(nib.load(image).dataobj, float).sum()), rel=1e-6)


def test_demo_opens_on_the_example_with_samples_of_it(tmp_path):
    over = ["Sample 01", "Sample 02", "Prior", "Variance", "Entropy", "Consensus", "Agreement"]
    layers = ["T1 hippocampus_375", *over]
    window = seen(layers, "demo", "--steps", 1, "--samples", 2, "--out", tmp_path / "no files")
    assert window["sum"] == total(EXAMPLE)
    for name in ("Sample 01", "Sample 02", "Consensus"):
        assert window["labels"][name] == [0, 1, 2], name
    assert list(tmp_path.iterdir()) == []  # pictures and files are for where there is no display


def test_review_opens_on_the_image_it_is_given(image_file):
    window = seen(["blobs"], "review", image_file)
    assert window["sum"] == total(image_file)
