"""NIfTI files as nobody writes them, each a finding of benchmarks/fuzz.py or of its reviewing."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from napari_pgrd.engine.errors import InputError
from napari_pgrd.io.cases import to_indices
from napari_pgrd.io.nifti import MAX_OFFSET, read_volume, write_nifti

SHAPE = (6, 5, 4)


def raw_of(kind: Any = nib.Nifti1Image) -> bytearray:
    voxels = np.arange(120, dtype=np.int16).reshape(SHAPE)
    return bytearray(kind(voxels, np.diag([0.5, 1, 2, 1])).to_bytes())


def write(path: Path, raw: bytes) -> Path:
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def with_extension(code: int, size: int, body: bytes, offset: float) -> bytes:
    raw = raw_of()
    raw[348] = 1
    struct.pack_into("<f", raw, 108, offset)
    return bytes(raw[:352]) + struct.pack("<ii", size, code) + body + bytes(raw[352:])


@pytest.mark.parametrize("code", [4, 7, 128, 192, 255])
def test_a_unit_that_does_not_exist_says_nothing(tmp_path: Path, code: int) -> None:
    raw = raw_of()
    raw[123] = code
    volume = read_volume(write(tmp_path / "scan.nii", bytes(raw)))
    assert volume.spacing == (0.5, 1, 2)
    back = read_volume(write_nifti(tmp_path / "out.nii.gz", np.zeros(SHAPE, np.uint8), volume))
    assert np.array_equal(back.affine, volume.affine)


def test_a_nifti_2_image_is_exported_as_one(tmp_path: Path) -> None:
    image = nib.Nifti2Image(np.zeros(SHAPE, np.int16), np.diag([1 / 3, 1, 2, 1]))
    image.header["descrip"] = image.header["intent_name"] = b"Doe, Jane"
    nib.save(image, tmp_path / "scan.nii.gz")
    volume = read_volume(tmp_path / "scan.nii.gz")
    out = nib.load(write_nifti(tmp_path / "out.nii.gz", np.ones(SHAPE, np.uint8), volume))
    assert isinstance(out, nib.Nifti2Image) and np.array_equal(out.affine, image.affine)
    assert np.array_equal(np.asarray(out.dataobj), np.ones(SHAPE))
    assert b"Jane" not in gzip.decompress((tmp_path / "out.nii.gz").read_bytes())


@pytest.mark.parametrize("code", [0, 2, 4, 6, 32, 44])
@pytest.mark.parametrize(
    "body", [b"<?xml version='1.0'?><!DOCTYPE a [" + b" " * 30, b"\x08\0\x05\0CS\xff\xff" + b"\xff" * 56, b"{" * 64]
)
def test_what_stands_before_the_voxels_is_passed_over(tmp_path: Path, code: int, body: bytes) -> None:
    path = write(tmp_path / "scan.nii", with_extension(code, 72, body, 352 + 72))
    assert read_volume(path).data.reshape(-1).tolist() == list(range(120))


@pytest.mark.parametrize("size", [2**31 - 16, 4, 0, -1])
def test_an_extension_that_would_fill_the_memory_is_not_read(tmp_path: Path, size: int) -> None:
    pack = zlib.compressobj(1, zlib.DEFLATED, 31)
    zeros = b"".join(pack.compress(bytes(2**22)) for _ in range(128)) + pack.flush()
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(gzip.compress(with_extension(2, size, b"", 2**30)[:360]) + zeros)
    tracemalloc.start()
    with pytest.raises(InputError, match="not a readable NIfTI image"):
        read_volume(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**26


@pytest.mark.parametrize("offset", [-1.0, float("nan"), float("inf"), MAX_OFFSET * 2.0])
def test_an_offset_that_cannot_be_is_a_sentence(tmp_path: Path, offset: float) -> None:
    raw = raw_of()
    struct.pack_into("<f", raw, 108, offset)
    with pytest.raises(InputError, match="Copy or convert the file again"):
        read_volume(write(tmp_path / "scan.nii", bytes(raw)))


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("length", [1, 3, 100, 347, 539])
@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_a_file_that_ends_in_its_header_is_a_sentence(tmp_path: Path, kind: Any, length: int, name: str) -> None:
    with pytest.raises(InputError, match=r"scan\.nii"):
        read_volume(write(tmp_path / name, bytes(raw_of(kind)[:length])))


def test_one_half_of_a_pair_is_a_sentence(tmp_path: Path) -> None:
    raw = raw_of()
    raw[344:348] = b"ni1\0"
    with pytest.raises(InputError, match="not a readable NIfTI image"):
        read_volume(write(tmp_path / "scan.nii", bytes(raw)))


def test_a_thousand_unknown_labels_are_not_all_named() -> None:
    with pytest.raises(InputError) as caught:
        to_indices(np.arange(1000, dtype=np.int32).reshape(10, 10, 10), {0: 0, 1: 1}, "mask")
    assert len(str(caught.value)) < 250 and "[2, 3, 4" in str(caught.value)
