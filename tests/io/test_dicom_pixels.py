"""Values of DICOM pixels in every transfer syntax that is read, against what was written or SimpleITK's reader."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jpeg_ls
import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless
from SimpleITK import GetArrayFromImage, ReadImage

from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.preprocess import prepare
from napari_pgrd.engine.spec import PrepareSpec
from napari_pgrd.io.dicom import files as dicom_files
from napari_pgrd.io.dicom import pixels
from napari_pgrd.io.dicom.codestream import Encoded, encoded
from napari_pgrd.io.dicom.pixels import DECODERS
from napari_pgrd.io.dicom.series import read_series
from napari_pgrd.io.nifti import read_volume
from tests.dicoms import base, compress, ramp, write_enhanced, write_series

JPEG, JPEG_LOSSLESS = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70"
JPEG_LS, JPEG_NEAR = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"
JPEG_2000, JPEG_2000_LOSSY = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"


def scan(columns: int = 33, rows: int = 21, slices: int = 3, signed: bool = True) -> np.ndarray:
    """Smooth values with both signs, as a scanner's."""
    grid = np.meshgrid(*[np.linspace(0, 3, n) for n in (columns, rows, slices)], indexing="ij")
    values = 900 * np.sin(sum(grid)) + 30 * grid[0]
    return values.astype(np.int16) if signed else (values + 1000).astype(np.uint16)


def sentence(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_series(folder)
    return str(caught.value)


def as_simpleitk_has_it(path: Path) -> np.ndarray:
    """``(column, row)`` of a file."""
    return GetArrayFromImage(ReadImage(str(path)))[0].T


def rewrite(path: Path, syntax: UID) -> None:
    ds = dcmread(path)
    ds.compress(syntax)
    ds.save_as(path)


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless, UID(JPEG_LS)]
)
@pytest.mark.parametrize("signed", [True, False])
def test_what_pydicom_writes_comes_back_exactly(tmp_path: Path, syntax: UID, signed: bool) -> None:
    data = scan(signed=signed)

    def native(k: int, ds: Dataset) -> None:
        if not syntax.is_encapsulated:
            ds.file_meta.TransferSyntaxUID = syntax
        if not syntax.is_little_endian:
            ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()

    for path in write_series(tmp_path, data, change=native):
        if syntax.is_encapsulated:
            rewrite(path, syntax)
    volume = read_series(tmp_path)
    assert np.array_equal(volume.data[0], data)
    for k, path in enumerate(volume.source.files):
        assert dcmread(path).file_meta.TransferSyntaxUID == syntax
        assert np.array_equal(volume.data[0, :, :, k], as_simpleitk_has_it(path))


@pytest.mark.parametrize(
    ("compressor", "syntax"), [("JPEG2000", JPEG_2000), ("JPEG", JPEG_LOSSLESS), ("JPEG", JPEG_LOSSLESS[:-2] + "57")]
)
@pytest.mark.parametrize("signed", [True, False])
def test_what_simpleitk_compresses_is_read_as_simpleitk_reads_it(
    tmp_path: Path, compressor: str, syntax: str, signed: bool
) -> None:
    data = scan(signed=signed)
    for path in write_series(tmp_path, data, elements={"modality": "CT", "number": 3}):
        compress(path, compressor)
        if syntax.endswith("57"):  # any prediction, of which the first-order one is one
            path.write_bytes(path.read_bytes().replace(JPEG_LOSSLESS.encode(), syntax.encode()))
        assert dcmread(path).file_meta.TransferSyntaxUID == syntax
    volume = read_series(tmp_path)
    assert np.array_equal(volume.data[0], data)
    for k, path in enumerate(volume.source.files):
        assert np.array_equal(volume.data[0, :, :, k], as_simpleitk_has_it(path))


def compressed(
    tmp_path: Path, syntax: str, encode: Callable[[np.ndarray], bytes], data: np.ndarray, **change: Any
) -> Path:
    """A series whose pictures another encoder made."""

    def put(k: int, ds: Dataset) -> None:
        ds.file_meta.TransferSyntaxUID = UID(syntax)
        ds.PixelData = encapsulate([encode(np.ascontiguousarray(data[:, :, k].T))])
        ds["PixelData"].is_undefined_length = True
        for key, value in change.items():
            setattr(ds, key, value)

    write_series(tmp_path, data, change=put)
    return tmp_path


def by_pillow(kind: str, **options: Any) -> Callable[[np.ndarray], bytes]:
    def encode(picture: np.ndarray) -> bytes:
        out = io.BytesIO()
        Image.fromarray(picture).save(out, kind, **options)
        return out.getvalue()

    return encode


@pytest.mark.parametrize(
    ("syntax", "kind", "options"),
    [
        (JPEG, "JPEG", {"quality": 95}),
        ("1.2.840.10008.1.2.4.51", "JPEG", {"quality": 95}),
        (JPEG_2000_LOSSY, "JPEG2000", {"no_jp2": True, "irreversible": True, "quality_layers": [4]}),
        (JPEG_2000, "JPEG2000", {"no_jp2": False}),  # in the boxes of a JP2 file, as some programs store it
    ],
)
def test_lossy_pictures_are_near_and_as_simpleitk_has_them(
    tmp_path: Path, syntax: str, kind: str, options: dict
) -> None:
    data = (scan(64, 48, signed=False) // 10).astype(np.uint8)
    volume = read_series(compressed(tmp_path, syntax, by_pillow(kind, **options), data))
    assert np.abs(volume.data[0] - data).max() <= 12 and np.abs(volume.data[0] - data).mean() < 1.5
    for k, path in enumerate(volume.source.files):
        oracle = as_simpleitk_has_it(path)
        assert np.abs(volume.data[0, :, :, k] - oracle).max() <= 2  # inverse cosine transforms round differently


def test_near_lossless_jpeg_ls_is_near(tmp_path: Path) -> None:
    data = scan(signed=False)

    def encode(picture: np.ndarray) -> bytes:
        return bytes(jpeg_ls.encode_array(picture, lossy_error=2))

    volume = read_series(compressed(tmp_path, JPEG_NEAR, encode, data))
    assert 0 < np.abs(volume.data[0] - data).max() <= 2


def test_every_syntax_names_a_decoder_that_is_installed() -> None:
    from pydicom.pixels.decoders.base import get_decoder

    for syntax, plugin in DECODERS.items():
        decoder = get_decoder(UID(syntax))
        assert decoder.is_native if not plugin else plugin in decoder.available_plugins


def test_compressed_frames_are_read_one_by_one(tmp_path: Path) -> None:
    data = scan(slices=4)
    path = write_enhanced(tmp_path / "one", data, order=(3, 1, 0, 2))
    ds = dcmread(path)
    ds.compress(RLELossless)
    ds.save_as(path)
    assert np.array_equal(read_series(path).data[0], data)


def test_each_slice_has_its_own_scaling(tmp_path: Path) -> None:
    slopes = [(1.0, -1024.0), (0.5, 2.25), (3.0, 0.0), (2.0, 7.0)]

    def scale(k: int, ds: Dataset) -> None:
        ds.RescaleSlope, ds.RescaleIntercept = slopes[k]

    write_series(tmp_path, ramp(), change=scale)
    data = read_series(tmp_path).data[0]
    for k, (slope, intercept) in enumerate(slopes):
        assert np.array_equal(data[:, :, k], (ramp()[:, :, k] * slope + intercept).astype(np.float32))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32])
def test_every_width_of_pixels_is_read(tmp_path: Path, dtype: type) -> None:
    data = np.linspace(np.iinfo(dtype).min, np.iinfo(dtype).max, 120).reshape(6, 5, 4).astype(dtype)
    write_series(tmp_path, data)
    assert np.array_equal(read_series(tmp_path).data[0], data.astype(np.float32))


def test_bits_that_are_not_stored_do_not_count(tmp_path: Path) -> None:
    data = scan()  # within 12 bits
    overlaid = ((data & 0x0FFF) | 0x5000).astype(np.uint16).view(np.int16)
    elements = {"BitsStored": 12, "HighBit": 11}
    write_series(tmp_path, overlaid, change=lambda k, ds: [setattr(ds, a, v) for a, v in elements.items()] and None)
    assert np.array_equal(read_series(tmp_path).data[0], data)


def test_float_pixels_are_read_and_must_be_finite(tmp_path: Path) -> None:
    data = scan().astype(np.float32) / 7

    def put(k: int, ds: Dataset) -> None:
        del ds.PixelData, ds.BitsStored, ds.HighBit, ds.PixelRepresentation
        picture = np.ascontiguousarray(data[:, :, k].T)
        if spoil and k == 1:
            picture[2, 3] = np.nan
        ds.FloatPixelData = picture.tobytes()

    spoil = False
    write_series(tmp_path / "good", data, change=put)
    assert np.array_equal(read_series(tmp_path / "good").data[0], data)
    spoil = True
    write_series(tmp_path / "bad", data, change=put)
    assert "In series 3, image 2 holds values that are not finite" in sentence(tmp_path / "bad")


@pytest.mark.parametrize(
    ("value", "limit", "kind"),
    [(-2000, None, "i"), (63536, None, "i"), (-2000, -1990, "i"), (0, None, "u"), (-1, None, "u")],
)
def test_padding_gets_the_lowest_real_value(tmp_path: Path, value: int, limit: int | None, kind: str) -> None:
    data = scan(signed=kind == "i")
    data[data <= 5] = 6
    stored = data.copy()
    mark = np.array(value).astype(stored.dtype) if value < 2**15 else np.int16(value - 2**16)
    stored[:4], stored[4, 3] = mark, mark if limit is None else limit
    real = np.ones(data.shape, bool)
    real[:4], real[4, 3] = False, False

    def put(k: int, ds: Dataset) -> None:
        ds.RescaleSlope, ds.RescaleIntercept = 2, -1024
        vr = "SS" if value < 0 else "US"
        ds.add_new("PixelPaddingValue", vr, value)
        if limit is not None:
            ds.add_new("PixelPaddingRangeLimit", vr, limit)

    write_series(tmp_path, stored, change=put)
    read = read_series(tmp_path).data[0]
    assert np.array_equal(read[real], data[real] * 2.0 - 1024)
    assert (read[~real] == read[real].min()).all()


@pytest.mark.parametrize(
    ("padding", "lowest", "becomes"), [(0, 50, 0), (0, -3, 0), (-2000, 50, 0), (3000, 50, 0), (-2000, -3, -3)]
)
def test_padding_of_zero_stays_zero_and_none_rises_above_it(
    tmp_path: Path, padding: int, lowest: int, becomes: int
) -> None:
    data = np.linspace(900, lowest, 6 * 5 * 4).reshape(6, 5, 4).astype(np.int16)
    data[:2] = padding
    write_series(tmp_path, data, change=lambda k, ds: ds.add_new("PixelPaddingValue", "SS", padding))
    read = read_series(tmp_path).data[0]
    assert np.array_equal(read[2:], data[2:]) and data[2:].min() == lowest
    assert (read[:2] == becomes).all()


@pytest.mark.parametrize("scheme", ["zscore-inside", ""])
def test_a_scan_with_a_background_of_padding_is_prepared_as_its_nifti_file_is(tmp_path: Path, scheme: str) -> None:
    """The head is cut out and scaled by what is not 0; an MR background of 50 would undo both."""
    data = np.zeros((24, 20, 8), np.int16)
    data[5:19, 4:15, 1:7] = 50 + 100 * np.random.default_rng(3).random((14, 11, 6))
    write_series(tmp_path / "dicom", data, change=lambda k, ds: ds.add_new("PixelPaddingValue", "SS", 0))
    one = read_series(tmp_path / "dicom")
    nib.save(nib.Nifti1Image(data, one.affine), tmp_path / "same.nii")
    nnunet = {"schemes": (scheme,), "foreground": (None,), "strides": (1, 1, 1)} if scheme else None
    spec = PrepareSpec(patch=(8, 8, 4), stride=4, nnunet=nnunet)
    (first, place), (second, same) = (prepare(v, spec) for v in (one, read_volume(tmp_path / "same.nii")))
    assert torch.equal(first, second) and place == same
    assert not scheme or (place.crop is not None and place.original == (14, 11, 6))


def test_nothing_but_padding_is_a_sentence(tmp_path: Path) -> None:
    write_series(
        tmp_path, np.full((6, 5, 2), -7, np.int16), change=lambda k, ds: ds.add_new("PixelPaddingValue", "SS", -7)
    )
    assert "Series 3 holds nothing but padding" in sentence(tmp_path)


@pytest.mark.parametrize(
    ("elements", "part"),
    [
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "colour picture"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour picture"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "stored inverted (MONOCHROME1"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "mosaic"),
        ({"RescaleSlope": 0}, "no usable rescale slope"),
        ({"RescaleIntercept": float("nan")}, "no usable rescale slope"),
        ({"RescaleSlope": 1e300}, "not finite"),
        ({"BitsAllocated": 12}, "16 of 12 bits"),
        ({"BitsStored": 12, "HighBit": 15}, "12 of 16 bits"),
        ({"Rows": 0}, "claims 1 frames of 6 x 0 pixels"),
        ({"Rows": 60000, "Columns": 60000}, "claims 1 frames of 60000 x 60000"),
        ({"NumberOfFrames": 10**9}, "claims 1000000000 frames"),
        ({"NumberOfFrames": -1}, "claims -1 frames"),
    ],
)
def test_what_is_no_slice_is_named(tmp_path: Path, elements: dict, part: str) -> None:
    def change(k: int, ds: Dataset) -> None:
        for key, value in elements.items():
            if k == 1 and isinstance(value, float):
                ds.add_new(key, "DS", "NaN" if np.isnan(value) else str(value))
            elif k == 1:
                setattr(ds, key, value)

    write_series(tmp_path, ramp(), change=change)
    assert "In series 3, image 2" in (text := sentence(tmp_path)) and part in text


@pytest.mark.parametrize("side", [30_000, 3_000])
@pytest.mark.parametrize("syntax", ["", RLELossless, DeflatedExplicitVRLittleEndian])
def test_a_claim_that_the_file_cannot_hold_is_refused_before_memory_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int, syntax: Any
) -> None:
    def forbidden(*_: Any) -> None:
        raise AssertionError("pixels were read")

    monkeypatch.setattr(pixels, "read_object", forbidden)

    def claim(k: int, ds: Dataset) -> None:
        ds.Rows = ds.Columns = side
        if syntax == RLELossless:
            ds.PixelData = encapsulate([b"\1\0\0\0" + b"\0" * 60])
        ds.file_meta.TransferSyntaxUID = syntax or ds.file_meta.TransferSyntaxUID

    write_series(tmp_path, ramp(slices=1), change=claim)
    text = sentence(tmp_path)
    assert "cannot hold" in text and "image 1" in text


def test_more_voxels_than_the_limit_are_refused(tmp_path: Path) -> None:
    write_enhanced(
        tmp_path / "one", ramp(), change=lambda ds: [setattr(ds, "Rows", 20000), setattr(ds, "Columns", 20000)]
    )
    assert "Series 3 claims 20000 x 20000 x 4 voxels, over the limit" in sentence(tmp_path)


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
def test_a_picture_larger_than_its_header_says_is_not_decoded(tmp_path: Path, kind: str) -> None:
    data = (scan(signed=False) // 10).astype(np.uint8)
    syntax, options = (JPEG, {}) if kind == "JPEG" else (JPEG_2000, {"no_jp2": True})
    compressed(tmp_path, syntax, by_pillow(kind, **options), data, Columns=32)
    assert "In series 3, image 1 holds a compressed picture of another size" in sentence(tmp_path)


def lossless(tmp_path: Path, change: Callable[[bytearray], None] = lambda whole: None) -> Path:
    """A series of one slice that SimpleITK stored as JPEG lossless, and then something was done to it."""
    (path,) = write_series(tmp_path, scan(slices=1), elements={"modality": "CT", "number": 3})
    compress(path, "JPEG")
    whole = bytearray(path.read_bytes())
    change(whole)
    path.write_bytes(whole)
    return tmp_path


def test_more_bits_than_a_pixel_has_are_not_decoded(tmp_path: Path) -> None:
    """GDCM dies of them."""

    def change(whole: bytearray) -> None:
        whole[whole.index(b"\xff\xc3") + 4] = 137

    assert "image 1 holds a compressed picture of another size" in sentence(lossless(tmp_path, change))


def test_a_picture_that_kills_its_decoder_is_a_sentence(tmp_path: Path) -> None:
    """GDCM ends the process it runs in when the parameters of a scan make no sense."""

    def change(whole: bytearray) -> None:
        at = whole.index(b"\xff\xda") + 7  # length, one component with its table, then where the scan starts
        assert whole[at] == 1  # first-order prediction
        whole[at] = 254

    assert "In series 3, image 1 cannot be decoded" in sentence(lossless(tmp_path / "bad", change))
    assert read_series(lossless(tmp_path / "good")).shape == (33, 21, 1)


def test_the_size_of_a_compressed_picture_is_read_from_its_header() -> None:
    grey, colour = np.zeros((21, 33), np.uint8), np.zeros((21, 33, 3), np.uint8)
    for kind, options in (("JPEG", {}), ("JPEG2000", {"no_jp2": True}), ("JPEG2000", {"no_jp2": False})):
        assert encoded(by_pillow(kind, **options)(grey)) == Encoded(33, 21, 1, 8)
        assert encoded(by_pillow(kind, **options)(colour)) == Encoded(33, 21, 3, 8)
    assert encoded(by_pillow("JPEG2000", no_jp2=True, tile_size=(16, 16))(grey)) == Encoded(33, 21, 1, 8, 6)
    assert encoded(bytes(jpeg_ls.encode_array(grey + 255))) == Encoded(33, 21, 1, 8)
    whole = by_pillow("JPEG")(grey)
    assert all(encoded(whole[:n]) in (None, Encoded(33, 21, 1, 8)) for n in range(len(whole)))
    assert encoded(b"") is None and encoded(b"\xff\xd8" + b"\xff" * 99) is None


@pytest.mark.parametrize("syntax", ["", RLELossless, UID(JPEG_LS)])
@pytest.mark.parametrize("keep", [0.3, 0.97])
def test_a_file_that_is_cut_off_is_a_sentence(tmp_path: Path, syntax: Any, keep: float) -> None:
    files = write_series(tmp_path, scan())
    for path in files:
        if syntax:
            rewrite(path, syntax)
    whole = files[1].read_bytes()
    files[1].write_bytes(whole[: int(len(whole) * keep)])
    text = sentence(tmp_path)
    assert "cut off or damaged" in text or "cannot be read" in text


def test_an_image_without_pixels_is_a_sentence(tmp_path: Path) -> None:
    def drop(k: int, ds: Dataset) -> None:
        if k == 2:
            del ds.PixelData

    write_series(tmp_path, ramp(), change=drop)
    assert "In series 3, image 3 holds no pixels" in sentence(tmp_path)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.201", "1.2.840.99999.1.2.4.100"])
def test_a_syntax_that_nothing_decodes_is_named(tmp_path: Path, syntax: str) -> None:
    known = "1.2.840.10008.1.2.4.100" if "99999" in syntax else syntax
    for path in compressed(tmp_path, known, lambda picture: picture.tobytes(), ramp()).iterdir():
        path.write_bytes(path.read_bytes().replace(known.encode(), syntax.encode()))
    assert "In series 3, image 1 is compressed in a way that cannot be read" in sentence(tmp_path)


def test_a_deflated_file_that_swells_is_not_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deflate(k: int, ds: Dataset) -> None:
        ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian

    (path,) = write_series(tmp_path, np.zeros((512, 512, 1), np.int16), change=deflate)
    assert path.stat().st_size < 20_000 and read_series(tmp_path).shape == (512, 512, 1)
    monkeypatch.setattr(dicom_files, "MAX_INFLATED", 2**18)
    assert "1 of 1 DICOM files there cannot be read" in sentence(tmp_path)


def test_private_rubbish_is_passed_over_or_a_sentence(tmp_path: Path) -> None:
    def stuff(k: int, ds: Dataset) -> None:
        block = ds.private_block(0x0029, "RUBBISH", create=True)
        block.add_new(0x01, "UN", bytes(range(256)) * 40)
        block.add_new(0x02, "SQ", [Dataset() for _ in range(9)])

    write_series(tmp_path, ramp(), change=stuff)
    assert np.array_equal(read_series(tmp_path).data[0], ramp())


def test_mutated_files_are_read_or_refused_with_a_sentence(tmp_path: Path) -> None:
    """A short walk over damage of every kind."""
    shared = base()
    files = write_series(tmp_path, ramp(12, 10, 2), shared=shared)
    whole, rng = files[0].read_bytes(), np.random.default_rng(5)
    refused = 0
    for _ in range(150):
        spoilt = bytearray(whole)
        for at in rng.integers(128, len(whole), rng.integers(1, 12)):
            spoilt[at] = rng.integers(256)
        at = int(rng.integers(132, len(whole) - 8))
        match rng.integers(4):
            case 0:
                spoilt = spoilt[:at]
            case 1:
                spoilt[at : at + 4] = struct.pack("<I", 0xFFFFFFFF)
            case 2:
                spoilt[at:at] = spoilt[at - 40 : at]
        files[0].write_bytes(bytes(spoilt))
        try:
            with warnings.catch_warnings(action="error"):  # pydicom's quote what they are about
                volume = read_series(tmp_path, str(shared.SeriesInstanceUID))
        except InputError:
            refused += 1
        else:
            assert np.isfinite(volume.data).all()
    assert 30 < refused < 150
