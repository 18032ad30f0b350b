"""Segmentations made by others, laid on an image voxel by voxel or refused with a sentence."""

from __future__ import annotations

import itertools
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.dicom.seg import Making, write_seg
from napari_pgrd.io.dicom.seg_read import read_seg
from napari_pgrd.io.dicom.series import read_series
from napari_pgrd.io.masks import read_mask
from tests.io.dicom_scans import ORIENTATIONS, some_labels, spec_of, write_scan

BY_HAND = Making("MANUAL", "")


def foreign(folder: Path, mask: np.ndarray, kind: str, names: list[str], **options: object) -> Path:
    """What highdicom itself makes of the images in a folder; ``mask`` is ``(slice, row, column[, segment])``.

    Slices are taken in the order of the images' places along z.
    """
    images = sorted((pydicom.dcmread(file) for file in folder.iterdir()), key=lambda i: i.InstanceNumber)
    described = [
        highdicom.seg.SegmentDescription(
            number, name, codes.SCT.Tissue, codes.SCT.Tissue, "MANUAL", tracking_id=name, tracking_uid=highdicom.UID()
        )
        for number, name in enumerate(names, 1)
    ]
    made = highdicom.seg.Segmentation(
        images, mask, kind, described, highdicom.UID(), 1, highdicom.UID(), 1, "Maker", "Model", "1", "1", **options
    )
    path = folder.parent / f"{kind}.dcm"
    made.save_as(path)
    return path


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_what_others_wrote_lies_where_they_drew_it(tmp_path: Path, orientation: str) -> None:
    scan = write_scan(tmp_path / "scan", orientation)
    volume = read_series(scan.folder)
    labels = some_labels(volume.shape)
    for kind in ("BINARY", "LABELMAP"):
        path = foreign(scan.folder, labels.T.copy(), kind, ["Posterior ", "ANTERIOR"])  # the other way round
        read = read_seg(path, volume, spec_of())
        assert np.array_equal(read.values, np.array([0, 2, 1], np.uint8)[labels]) and read.made == "MANUAL"
        assert read.note == ""


def test_frames_may_come_in_any_order_and_slices_may_lack(tmp_path: Path) -> None:
    volume = read_series(write_scan(tmp_path / "scan", "oblique").folder)
    labels = some_labels(volume.shape)
    one_hot = np.stack([labels == k for k in range(3)]).astype(np.float32)
    path = write_seg(tmp_path / "seg.dcm", one_hot, "FRACTIONAL", volume, spec_of(), BY_HAND)
    written = pydicom.dcmread(path)
    frames = list(zip(written.PerFrameFunctionalGroupsSequence, written.pixel_array, strict=True))
    kept = [frames[i] for i in np.random.default_rng(1).permutation(len(frames))[:-3]]
    written.PerFrameFunctionalGroupsSequence = [group for group, _ in kept]
    written.NumberOfFrames = len(kept)
    written.PixelData = np.stack([pixels for _, pixels in kept]).tobytes()
    written.save_as(path)
    expected = np.zeros_like(labels)
    for group, pixels in kept:
        lps = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        k = round(np.linalg.solve(volume.affine, (-lps[0], -lps[1], lps[2], 1))[2])
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        expected[:, :, k][pixels.T > 0] = number
    read = read_seg(path, volume, spec_of())
    assert np.array_equal(read.values, expected) and 0 < np.count_nonzero(expected) < np.count_nonzero(labels)


def test_fractions_count_from_a_half_and_the_largest_wins(tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "scan")
    volume = read_series(scan.folder)
    rng = np.random.default_rng(2)
    shares = rng.integers(0, 256, (*volume.shape[::-1], 2)) / 255
    path = foreign(scan.folder, shares, "FRACTIONAL", ["anterior", "posterior"])
    read = read_seg(path, volume, spec_of())
    expected = np.where(shares.max(-1) >= 0.5, shares.argmax(-1) + 1, 0).T
    assert np.array_equal(read.values, expected) and "0.5" in read.note and {0, 1, 2} == set(np.unique(expected))


def test_another_plane_or_a_part_of_it_will_do(tmp_path: Path) -> None:
    """Segmentations of the same voxels, stored in other planes of the patient or on part of the image."""
    scan = write_scan(tmp_path / "scan", "oblique", spacing=(0.7, 1.3, 2.5))
    volume = read_series(scan.folder)
    labels = some_labels(volume.shape)
    for axes in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            turned = labels.transpose(axes)[tuple(slice(None, None, f) for f in flips)]
            index = np.zeros((4, 4))
            index[3, 3] = 1
            for new, (old, flip) in enumerate(zip(axes, flips, strict=True)):
                index[old, new], index[old, 3] = flip, 0 if flip > 0 else labels.shape[old] - 1
            seen = Volume(volume.data, scan.lps @ index)
            path = _stored(tmp_path, turned, seen.affine, volume)
            assert np.array_equal(read_seg(path, volume, spec_of()).values, labels), (axes, flips)


def test_segments_are_told_by_name_code_or_number(tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "scan")
    volume = read_series(scan.folder)
    labels = some_labels(volume.shape)
    path = write_seg(tmp_path / "seg.dcm", labels, "BINARY", volume, spec_of(), BY_HAND)
    written = pydicom.dcmread(path)
    for segment in written.SegmentSequence:
        segment.SegmentLabel = f"vorderer Teil {segment.SegmentNumber}"
    written.save_as(path)
    read = read_seg(path, volume, spec_of())  # by code with modifier
    assert np.array_equal(read.values, labels) and not read.note
    read = read_seg(path, volume, spec_of("liver", "spleen"))
    assert np.array_equal(read.values, labels)
    assert "by number: 1 vorderer Teil 1 as liver, 2 vorderer Teil 2 as spleen" in read.note
    with pytest.raises(InputError, match=r"none is a label.*It knows cyst\."):
        read_seg(path, volume, spec_of("cyst"))
    path = foreign(scan.folder, labels.T.copy(), "BINARY", ["cyst", "bone"])
    read = read_seg(path, volume, spec_of("cyst"))
    assert np.array_equal(read.values, labels == 1) and "2 bone" in read.note and "left out" in read.note


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    scan, other = write_scan(tmp_path / "scan"), write_scan(tmp_path / "other")
    volume, elsewhere = read_series(scan.folder), read_series(other.folder)
    labels = some_labels(volume.shape)
    path = write_seg(tmp_path / "seg.dcm", labels, "BINARY", volume, spec_of(), BY_HAND)
    with pytest.raises(InputError, match="another frame of reference"):
        read_seg(path, elsewhere, spec_of())
    shifted = volume.affine.copy()
    shifted[0, 3] += 0.35
    for affine in (shifted, volume.affine @ np.diag([1.1, 1, 1, 1])):
        with pytest.raises(InputError, match=r"does not lie on the image's voxels.*13 x 9 pixels of 0.7 x 1.3 mm"):
            read_seg(path, Volume(volume.data, affine), spec_of())
    with pytest.raises(InputError, match="outside the image"):
        read_seg(path, volume.crop(((0, 6), (0, 9), (0, 7))), spec_of())
    with pytest.raises(InputError, match="outside the image"):
        read_seg(path, volume.crop(((0, 13), (0, 9), (0, 3))), spec_of())
    both = np.zeros((*volume.shape[::-1], 2), np.uint8)
    both[2, 3, 4:6, 0] = both[2, 3, 5:9, 1] = 1
    path = foreign(scan.folder, both, "BINARY", ["anterior", "posterior"])
    with pytest.raises(InputError, match="at least 1 voxels belong to two segments"):
        read_seg(path, volume, spec_of())
    with pytest.raises(InputError, match="no readable DICOM Segmentation"):
        read_seg(next(scan.folder.iterdir()), volume, spec_of())


def test_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    volume = read_series(write_scan(tmp_path / "scan").folder)
    labels = some_labels(volume.shape)
    for kind in ("BINARY", "LABELMAP"):
        path = write_seg(tmp_path / "seg.dcm", labels, kind, volume, spec_of(), BY_HAND)
        whole = path.read_bytes()
        for cut in (40, len(whole) - 30):
            path.write_bytes(whole[:cut])
            with pytest.raises(InputError):
                read_seg(path, volume, spec_of())
        path.write_bytes(whole)
        for change in ("NumberOfFrames", "Rows", "SegmentSequence", "SegmentationType"):
            broken = pydicom.dcmread(path)
            if change in ("NumberOfFrames", "Rows"):
                broken[change].value = 30000
            else:
                del broken[change]
            broken.save_as(tmp_path / "broken.dcm")
            with pytest.raises(InputError):
                read_seg(tmp_path / "broken.dcm", volume, spec_of())


def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    volume = read_series(write_scan(tmp_path / "scan", "oblique", (5, 6, 3)).folder)
    labels = np.zeros(volume.shape, np.uint8)
    labels[1:4, 1:5, 0:2] = 1
    whole = [
        write_seg(tmp_path / f"{kind}.dcm", labels, kind, volume, spec_of(), BY_HAND).read_bytes()
        for kind in ("BINARY", "LABELMAP")
    ]
    rng, path, refused = np.random.default_rng(3), tmp_path / "mutated.dcm", 0
    for number in range(120):
        content = bytearray(whole[number % 2])
        for at in rng.integers(132, len(content) - 40, rng.integers(1, 5)).tolist():
            kind = rng.integers(0, 3)
            if kind == 0:
                content[at : at + 1] = rng.bytes(1)
            elif kind == 1:
                del content[at : at + int(rng.integers(1, 30))]
            else:
                content[at : at + 4] = rng.bytes(4)
        path.write_bytes(content)
        try:
            read_seg(path, volume, spec_of())
        except InputError:
            refused += 1
    assert 0 < refused < 120


def test_a_mask_file_may_be_a_segmentation(tmp_path: Path) -> None:
    volume = read_series(write_scan(tmp_path / "scan").folder)
    labels = some_labels(volume.shape)
    path = write_seg(tmp_path / "seg", labels, "LABELMAP", volume, spec_of(), Making("AUTOMATIC", "a"))
    taken = read_mask(path, volume, spec_of())
    assert np.array_equal(taken.values, labels) and (taken.outside, taken.made) == (0, "AUTOMATIC")
    box = ((0, 6), (0, 9), (1, 4))
    taken = read_mask(path, volume, spec_of(), box)
    inside = labels[0:6, 0:9, 1:4]
    assert np.array_equal(taken.values, inside)
    assert taken.outside == np.count_nonzero(labels) - np.count_nonzero(inside)
    with pytest.raises(InputError, match="holds no label inside the box"):
        read_mask(path, volume, spec_of(), ((0, 3), (0, 3), (6, 7)))


def _stored(folder: Path, labels: np.ndarray, lps: np.ndarray, like: Volume) -> Path:
    """A label map ``(column, row, slice)`` at a place of its own, cropped to where it holds something."""
    kept = np.argwhere(labels)
    low, high = kept.min(0), kept.max(0) + 1
    part = labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    steps = np.linalg.norm(lps[:3, :3], axis=0)
    right, down = lps[:3, 0] / steps[0], lps[:3, 1] / steps[1]
    written = pydicom.dcmread(
        write_seg(folder / "turned.dcm", some_labels(like.shape), "LABELMAP", like, spec_of(), BY_HAND)
    )
    shared = written.SharedFunctionalGroupsSequence[0]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [f"{v:.13f}"[:16] for v in (*right, *down)]
    shared.PixelMeasuresSequence[0].PixelSpacing = [f"{steps[1]:.10f}", f"{steps[0]:.10f}"]
    written.Columns, written.Rows, written.NumberOfFrames = part.shape
    groups = []
    for k in range(part.shape[2]):
        place, group = pydicom.Dataset(), pydicom.Dataset()
        place.ImagePositionPatient = [f"{v:.10f}" for v in (lps @ (low[0], low[1], low[2] + k, 1))[:3]]
        group.PlanePositionSequence = [place]
        groups.append(group)
    written.PerFrameFunctionalGroupsSequence = groups
    written.PixelData = part.T.astype(np.uint8).tobytes() + b"\0" * (part.size % 2)
    written.save_as(folder / "turned.dcm")
    return folder / "turned.dcm"
