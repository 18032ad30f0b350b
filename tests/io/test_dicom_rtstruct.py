"""RT Structure Sets, filled again from the numbers in the file alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from matplotlib.path import Path as Outline
from pydicom.valuerep import DSfloat

from napari_pgrd.engine.errors import ExportError, InputError
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.dicom.belonging import Ownership, new_uid
from napari_pgrd.io.dicom.rtstruct import write_rtstruct
from napari_pgrd.io.dicom.seg import Making
from napari_pgrd.io.dicom.series import read_series
from tests.io.dicom_scans import ORIENTATIONS, PATIENT, SECRETS, STUDY, Scan, some_labels, spec_of, write_scan

AUTOMATIC = Making("AUTOMATIC", "PGRD hippocampus-mri", parameters={"model_sha256": "ab" * 32}, title="PGRD consensus")


def images_of(scan: Scan) -> dict[tuple[str, int | None], tuple[np.ndarray, ...]]:
    """Of every image, by UID and frame number: position, column and row steps in mm."""
    out = {}
    for file in scan.folder.iterdir():
        image = pydicom.dcmread(file)
        groups = image.get("PerFrameFunctionalGroupsSequence")
        for number, group in enumerate(groups or [None], 1):
            if group is None:
                at, turn, spacing = image.ImagePositionPatient, image.ImageOrientationPatient, image.PixelSpacing
            else:
                shared = image.SharedFunctionalGroupsSequence[0]
                at = group.PlanePositionSequence[0].ImagePositionPatient
                turn = shared.PlaneOrientationSequence[0].ImageOrientationPatient
                spacing = shared.PixelMeasuresSequence[0].PixelSpacing
            at, turn, spacing = (np.array(v, float) for v in (at, turn, spacing))
            steps = (at, turn[:3] * spacing[1], turn[3:] * spacing[0])
            out[image.SOPInstanceUID, number if groups else None] = steps
    return out


def filled(path: Path, scan: Scan, union: bool) -> np.ndarray:
    """Label values ``(column, row, slice)``: pixels whose centres lie in the contours, united or by exclusive or."""
    written, images = pydicom.dcmread(path), images_of(scan)
    columns, rows, _ = scan.shape
    out = np.zeros(scan.shape, np.uint8)
    centres = np.stack(np.meshgrid(np.arange(columns), np.arange(rows), indexing="ij"), -1).reshape(-1, 2)
    for roi in written.ROIContourSequence:
        inside = np.zeros(scan.shape, bool)
        for contour in roi.get("ContourSequence", []):
            (image,) = contour.ContourImageSequence
            origin, right, down = images[image.ReferencedSOPInstanceUID, image.get("ReferencedFrameNumber")]
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            assert contour.ContourGeometricType == "CLOSED_PLANAR" and contour.NumberOfContourPoints == len(points)
            pixels, off, *_ = np.linalg.lstsq(np.column_stack([right, down]), (points - origin).T, rcond=None)
            assert off.max(initial=0) < 1e-9  # in the very plane of the image
            k = round(np.linalg.solve(scan.lps, (*origin, 1))[2])
            ring = np.vstack([pixels.T, pixels.T[:1]])
            filling = Outline(ring).contains_points(centres).reshape(columns, rows)
            inside[:, :, k] = inside[:, :, k] | filling if union else inside[:, :, k] ^ filling
        assert not (out[inside] > 0).any()
        out[inside] = roi.ReferencedROINumber
    return out


@pytest.mark.parametrize("multiframe", [False, True])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_contours_hold_exactly_the_voxels(tmp_path: Path, orientation: str, multiframe: bool) -> None:
    scan = write_scan(tmp_path / "scan", orientation, multiframe=multiframe)
    volume = read_series(scan.folder)
    labels = some_labels(volume.shape)
    path = write_rtstruct(tmp_path / "rt.dcm", labels, volume, spec_of(), AUTOMATIC)
    for union in (True, False):  # programs differ in what several contours of a slice mean
        assert np.array_equal(filled(path, scan, union), labels)


def test_regions_are_named_coded_and_coloured(tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "scan")
    volume = read_series(scan.folder)
    labels = some_labels(volume.shape)
    labels[labels == 2] = 0  # a region without a voxel
    path = write_rtstruct(tmp_path / "rt.dcm", labels, volume, spec_of(), AUTOMATIC)
    written = pydicom.dcmread(path)
    assert [roi.ROIName for roi in written.StructureSetROISequence] == ["anterior", "posterior"]
    assert {roi.ROIGenerationAlgorithm for roi in written.StructureSetROISequence} == {"AUTOMATIC"}
    assert "ab" * 32 in written.StructureSetDescription
    code = written.RTROIObservationsSequence[0].RTROIIdentificationCodeSequence[0]
    assert (code.CodingSchemeDesignator, code.CodeValue, code.CodeMeaning) == ("SCT", "5366008", "Hippocampus")
    first, second = written.ROIContourSequence
    assert list(first.ROIDisplayColor) == [0x19, 0xE0, 0xFF] and "ContourSequence" not in second
    assert np.array_equal(filled(path, scan, True), labels)
    by_hand = Making("MANUAL", "never said", title="Correction")
    write_rtstruct(path, labels, volume, spec_of(), by_hand)
    written = pydicom.dcmread(path)
    assert {roi.ROIGenerationAlgorithm for roi in written.StructureSetROISequence} == {"MANUAL"}
    assert b"never said" not in path.read_bytes()


def test_it_refers_to_every_image_of_its_series(tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "scan", "sagittal")
    volume = read_series(scan.folder)
    path = write_rtstruct(tmp_path / "rt.dcm", some_labels(volume.shape), volume, spec_of(), AUTOMATIC)
    written, image = pydicom.dcmread(path), pydicom.dcmread(next(scan.folder.iterdir()))
    (frame,) = written.ReferencedFrameOfReferenceSequence
    (study,) = frame.RTReferencedStudySequence
    (series,) = study.RTReferencedSeriesSequence
    assert frame.FrameOfReferenceUID == written.FrameOfReferenceUID == image.FrameOfReferenceUID
    assert study.ReferencedSOPInstanceUID == written.StudyInstanceUID == image.StudyInstanceUID
    assert series.SeriesInstanceUID == image.SeriesInstanceUID != written.SeriesInstanceUID
    named = {i.ReferencedSOPInstanceUID for i in series.ContourImageSequence}
    assert named == {uid for uid, _ in images_of(scan)} and len(series.ContourImageSequence) == len(named)
    for keyword, value in (PATIENT | STUDY).items():
        assert str(written[keyword].value) == value
    assert written.OperatorsName == ""
    write_rtstruct(path, some_labels(volume.shape), volume, spec_of(), AUTOMATIC, Ownership(creator="Reader^A"))
    assert str(pydicom.dcmread(path).OperatorsName) == "Reader^A"


def test_a_deidentified_one_holds_nothing_of_the_patient(tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "scan")
    volume = read_series(scan.folder)
    labels = some_labels(volume.shape)
    path = write_rtstruct(tmp_path / "rt.dcm", labels, volume, spec_of(), AUTOMATIC, Ownership(True, "Reader^A"))
    raw, image = path.read_bytes(), pydicom.dcmread(next(scan.folder.iterdir()))
    for secret in (*SECRETS, image.StudyInstanceUID, image.FrameOfReferenceUID, *(uid for uid, _ in images_of(scan))):
        assert secret.encode() not in raw
    written = pydicom.dcmread(path)
    assert written.PatientIdentityRemoved == "YES" and written.StructureSetDate == "19000101"
    contour = written.ROIContourSequence[0].ContourSequence[0]
    assert contour.ContourImageSequence[0].ReferencedSOPInstanceUID in {new_uid(uid) for uid, _ in images_of(scan)}
    assert written.FrameOfReferenceUID == new_uid(image.FrameOfReferenceUID)


def test_a_long_contour_stays_text_of_at_most_16_characters(tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "scan", "oblique", (400, 300, 2), (0.123456, 0.654321, 3.0))
    volume = read_series(scan.folder)
    labels = np.zeros(volume.shape, np.uint8)
    labels[::2, :, 0] = labels[:, 150, 0] = 1  # a comb: one piece with a border of many thousand points
    path = write_rtstruct(tmp_path / "rt.dcm", labels, volume, spec_of(), AUTOMATIC)
    (contour,) = pydicom.dcmread(path).ROIContourSequence[0].ContourSequence
    assert contour["ContourData"].VR == "DS" and contour.NumberOfContourPoints > 1500
    texts = [v.original_string for v in contour.ContourData if isinstance(v, DSfloat)]
    assert len(texts) == 3 * contour.NumberOfContourPoints and max(map(len, texts)) <= 16
    assert np.array_equal(filled(path, scan, True), labels)


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    volume = read_series(write_scan(tmp_path / "scan").folder)
    labels, path = some_labels(volume.shape), tmp_path / "rt.dcm"
    path.write_bytes(b"earlier")
    with pytest.raises(ExportError, match="did not come from DICOM"):
        write_rtstruct(path, labels, Volume(volume.data, volume.affine), spec_of(), AUTOMATIC)
    for wrong in (labels[1:], labels + 7):
        with pytest.raises(InputError, match="The contours need a mask"):
            write_rtstruct(path, wrong, volume, spec_of(), AUTOMATIC)
    assert path.read_bytes() == b"earlier"
