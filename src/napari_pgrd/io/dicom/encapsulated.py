"""The compressed pictures of an object (DICOM PS3.5 A.4), found once and then taken in any order.

pydicom's own ``get_frame`` looks through the file from its beginning for every picture where there is no offset table.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.io.dicom.elements import value_of, whole

if TYPE_CHECKING:
    from pydicom import Dataset

END = b"\xff\xd9"  # of a JPEG, JPEG-LS or JPEG 2000 picture; a byte of filling may follow
HEAD = 8  # bytes of tag and length before a fragment


class Pictures:
    """Takes pictures out of an object that holds one or more, each in one fragment or more.

    Raises
    ------
    ValueError, struct.error
        If the offsets make no sense: pictures that overlap, or do not begin where a fragment does.
    """

    def __init__(self, stored: Dataset) -> None:
        from pydicom.encaps import parse_basic_offsets, parse_fragments

        self._data: bytes = stored.PixelData
        buffer = io.BytesIO(self._data)
        basic = parse_basic_offsets(buffer)
        first = buffer.tell()
        extended = [value_of(stored, f"ExtendedOffsetTable{part}") for part in ("", "Lengths")]
        if all(isinstance(table, bytes) and table for table in extended):
            self._parts = self._extended(first, *extended)
            return
        starts = parse_fragments(buffer)[1]
        parts = [(at + HEAD, at + HEAD + struct.unpack_from("<I", self._data, at + 4)[0]) for at in starts]
        if basic:
            places = {at: i for i, at in enumerate(starts)}
            if any(first + offset not in places for offset in basic):
                raise ValueError("a picture begins where no fragment does")
            cuts = [*(places[first + offset] for offset in basic), len(parts)]
        else:
            cuts = self._cuts(parts, whole(value_of(stored, "NumberOfFrames")) or 1)
        if any(one >= other for one, other in pairwise(cuts)):
            raise ValueError("pictures without a fragment")
        self._parts = [parts[one:other] for one, other in pairwise(cuts)]

    def __getitem__(self, index: int) -> bytes:
        """A picture's bytes; IndexError if there are fewer."""
        return b"".join(self._data[start:end] for start, end in self._parts[index])

    def _extended(self, first: int, offsets: bytes, lengths: bytes) -> list[list[tuple[int, int]]]:
        table = [np.frombuffer(part, "<u8").tolist() for part in (offsets, lengths)]
        if sum(table[1]) > len(self._data):
            raise ValueError("more bytes than there are")
        return [[(first + at + HEAD, first + at + HEAD + size)] for at, size in zip(*table, strict=True)]

    def _cuts(self, parts: list[tuple[int, int]], count: int) -> list[int]:
        """Which fragment each of so many pictures begins with, and the end, where no table says so."""
        if count == 1 or len(parts) == 1:
            return [0, len(parts)]
        if len(parts) == count:
            return list(range(count + 1))
        ends = [i + 1 for i, (start, end) in enumerate(parts) if END in self._data[start:end][-10:]]
        return [0, *ends] if ends[-1:] == [len(parts)] else [0, *ends, len(parts)]


def options_of(stored: Dataset) -> dict[str, Any]:
    """What a decoder must know of each picture, as JSON holds it."""
    from pydicom.pixels.utils import as_pixel_options

    found = as_pixel_options(stored, number_of_frames=1)
    found.pop("extended_offsets", None)
    return found


def decoded(picture: bytes, syntax: str, plugin: str, options: Mapping[str, Any]) -> NDArray[np.integer]:
    """``(row, column)`` stored values of a compressed picture; raises whatever its bytes lead the decoder to."""
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder

    alone = encapsulate([picture], has_bot=False)
    pixels, _ = get_decoder(syntax).as_array(alone, index=0, raw=True, decoding_plugin=plugin, **options)
    return pixels
