"""Reviews as nobody saves them, most of them findings of benchmarks/fuzz.py: none leads out of its folder."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_pgrd.engine.errors import InputError, PgrdError
from napari_pgrd.session.archive import digest
from napari_pgrd.session.autosave import Autosave, discard, unfinished
from napari_pgrd.session.editlog import MAGIC
from napari_pgrd.session.review import load, save
from tests.session.reviews import GRID, make_review, make_volume


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save(tmp_path / "running" / "case.pgrd", make_review(tmp_path / "logs"))


def session(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "session.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def first(folder: Path, start: str) -> Path:
    return sorted(folder.glob(f"{start}*"))[0]


def log_of(parts: list[tuple[bytes, bytes]]) -> bytes:
    payloads = [struct.pack("<I", len(text)) + text + body for text, body in parts]
    return MAGIC + b"".join(struct.pack("<II", len(p), zlib.crc32(p)) + p for p in payloads)


def parts_of(raw: bytes) -> list[tuple[bytes, bytes]]:
    parts, at = [], len(MAGIC)
    while at < len(raw):
        payload = raw[at + 8 : at + 8 + struct.unpack_from("<I", raw, at)[0]]
        end = 4 + struct.unpack_from("<I", payload)[0]
        parts.append((payload[4:end], payload[end:]))
        at += 8 + len(payload)
    return parts


def damaged(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        load(folder, make_volume())
    load_what_is_whole(folder)
    return str(caught.value)


def load_what_is_whole(folder: Path) -> None:
    with contextlib.suppress(InputError):
        load(folder, make_volume(), strict=False)
    assert all(left.sentence for left in unfinished(folder.parent))


@pytest.mark.parametrize("start", ["session.json", "samples-", "locks-", "edits-"])
@pytest.mark.parametrize("how", ["link", "pipe", "folder", "loop", "device"])
def test_a_file_that_is_none_of_the_folder_is_not_opened(folder: Path, tmp_path: Path, start: str, how: str) -> None:
    path = first(folder, start)
    path.rename(tmp_path / "elsewhere")
    if how == "pipe":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    else:
        path.symlink_to({"link": tmp_path / "elsewhere", "loop": path, "device": Path("/dev/zero")}[how])
    assert "case.pgrd is" in damaged(folder)


@pytest.mark.parametrize(
    "name", ["../elsewhere/samples-x.npz", "samples-\0", "samples-" + "x" * 5000, "samples-a\x1b[2Jb", "samples-.."]
)
def test_a_name_that_no_file_of_the_folder_has(folder: Path, name: str) -> None:
    session(folder, lambda content: content["samples"].update(file=name))
    text = damaged(folder)
    assert "is damaged" in text and len(text) < 400 and text.isprintable()


def _other(name: str) -> Callable[[dict[str, Any]], Any]:
    changes: dict[str, Callable[[dict[str, Any]], Any]] = {
        "another shape": lambda a: a.update(prior=a["prior"][:, :2]),
        "fewer classes": lambda a: a.update(votes=a["votes"][:1]),
        "beyond the image": lambda a: a.update({k: np.repeat(v, 3, axis=-1) for k, v in a.items()}),
        "double": lambda a: a.update(probability=a["probability"].astype(np.float64)),
        "not a number": lambda a: a["total"].reshape(-1).__setitem__(0, np.nan),
        "over one": lambda a: a["probability"].reshape(-1).__setitem__(0, 7),
        "no such class": lambda a: a["masks"].reshape(-1).__setitem__(0, 3),
        "no masks' shape": lambda a: a.update(masks=a["masks"].reshape(-1)),
        "words": lambda a: a.update(sample_entropy=np.full(GRID, "x")),
        "one more": lambda a: a.update(extra=np.zeros(3)),
    }
    return changes[name]


NAMES = [
    "another shape",
    "fewer classes",
    "beyond the image",
    "double",
    "not a number",
    "over one",
    "no such class",
    "no masks' shape",
    "words",
    "one more",
]


@pytest.mark.parametrize("name", NAMES)
def test_arrays_that_are_no_prediction_are_damage_even_if_signed(folder: Path, name: str) -> None:
    content = json.loads((folder / "session.json").read_text())
    path = folder / content["samples"]["file"]
    with np.load(path) as archive:
        arrays = {key: archive[key].copy() for key in archive.files}
    _other(name)(arrays)
    np.savez_compressed(path, **arrays)
    session(folder, lambda content: content["samples"].update(digest=digest(arrays)))
    assert f"{path.name} is missing, cut short or altered" in damaged(folder)


def peak_of(call: Callable[[], object]) -> int:
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_an_archive_that_would_fill_the_memory_is_not_read(folder: Path) -> None:
    path = first(folder, "samples-")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new, new.open("votes.npy", "w") as member:
        member.write(
            b"\x93NUMPY\x01\0v\0"
            + b"{'descr': '|u1', 'fortran_order': False, 'shape': (268435456,)}".ljust(117)
            + b"\n"
        )
        for _ in range(64):
            member.write(bytes(2**22))
    assert peak_of(lambda: damaged(folder)) < 2**26


@pytest.mark.parametrize("at", [0, 1])
def test_a_log_that_would_fill_the_memory_is_not_inflated(folder: Path, at: int) -> None:
    path = first(folder, "edits-")
    parts, pack = parts_of(path.read_bytes()), zlib.compressobj(1)
    bomb = b"".join(pack.compress(bytes(2**22)) for _ in range(64)) + pack.flush()
    entry = json.loads(parts[at][0])
    if at == 0:
        entry["info"]["shape"] = [2**9, 2**9, 2**10]
    else:
        entry["voxels"] = 2**28 // 6
    parts[at] = json.dumps(entry).encode(), bomb
    path.write_bytes(log_of(parts))
    assert peak_of(lambda: damaged(folder)) < 2**26


ENTRIES = [
    {"sequence": True},
    {"sequence": 0.0},
    {"voxels": {}},
    {"voxels": -1},
    {"voxels": 10**12},
    {"voxels": "3"},
    {"seconds": "x"},
    {"seconds": 1e300},
    {"seconds": -1},
    {"seconds": None},
    {"name": 3},
    {"name": []},
    {"kind": None},
    {"kind": {}},
    {"info": None},
    {"info": []},
    {"extra": 1},
]


@pytest.mark.parametrize("change", ENTRIES, ids=str)
@pytest.mark.parametrize("at", [0, 1])
def test_an_entry_of_other_kinds_ends_the_log(folder: Path, change: dict[str, Any], at: int) -> None:
    path = first(folder, "edits-")
    parts = parts_of(path.read_bytes())
    parts[at] = json.dumps({**json.loads(parts[at][0]), **change}).encode(), parts[at][1]
    path.write_bytes(log_of(parts))
    assert "is damaged" in damaged(folder)


STARTS = [
    {"shape": ["4", 5, 3]},
    {"shape": [4.5, 5, 3]},
    {"shape": [-4, -5, 3]},
    {"shape": [60]},
    {"shape": [1] * 64},
    {"shape": None},
    {"shape": [2**70]},
    {"shape": []},
    {"began": "2024-01-01T00:00:00"},
    {"began": "9999-12-31T23:59:59+00:00"},
    {"began": None},
    {"began": "0001-01-01T00:00:00+14:00"},
]


@pytest.mark.parametrize("change", STARTS, ids=str)
def test_a_start_that_cannot_be_is_damage(folder: Path, change: dict[str, Any]) -> None:
    path = first(folder, "edits-")
    parts = parts_of(path.read_bytes())
    entry = json.loads(parts[0][0])
    entry["info"].update(change)
    path.write_bytes(log_of([(json.dumps(entry).encode(), parts[0][1]), *parts[1:]]))
    assert "is damaged" in damaged(folder)


def test_an_entry_nested_too_deep_ends_the_log(folder: Path) -> None:
    path = first(folder, "edits-")
    parts = parts_of(path.read_bytes())
    path.write_bytes(log_of([*parts[:1], (b"[" * 100_000, b""), *parts[1:]]))
    assert "is damaged" in damaged(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["image"].update(shape=[0, 5, 4]),
        lambda c: c["image"].update(shape=[2**20, 2**20, 2**20]),
        lambda c: c["image"].update(name="a\x1b[2J"),
        lambda c: c.update(bundle="x" * 5000),
        lambda c: c["request"].update(box=[[0, 99], [0, 5], [0, 4]]),
        lambda c: c["request"].update(box=[[4, 1], [0, 5], [0, 4]]),
        lambda c: c.update(schema_version=[["x" * 9000]]),
    ],
)
def test_a_session_that_names_no_image_is_a_sentence(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    session(folder, change)
    text = damaged(folder)
    assert len(text) < 400 and text.isprintable()


@pytest.mark.parametrize("name", ["running.lock", "ended"])
@pytest.mark.parametrize("how", ["link", "folder", "pipe"])
def test_nothing_is_written_through_a_link(folder: Path, tmp_path: Path, name: str, how: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("untouched")
    (folder / name).unlink(missing_ok=True)
    if how == "link":
        (folder / name).symlink_to(elsewhere)
    elif how == "folder":
        (folder / name).mkdir()
    else:
        os.mkfifo(folder / name)
    for take in (lambda: Autosave.resume(folder).leave(), lambda: discard(folder)):
        with contextlib.suppress(PgrdError):
            take()
    assert elsewhere.read_text() == "untouched"
