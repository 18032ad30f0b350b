"""``pgrd predict`` on DICOM folders."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_pgrd.io.dicom.series import read_series
from tests.cli.conftest import Pgrd, write
from tests.dicoms import PATIENT, base, ramp, write_series
from tests.tiny import blob_volume, make_tiny_bundle

QUICK = ("--steps", 1, "--samples", 2, "--device", "cpu")


@pytest.fixture
def blobs(tmp_path: Path) -> Path:
    """A folder with one series that the tiny bundle takes; its files have names without extension."""
    data = blob_volume()[0].data[0].round().astype(np.int16)
    write_series(tmp_path / "Secret Sally", data, spacing=(1, 1, 1), names=lambda k: f"IM{k}")
    return tmp_path / "Secret Sally"


def test_a_folder_or_a_file_of_it_is_segmented_where_it_lies(
    pgrd: Pgrd, tiny: Path, tmp_path: Path, blobs: Path
) -> None:
    for name, image in (("folder", blobs), ("file", blobs / "IM7")):
        out = tmp_path / name
        result = pgrd("predict", image, "--bundle", tiny, *QUICK, "--report", "--out", out)
        assert result.code == 0, result.err
        volume = read_series(blobs)
        for file in ("segmentation", "probability"):
            written = nib.load(out / f"{file}.nii.gz")
            assert written.shape[:3] == volume.shape and np.allclose(written.affine, volume.affine)
            assert written.header.get_xyzt_units()[0] == "mm"
        assert "anterior" in result.out and "mL" in result.out
        manifest = (out / "manifest.json").read_text(encoding="utf-8")
        assert json.loads(manifest)["spacing_known"]
        page = re.sub(r"data:image[^\"]*", "", (out / "report.html").read_text(encoding="utf-8"))
        for text in (manifest, page, result.err):
            for secret in ("Sally", *PATIENT, volume.source.series_uid, "IM7"):
                assert secret not in text
    one, two = (np.asarray(nib.load(tmp_path / n / "samples.nii.gz").dataobj) for n in ("folder", "file"))
    assert np.array_equal(one, two)


def test_one_of_several_series_is_named(pgrd: Pgrd, tiny: Path, tmp_path: Path, blobs: Path) -> None:
    write_series(blobs / "more", ramp(), elements={"number": 8, "modality": "CT"})
    result = pgrd("predict", blobs, "--bundle", tiny, *QUICK, "--out", tmp_path / "out")
    assert result.code == 2 and not (tmp_path / "out").exists() and result.out == ""
    words = " ".join(result.err.split())
    assert "3: MR, 20 x 24 pixels, 18 images" in words and "8: CT, 6 x 5 pixels, 4 images" in words
    assert "--series" in words and "Sally" not in words
    result = pgrd("predict", blobs, "--series", 3, "--bundle", tiny, *QUICK, "--out", tmp_path / "out")
    assert result.code == 0, result.err
    result = pgrd("predict", blobs, "--series", 4, "--bundle", tiny, *QUICK, "--out", tmp_path / "none")
    assert result.code == 2 and "no series 4" in result.err


def test_channels_are_several_series_of_a_folder_or_several_folders(pgrd: Pgrd, tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "two", channels=2)
    data = blob_volume(channels=2)[0].data.round().astype(np.int16)
    study = base()
    for k, number in enumerate((3, 5)):
        shared = base(number=number, StudyInstanceUID=study.StudyInstanceUID)
        shared.FrameOfReferenceUID = study.FrameOfReferenceUID
        write_series(tmp_path / "in" / f"{number}", data[k], shared=shared, spacing=(1, 1, 1))
    folders = tmp_path / "in" / "3", tmp_path / "in" / "5"
    ways = {"series": (tmp_path / "in", "--series", 3, "--series", 5), "folders": folders}
    for name, words in ways.items():
        result = pgrd("predict", *words, "--bundle", bundle, *QUICK, "--out", tmp_path / name)
        assert result.code == 0, result.err
    one, two = (np.asarray(nib.load(tmp_path / n / "samples.nii.gz").dataobj) for n in ways)
    assert np.array_equal(one, two)
    write_series(tmp_path / "other", ramp(), elements={"number": 9})
    result = pgrd("predict", folders[0], tmp_path / "other", "--bundle", bundle, *QUICK, "--out", tmp_path / "none")
    told = " ".join(result.err.split())
    assert result.code == 2 and "channel 1 is MR series 9" in told and "channel 1 has another grid" in told
    result = pgrd("predict", *folders, "--series", 3, "--bundle", bundle, *QUICK, "--out", tmp_path / "none")
    assert result.code == 2 and "1 series are named for 2 images" in " ".join(result.err.split())


def test_a_series_makes_no_sense_for_nifti(pgrd: Pgrd, tiny: Path, tmp_path: Path) -> None:
    image = write(tmp_path / "a.nii.gz", blob_volume()[0].data[0])
    result = pgrd("predict", image, "--series", 3, "--bundle", tiny, *QUICK, "--out", tmp_path / "none")
    assert result.code == 2 and "the image is no DICOM" in " ".join(result.err.split())


def test_a_broken_series_and_an_empty_folder_are_one_sentence(
    pgrd: Pgrd, tiny: Path, tmp_path: Path, blobs: Path
) -> None:
    (blobs / "IM4").unlink()
    (tmp_path / "empty").mkdir()
    for folder, part in ((blobs, "1 is missing between them"), (tmp_path / "empty", "no DICOM image")):
        result = pgrd("predict", folder, "--bundle", tiny, *QUICK, "--out", tmp_path / "none")
        assert result.code == 2 and part in " ".join(result.err.split()) and not (tmp_path / "none").exists()
