"""Ways to spoil bytes and JSON that know nothing of a format."""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF, 0x0A, 0x20, 0x2F, 0x5C)
WORDS = (0, 1, 2, 3, 7, 255, 256, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
NUMBERS = (
    0,
    -1,
    1,
    2,
    1e-300,
    1e300,
    -1e300,
    2**31,
    2**53,
    2**63,
    -(2**63),
    10**30,
    0.5,
    1e-9,
    math.nan,
    math.inf,
    -math.inf,
)
TEXTS = (
    "",
    " ",
    "\0",
    "\n",
    "\x1b[2J\x1b]0;owned\x07",
    "..",
    "../..",
    "/",
    "/etc/passwd",
    "C:\\",
    "\u202e",
    "\ud800",
    "\U0001f480",
    "a" * 300,
    "x" * 70000,
    "NaN",
    "1e999",
    "%s%n",
    "{0}",
    "${HOME}",
    "null",
    "__class__",
    "__reduce__",
    "-",
    ".",
    "~",
)


def bytes_of(rng: random.Random, raw: bytes, others: Sequence[bytes] = ()) -> bytes:
    """One to four changes of a file's bytes."""
    data = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = _once(rng, data, others)
    return bytes(data)


def _once(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> bytearray:
    size = len(data)
    if size < 2:
        return data + rng.randbytes(rng.randrange(1, 64))
    at = (
        rng.randrange(size) if rng.random() < 0.5 else min(size - 1, int(rng.expovariate(1 / 200)))
    )  # heads are at the front
    end = min(size, at + 1 + int(rng.expovariate(1 / 20)))
    how = rng.randrange(11)
    if how <= 2:
        for _ in range(rng.choice((1, 1, 2, 8, 64))):
            data[rng.randrange(at, size)] ^= 1 << rng.randrange(8)
    elif how == 3:
        data[at] = rng.choice(BYTES)
    elif how == 4:
        width = rng.choice((2, 4, 8))
        word = rng.choice(WORDS) & (2 ** (8 * width) - 1)
        data[at : at + width] = word.to_bytes(width, rng.choice(("little", "big")))
    elif how == 5:
        del data[at:]
    elif how == 6:
        del data[at:end]
    elif how == 7:
        data[at:at] = data[at:end] * rng.choice((1, 2, 50))
    elif how == 8:
        data[at:end] = bytes(end - at)
    elif how == 9:
        data[at:end] = rng.randbytes(end - at)
    elif others:
        other = rng.choice(others)
        data[at:] = other[rng.randrange(len(other) + 1) :]
    else:
        data += rng.randbytes(rng.randrange(1, 2000))
    return data


def pool(count: int = 400) -> list[Any]:
    """JSON values as hypothesis thinks of them: odd numbers, odd letters, trees."""
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    values = st.recursive(scalars, lambda v: st.lists(v, max_size=5) | st.dictionaries(st.text(), v, max_size=4))
    out: list[Any] = []

    @seed(0)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(values)
    def collect(value: Any) -> None:
        out.append(value)

    collect()
    return out


def value(rng: random.Random, values: Sequence[Any]) -> Any:
    """Something that hardly fits anywhere."""
    how = rng.randrange(6)
    if how == 0:
        return rng.choice(NUMBERS)
    if how == 1:
        return rng.choice(TEXTS)
    if how == 2:
        return rng.choice(
            (None, True, False, [], {}, [[]], [None], {"": {}}, [0] * 1000, {"bytes": 5}, {"bytes": "zz"})
        )
    if how == 3:
        return nested(rng.choice((50, 400, 900)))
    return rng.choice(values)


def nested(depth: int) -> Any:
    """A list in a list in a list."""
    out: Any = []
    for _ in range(depth):
        out = [out]
    return out


def tree(rng: random.Random, content: Any, values: Sequence[Any], changes: int = 0) -> Any:
    """A JSON value with one to three nodes replaced, left out, doubled or moved."""
    out = copy.deepcopy(content)
    for _ in range(changes or rng.choice((1, 1, 2, 3))):
        places = list(_places(out))
        if not places:
            return value(rng, values)
        holder, key = rng.choice(places)
        how = rng.randrange(8)
        if how == 0:
            del holder[key]
        elif how == 1 and isinstance(holder, dict):
            holder[rng.choice((str(rng.choice(TEXTS)), "extra", "__proto__"))] = value(rng, values)
        elif how == 2 and isinstance(holder, list):
            holder[key:key] = [holder[key]] * rng.choice((1, 2, 300))
        elif how == 3:
            other, name = rng.choice(places)
            try:
                holder[key] = copy.deepcopy(other[name])
            except (KeyError, IndexError):
                holder[key] = None
        elif how <= 5 and isinstance(holder[key], (int, float)):
            number = holder[key]
            holder[key] = rng.choice(
                (*NUMBERS, -number, number + 1, number * 2, number * 1000, str(number), number + 0.5)
            )
        else:
            holder[key] = value(rng, values)
    return out


def _places(node: Any) -> Any:
    if isinstance(node, dict):
        for key in list(node):
            yield node, key
            yield from _places(node[key])
    elif isinstance(node, list):
        for key in range(min(len(node), 40)):
            yield node, key
            yield from _places(node[key])


def dumps(content: Any) -> bytes:
    """As JSON, with NaN and lone surrogates if there are any."""
    return json.dumps(content).encode()


def text(rng: random.Random, raw: bytes) -> bytes:
    """A JSON file that is spoilt as text."""
    how = rng.randrange(7)
    if how == 0:
        return b"[" * rng.choice((10, 1000, 100_000)) + raw
    if how == 1:
        return raw.replace(b":", b": " + b"9" * rng.choice((20, 5000, 100_000)) + b",", 1)
    if how == 2:
        return raw.decode().encode(rng.choice(("utf-16", "utf-32", "utf-8-sig")))
    if how == 3:
        opening = raw.rstrip()[:-1]
        return opening + b", " + opening.lstrip()[1:] + b"}"  # every key twice
    if how == 4:
        return raw.replace(b'"', rng.choice((b"'", b"", b'\\"', b'"\xff')), rng.choice((1, 5, -1)))
    return bytes_of(rng, raw)
