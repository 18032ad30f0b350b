"""Ways to spoil an edit log: its bytes, and its records with the checksum that belongs to them."""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Sequence
from typing import Any

from fuzzing import mutators
from napari_pgrd.session.editlog import MAGIC

KINDS = ("start", "stroke", "operation", "accept", "undo", "redo", "edit", "place", "resume", "", "x", None, 3)
SHAPES = (
    [2**30],
    [2**10] * 3,
    [2**31] * 3,
    [0],
    [-1, -60],
    [],
    [60],
    [4, 5, 3],
    [3, 5, 4],
    [1] * 64,
    [1.5],
    ["4", 5, 3],
    None,
    60,
    [2**70],
)
DATES = (
    "",
    "2024-01-01T00:00:00",
    "9999-12-31T23:59:59+00:00",
    "0001-01-01T00:00:00+00:00",
    "now",
    None,
    5,
    "2024-01-01",
)


def named(files: dict[str, bytes], start: str) -> list[str]:
    return sorted(name for name in files if name.startswith(start))


def log(rng: random.Random, files: dict[str, bytes], values: Sequence[Any]) -> None:
    """The bytes of an edit log: torn, spoilt, zeros."""
    name = rng.choice(named(files, "edits-"))
    files[name] = (
        mutators.bytes_of(rng, files[name], [files[name]])
        if rng.random() < 0.8
        else files[name] + bytes(rng.randrange(1, 5000))
    )


def records(rng: random.Random, files: dict[str, bytes], values: Sequence[Any]) -> None:
    """Entries of an edit log that say something else, with the checksum that belongs to it."""
    name = rng.choice(named(files, "edits-"))
    parts = list(parts_of(files[name]))
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.choice((0, rng.randrange(len(parts))))
        text, body = parts[at]
        how = rng.randrange(8)
        if how <= 3:
            entry = json.loads(text)
            key = rng.choice(("sequence", "kind", "name", "seconds", "voxels", "info", "shape", "began", "extra"))
            if key == "kind":
                entry[key] = rng.choice(KINDS)
            elif key == "shape":
                entry["info"] = {**(entry["info"] or {}), "shape": rng.choice(SHAPES)}
            elif key == "began":
                entry["info"] = {**(entry["info"] or {}), "began": rng.choice(DATES)}
            else:
                entry[key] = mutators.value(rng, values)
            parts[at] = mutators.dumps(entry), body
        elif how == 4:
            parts[at] = mutators.text(rng, text), body
        elif how == 5:
            raw = zlib.decompress(body) if body else b""
            parts[at] = text, zlib.compress(mutators.bytes_of(rng, raw))
        elif how == 6:
            parts[at] = text, rng.choice((b"", rng.randbytes(30), mutators.bytes_of(rng, body)))
        else:
            parts.insert(at, parts[rng.randrange(len(parts))])
    files[name] = log_of(parts)


def parts_of(raw: bytes) -> Any:
    at = len(MAGIC)
    while at + 8 <= len(raw):
        length, _ = struct.unpack_from("<II", raw, at)
        payload = raw[at + 8 : at + 8 + length]
        end = 4 + struct.unpack_from("<I", payload)[0]
        yield payload[4:end], payload[end:]
        at += 8 + length


def log_of(parts: list[tuple[bytes, bytes]]) -> bytes:
    payloads = [struct.pack("<I", len(text)) + text + body for text, body in parts]
    return MAGIC + b"".join(struct.pack("<II", len(p), zlib.crc32(p)) + p for p in payloads)
