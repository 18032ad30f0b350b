"""Compressed pictures of objects with many frames, against pydicom's own way to find them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom.encaps
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, encapsulate_extended, get_frame
from pydicom.uid import UID, RLELossless

from napari_pgrd.engine.errors import InputError
from napari_pgrd.io.dicom.encapsulated import Pictures
from napari_pgrd.io.dicom.series import read_series
from tests.dicoms import compress, write_enhanced, write_series

JPEG_2000, JPEG_LOSSLESS = UID("1.2.840.10008.1.2.4.90"), UID("1.2.840.10008.1.2.4.70")
COUNT = 7
DATA = np.random.default_rng(11).integers(0, 250, (9, 8, COUNT)).astype(np.uint8)


def picture(k: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(DATA[:, :, k].T)).save(out, "JPEG2000", no_jp2=True)
    return out.getvalue() + b"\0" * (out.tell() % 2)


def stored(layout: str, pictures: list[bytes]) -> Dataset:
    """Elements that hold pictures in one of the ways DICOM allows, or nearly does."""
    ds = Dataset()
    ds.NumberOfFrames = len(pictures)
    if layout == "extended":
        ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulate_extended(pictures)
        return ds
    pieces = 1 if layout in ("table", "none", "one") else 3
    ds.PixelData = encapsulate(pictures, fragments_per_frame=pieces, has_bot=layout.startswith("table"))
    return ds


def enhanced(path: Path, layout: str, pictures: list[bytes]) -> Path:
    def put(ds: Dataset) -> None:
        ds.file_meta.TransferSyntaxUID = JPEG_2000
        for element in stored(layout, pictures):
            ds[element.tag] = element
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True

    return write_enhanced(path, DATA[:, :, : len(pictures)], change=put)


@pytest.mark.parametrize("layout", ["table", "table, in pieces", "none", "none, in pieces", "extended"])
@pytest.mark.parametrize("count", [1, 2, COUNT])
def test_pictures_are_those_that_pydicom_finds(tmp_path: Path, layout: str, count: int) -> None:
    pictures = [picture(k) for k in range(count)]
    ds = stored(layout, pictures)
    found = Pictures(ds)
    extended = (ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths) if layout == "extended" else None
    for k in reversed(range(count)):  # in any order
        theirs = get_frame(ds.PixelData, k, number_of_frames=count, extended_offsets=extended)
        assert found[k].rstrip(b"\0") == theirs.rstrip(b"\0") == pictures[k].rstrip(b"\0")
    with pytest.raises(IndexError):
        found[count]
    path = enhanced(tmp_path / "one", layout, pictures)
    assert np.array_equal(read_series(path).data[0], DATA[:, :, :count])


@pytest.mark.parametrize("layout", ["table, in pieces", "none", "extended"])
def test_the_file_is_gone_through_once_whatever_the_number_of_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    """Once for every frame, 65,536 small pictures in a few MB would take an hour."""
    walked: list[int] = []
    real = pydicom.encaps.parse_fragments

    def parse(*args: object, **options: object) -> tuple[int, list[int]]:
        found = real(*args, **options)  # type: ignore[arg-type]
        walked.append(found[0])
        return found

    path = enhanced(tmp_path / "one", layout, [picture(k) for k in range(COUNT)])
    monkeypatch.setattr(pydicom.encaps, "parse_fragments", parse)
    assert np.array_equal(read_series(path).data[0], DATA)
    assert sum(walked) <= 3 * COUNT + COUNT, "those of the file, and each picture alone for its decoder"


def test_what_is_checked_is_what_is_decoded(tmp_path: Path) -> None:
    """A table may lead to a picture that is larger than the one that stands in its place."""
    large = io.BytesIO()
    Image.new("L", (900, 900)).save(large, "JPEG2000", no_jp2=True)
    path = enhanced(tmp_path / "one", "extended", [picture(0), picture(1)])
    ds, other = dcmread(path), stored("extended", [picture(0), large.getvalue()])
    ds.PixelData = encapsulate([picture(0), picture(1), large.getvalue()], has_bot=False)
    at = ds.PixelData.index(large.getvalue()) - 16  # from behind the empty table to before the fragment
    ds.ExtendedOffsetTable = np.array([0, at], "<u8").tobytes()
    ds.ExtendedOffsetTableLengths = other.ExtendedOffsetTableLengths
    ds.save_as(path)
    with pytest.raises(InputError, match="frame 2 holds a compressed picture of another size"):
        read_series(path)


def test_a_table_of_offsets_may_give_pictures_in_another_order(tmp_path: Path) -> None:
    pictures = [picture(k) for k in range(COUNT)]
    path = enhanced(tmp_path / "one", "extended", pictures)
    ds = dcmread(path)
    table = np.frombuffer(ds.ExtendedOffsetTable, "<u8"), np.frombuffer(ds.ExtendedOffsetTableLengths, "<u8")
    ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = (np.roll(part, 2).tobytes() for part in table)
    ds.save_as(path)
    assert np.array_equal(read_series(path).data[0], np.roll(DATA, 2, axis=2))


@pytest.mark.parametrize("offsets", [[0, 3], [4, 0], [0, 0], [0, 2**32 - 2], [0]])
def test_a_table_that_leads_nowhere_is_a_sentence(tmp_path: Path, offsets: list[int]) -> None:
    path = enhanced(tmp_path / "one", "none", [picture(0), picture(1)])
    whole, table = path.read_bytes(), np.array(offsets, "<u4").tobytes()
    at = whole.index(b"\xfe\xff\0\xe0\0\0\0\0")
    path.write_bytes(whole[: at + 4] + len(table).to_bytes(4, "little") + table + whole[at + 8 :])
    with pytest.raises(InputError, match=r"frame \d cannot be decoded"):
        read_series(path)


def test_offsets_cannot_ask_for_more_bytes_than_there_are(tmp_path: Path) -> None:
    """Each of 65,536 pictures could be the whole file."""
    ds = stored("extended", [picture(0), picture(1)])
    lengths = np.frombuffer(ds.ExtendedOffsetTableLengths, "<u8")
    ds.ExtendedOffsetTableLengths = (lengths + len(ds.PixelData) // 2).tobytes()
    with pytest.raises(ValueError, match="more bytes"):
        Pictures(ds)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG_LOSSLESS])
def test_frames_of_other_syntaxes_are_read_exactly(tmp_path: Path, syntax: UID) -> None:
    """The decoder of JPEG lossless sits in another process, which gets one picture after the other."""
    data = DATA.astype(np.int16) * 100 - 9000
    if syntax == RLELossless:
        path = write_enhanced(tmp_path / "one", data)
        ds = dcmread(path)
        ds.compress(RLELossless)
        ds.save_as(path)
    else:
        pictures = []
        for single in write_series(tmp_path / "singles", data, elements={"modality": "CT", "number": 3}):
            compress(single, "JPEG")
            pictures.append(get_frame(dcmread(single).PixelData, 0, number_of_frames=1))

        def put(ds: Dataset) -> None:
            ds.file_meta.TransferSyntaxUID = JPEG_LOSSLESS
            ds.PixelData = encapsulate(pictures, has_bot=False)
            ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True

        path = write_enhanced(tmp_path / "one", data, change=put)
    assert np.array_equal(read_series(path).data[0], data)


def test_a_fragment_that_ends_by_chance_like_a_picture_is_no_danger() -> None:
    """Without a table, bytes that look like the end of a picture cut it; nothing is read twice or left out."""
    pieces = [b"a" * 8 + b"\xff\xd9", b"b" * 10, b"c" * 8 + b"\xff\xd9", b"d" * 10]
    ds = Dataset()
    ds.NumberOfFrames, ds.PixelData = 2, encapsulate(pieces, has_bot=False)
    found = Pictures(ds)
    assert [found[k] for k in range(3)] == [pieces[0], pieces[1] + pieces[2], pieces[3]]
    assert all(found[k] == get_frame(ds.PixelData, k, number_of_frames=2) for k in range(3))
    assert b"".join(found[k] for k in range(3)) == b"".join(pieces)
