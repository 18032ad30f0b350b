"""Hostile NIfTI files, made of real ones."""

from __future__ import annotations

import gzip
import io
import os
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from fuzzing import mutators
from napari_pgrd.engine.spec import read_spec
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.locks import read_locks
from napari_pgrd.io.masks import read_mask
from napari_pgrd.io.nifti import read_labels, read_volume, write_nifti
from napari_pgrd.io.probabilities import read_probabilities
from napari_pgrd.io.samples import sample_folder

# Field, offset, struct format, as in nifti1.h; NIfTI-2 has wider ones elsewhere.
FIELDS = (
    ("sizeof_hdr", 0, "i"),
    ("dim_info", 39, "B"),
    *((f"dim{n}", 40 + 2 * n, "h") for n in range(8)),
    ("intent_p1", 56, "f"),
    ("intent_code", 68, "h"),
    ("datatype", 70, "h"),
    ("bitpix", 72, "h"),
    ("slice_start", 74, "h"),
    *((f"pixdim{n}", 76 + 4 * n, "f") for n in range(8)),
    ("vox_offset", 108, "f"),
    ("scl_slope", 112, "f"),
    ("scl_inter", 116, "f"),
    ("slice_end", 120, "h"),
    ("slice_code", 122, "B"),
    ("xyzt_units", 123, "B"),
    ("cal_max", 124, "f"),
    ("qform_code", 252, "h"),
    ("sform_code", 254, "h"),
    *((f"quatern{n}", 256 + 4 * n, "f") for n in range(6)),
    *((f"srow{n}", 280 + 4 * n, "f") for n in range(12)),
    ("magic", 344, "4s"),
)
FLOATS = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    1e-38,
    1e-45,
    3e38,
    -3e38,
    np.nan,
    np.inf,
    -np.inf,
    352.0,
    353.5,
    1e9,
    0.5,
    1e-3,
    1e6,
    100.0,
)
INTEGERS = (
    0,
    1,
    -1,
    2,
    3,
    4,
    5,
    7,
    8,
    16,
    64,
    127,
    -128,
    255,
    256,
    512,
    768,
    1024,
    1280,
    1536,
    1792,
    2048,
    2304,
    32767,
    -32768,
)
MAGICS = (b"n+1\0", b"ni1\0", b"n+2\0", b"ni2\0", b"\0\0\0\0", b"n+1 ", b"\xff\xff\xff\xff")
ENTITIES = (
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "haha">'
    + b"".join(b'<!ENTITY x%d "%s">' % (n, (b"&x%d;" % (n - 1) if n else b"&x;") * 10) for n in range(9))
    + b"]><CIFTI>&x8;</CIFTI>"
)


class Family:
    """Images, masks and maps of probabilities, plain and compressed, NIfTI-1 and -2."""

    name = "nifti"

    def __init__(self, folder: Path, canary: Path, linked: Path, data: Path | None) -> None:
        cases = sorted((sample_folder() / "hippocampus").rglob("*.nii.gz")) + sorted(
            (sample_folder() / "lung").rglob("*.nii.gz")
        )
        if data:
            cases += (
                sorted((data / "ct").glob("*_sm.nii.gz"))
                + sorted((data / "hippocampus" / "images").glob("*.nii.gz"))[:3]
            )
        self.raws = [gzip.decompress(path.read_bytes()) for path in cases]
        image = nib.load(cases[0])
        self.volume = Volume(np.asarray(image.dataobj, np.float32)[None], image.affine)
        self.spec = read_spec("hippocampus-mri")
        self.raws += [
            self._other(path, change) for path in cases[:2] for change in (_nifti2, _swapped, _floats, _scaled)
        ]
        maps = np.full((*self.volume.shape, 3), 1 / 3, np.float32)
        self.raws.append(_bytes(nib.Nifti1Image(maps, image.affine)))
        pack, part = zlib.compressobj(9, zlib.DEFLATED, 31), bytes(2**22)
        self.gigabyte = b"".join(pack.compress(part) for _ in range(256)) + pack.flush()
        self.dicom = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 192\x10\x00\x10\x00PN\x0c\x00Secret^Sally"

    def make(self, rng: random.Random, folder: Path) -> tuple[str, Callable[[], Any]]:
        """One file, or one and something beside it."""
        raw = rng.choice(self.raws)
        kind = "bomb" if rng.random() < 0.01 else rng.choice(USUAL)
        data = KINDS[kind](rng, raw, self)
        gz = rng.random() < 0.6
        if kind not in ("stream", "bomb", "other format"):
            data = gzip.compress(data, 1, mtime=0) if gz else data
            gz = gz != (kind == "name")
        name = "scan.nii.gz" if gz else "scan.nii"
        path = folder / (name.upper() if rng.random() < 0.02 else name)
        path.write_bytes(data)
        return kind, lambda: self.use(rng, path, folder)

    def use(self, rng: random.Random, path: Path, folder: Path) -> None:
        """Read it as the program would, and hold what comes back to what it promises."""
        how = rng.randrange(8)
        if how == 0:
            labels, volume = read_labels(path)
            assert labels.dtype == np.int32 and labels.shape == volume.shape, "labels of another kind"
        elif how == 1:
            taken = read_mask(path, self.volume, self.spec)
            assert taken.values.shape == self.volume.shape, "a mask on another grid"
        elif how == 2:
            given = read_probabilities(path, self.volume, 3)
            assert np.isfinite(given.values).all(), "probabilities that are not finite"
        elif how == 3:
            locks = read_locks(path, path, self.volume, self.spec)
            assert locks.mask.shape == self.volume.shape, "locks on another grid"
        else:
            volume = read_volume([path, path] if how == 4 else path)
            assert volume.data.dtype == np.float32 and np.isfinite(volume.data).all(), "voxels that are no numbers"
            assert np.isfinite(volume.affine).all() and min(volume.spacing) > 0, "no place"
            if how > 5:  # exports take the header along
                labels = np.zeros(volume.shape, np.uint8)
                written = write_nifti(path.parent / "out.nii.gz", labels, volume)
                back = read_volume(written)
                assert np.allclose(back.affine, volume.affine, rtol=1e-3, atol=1e-3), "exported elsewhere"

    def _other(self, path: Path, change: Callable[[Any], Any]) -> bytes:
        return _bytes(change(nib.load(path)))


def _bytes(image: Any) -> bytes:
    return image.to_bytes()


def _nifti2(image: Any) -> Any:
    return nib.Nifti2Image(np.asarray(image.dataobj), image.affine)


def _swapped(image: Any) -> Any:
    return nib.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header.as_byteswapped(">"))


def _floats(image: Any) -> Any:
    return nib.Nifti1Image(np.asarray(image.dataobj, np.float64), image.affine)


def _scaled(image: Any) -> Any:
    out = nib.Nifti1Image(np.asarray(image.dataobj, np.int16), image.affine)
    out.header.set_slope_inter(0.25, -3)
    return out


# ---- the ways


def _fields(rng: random.Random, raw: bytes, _: Family) -> bytes:
    data = bytearray(raw)
    for name, at, code in rng.choices(FIELDS, k=rng.choice((1, 1, 1, 2, 4))):
        if name == "magic":
            value: Any = rng.choice(MAGICS)
        elif code == "f":
            value = rng.choice(FLOATS) if rng.random() < 0.8 else struct.unpack("<f", rng.randbytes(4))[0]
        else:
            value = rng.choice(INTEGERS) if rng.random() < 0.8 else struct.unpack("<h", rng.randbytes(2))[0]
            value = value % 256 if code == "B" else value
        struct.pack_into("<" + code, data, at, value)
    return bytes(data)


def _dims(rng: random.Random, raw: bytes, _: Family) -> bytes:
    """Sizes that agree with nothing, or whose product runs over."""
    data, rank = bytearray(raw), rng.choice((0, 1, 2, 3, 3, 4, 5, 7, 8, -1))
    sizes = [rng.choice((0, 1, 2, 3, 255, 256, 32767, -1)) for _ in range(7)]
    struct.pack_into("<8h", data, 40, rank, *sizes)
    if rng.random() < 0.5:
        struct.pack_into(
            "<2h", data, 70, *rng.choice(((2, 8), (1, 1), (64, 64), (1536, 128), (128, 24), (1792, 128), (2304, 32)))
        )
    return bytes(data)


def _affine(rng: random.Random, raw: bytes, _: Family) -> bytes:
    data = bytearray(raw)
    struct.pack_into("<2h", data, 252, rng.choice((0, 1, 2, 5, -1)), rng.choice((0, 1, 2, 5, -1)))
    struct.pack_into("<12f", data, 280, *(rng.choice((*FLOATS, 1.0, 0.0, 0.0)) for _ in range(12)))
    struct.pack_into("<6f", data, 256, *(rng.choice((*FLOATS, 0.1)) for _ in range(6)))
    return bytes(data)


def _extension(rng: random.Random, raw: bytes, family: Family) -> bytes:
    """Between header and voxels, of a kind that libraries look into: DICOM, XML, CIFTI, MRS, BIDS."""
    inside = rng.choice(
        (family.dicom, ENTITIES, mutators.bytes_of(rng, family.dicom), b"{" * 5000, rng.randbytes(100), b"")
    )
    length = (len(inside) + 8 + 15) // 16 * 16
    size = rng.choice((length, length, length, 0, -1, 8, 7, 2**31 - 1, -(2**31), length + 1))
    code = rng.choice((0, 2, 2, 4, 6, 18, 32, 32, 44, -1, 99))
    body = struct.pack("<ii", size, code) + inside.ljust(length - 8, b"\0")
    body *= rng.choice((1, 1, 1, 3, 1000 if len(body) < 200 else 1))
    data = bytearray(raw[:352] + body + raw[352:])
    struct.pack_into("<f", data, 108, rng.choice((352 + len(body), 352 + len(body), 352, 1e9)))
    data[348:352] = rng.choice((b"\1\0\0\0", b"\1\0\0\0", b"\xff" * 4))
    return bytes(data)


def _voxels(rng: random.Random, raw: bytes, _: Family) -> bytes:
    """NaN, infinity and huge numbers among the voxels."""
    data = bytearray(raw)
    for _ in range(rng.choice((1, 10, 1000))):
        at = rng.randrange(352, len(data) - 8)
        data[at : at + 4] = struct.pack("<f", rng.choice(FLOATS))
    return bytes(data)


def _cut(rng: random.Random, raw: bytes, _: Family) -> bytes:
    return raw[: rng.choice((0, 1, 3, 347, 348, 351, 352, 353, rng.randrange(len(raw)), len(raw) - 1))]


def _any(rng: random.Random, raw: bytes, family: Family) -> bytes:
    return mutators.bytes_of(rng, raw, family.raws[:2])


def _head(rng: random.Random, raw: bytes, _: Family) -> bytes:
    return mutators.bytes_of(rng, raw[:544]) + raw[544:]


def _stream(rng: random.Random, raw: bytes, _: Family) -> bytes:
    """The compressed bytes spoilt, or several streams, or one within the other."""
    packed = gzip.compress(raw, 1, mtime=0)
    how = rng.randrange(5)
    if how == 0:
        return gzip.compress(raw[:400], 1, mtime=0) + gzip.compress(raw[400:], 1, mtime=0)
    if how == 1:
        return gzip.compress(packed, 1, mtime=0)
    if how == 2:
        return packed + rng.randbytes(rng.randrange(1, 500))
    return mutators.bytes_of(rng, packed)


def _bomb(rng: random.Random, raw: bytes, family: Family) -> bytes:
    """A megabyte that becomes a gigabyte, behind a header which claims less, or as an extension."""
    head = bytearray(raw[:352])
    if rng.random() < 0.5:
        struct.pack_into("<f", head, 108, rng.choice((352 + 2**27, 2**30, 352)))
        head[348] = 1
        head += struct.pack("<ii", rng.choice((2**28, 2**31 - 16, 0, 4)), rng.choice((0, 2, 4, 32)))
    return gzip.compress(bytes(head), 1, mtime=0) + family.gigabyte


def _other_format(rng: random.Random, raw: bytes, family: Family) -> bytes:
    """Something else under the name of an image."""
    stream = io.BytesIO()
    np.save(stream, np.array([os.getcwd], object), allow_pickle=True)
    mgh = bytearray(raw)
    mgh[:4] = b"\0\0\0\1"
    return rng.choice(
        (
            stream.getvalue(),
            bytes(mgh),
            b"PK\3\4" + raw,
            b"\x89HDF\r\n\x1a\n" + raw,
            bytes(128) + b"DICM" + family.dicom,
            b"\x1f\x8b",
            b"\x28\xb5\x2f\xfd" + raw,
            b"BZh9" + raw,
            b"",
            ENTITIES,
            b"NRRD0004\n",
        )
    )


KINDS: dict[str, Callable[[random.Random, bytes, Family], bytes]] = {
    "fields": _fields,
    "dims": _dims,
    "affine": _affine,
    "extension": _extension,
    "voxels": _voxels,
    "cut off": _cut,
    "bytes": _any,
    "head": _head,
    "stream": _stream,
    "name": _fields,
    "other format": _other_format,
    "as it is": lambda rng, raw, family: raw,
    "bomb": _bomb,
}
USUAL = [*(kind for kind in KINDS if kind != "bomb"), *["fields"] * 4, "stream"]
