"""Ways to spoil a DICOM file that know where its elements stand."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread

from fuzzing import mutators

TEXTS = (
    b"",
    b"0",
    b"-1",
    b"1e400",
    b"NaN",
    b"inf",
    b"1\\2\\3",
    b"\\\\\\",
    b"1\\1\\1\\0\\0\\0",
    b"99999999999999999999",
    b"0.0001\\0.0001",
    b"1.2.840.10008.1.3.10",
    b"1.2.840.10008.5.1.4.1.1.66.4",
    b"MONOCHROME1",
    b"SEG",
    b"\x1b$)C\xff\xfe",
    b"\0" * 16,
    b"A" * 70000,
    b"ISO 2022 IR 87",
    b"ISO_IR 192",
    b"0" * 17,
    b"1e-300\\1e-300",
    b"-0\\-0\\-0",
    b"1.2.840.10008.1.2.4.90",
    b"../../x",
    b"\n\x1b[2J",
)
_VRS = "AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV ZZ \0\0"
VRS = [vr.encode() for vr in _VRS.split(" ")]
LENGTHS = (0, 1, 2, 3, 7, 0xFFFE, 0xFFFF, 2**31, 2**32 - 2, 2**32 - 1)
LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV")


@dataclass(frozen=True)
class Element:
    """Where an element of a file stands: its tag, its head and its value."""

    start: int
    value: int
    end: int
    explicit: bool


def elements_of(path: Path) -> tuple[Element, ...]:
    """Of a file, the elements of all depths that pydicom knows the place of."""
    out: list[Element] = []
    dataset = dcmread(path, force=True)
    raw = path.read_bytes()

    def collect(part: Dataset) -> None:
        explicit = not part.is_implicit_VR if hasattr(part, "is_implicit_VR") else not dataset.original_encoding[0]
        for tag in list(part.keys()):
            element = part.get_item(tag)
            at = getattr(element, "value_tell", None) or getattr(element, "file_tell", None)
            vr, length = str(element.VR or "UN").encode(), getattr(element, "length", None)
            if at is None or not isinstance(at, int):
                continue
            head = 8 if not explicit or vr not in LONG else 12
            if length is None or length == 0xFFFFFFFF or at + length > len(raw):
                length = min(8, len(raw) - at)
            if raw[at - head : at - head + 4] in (struct.pack(order + "HH", tag.group, tag.element) for order in "<>"):
                out.append(Element(at - head, at, at + length, explicit))

    collect(dataset)
    return tuple(out)


# ---- the ways


def _values(rng: random.Random, raw: bytes, elements: tuple[Element, ...]) -> bytes:
    """Values of one to three elements, of the same length or with a length that fits."""
    data = bytearray(raw)
    for one in sorted(rng.choices(elements, k=rng.choice((1, 1, 2, 3))), key=lambda e: -e.start):
        old = bytes(data[one.value : one.end])
        text = rng.choice(
            (*TEXTS, mutators.bytes_of(rng, old), rng.randbytes(len(old)), b"\xff" * len(old), bytes(len(old)))
        )
        if rng.random() < 0.4 and old:
            data[one.value : one.end] = text[: len(old)].ljust(len(old), b" ")
            continue
        text += b" " * (len(text) % 2)
        data[one.value : one.end] = text
        _set_length(data, one, len(text))
    return bytes(data)


def _set_length(data: bytearray, one: Element, length: int) -> None:
    if one.explicit and one.value - one.start == 8:
        struct.pack_into("<H", data, one.start + 6, min(length, 0xFFFF))
    else:
        struct.pack_into("<I", data, one.value - 4, min(length, 2**32 - 1))


def _heads(rng: random.Random, raw: bytes, elements: tuple[Element, ...]) -> bytes:
    """Tags, kinds and lengths that do not belong to their values."""
    data = bytearray(raw)
    for one in rng.choices(elements, k=rng.choice((1, 1, 2, 5))):
        how = rng.randrange(3)
        if how == 0 and one.explicit:
            data[one.start + 4 : one.start + 6] = rng.choice(VRS)
        elif how == 1:
            _set_length(data, one, rng.choice((*LENGTHS, one.end - one.value + rng.choice((-2, 2, 200)))) % 2**32)
        else:
            struct.pack_into(
                "<HH",
                data,
                one.start,
                rng.choice((2, 8, 0x20, 0x28, 0x7FE0, 0xFFFE, 0x5200)),
                rng.choice((0, 0x10, 0xE000, 0x9230)),
            )
    return bytes(data)


def _without(rng: random.Random, raw: bytes, elements: tuple[Element, ...]) -> bytes:
    """Elements left out, doubled or moved to the front."""
    data = bytearray(raw)
    for one in sorted(rng.choices(elements, k=rng.choice((1, 1, 2, 4))), key=lambda e: -e.start):
        part = bytes(data[one.start : one.end])
        how = rng.randrange(4)
        if how <= 1:
            del data[one.start : one.end]
        elif how == 2:
            data[one.start : one.start] = part * rng.choice((1, 3))
        else:
            del data[one.start : one.end]
            at = min(e.start for e in elements)
            data[at:at] = part
    return bytes(data)


def _nested(rng: random.Random, raw: bytes, elements: tuple[Element, ...]) -> bytes:
    """A sequence in a sequence in a sequence, or a thousand items, before one of the elements."""
    depth = rng.choice((1, 10, 200, 3000))
    tag = rng.choice((b"\x08\0\x15\x11", b"\0\x52\x29\x92", b"\0\x52\x30\x92", b"\x28\0\0\x30", b"\x62\0\x02\0"))
    head = (tag + b"SQ\0\0" if elements and elements[0].explicit else tag) + b"\xff" * 4
    opened, closed = head + b"\xfe\xff\0\xe0\xff\xff\xff\xff", b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    if rng.random() < 0.5:
        body = opened * depth + closed * rng.choice((depth, depth, 0, 1))
    else:
        body = head + b"\xfe\xff\0\xe0\0\0\0\0" * depth + closed[8:]
    at = rng.choice(elements).start if elements else 132
    return raw[:at] + body + raw[at:]


def _cut(rng: random.Random, raw: bytes, elements: tuple[Element, ...]) -> bytes:
    places = [0, 1, 127, 128, 131, 132, 133, 144, len(raw) - 1, rng.randrange(len(raw))]
    places += [rng.choice((e.start, e.value, e.end)) for e in elements[-6:]] + [rng.choice(elements).value] * bool(
        elements
    )
    return raw[: rng.choice(places)]


def bytes_alone(rng: random.Random, raw: bytes, elements: tuple[Element, ...]) -> bytes:
    return mutators.bytes_of(rng, raw)


def _pixels(rng: random.Random, raw: bytes, elements: tuple[Element, ...]) -> bytes:
    """Behind the last head alone: what decoders get."""
    at = max((e.value for e in elements), default=0)
    return raw[:at] + mutators.bytes_of(rng, raw[at:])


def _oversized(rng: random.Random, raw: bytes, elements: tuple[Element, ...]) -> bytes:
    """Numbers that would take all memory: rows, columns, frames, bits."""
    data = bytearray(raw)
    wanted = {
        b"\x28\0\x10\0",
        b"\x28\0\x11\0",
        b"\x28\0\x08\0",
        b"\x28\0\0\x01",
        b"\x28\0\x01\x01",
        b"\x28\0\x02\0",
        b"\x28\0\x02\x01",
    }
    for one in sorted(elements, key=lambda e: -e.start):
        if bytes(data[one.start : one.start + 4]) in wanted and rng.random() < 0.5:
            size = one.end - one.value
            if data[one.start + 2] == 8:
                data[one.value : one.end] = rng.choice((b"65535", b"2147483647", b"1e9", b"-5", b"0")).ljust(size)[
                    :size
                ]
            elif size == 2:
                struct.pack_into("<H", data, one.value, rng.choice((0, 1, 8, 12, 16, 32, 64, 255, 4096, 32768, 65535)))
    return bytes(data)


WAYS: dict[str, Callable[[random.Random, bytes, tuple[Element, ...]], bytes]] = {
    "values": _values,
    "heads": _heads,
    "left out": _without,
    "nested": _nested,
    "cut off": _cut,
    "bytes": bytes_alone,
    "pixels": _pixels,
    "oversized": _oversized,
    "as it is": lambda rng, raw, elements: raw,
}
