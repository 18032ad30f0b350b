"""DICOM objects beside the other files of an export, read with pydicom alone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.errors import ExportError, InputError
from napari_pgrd.engine.locks import Locks
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.dicom.belonging import Ownership
from napari_pgrd.io.dicom.series import read_series
from napari_pgrd.session.correction import Correction
from napari_pgrd.session.dicom import FILES, DicomParts, making_of
from napari_pgrd.session.export import export
from tests.io.dicom_scans import write_scan
from tests.session.test_export import bundle, draw

__all__ = ["bundle"]
ALL = DicomParts(tuple(FILES))
VALUES = np.array([0, 9, 4], np.uint8)


def stored_labels(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """Label values ``(column, row, slice)`` of a mask; axial slices of one mm along z from the scan's own first."""
    written = pydicom.dcmread(path)
    out = np.zeros(shape, np.uint8)
    of = {segment.SegmentNumber: value for segment, value in zip(written.SegmentSequence, VALUES[1:], strict=False)}
    for pixels, group in zip(written.pixel_array, written.PerFrameFunctionalGroupsSequence, strict=True):
        k = round((float(group.PlanePositionSequence[0].ImagePositionPatient[2]) + 40.125) / 2.5)
        if written.SegmentationType == "LABELMAP":
            out[:, :, k] = pixels.T
        else:
            out[:, :, k][pixels.T > 0] = of[group.SegmentIdentificationSequence[0].ReferencedSegmentNumber]
    return out


def test_every_kind_is_written_and_listed(bundle: Bundle, tmp_path: Path) -> None:
    volume = read_series(write_scan(tmp_path / "scan").folder)
    prediction, _ = draw(volume.shape)
    correction = VALUES[prediction.consensus].copy()
    correction[:3] = 0
    files = export(tmp_path, prediction, volume, bundle, Request(samples=3), correction=correction, dicom=ALL)
    names = {name for kinds in FILES.values() for name in kinds.values()}
    assert {f.name for f in files if f.suffix == ".dcm"} == names
    listed = json.loads((tmp_path / "manifest.json").read_text())["files"]
    for name in names:
        assert listed[name] == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    for key, expected in (("segmentation", VALUES[prediction.consensus]), ("corrected", correction)):
        beside = np.asarray(nib.load(tmp_path / f"{key}.nii.gz").dataobj)
        for kind in ("seg", "labelmap"):
            assert np.array_equal(stored_labels(tmp_path / FILES[kind][key], volume.shape), expected)
        assert np.array_equal(beside, expected)
    kinds = {name: pydicom.dcmread(tmp_path / name).SegmentSequence[-1].SegmentAlgorithmType for name in names if
             "rtstruct" not in name}  # fmt: skip
    assert {name for name, how in kinds.items() if how == "AUTOMATIC"} == {n for n in kinds if "corrected" not in n}
    assert {how for name, how in kinds.items() if "corrected" in name} == {"SEMIAUTOMATIC"}


def test_a_box_lies_in_the_whole_scan(bundle: Bundle, tmp_path: Path) -> None:
    volume, box = read_series(write_scan(tmp_path / "scan").folder), ((2, 9), (1, 7), (2, 6))
    prediction, _ = draw((7, 6, 4))
    export(tmp_path, prediction, volume, bundle, Request(samples=3, box=box), dicom=DicomParts(("seg", "fractional")))
    expected = np.zeros(volume.shape, np.uint8)
    expected[2:9, 1:7, 2:6] = VALUES[prediction.consensus]
    assert np.array_equal(stored_labels(tmp_path / "segmentation.dcm", volume.shape), expected)
    assert pydicom.dcmread(tmp_path / "probability.dcm").NumberOfFrames == 2 * 4


def test_people_are_named_or_left_out_as_asked(bundle: Bundle, tmp_path: Path) -> None:
    volume = read_series(write_scan(tmp_path / "scan").folder)
    prediction, _ = draw(volume.shape)
    for ownership, patient, creator in (
        (Ownership(), "ID-4711", ""),
        (Ownership(creator="AB"), "ID-4711", "AB"),
        (Ownership(True, "AB"), None, ""),
    ):
        export(tmp_path, prediction, volume, bundle, Request(samples=3), dicom=DicomParts(("seg",), ownership))
        written = pydicom.dcmread(tmp_path / "segmentation.dcm")
        assert written.ContentCreatorName == creator
        assert (written.PatientID == patient) == (patient is not None)
    for name in ("manifest.json", "volumes.csv"):
        assert "4711" not in (tmp_path / name).read_text()


def test_what_is_no_dicom_gets_no_dicom(bundle: Bundle, tmp_path: Path) -> None:
    prediction, _ = draw((7, 6, 5))
    volume = Volume(np.zeros((1, 7, 6, 5), np.float32), np.eye(4))
    with pytest.raises(ExportError, match="did not come from DICOM"):
        export(tmp_path / "out", prediction, volume, bundle, Request(samples=3), dicom=DicomParts(("seg",)))
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="called tiff; choose among seg, labelmap, fractional, rtstruct"):
        DicomParts(("seg", "tiff"))


def test_the_scan_itself_is_never_replaced(bundle: Bundle, tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "scan")
    (scan.folder / "0.dcm").rename(scan.folder / "segmentation.dcm")
    volume, before = read_series(scan.folder), (scan.folder / "segmentation.dcm").read_bytes()
    prediction, _ = draw(volume.shape)
    with pytest.raises(ExportError, match="is the image itself"):
        export(scan.folder, prediction, volume, bundle, Request(samples=3), dicom=DicomParts(("seg",)))
    assert (scan.folder / "segmentation.dcm").read_bytes() == before


def test_samples_that_kept_what_a_reader_locked_are_not_automatic(bundle: Bundle) -> None:
    prediction, mask = draw((4, 4, 4))[0], np.zeros((4, 4, 4), bool)
    mask[0, 0, 0] = True
    locked = Request(samples=3, locks=Locks(mask, np.zeros(mask.shape, np.uint8)))
    for key in ("segmentation", "probability"):
        assert making_of(key, prediction, bundle, Request(samples=3)).how == "AUTOMATIC"
        assert making_of(key, prediction, bundle, locked).how == "SEMIAUTOMATIC"


@pytest.mark.parametrize(
    ("start", "operations", "drawn", "how"),
    [
        ("consensus", [], True, "SEMIAUTOMATIC"),
        ("sample 2", ["outline"], True, "SEMIAUTOMATIC"),
        ("mask file", [], False, "SEMIAUTOMATIC"),
        ("mask layer", [], True, "SEMIAUTOMATIC"),
        ("mask file, manual", [], True, "MANUAL"),
        ("mask file, manual", ["outline"], False, "MANUAL"),
        ("mask file, manual", ["smooth"], False, "SEMIAUTOMATIC"),
        ("mask file, manual", ["alternative 1"], True, "SEMIAUTOMATIC"),
        ("mask file, automatic", [], False, "SEMIAUTOMATIC"),
    ],
)
def test_by_hand_is_claimed_only_of_what_was_drawn_by_hand(
    bundle: Bundle, tmp_path: Path, start: str, operations: list[str], drawn: bool, how: str
) -> None:
    mask = np.zeros((4, 4, 4), np.uint8)
    correction = Correction.begin(tmp_path / "edits.log", mask, start)
    mask[0] = 9
    correction.observe(mask, new=True)
    for step, name in enumerate(operations, 1):
        mask[step] = 9
        with correction.operation(name):
            correction.observe(mask)
    correction.close()
    prediction = draw((4, 4, 4))[0] if drawn else None
    making = making_of("corrected", prediction, bundle, Request(samples=3), tmp_path / "edits.log")
    assert making.how == how
    by_model = making.parameters.get("model_sha256") == bundle.digest
    assert by_model == (drawn and (not start.startswith("mask") or "alternative 1" in operations))
