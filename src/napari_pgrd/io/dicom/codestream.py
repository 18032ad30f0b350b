"""What a compressed picture says of its own size, read before a decoder reserves memory for it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAX_TILES = 4096  # a decoder reserves some KiB for each
_SKIPPED = {0x01, *range(0xD0, 0xD8)}  # JPEG markers without a length
_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # start of frame; F7 is JPEG-LS
_JPEG, _J2K, _JP2 = b"\xff\xd8", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "


@dataclass(frozen=True)
class Encoded:
    """Size of a compressed picture: pixels, samples a pixel, bits a sample, tiles."""

    columns: int
    rows: int
    samples: int
    bits: int
    tiles: int = 1


def encoded(data: bytes) -> Encoded | None:
    """Of a JPEG, JPEG-LS (ITU-T T.81, T.87) or JPEG 2000 (T.800) stream; None if it is none or is cut off."""
    try:
        return _jpeg(data) if data[:2] == _JPEG else _jpeg_2000(data)
    except (struct.error, IndexError, ZeroDivisionError):
        return None


def _jpeg(data: bytes) -> Encoded | None:
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAME:
            bits, rows, columns, samples = struct.unpack(">BHHB", data[at + 4 : at + 10])
            return Encoded(columns, rows, samples, bits)
        if marker == 0xFF:  # filling
            at += 1
        else:
            at += 2 if marker in _SKIPPED else 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    return None


def _jpeg_2000(data: bytes) -> Encoded | None:
    start = _behind_boxes(data) if data.startswith(_JP2) else 0
    at = data.find(_J2K, start, start + 2**12) if start is not None else -1
    if at < 0:
        return None
    *size, samples, depth = struct.unpack(">8IHB", data[at + 8 : at + 43])
    right, bottom, left, top, wide, high, from_left, from_top = size
    tiles = -(-(right - from_left) // wide) * -(-(bottom - from_top) // high)
    return Encoded(right - left, bottom - top, samples, (depth & 0x7F) + 1, tiles)


def _behind_boxes(data: bytes) -> int | None:
    """Where the boxes of a JP2 file have led to the stream; None if they do not, as where one has no length.

    On such a box pydicom, which looks for the stream by itself, would turn for ever.
    """
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        if kind == b"jp2c":
            return at + 8
        if length < 8:
            return None
        at += length
    return None
