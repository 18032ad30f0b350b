"""Synthetic DICOM series, written by pydicom from nothing but arrays and numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)
from SimpleITK import ImageFileWriter, ReadImage

PATIENT = ("Secret^Sally", "ID-4711", "19700101")  # must never be seen again
UNITS = np.eye(3)


def ramp(columns: int = 6, rows: int = 5, slices: int = 4, start: int = 0) -> NDArray[np.int16]:
    """``(column, row, slice)``: every voxel another value."""
    return (start + np.arange(columns * rows * slices)).reshape(columns, rows, slices).astype(np.int16)


def base(modality: str = "MR", number: int | None = 3, **elements: Any) -> Dataset:
    """What every image of a series shares."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = CTImageStorage if modality == "CT" else MRImageStorage
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = PATIENT
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20200202", "111213", "STUDY-7", "ACC-0815"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = (generate_uid() for _ in range(3))
    ds.Modality, ds.SeriesDescription = modality, "T1 Sally sag"
    ds.SeriesNumber = number
    for key, value in elements.items():
        setattr(ds, key, value)
    return ds


def set_pixels(ds: Dataset, pixels: NDArray[Any]) -> None:
    """``(..., row, column)`` stored values."""
    ds.Rows, ds.Columns = pixels.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = pixels.dtype.itemsize * 8
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    ds.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()


def save(ds: Dataset, path: Path) -> Path:
    """Write a file with its preamble."""
    ds.SOPInstanceUID = generate_uid()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def compress(path: Path, compressor: str = "JPEG2000") -> None:
    """Write a file again with its picture compressed without loss, by SimpleITK."""
    writer = ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    writer.SetFileName(str(path))
    writer.Execute(ReadImage(str(path)))


def write_series(
    folder: Path,
    data: NDArray[Any],
    *,
    axes: NDArray[np.float64] = UNITS,
    spacing: Sequence[float] = (1.0, 1.0, 2.0),
    origin: Sequence[float] = (-20.0, 7.0, 3.5),
    step: Sequence[float] | None = None,
    shared: Dataset | None = None,
    change: Callable[[int, Dataset], Any] | None = None,
    names: Callable[[int], str] = lambda k: f"{k + 1}.dcm",
    elements: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Single-frame objects of ``(column, row, slice)`` stored values.

    Parameters
    ----------
    axes
        Columns: unit vectors, LPS, along which column, row and slice indices grow.
    spacing
        mm between columns, rows, slices.
    origin
        LPS mm: centre of voxel (0, 0, 0).
    step
        LPS mm from slice to slice, instead of the third axis times the third spacing.
    change
        ``change(k, dataset)`` before slice k is written; False leaves the slice out.
    """
    one = shared or base(**(elements or {}))
    across, down, along = np.asarray(axes, float).T
    move = along * spacing[2] if step is None else np.asarray(step, float)
    files = []
    for k in range(data.shape[2]):
        ds = deepcopy(one)
        ds.InstanceNumber = k + 1
        ds.ImagePositionPatient = [repr(round(float(v), 9))[:16] for v in np.asarray(origin) + k * move]
        ds.ImageOrientationPatient = [repr(round(float(v), 12))[:16] for v in (*across, *down)]
        ds.PixelSpacing = [spacing[1], spacing[0]]
        ds.SliceThickness = 9.0  # wrong on purpose
        set_pixels(ds, np.ascontiguousarray(data[:, :, k].T))
        if change is None or change(k, ds) is not False:
            files.append(save(ds, folder / names(k)))
    return files


def write_enhanced(
    path: Path,
    data: NDArray[Any],
    *,
    order: Sequence[int] | None = None,
    axes: NDArray[np.float64] = UNITS,
    spacing: Sequence[float] = (1.0, 1.0, 2.0),
    origin: Sequence[float] = (-20.0, 7.0, 3.5),
    slopes: Sequence[tuple[float, float]] | None = None,
    change: Callable[[Dataset], Any] | None = None,
) -> Path:
    """One multi-frame object of ``(column, row, slice)`` stored values; ``order`` says which slice each frame is."""
    ds = base()
    ds.SOPClassUID = EnhancedMRImageStorage
    order = range(data.shape[2]) if order is None else order
    across, down, along = np.asarray(axes, float).T
    shared = Dataset()
    shared.PlaneOrientationSequence = Items([Dataset()])
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [float(v) for v in (*across, *down)]
    shared.PixelMeasuresSequence = Items([Dataset()])
    shared.PixelMeasuresSequence[0].PixelSpacing = [spacing[1], spacing[0]]
    shared.PixelMeasuresSequence[0].SliceThickness = 9.0
    ds.SharedFunctionalGroupsSequence = Items([shared])
    groups = []
    for k in order:
        group = Dataset()
        group.PlanePositionSequence = Items([Dataset()])
        place = np.asarray(origin) + k * along * spacing[2]
        group.PlanePositionSequence[0].ImagePositionPatient = [float(v) for v in place]
        if slopes is not None:
            group.PixelValueTransformationSequence = Items([Dataset()])
            values = group.PixelValueTransformationSequence[0]
            values.RescaleSlope, values.RescaleIntercept, values.RescaleType = *slopes[k], "US"
        groups.append(group)
    ds.PerFrameFunctionalGroupsSequence = Items(groups)
    ds.NumberOfFrames = len(groups)
    ds.InstanceNumber = 1
    set_pixels(ds, np.ascontiguousarray(data.transpose(2, 1, 0)[list(order)]))
    if change is not None:
        change(ds)
    return save(ds, path)
