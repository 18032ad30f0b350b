"""A review of a DICOM scan, running, saved and left: nothing on disk says whose scan it is."""

from __future__ import annotations

import gzip
import logging
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_pgrd.io.dicom.series import read_series
from napari_pgrd.session.autosave import Autosave, unfinished
from napari_pgrd.session.review import ImageMark, Review, load, save
from tests.dicoms import PATIENT, ramp, write_series
from tests.session.drawn import prediction

STUDY = ("20200202", "STUDY-7", "ACC-0815")


def contents(path: Path) -> bytes:
    """The bytes of a file, those within it too."""
    raw = path.read_bytes()
    if path.name.endswith(".gz"):
        return raw + gzip.decompress(raw)
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            return raw + b"".join(name.encode() + archive.read(name) for name in archive.namelist())
    if path.suffix == ".log":
        return raw + b"".join(_inflated(raw[at:]) for at in range(len(raw)) if raw[at : at + 1] == b"\x78")
    return raw


def _inflated(raw: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(raw)
    except zlib.error:
        return b""


def test_no_file_of_a_review_says_whose_scan_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    scan = tmp_path / "Secret Sally"
    write_series(scan, ramp(12, 10, 8), names=lambda k: f"Sally_{k}")
    caplog.clear()  # writing is the test's own
    volume = read_series(scan)
    caplog.set_level(logging.WARNING, "filelock")  # it names its own file, of the state folder
    masks = [(volume.data[0] > level).astype(np.uint8) for level in (300, 400, 500)]
    running = Autosave.begin(Review(ImageMark.of(volume), "hippocampus-mri", "a" * 64), tmp_path / "state")
    correction = running.start_correction(masks[0])
    correction.observe(masks[1], new=True)
    running.update(prediction=prediction(masks), places={"1": "accepted"}, view={"plane": "axial"})
    saved = save(tmp_path / "case.pgrd", replace(running.review, notes="second look"))
    running.leave()
    (left,) = unfinished(tmp_path / "state")
    files = [path for folder in (saved, left.folder) for path in sorted(folder.iterdir()) if path.is_file()]
    assert {path.suffix for path in files} >= {".json", ".npz", ".log", ".gz"}
    assert np.array_equal(load(saved, volume).corrections[0].mask, masks[1])
    source = volume.source
    secrets = ("Sally", "Secret", *PATIENT, *STUDY, source.series_uid, source.study_uid, source.frame_of_reference_uid)
    said = left.sentence + caplog.text
    for path in files:
        raw = contents(path)
        assert not [secret for secret in (*secrets, str(tmp_path)) if secret.encode() in raw or secret in path.name]
    assert not [secret for secret in secrets if secret in said]


def test_what_looks_into_the_files_finds_it(tmp_path: Path) -> None:
    """So that the test above can fail."""
    volume = read_series(write_series(tmp_path / "scan", ramp())[0])
    review = Review(ImageMark.of(volume, "Sally.dcm"), "hippocampus-mri", "a" * 64, notes="Sally")
    running = Autosave.begin(review, tmp_path / "state")
    running.start_correction(np.ones(volume.shape, np.uint8), "Sally")
    running.leave()
    found = [path.name for path in running.folder.iterdir() if b"Sally" in contents(path)]
    assert "session.json" in found and any(name.startswith("edits-") for name in found)
