"""Small synthetic DICOM series in any orientation, and the grid they were made on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from napari_pgrd.engine.spec import BundleSpec, read_spec

CT, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4.1"
PATIENT = {"PatientName": "Müller^Zoë", "PatientID": "ID-4711", "PatientBirthDate": "19500228", "PatientSex": "F"}
STUDY = {
    "StudyDate": "20240229",
    "StudyTime": "101112",
    "StudyID": "S9",
    "AccessionNumber": "ACC77",
    "StudyDescription": "Head of Müller",
    "ReferringPhysicianName": "Doctor^Who",
}
SECRETS = ("Müller", "Zoë", "ID-4711", "19500228", "20240229", "ACC77", "Doctor", "Reader")


def turned(*degrees: float) -> np.ndarray:
    """Rotation about x, then y, then z."""
    out = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        c, s = np.cos(angle), np.sin(angle)
        a, b = (i for i in range(3) if i != axis)
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = c
        turn[a, b], turn[b, a] = -s, s
        out = turn @ out
    return out


ORIENTATIONS = {  # columns: LPS directions of increasing column, row and slice
    "axial": np.eye(3),
    "feet first": np.diag([1.0, -1.0, -1.0]),
    "sagittal": np.array([[0, 0, -1.0], [1, 0, 0], [0, -1, 0]]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "oblique": turned(17, -23, 31),
}


@dataclass(frozen=True)
class Scan:
    """Where a series was written and where its voxels lie.

    Attributes
    ----------
    lps : numpy.ndarray
        ``(4, 4)``, (column, row, slice) to LPS mm.
    """

    folder: Path
    shape: tuple[int, int, int]
    lps: np.ndarray


def write_scan(
    folder: Path,
    orientation: str = "axial",
    shape: tuple[int, int, int] = (13, 9, 7),
    spacing: tuple[float, float, float] = (0.7, 1.3, 2.5),
    multiframe: bool = False,
    values: np.ndarray | None = None,
) -> Scan:
    """Write a series with file names and frames in no order.

    ``shape`` is columns, rows, slices, as are those of ``values``; without any they are random.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lps = np.eye(4)
    lps[:3, :3] = ORIENTATIONS[orientation] * np.array(spacing)
    lps[:3, 3] = (-31.25, 12.5, -40.125)
    rng = np.random.default_rng(7)
    shape = shape if values is None else values.shape
    pixels = (rng.integers(0, 900, shape[::-1]) if values is None else np.rint(values.T)).astype(np.uint16)
    common = _common(shape, ENHANCED_MR if multiframe else CT)
    order = rng.permutation(shape[2]).tolist()
    if multiframe:
        common.NumberOfFrames = shape[2]
        shared = Dataset()
        shared.PixelMeasuresSequence = [_item(PixelSpacing=[spacing[1], spacing[0]], SliceThickness=1.5)]
        shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=_direction(orientation))]
        common.SharedFunctionalGroupsSequence = [shared]
        common.PerFrameFunctionalGroupsSequence = [_item() for _ in order]
        for group, k in zip(common.PerFrameFunctionalGroupsSequence, order, strict=True):
            group.PlanePositionSequence = [_item(ImagePositionPatient=_position(lps, k))]
        common.PixelData = pixels[order].tobytes()
        _save(common, folder / "all.dcm")
    for name, k in enumerate([] if multiframe else order):
        slice_ = Dataset()
        slice_.update(common)
        slice_.SOPInstanceUID = generate_uid()
        slice_.InstanceNumber = k + 1
        slice_.ImagePositionPatient, slice_.ImageOrientationPatient = _position(lps, k), _direction(orientation)
        slice_.PixelSpacing, slice_.SliceThickness = [spacing[1], spacing[0]], 1.5
        slice_.PixelData = pixels[k].tobytes()
        _save(slice_, folder / f"{name}.dcm")
    return Scan(folder, shape, lps)


def some_labels(shape: tuple[int, int, int]) -> np.ndarray:
    """Two labels: a body with a hole and an island in it, lone voxels, and slices without any."""
    labels = np.zeros(shape, np.uint8)
    labels[2:11, 1:8, 1:4] = 1
    labels[4:9, 3:6, 2] = 0
    labels[6, 4, 2] = 1
    labels[5, 2, 3] = 0
    labels[9:12, 2:5, 4] = 2
    labels[0, 0, 1] = labels[shape[0] - 1, shape[1] - 1, 5] = 2
    labels[1, 0, 1] = 1
    return labels


def spec_of(*names: str) -> BundleSpec:
    """The embedded bundle's description with these labels instead of its own, uncoded; without names as it is."""
    spec = read_spec("hippocampus-mri")
    if not names:
        return spec
    labels = [spec.labels[1].model_copy(update={"value": i, "name": n, "coded": None}) for i, n in enumerate(names, 1)]
    return spec.model_copy(update={"labels": (spec.labels[0], *labels)})


def _common(shape: tuple[int, int, int], sop_class: str) -> Dataset:
    ds = _item(**PATIENT, **STUDY)
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = (generate_uid() for _ in range(3))
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = ("CT" if sop_class == CT else "MR"), 3, 1
    ds.InstitutionName = "Hospital of Müller"
    ds.Columns, ds.Rows = shape[0], shape[1]
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation, ds.SamplesPerPixel = 15, 0, 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    return ds


def _item(**values: object) -> Dataset:
    out = Dataset()
    for key, value in values.items():
        setattr(out, key, value)
    return out


def _direction(orientation: str) -> list[str]:
    return [f"{v:.12g}" for v in ORIENTATIONS[orientation][:, :2].T.ravel()]


def _position(lps: np.ndarray, k: int) -> list[str]:
    return [f"{v:.12g}" for v in (lps @ (0, 0, k, 1))[:3]]


def _save(ds: Dataset, path: Path) -> None:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.save_as(path, enforce_file_format=True)
