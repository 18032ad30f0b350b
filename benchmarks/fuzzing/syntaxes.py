"""One series in every transfer syntax that is read, by encoders of their own."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jpeg_ls
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from tests.dicoms import write_enhanced, write_series

Picture = NDArray[Any]


def folders(where: Path, pixels: NDArray[np.int16]) -> Iterator[tuple[str, Path]]:
    """Name of a syntax, and a folder with ``(column, row, slice)`` pixels stored in it."""
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian):
        yield syntax.name, _native(where / syntax, pixels, syntax)
    for syntax in (RLELossless, JPEGLSLossless):
        for path in write_series(where / syntax, pixels):
            dataset = dcmread(path)
            dataset.compress(syntax)
            dataset.save_as(path)
        yield syntax.name, where / syntax
    grey = (np.clip(pixels - int(pixels.min()), 0, None) * 250.0 / max(int(np.ptp(pixels)), 1)).astype(np.uint8)
    encoders: dict[str, Callable[[Picture], bytes]] = {
        "1.2.840.10008.1.2.4.50": _pillow("JPEG", quality=95),
        "1.2.840.10008.1.2.4.51": _pillow("JPEG", quality=95),
        "1.2.840.10008.1.2.4.81": lambda picture: bytes(jpeg_ls.encode_array(picture, lossy_error=2)),
        "1.2.840.10008.1.2.4.90": _pillow("JPEG2000", no_jp2=True),
        "1.2.840.10008.1.2.4.91": _pillow("JPEG2000", no_jp2=False, irreversible=True, quality_layers=[4]),
    }
    for name, encode in encoders.items():
        yield UID(name).name, _encapsulated(where / name, grey, UID(name), encode)
    yield "JPEG Lossless", _lossless(where / "lossless", pixels)


def many_frames(path: Path, count: int) -> Path:
    """So many small pictures in one object, without a table that says where each begins."""
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    picture = _pillow("JPEG2000", no_jp2=True)(pixels)

    def change(dataset: Dataset) -> None:
        dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
        dataset.PixelData = encapsulate([picture] * count, has_bot=False)
        dataset["PixelData"].is_undefined_length = True

    return write_enhanced(path, np.repeat(pixels[:, :, None], count, axis=2), change=change)


def _native(folder: Path, pixels: NDArray[np.int16], syntax: UID) -> Path:
    def change(k: int, dataset: Dataset) -> None:
        dataset.file_meta.TransferSyntaxUID = syntax
        if not syntax.is_little_endian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()

    write_series(folder, pixels, change=change)
    return folder


def _encapsulated(folder: Path, pixels: NDArray[np.uint8], syntax: UID, encode: Callable[[Picture], bytes]) -> Path:
    def change(k: int, dataset: Dataset) -> None:
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = encapsulate([encode(np.ascontiguousarray(pixels[:, :, k].T))])
        dataset["PixelData"].is_undefined_length = True

    write_series(folder, pixels, change=change)
    return folder


def _pillow(kind: str, **options: Any) -> Callable[[Picture], bytes]:
    def encode(picture: Picture) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, kind, **options)
        return stream.getvalue()

    return encode


def _lossless(folder: Path, pixels: NDArray[np.int16]) -> Path:
    """By GDCM, through SimpleITK."""
    from SimpleITK import ImageFileWriter, ReadImage

    for path in write_series(folder, pixels, elements={"modality": "CT", "number": 3}):
        writer = ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.UseCompressionOn()
        writer.SetCompressor("JPEG")
        writer.SetFileName(str(path))
        writer.Execute(ReadImage(str(path)))
    return folder
