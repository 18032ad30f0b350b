"""DICOM objects from the window: offered where the image came from DICOM, and started from where somebody has one."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pydicom
import pytest

from napari_pgrd.io.dicom.seg import Making, write_seg
from napari_pgrd.io.dicom.seg_read import read_seg
from napari_pgrd.io.dicom.series import read_series
from napari_pgrd.viewer.reader import layer_data
from tests.hands import click, click_and_choose_file, click_tab, find, type_text, wait
from tests.io.dicom_scans import write_scan
from tests.tiny import blob_volume
from tests.viewer.test_sampling import run


@pytest.fixture
def scanned(review, tmp_path):
    """The window on blobs as a DICOM series; what is known of it."""
    values = np.clip(blob_volume()[0].data[0], 0, None)
    scan = write_scan(tmp_path / "scan", "coronal", spacing=(1.0, 1.0, 1.5), values=values)
    review.volume = read_series(scan.folder)
    data, meta, _ = layer_data(review.volume, "scan")
    review.viewer.add_image(data, **meta)
    review.desk.choose_source("scan")
    return review


def test_a_dicom_image_is_exported_as_dicom(scanned, qtbot, tmp_path):
    dock, out = scanned.dock, tmp_path / "out"
    run(scanned, qtbot)
    click_tab(dock, "Export")
    assert not find(dock, "no_dicom").isVisible() and find(dock, "dicom_seg").isChecked()
    click(dock, "dicom_rtstruct")
    click(dock, "dicom_fractional")
    click(dock, "dicom_creator")
    type_text(dock, "initials", "AB")
    find(dock, "initials").editingFinished.emit()
    type_text(dock, "folder", str(out))
    click(dock, "export")
    wait(qtbot, lambda: scanned.state.exported != "")
    assert {f.name for f in out.glob("*.dcm")} == {
        "segmentation.dcm",
        "segmentation_rtstruct.dcm",
        "probability.dcm",
    }
    consensus = np.asarray(nib.load(out / "segmentation.nii.gz").dataobj)
    read = read_seg(out / "segmentation.dcm", scanned.volume, scanned.desk.spec)
    assert consensus.any() and np.array_equal(read.values, consensus)
    written = pydicom.dcmread(out / "segmentation.dcm")
    assert (written.ContentCreatorName, written.PatientID) == ("AB", "ID-4711")
    click(dock, "deidentify")
    assert not find(dock, "dicom_creator").isEnabled()
    click(dock, "export")
    wait(qtbot, lambda: scanned.state.exported != "")
    assert pydicom.dcmread(out / "segmentation.dcm").PatientIdentityRemoved == "YES"


def test_a_correction_starts_from_somebody_elses_segmentation(scanned, qtbot, tmp_path):
    dock = scanned.dock
    labels = np.zeros(scanned.volume.shape, np.uint8)
    labels[4:10, 4:10, 3:9], labels[10:13, 4:10, 3:9] = 1, 2
    spec = scanned.desk.spec
    path = write_seg(tmp_path / "theirs", labels, "LABELMAP", scanned.volume, spec, Making("MANUAL", ""))
    click_tab(dock, "Correct")
    click_and_choose_file(dock, "start_from_file", path)
    wait(qtbot, lambda: dock.masks.worker is None and dock.corrections.layer is not None)
    assert np.array_equal(dock.corrections.values(), labels)
    assert "Started from theirs." in find(dock, "start_sentence").text()
    click_tab(dock, "Export")
    type_text(dock, "folder", str(tmp_path / "out"))
    click(dock, "export")
    wait(qtbot, lambda: scanned.state.exported != "")
    written = pydicom.dcmread(tmp_path / "out" / "corrected.dcm")
    assert {segment.SegmentAlgorithmType for segment in written.SegmentSequence} == {"MANUAL"}
    assert not (tmp_path / "out" / "probability.dcm").exists()


def test_a_series_that_cannot_be_referred_to_is_exported_without_dicom(scanned, qtbot, tmp_path):
    volume = scanned.desk.volume
    lacking = replace(volume, source=replace(volume.source, frame_of_reference_uid=""))
    data, meta, _ = layer_data(lacking, "lacking")
    scanned.viewer.add_image(data, **meta)
    scanned.desk.choose_source("lacking")
    run(scanned, qtbot)
    click_tab(scanned.dock, "Export")
    assert "no frame of reference" in find(scanned.dock, "no_dicom").text()
    type_text(scanned.dock, "folder", str(tmp_path / "out"))
    click(scanned.dock, "export")
    wait(qtbot, lambda: scanned.state.exported != "")
    assert not list((tmp_path / "out").glob("*.dcm"))


def test_an_image_that_is_no_dicom_gets_a_sentence(review, qtbot, tmp_path):
    run(review, qtbot)
    click_tab(review.dock, "Export")
    assert find(review.dock, "no_dicom").isVisible() and not find(review.dock, "dicom_seg").isVisible()
    assert "did not come from DICOM" in find(review.dock, "no_dicom").text()
    type_text(review.dock, "folder", str(tmp_path / "out"))
    click(review.dock, "export")
    wait(qtbot, lambda: review.state.exported != "")
    assert not list((tmp_path / "out").glob("*.dcm"))
