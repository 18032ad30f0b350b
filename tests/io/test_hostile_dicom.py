"""DICOM files as nobody writes them: findings of benchmarks/fuzz.py."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

from napari_pgrd.engine.errors import InputError
from napari_pgrd.io.dicom.codestream import encoded
from napari_pgrd.io.dicom.series import read_series
from tests.dicoms import write_series


def boxed(picture: np.ndarray) -> bytes:
    """JPEG 2000 in the boxes of a JP2 file, as some programs store it."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG2000", no_jp2=False)
    return stream.getvalue()


PICTURE = np.arange(64 * 48, dtype=np.uint32).reshape(48, 64).astype(np.uint8)


@pytest.mark.parametrize("length", [0, 1, 7])
def test_a_box_without_length_is_no_picture(tmp_path: Path, length: int) -> None:
    """pydicom goes round and round in it, looking for the next."""
    whole = boxed(PICTURE)
    spoilt = whole[:12] + struct.pack(">I", length) + whole[16:]
    found = encoded(whole)
    assert found is not None and (found.columns, found.rows, found.bits) == (64, 48, 8)
    assert encoded(spoilt) is None

    def put(k: int, ds: Dataset) -> None:
        ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
        ds.PixelData = encapsulate([whole if k == 0 else spoilt])
        ds["PixelData"].is_undefined_length = True

    write_series(tmp_path, np.repeat(PICTURE.T[:, :, None], 2, axis=2), change=put)
    with pytest.raises(InputError, match="In series 3, image 2 holds a compressed picture of another size"):
        read_series(tmp_path)


@pytest.mark.parametrize("cut", [0, 8, 12, 20, 40, 60, 84])
def test_boxes_that_end_before_the_picture_are_none(cut: int) -> None:
    assert encoded(boxed(PICTURE)[:cut]) is None
