"""DICOM Segmentations, read back by programs that share no code with what wrote them."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK

from napari_pgrd.engine.errors import ExportError, InputError
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.dicom.belonging import Ownership, new_uid
from napari_pgrd.io.dicom.seg import Making, write_seg
from napari_pgrd.io.dicom.series import read_series
from tests.io.dicom_scans import ORIENTATIONS, PATIENT, SECRETS, STUDY, some_labels, spec_of, write_scan

AUTOMATIC = Making("AUTOMATIC", "PGRD hippocampus-mri", parameters={"model_sha256": "ab" * 32, "samples": "8"})


def dcmqi(path: Path, folder: Path) -> tuple[list[SimpleITK.Image], dict]:
    """Every image that dcmqi makes of a segmentation, and what it says of the segments."""
    folder.mkdir()
    tool = Path(sysconfig.get_path("scripts"), "segimage2itkimage" + (".exe" if os.name == "nt" else ""))
    command = [tool, "--inputDICOM", path, "--outputDirectory", folder, "--outputType", "nrrd"]
    subprocess.run([str(word) for word in command], check=True, capture_output=True, timeout=300)
    files = sorted(folder.glob("*.nrrd"), key=lambda file: int(file.stem))
    return [SimpleITK.ReadImage(str(file)) for file in files], json.loads((folder / "meta.json").read_text())


def on_grid(images: list[SimpleITK.Image], volume: Volume) -> np.ndarray:
    """The values of images, each voxel put where it lies in the patient; exact or an assertion fails."""
    out = np.zeros(volume.shape, np.int64)
    for image in images:
        array = SimpleITK.GetArrayFromImage(image).T  # x, y, z
        index = np.argwhere(array)
        direction = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
        lps = index @ direction.T + np.array(image.GetOrigin())
        ras = np.column_stack([-lps[:, 0], -lps[:, 1], lps[:, 2], np.ones(len(lps))])
        where = np.linalg.solve(volume.affine, ras.T)[:3]
        assert np.abs(where - np.rint(where)).max(initial=0) < 1e-3
        i, j, k = np.rint(where).astype(int)
        assert (out[i, j, k] == 0).all()
        out[i, j, k] = array[tuple(index.T)]
    return out


@pytest.mark.parametrize("multiframe", [False, True])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_dcmqi_reads_masks_voxel_by_voxel(tmp_path: Path, orientation: str, multiframe: bool) -> None:
    volume = read_series(write_scan(tmp_path / "scan", orientation, multiframe=multiframe).folder)
    labels = some_labels(volume.shape)
    for kind in ("BINARY", "LABELMAP"):
        path = write_seg(tmp_path / f"{kind}.dcm", labels, kind, volume, spec_of(), AUTOMATIC)
        images, _ = dcmqi(path, tmp_path / kind)
        assert np.array_equal(on_grid(images, volume), labels), kind


def test_dcmqi_reads_probabilities_to_a_step_of_255(tmp_path: Path) -> None:
    volume = read_series(write_scan(tmp_path / "scan", "oblique").folder)
    p = np.random.default_rng(0).dirichlet((1, 1, 1), volume.shape).transpose(3, 0, 1, 2).astype(np.float32)
    p[1:, :, :, 3] = 0  # a slice without any
    path = write_seg(tmp_path / "p.dcm", p, "FRACTIONAL", volume, spec_of(), AUTOMATIC)
    images, _ = dcmqi(path, tmp_path / "read")
    assert len(images) == 2
    for k, image in enumerate(images, 1):
        assert np.abs(on_grid([image], volume) / 255 - p[k]).max() <= 0.5 / 255 + 1e-6
    stored = pydicom.dcmread(path)
    assert (stored.SegmentationFractionalType, stored.MaximumFractionalValue) == ("PROBABILITY", 255)


@pytest.mark.parametrize("orientation", ["axial", "oblique"])
def test_simpleitk_reads_the_frames_of_a_binary_mask(tmp_path: Path, orientation: str) -> None:
    # GDCM, which SimpleITK reads with, leaves the bits after the last whole byte unset: so a multiple of 8 pixels.
    volume = read_series(write_scan(tmp_path / "scan", orientation, (13, 8, 7)).folder)
    labels = some_labels(volume.shape)
    path = write_seg(tmp_path / "seg.dcm", labels, "BINARY", volume, spec_of(), AUTOMATIC)
    frames = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    stated = pydicom.dcmread(path, stop_before_pixels=True)
    assert len(frames) == len(stated.PerFrameFunctionalGroupsSequence) == stated.NumberOfFrames
    read = np.zeros_like(labels)
    for frame, group in zip(frames, stated.PerFrameFunctionalGroupsSequence, strict=True):
        lps = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        where = np.linalg.solve(volume.affine, (-lps[0], -lps[1], lps[2], 1))
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        read[:, :, round(where[2])][frame.T > 0] = number
    assert np.array_equal(read, labels)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize("case", ["one voxel", "one label", "none"])
def test_nearly_nothing_is_a_mask_too(tmp_path: Path, kind: str, case: str) -> None:
    volume = read_series(write_scan(tmp_path / "scan").folder)
    labels = np.zeros(volume.shape, np.uint8)
    if case != "none":
        labels[12, 8, 6] = 2
    if case == "one label":
        labels[3:5, 2, 1] = 2
    path = write_seg(tmp_path / "seg.dcm", labels, kind, volume, spec_of(), AUTOMATIC)
    images, _ = dcmqi(path, tmp_path / "read")
    assert np.array_equal(on_grid(images, volume), labels)
    described = [s.SegmentLabel for s in pydicom.dcmread(path).SegmentSequence if s.SegmentNumber]
    assert described == ["anterior", "posterior"]


def test_segments_say_what_they_are_and_what_made_them(tmp_path: Path) -> None:
    volume = read_series(write_scan(tmp_path / "scan").folder)
    path = write_seg(tmp_path / "seg.dcm", some_labels(volume.shape), "BINARY", volume, spec_of(), AUTOMATIC)
    _, said = dcmqi(path, tmp_path / "read")
    first = said["segmentAttributes"][0][0]
    assert (first["SegmentLabel"], first["SegmentAlgorithmType"]) == ("anterior", "AUTOMATIC")
    assert first["SegmentAlgorithmName"] == "PGRD hippocampus-mri"
    assert first["SegmentedPropertyTypeCodeSequence"]["CodeValue"] == "5366008"
    assert first["SegmentedPropertyTypeModifierCodeSequence"]["CodeValue"] == "255549009"
    assert np.abs(np.array(first["recommendedDisplayRGBValue"]) - (0x19, 0xE0, 0xFF)).max() <= 1
    item = pydicom.dcmread(path).SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert f"model_sha256={'ab' * 32}" in item.AlgorithmParameters and item.AlgorithmVersion
    write_seg(path, some_labels(volume.shape), "BINARY", volume, spec_of("a\\b\ncyst", "y" * 99), AUTOMATIC)
    segment, other = pydicom.dcmread(path).SegmentSequence
    assert (segment.SegmentLabel, len(other.SegmentLabel)) == ("a b cyst", 64)
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Tissue"  # what an uncoded label claims


def test_what_was_drawn_by_hand_names_no_algorithm(tmp_path: Path) -> None:
    volume = read_series(write_scan(tmp_path / "scan").folder)
    for how in ("MANUAL", "SEMIAUTOMATIC"):
        making = Making(how, "PGRD hippocampus-mri")
        path = write_seg(tmp_path / "seg.dcm", some_labels(volume.shape), "LABELMAP", volume, spec_of(), making)
        for segment in pydicom.dcmread(path).SegmentSequence[1:]:
            assert segment.SegmentAlgorithmType == how
            assert ("SegmentAlgorithmName" in segment) == (how != "MANUAL")


@pytest.mark.parametrize("multiframe", [False, True])
def test_every_frame_refers_to_the_slice_it_was_drawn_on(tmp_path: Path, multiframe: bool) -> None:
    scan = write_scan(tmp_path / "scan", "oblique", multiframe=multiframe)
    volume = read_series(scan.folder)
    path = write_seg(tmp_path / "seg.dcm", some_labels(volume.shape), "BINARY", volume, spec_of(), AUTOMATIC)
    written = pydicom.dcmread(path)
    images = [pydicom.dcmread(file) for file in scan.folder.iterdir()]
    place = {}
    for image in images:
        groups = image.get("PerFrameFunctionalGroupsSequence", [None])
        for number, group in enumerate(groups, 1):
            at = image.ImagePositionPatient if group is None else group.PlanePositionSequence[0].ImagePositionPatient
            place[image.SOPInstanceUID, number if group is not None else None] = np.array(at, float)
    for group in written.PerFrameFunctionalGroupsSequence:
        item = group.DerivationImageSequence[0].SourceImageSequence[0]
        there = place[item.ReferencedSOPInstanceUID, item.get("ReferencedFrameNumber")]
        assert np.allclose(np.array(group.PlanePositionSequence[0].ImagePositionPatient, float), there, atol=1e-6)
        assert item.ReferencedSOPClassUID == images[0].SOPClassUID
    (series,) = written.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == images[0].SeriesInstanceUID
    assert {i.ReferencedSOPInstanceUID for i in series.ReferencedInstanceSequence} == {key for key, _ in place}
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
        assert written[keyword].value == images[0][keyword].value
    assert written.SOPInstanceUID not in {key for key, _ in place}


def test_it_belongs_to_the_patient_and_to_nobody_else(tmp_path: Path) -> None:
    volume = read_series(write_scan(tmp_path / "scan").folder)
    path = write_seg(tmp_path / "seg.dcm", some_labels(volume.shape), "BINARY", volume, spec_of(), AUTOMATIC)
    written = pydicom.dcmread(path)
    for keyword, value in (PATIENT | STUDY).items():
        assert str(written[keyword].value) == value
    assert written.ContentCreatorName == "" and "InstitutionName" not in written
    write_seg(path, some_labels(volume.shape), "BINARY", volume, spec_of(), AUTOMATIC, Ownership(creator="Reader^A"))
    assert str(pydicom.dcmread(path).ContentCreatorName) == "Reader^A"


def test_a_deidentified_one_holds_nothing_of_the_patient(tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "scan", multiframe=True)
    volume, image = read_series(scan.folder), pydicom.dcmread(scan.folder / "all.dcm")
    labels, nobody = some_labels(volume.shape), Ownership(True, "Reader^A")
    paths = [
        write_seg(tmp_path / f"{k}.dcm", labels, kind, volume, spec_of(), AUTOMATIC, nobody)
        for k, kind in enumerate(("BINARY", "LABELMAP"))
    ]
    first, second = (pydicom.dcmread(path) for path in paths)
    keywords = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
    for path in paths:
        raw = path.read_bytes()
        for secret in SECRETS:
            assert secret.encode() not in raw and secret.encode("latin-1") not in raw
        for keyword in keywords:
            assert image[keyword].value.encode() not in raw
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID"):
        assert first[keyword].value == second[keyword].value
    assert first.StudyInstanceUID == new_uid(image.StudyInstanceUID) != image.StudyInstanceUID
    assert first.ReferencedSeriesSequence[0].SeriesInstanceUID == new_uid(image.SeriesInstanceUID)
    assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.4"
    assert first.PatientIdentityRemoved == "YES" and first.LongitudinalTemporalInformationModified == "REMOVED"
    assert [c.CodeValue for c in first.DeidentificationMethodCodeSequence] == ["113100", "113105"]
    assert np.array_equal(on_grid(dcmqi(paths[0], tmp_path / "read")[0], volume), labels)


def test_a_source_that_was_deidentified_stays_so(tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "scan", multiframe=True)
    image = pydicom.dcmread(scan.folder / "all.dcm")
    image.PatientIdentityRemoved, image.DeidentificationMethod = "YES", "elsewhere"
    image.save_as(scan.folder / "all.dcm")
    volume = read_series(scan.folder)
    path = write_seg(tmp_path / "seg.dcm", some_labels(volume.shape), "BINARY", volume, spec_of(), AUTOMATIC)
    written = pydicom.dcmread(path)
    assert (written.PatientIdentityRemoved, written.DeidentificationMethod) == ("YES", "elsewhere")


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    volume = read_series(write_scan(tmp_path / "scan").folder)
    labels, path = some_labels(volume.shape), tmp_path / "seg.dcm"
    path.write_bytes(b"earlier")
    plain = Volume(volume.data, volume.affine)
    with pytest.raises(ExportError, match="did not come from DICOM"):
        write_seg(path, labels, "BINARY", plain, spec_of(), AUTOMATIC)
    with pytest.raises(InputError, match="needs an array of shape"):
        write_seg(path, labels[1:], "BINARY", volume, spec_of(), AUTOMATIC)
    with pytest.raises(InputError, match=r"label values \[2\]"):
        write_seg(path, labels, "LABELMAP", volume, spec_of("only"), AUTOMATIC)
    with pytest.raises(InputError, match="between 0 and 1"):
        write_seg(path, np.full((3, *volume.shape), 2.0), "FRACTIONAL", volume, spec_of(), AUTOMATIC)
    assert path.read_bytes() == b"earlier" and [p.name for p in tmp_path.iterdir() if p.name != "scan"] == ["seg.dcm"]


def test_a_series_without_frame_of_reference_is_said(tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "scan", multiframe=True)
    image = pydicom.dcmread(scan.folder / "all.dcm")
    del image.FrameOfReferenceUID
    image.save_as(scan.folder / "all.dcm")
    volume = read_series(scan.folder)
    with pytest.raises(ExportError, match="no frame of reference"):
        write_seg(tmp_path / "seg.dcm", some_labels(volume.shape), "BINARY", volume, spec_of(), AUTOMATIC)
