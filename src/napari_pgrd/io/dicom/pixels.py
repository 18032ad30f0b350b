"""Stored pixels to real values, slice by slice, after a look at what they would take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.io.dicom import apart
from napari_pgrd.io.dicom.codestream import MAX_TILES, encoded
from napari_pgrd.io.dicom.elements import value_of, whole
from napari_pgrd.io.dicom.encapsulated import Pictures, decoded, options_of
from napari_pgrd.io.dicom.files import quiet, read_object
from napari_pgrd.io.dicom.frames import Frame
from napari_pgrd.io.nifti import GZIP_LIMIT, MAX_VOXELS

if TYPE_CHECKING:
    from pydicom import Dataset

# Transfer syntax -> who decodes it; "" is pydicom itself. One for each, so that a damaged picture is not handed on from
# decoder to decoder, and the one that is most used elsewhere where there are several.
DECODERS = {
    "1.2.840.10008.1.2": "",  # implicit little endian
    "1.2.840.10008.1.2.1": "",  # explicit little endian
    "1.2.840.10008.1.2.1.99": "",  # deflated
    "1.2.840.10008.1.2.2": "",  # explicit big endian
    "1.2.840.10008.1.2.5": "pydicom",  # RLE
    "1.2.840.10008.1.2.4.50": "pillow",  # JPEG baseline
    "1.2.840.10008.1.2.4.51": "pillow",  # JPEG extended, 8 bits
    "1.2.840.10008.1.2.4.57": "gdcm",  # JPEG lossless
    "1.2.840.10008.1.2.4.70": "gdcm",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.80": "pyjpegls",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.81": "pyjpegls",  # JPEG-LS near-lossless
    "1.2.840.10008.1.2.4.90": "pillow",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.91": "pillow",  # JPEG 2000
}
RLE, EXTENDED = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.51"
EXPANDS = {"": 1, "pydicom": 64}  # in RLE two bytes stand for at most 128
APART = ("gdcm",)  # in a process of their own
MAX_BITS = 16  # of a compressed picture; decoders have been seen to die of more
JPEG_EXPANDS = 5000  # a picture of one value takes a hundred bytes; real ones expand 2 to 50 times
DEFLATED = "1.2.840.10008.1.2.1.99"


def values(frames: Sequence[Frame], series: str) -> NDArray[np.float32]:
    """``(column, row, slice)`` real values of slices of one size.

    Pixels that the scanner marks as padding, outside what it saw, are 0 where they are stored as 0, which is nothing in
    MR or PET: the head is cut out and scaled by what is not 0. Elsewhere, as at -2000 in CT, they get the lowest value
    of the others, or 0 if all lie above it.

    Raises
    ------
    InputError
        Naming the series and the image that cannot be decoded, is cut off, or claims more pixels than fit into its
        file or into memory.
    """
    check_claims(frames, series)
    try:
        with apart.kept():
            return _decoded(frames, series)
    except MemoryError as error:
        raise InputError(f"{_upper(series)} does not fit into memory. Close other programs.") from error


def _decoded(frames: Sequence[Frame], series: str) -> NDArray[np.float32]:
    columns, rows = frames[0].size
    out = np.empty((columns, rows, len(frames)), np.float32)
    last: Path | None = None
    stored = StoredPixels(None)
    seen, padded = False, False
    for k in sorted(range(len(frames)), key=lambda k: (frames[k].file, frames[k].index)):  # each file is read once
        frame = frames[k]
        if frame.file != last:
            last, stored = frame.file, StoredPixels(read_object(frame.file))
        where = f"In {series}, {frame.text}"
        pixels = stored.of(frame, where)
        with np.errstate(all="ignore"):
            out[:, :, k] = (pixels * np.float64(frame.slope) + frame.intercept).T
        require(
            bool(np.isfinite(out[:, :, k]).all()),
            InputError,
            f"{where} holds values that are not finite. The file is damaged; export it again.",
        )
        marked = padding(frame.dataset, pixels)
        if marked is None:
            seen = True
            continue
        seen = seen or not marked.all()
        strange = marked.T & (out[:, :, k] != 0)
        out[:, :, k][strange] = np.nan
        padded = padded or bool(strange.any())
    require(seen, InputError, f"{_upper(series)} holds nothing but padding. Choose another series.")
    if padded:
        out[np.isnan(out)] = min(0.0, float(np.nanmin(out)))
    return out


def padding(dataset: Dataset, pixels: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Which stored pixels are padding (DICOM PS3.3 C.7.5.1.1.2); None if there is no such value."""
    low = whole(value_of(dataset, "PixelPaddingValue"))
    if low is None or pixels.dtype.kind not in "iu":
        return None
    high = whole(value_of(dataset, "PixelPaddingRangeLimit"))
    bits = whole(value_of(dataset, "BitsStored")) or 16
    ends = sorted(_stored(v, bits, pixels.dtype.kind == "i") for v in (low, low if high is None else high))
    return (pixels >= ends[0]) & (pixels <= ends[1])


def _stored(value: int, bits: int, signed: bool) -> int:
    """A value as the stored bits give it back; files write -2000 as 63536 and the other way round."""
    value &= 2**bits - 1
    return value - 2**bits if signed and value >= 2 ** (bits - 1) else value


class StoredPixels:
    """The pixels of an object that was read, frame by frame."""

    def __init__(self, stored: Dataset | None) -> None:
        self._stored = stored
        self._pictures: Pictures | None = None
        self._options: dict[str, Any] = {}

    def of(self, frame: Frame, where: str) -> NDArray[Any]:
        """``(row, column)`` stored values of a frame; ``where`` begins the sentences of what is wrong with it."""
        keys = () if self._stored is None else ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
        require(
            self._stored is not None and sum(key in self._stored for key in keys) == 1,
            InputError,
            f"{where} holds no pixels. The file is cut off or damaged; copy or export it again.",
        )
        assert self._stored is not None
        syntax = self._stored.file_meta.TransferSyntaxUID
        try:
            with quiet():
                pixels = self._compressed(frame, where) if DECODERS[syntax] else self._plain(frame)
        except (InputError, MemoryError):
            raise
        except Exception as error:  # decoders raise whatever the bytes lead them to
            raise InputError(
                f"{where} cannot be decoded ({syntax.name}): its pixels are cut off or damaged. Copy or export it "
                "again."
            ) from error
        require(
            pixels.shape == frame.size[::-1] and pixels.dtype.kind in "iuf",
            InputError,
            f"{where} holds other pixels than it claims. The file is damaged; export it again.",
        )
        return pixels

    def _plain(self, frame: Frame) -> NDArray[Any]:
        from pydicom.pixels.decoders.base import get_decoder

        assert self._stored is not None
        decoder = get_decoder(self._stored.file_meta.TransferSyntaxUID)
        pixels, _ = decoder.as_array(self._stored, index=frame.index, raw=True, decoding_plugin="")
        return pixels

    def _compressed(self, frame: Frame, where: str) -> NDArray[Any]:
        assert self._stored is not None
        if self._pictures is None:
            self._pictures, self._options = Pictures(self._stored), options_of(self._stored)
        picture, syntax = self._pictures[frame.index], str(self._stored.file_meta.TransferSyntaxUID)
        if syntax != RLE:  # which is decoded into what the header says, and no more
            _check_stream(picture, whole(value_of(self._stored, "BitsAllocated")) or 0, frame, where)
        decode = apart.decode if DECODERS[syntax] in APART else decoded
        return decode(picture, syntax, DECODERS[syntax], self._options)


def _check_stream(picture: bytes, bits: int, frame: Frame, where: str) -> None:
    """A sentence if the compressed picture has another size than the header says, which the decoder would believe."""
    found = encoded(picture)
    require(
        found is not None
        and (found.columns, found.rows, found.samples) == (*frame.size, 1)
        and 2 <= found.bits <= min(bits, MAX_BITS)
        and found.tiles <= MAX_TILES,
        InputError,
        f"{where} holds a compressed picture of another size than its header says ({frame.size[0]} x {frame.size[1]} "
        f"pixels of {bits} bits), or none. The file is damaged; export it again.",
    )


def check_claims(frames: Sequence[Frame], series: str) -> None:
    """A sentence unless all pixels fit into the limit, and each file's into the bytes that it has."""
    columns, rows = frames[0].size
    voxels = columns * rows * len(frames)
    require(
        voxels <= MAX_VOXELS,
        InputError,
        f"{_upper(series)} claims {columns} x {rows} x {len(frames)} voxels, over the limit of {MAX_VOXELS}. Give a "
        "part of it, or check whether the files are damaged.",
    )
    held = Counter(f.file for f in frames)
    for file, frame in {f.file: f for f in frames}.items():
        _check_file(frame, held[file], f"In {series}, {frame.text}")


def _check_file(frame: Frame, count: int, where: str) -> None:
    syntax = str(frame.dataset.file_meta.TransferSyntaxUID)
    bits = whole(value_of(frame.dataset, "BitsAllocated"))
    used = whole(value_of(frame.dataset, "BitsStored")) or bits
    high = whole(value_of(frame.dataset, "HighBit"))
    require(
        bits in (8, 16, 32, 64) and used is not None and 0 < used <= bits and high in (None, used - 1),
        InputError,
        f"{where} stores its pixels in an unusual way ({used} of {bits} bits). Pixels of 8, 16 or 32 bits can be read; "
        "export the series again.",
    )
    assert bits is not None and used is not None
    require(
        syntax in DECODERS and not (syntax == EXTENDED and used > 8),
        InputError,
        f"{where} is compressed in a way that cannot be read here. Export the series uncompressed, or as JPEG 2000, "
        "JPEG-LS, JPEG lossless or RLE.",
    )
    claimed, size = frame.size[0] * frame.size[1] * count * bits // 8, frame.file.stat().st_size
    expands = GZIP_LIMIT if syntax == DEFLATED else EXPANDS.get(DECODERS[syntax], JPEG_EXPANDS)
    require(
        claimed <= expands * size,
        InputError,
        f"{where} claims {count} x {frame.size[0]} x {frame.size[1]} pixels, which the {size} bytes of its file cannot "
        "hold. The file is cut off or damaged; copy or export it again.",
    )


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]
