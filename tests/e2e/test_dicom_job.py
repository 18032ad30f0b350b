"""DICOM in by the mouse, a correction, DICOM out: what was written is laid on the scan by other programs alone."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pydicom
import SimpleITK
from pydicom.uid import JPEG2000Lossless
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_pgrd.io.samples import sample_cases
from tests.dicoms import compress, write_series
from tests.e2e.reader_job import drag_outline, open_dock
from tests.hands import click, click_tab, find, picture, press, stroke, type_number, type_text, wait
from tests.io.dicom_scans import ORIENTATIONS, Scan
from tests.io.test_dicom_rtstruct import filled, images_of
from tests.io.test_dicom_seg import dcmqi, on_grid
from tests.viewer.test_drop import drop


def computed_tomography(folder: Path) -> Path:
    """A nodule's slices as JPEG 2000, axial, thick, of files in the wrong order and without an ending."""
    case = next(case for case in sample_cases() if "LIDC" in case.name)
    grey = np.asarray(nib.load(case.image).dataobj)
    values = (grey.astype(np.int16) * 5 - 1000)[..., :4]
    files = write_series(
        folder,
        values,
        spacing=(0.75, 0.75, 2.0),
        origin=(-60.0, -200.0, 700.5),
        names=lambda k: f"{9 - k}.dcm",
        elements={"modality": "CT", "number": 2},
    )
    for k, file in enumerate(files):
        compress(file)
        assert pydicom.dcmread(file).file_meta.TransferSyntaxUID == JPEG2000Lossless
        file.rename(folder / f"CT.1.3.12.2.1107.{9 - k}")  # as scanners name them
    return folder


def hippocampus(folder: Path) -> Scan:
    """The example case as sagittal slices, of files named without leading zeros."""
    image = nib.as_closest_canonical(nib.load(sample_cases()[0].image))
    values = np.asarray(image.dataobj)[:, ::-1, ::-1].transpose(1, 2, 0).astype(np.int16)  # P, I, then R to L
    axes, origin = ORIENTATIONS["sagittal"], (31.5, -8.25, 12.0)
    write_series(folder, values, axes=axes, spacing=(1.0, 1.0, 1.0), origin=origin)
    lps = np.eye(4)
    lps[:3, :3], lps[:3, 3] = axes, origin
    return Scan(folder, values.shape, lps)


def by_simpleitk(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Values ``(column, row, slice)`` of a series, and the affine of those to LPS mm."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return SimpleITK.GetArrayFromImage(image).T, affine


def in_window(layer, shape: tuple[int, ...], lps: np.ndarray) -> np.ndarray:
    """What a layer shows at every voxel of a scan; the screen's (z, y, x) grow to feet, back and left."""
    index = np.indices(shape).reshape(3, -1)
    x, y, z = lps[:3, :3] @ index + lps[:3, 3:]
    at = (np.stack([-z, y, x], 1) - layer.translate[-3:]) / layer.scale[-3:]
    assert layer.data.size == len(at) and np.abs(at - np.rint(at)).max() < 1e-3
    return layer.data[tuple(np.rint(at).astype(int).T)].reshape(shape)


def hashes(*folders: Path) -> dict[Path, str]:
    """Of every file."""
    return {p: hashlib.sha256(p.read_bytes()).hexdigest() for f in folders for p in sorted(f.rglob("*"))}


def border(mask: np.ndarray) -> np.ndarray:
    """``(N, 2)``: the middles of the sides between pixels in and out of a slice, in pixels."""
    wide = np.pad(mask, 1)
    down, across = np.argwhere(wide[1:] != wide[:-1]), np.argwhere(wide[:, 1:] != wide[:, :-1])
    return np.concatenate([down - [0.5, 1], across - [1, 0.5]])


def farthest(path: Path, scan: Scan, labels: np.ndarray) -> float:
    """The largest distance of a contour's point from the border that it stands for, in pixels."""
    images, far = images_of(scan), 0.0
    for roi in pydicom.dcmread(path).ROIContourSequence:
        for contour in roi.ContourSequence:
            origin, right, down = images[contour.ContourImageSequence[0].ReferencedSOPInstanceUID, None]
            points = np.array(contour.ContourData, float).reshape(-1, 3) - origin
            pixels = np.linalg.lstsq(np.column_stack([right, down]), points.T, rcond=None)[0].T
            k = round(np.linalg.solve(scan.lps, (*origin, 1))[2])
            sides = border(labels[:, :, k] == roi.ReferencedROINumber)
            far = max(far, np.linalg.norm(pixels[:, None] - sides[None], axis=2).min(1).max())
    return far


def test_dicom_in_corrected_and_out(make_window, qtbot, tmp_path):
    ct, scan = computed_tomography(tmp_path / "ct"), hippocampus(tmp_path / "mr")
    before, out = hashes(ct, scan.folder), tmp_path / "out"
    viewer = make_window()
    dock = open_dock(viewer, qtbot)

    # A CT, which is shown as it was taken, and is nothing for this model.
    drop(viewer, ct)
    wait(qtbot, lambda: "CT series 2" in viewer.layers, 60)
    values, lps = by_simpleitk(ct)
    assert values.min() < -200
    np.testing.assert_array_equal(in_window(viewer.layers["CT series 2"], values.shape, lps), values)
    assert dock.desk.layers.plane() == "axial" and np.ptp(picture(viewer).astype(int)) > 100
    assert "look like CT numbers" in find(dock, "sentence").text() and not find(dock, "sample").isEnabled()

    # A crop around a hippocampus: it is what is on the screen then.
    drop(viewer, scan.folder)
    wait(qtbot, lambda: "MR series 3" in viewer.layers, 60)
    values, lps = by_simpleitk(scan.folder)
    image = viewer.layers["MR series 3"]
    np.testing.assert_array_equal(in_window(image, values.shape, lps), values)
    assert image.visible and not viewer.layers["CT series 2"].visible
    assert dock.desk.layers.plane() == "sagittal" and np.ptp(picture(viewer).astype(int)) > 100
    assert not find(dock, "sentence").isVisible() and QApplication.activeModalWidget() is None

    # Samples of the embedded model, and a correction by an outline's point and by the brush.
    type_number(dock, "steps", 2)
    type_number(dock, "samples", 2)
    click(dock, "sample")
    wait(qtbot, lambda: "2 samples" in find(dock, "headline").text(), 600)
    wait(qtbot, lambda: {"Agreement", "Consensus"} <= {layer.name for layer in viewer.layers}, 60)
    click(dock, "onward")
    correction = viewer.layers["Correction"]
    consensus = np.array(viewer.layers["Consensus"].data)
    drag_outline(viewer, dock, 3.0)
    click(dock, "use_outline")
    outlined = np.array(correction.data)
    assert (outlined != consensus).any()
    stroke(viewer, (0.45, 0.3), (0.55, 0.35))
    assert (correction.data != outlined).any()
    press(viewer, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    np.testing.assert_array_equal(correction.data, outlined)
    press(viewer, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier)

    # Both kinds, by the dock's own buttons.
    click_tab(dock, "Export")
    assert find(dock, "dicom_seg").isChecked()
    click(dock, "dicom_rtstruct")
    type_text(dock, "folder", str(out))
    wait(qtbot, lambda: find(dock, "export").isEnabled(), 60)
    click(dock, "export")
    wait(qtbot, lambda: str(out) in find(dock, "export_done").text(), 240)

    # On the scan as SimpleITK reads it, nothing but what the window shows.
    ras = SimpleNamespace(shape=values.shape, affine=np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps)
    to_scan = np.rint(np.linalg.solve(lps, scan.lps)).astype(int)  # SimpleITK may order the slices the other way
    for layer, name in ((correction, "corrected"), (viewer.layers["Consensus"], "segmentation")):
        shown = in_window(layer, values.shape, lps)
        assert set(np.unique(shown)) == {0, 1, 2}
        np.testing.assert_array_equal(on_grid(dcmqi(out / f"{name}.dcm", tmp_path / name)[0], ras), shown)
        contours = out / f"{name}_rtstruct.dcm"
        there = np.indices(scan.shape).reshape(3, -1)
        i, j, k = to_scan[:3, :3] @ there + to_scan[:3, 3:]
        labels = shown[i, j, k].reshape(scan.shape)
        for union in (True, False):
            np.testing.assert_array_equal(filled(contours, scan, union), labels)
        assert farthest(contours, scan, labels) <= 0.5
    written = pydicom.dcmread(out / "corrected.dcm")
    assert written.StudyInstanceUID == pydicom.dcmread(scan.folder / "1.dcm").StudyInstanceUID
    assert hashes(ct, scan.folder) == before
