"""``pgrd predict`` of a DICOM folder, with DICOM objects beside the other results."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom

from napari_pgrd.engine.spec import read_spec
from napari_pgrd.io.dicom.seg_read import read_seg
from napari_pgrd.io.dicom.series import read_series
from tests.cli.conftest import Pgrd, write
from tests.io.dicom_scans import write_scan
from tests.tiny import blob_volume

QUICK = ("--steps", 2, "--samples", 2, "--device", "cpu")


def test_predict_writes_dicom(pgrd: Pgrd, tiny: Path, tmp_path: Path) -> None:
    values = np.clip(blob_volume()[0].data[0], 0, None)
    scan = write_scan(tmp_path / "scan", "axial", spacing=(1.0, 1.0, 1.0), values=values)
    words = ("predict", scan.folder, "--bundle", tiny, *QUICK, "--out", tmp_path / "out")
    result = pgrd(*words, "--dicom", "seg, rtstruct", "--creator", "Reader^A")
    assert result.code == 0, result.err
    volume = read_series(scan.folder)
    read = read_seg(tmp_path / "out" / "segmentation.dcm", volume, read_spec(tiny))
    consensus = np.asarray(nib.load(tmp_path / "out" / "segmentation.nii.gz").dataobj)
    assert consensus.any() and np.array_equal(read.values, consensus) and read.made == "AUTOMATIC"
    assert (tmp_path / "out" / "segmentation_rtstruct.dcm").exists() and "segmentation.dcm" in result.out
    assert str(pydicom.dcmread(tmp_path / "out" / "segmentation.dcm").ContentCreatorName) == "Reader^A"


def test_what_cannot_be_is_said_before_anything_is_drawn(pgrd: Pgrd, tiny: Path, tmp_path: Path) -> None:
    image = write(tmp_path / "in.nii.gz", blob_volume()[0].data[0])
    words = ("predict", image, "--bundle", tiny, *QUICK, "--out", tmp_path / "out")
    for options, said in (
        (("--dicom", "seg"), "did not come from DICOM"),
        (("--dicom", "png"), "choose among seg, labelmap, fractional, rtstruct"),
        (("--dicom", " ,"), "names nothing"),
        (("--deidentify",), "Give --dicom seg, too"),
        (("--dicom", "seg", "--deidentify", "--creator", "A"), "Give one of the two"),
    ):
        result = pgrd(*words, *options)
        assert result.code == 2 and said in result.err, options
    assert not (tmp_path / "out").exists()
