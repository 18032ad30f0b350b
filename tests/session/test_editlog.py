"""The edit log's file: torn, damaged and full disks, against cutting and flipping every byte."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from napari_pgrd.engine.errors import ExportError, InputError
from napari_pgrd.session.correction import Correction, replay
from napari_pgrd.session.editlog import MAGIC, Change, EditLog

SHAPE = (4, 5, 3)


def painted(folder: Path, edits: int = 4) -> tuple[Path, list[np.ndarray], list[int]]:
    """A log of some strokes; the mask after each entry, and the file's size after each."""
    rng, path = np.random.default_rng(0), folder / "edits.log"
    mask = rng.integers(0, 3, SHAPE).astype(np.uint8)
    correction = Correction.begin(path, mask, "sample 2")
    masks, sizes = [mask.copy()], [path.stat().st_size]
    for _ in range(edits):
        mask[tuple(rng.integers(0, SHAPE))] += 1
        correction.observe(mask, new=True)
        masks.append(mask.copy())
        sizes.append(path.stat().st_size)
    correction.close()
    return path, masks, sizes


def test_wherever_the_file_is_cut_all_before_is_whole(tmp_path):
    path, masks, sizes = painted(tmp_path)
    content = path.read_bytes()
    for cut in range(len(content) + 1):
        path.write_bytes(content[:cut])
        whole = sum(size <= cut for size in sizes)
        if not whole:
            with pytest.raises(InputError, match="no edit log that this version"):
                EditLog.open(path)
            continue
        log = EditLog.open(path)
        assert len(log.entries) == whole
        assert log.dropped == cut - sizes[whole - 1]
        np.testing.assert_array_equal(replay(log), masks[whole - 1])
        assert path.read_bytes() == content[:cut]  # reading changes nothing


def test_a_flipped_byte_ends_the_log_there(tmp_path):
    path, masks, sizes = painted(tmp_path)
    content = path.read_bytes()
    for at in range(sizes[0], len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :])
        whole = sum(size <= at for size in sizes)
        np.testing.assert_array_equal(replay(path), masks[whole - 1])


def test_zeros_left_by_a_power_cut_are_no_record(tmp_path):
    path, masks, _ = painted(tmp_path)
    with open(path, "ab") as stream:
        stream.write(bytes(64))
    assert EditLog.open(path).dropped == 64
    np.testing.assert_array_equal(replay(path), masks[-1])


def test_editing_goes_on_after_a_torn_record_which_is_kept_beside(tmp_path):
    path, masks, sizes = painted(tmp_path)
    content = path.read_bytes() + bytes(range(200))
    path.write_bytes(content[: sizes[-2]] + content[sizes[-2] + 1 :])
    correction = Correction.open(path)
    mask = correction.mask
    np.testing.assert_array_equal(mask, masks[-2])
    mask[0, 0, 0] = 77
    correction.observe(mask, new=True)
    np.testing.assert_array_equal(replay(path), mask)
    assert EditLog.open(path).dropped == 0
    assert [entry.sequence for entry in EditLog.open(path).entries] == [0, 1, 2, 3, 4]
    (aside,) = tmp_path.glob("*.torn-*")
    assert aside.read_bytes() == content[sizes[-2] + 1 :]


def test_entries_say_what_was_done_and_when(tmp_path):
    path, _, _ = painted(tmp_path, edits=1)
    correction = Correction.open(path)
    correction.record("place", "tail, posterior", state="accepted")
    start, stroke, place = EditLog.open(path).describe()
    assert (start["kind"], start["name"], start["info"]["shape"]) == ("start", "sample 2", list(SHAPE))
    assert start["info"]["began"].endswith("+00:00")
    assert (stroke["kind"], stroke["voxels"]) == ("stroke", 1)
    assert (place["kind"], place["name"], place["info"]) == ("place", "tail, posterior", {"state": "accepted"})
    assert 0 <= stroke["seconds"] <= place["seconds"] < 60
    assert json.dumps([start, stroke, place])  # for a manifest
    with pytest.raises(InputError, match="'scribble' is no kind of entry"):
        correction.record("scribble")


def test_a_full_disk_loses_nothing_that_was_logged_and_the_edit_is_logged_later(tmp_path):
    resource = pytest.importorskip("resource")
    path, masks, _ = painted(tmp_path)
    correction = Correction.open(path)
    mask = correction.mask
    mask[1] = 9
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, hard))
    try:
        with pytest.raises(ExportError, match="on the screen only"):
            correction.observe(mask, new=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    np.testing.assert_array_equal(replay(path), masks[-1])
    mask[2, 0, 0] = 8
    assert correction.observe(mask, new=True).voxels > 1
    np.testing.assert_array_equal(replay(path), mask)


def test_a_log_is_never_begun_over_another(tmp_path):
    path, masks, _ = painted(tmp_path)
    with pytest.raises(ExportError, match="cannot be begun"):
        Correction.begin(path, masks[0])
    np.testing.assert_array_equal(replay(path), masks[-1])


def test_entries_that_do_not_follow_from_each_other_are_refused(tmp_path):
    path, masks, _ = painted(tmp_path)
    log = EditLog.open(path)
    wrong = masks[-1].flat[:1] + 1
    log.append("stroke", Change(np.array([0]), wrong, wrong + 1))
    for read in (replay, Correction.open):
        with pytest.raises(InputError, match="do not follow from each other"):
            read(path)


def forged(entry: dict, body: bytes = b"") -> bytes:
    text = json.dumps(entry).encode()
    payload = struct.pack("<I", len(text)) + text + body
    return struct.pack("<II", len(payload), zlib.crc32(payload)) + payload


START = {"sequence": 0, "kind": "start", "info": {"shape": [2, 2], "began": "2026-01-01T00:00:00+00:00"}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PGRD edit log 2\n" + forged(START, zlib.compress(bytes(4))),
        MAGIC,
        MAGIC + forged({"sequence": 0, "kind": "stroke"}),
        MAGIC + forged({**START, "info": {}}),
        MAGIC + forged(START, zlib.compress(bytes(5))),
        MAGIC + forged({**START, "info": {**START["info"], "shape": [10**6, 10**6]}}, zlib.compress(bytes(4))),
        MAGIC + forged({**START, "info": {**START["info"], "shape": [-2, -2]}}, zlib.compress(bytes(4))),
        MAGIC + forged(START, zlib.compress(bytes(10**8))),
    ],
)
def test_what_is_no_log_of_this_version_is_refused_in_words(tmp_path, content):
    path = tmp_path / "edits.log"
    path.write_bytes(content)
    with pytest.raises(InputError, match="update napari-pgrd"):
        EditLog.open(path)


@pytest.mark.parametrize("indices", [[4], [1, 1], [2**31]])
def test_a_forged_edit_outside_the_mask_is_refused(tmp_path, indices):
    steps = np.diff(np.array(indices), prepend=0).astype("<u4").tobytes()
    stroke = {"sequence": 1, "kind": "stroke", "voxels": len(indices)}
    path = tmp_path / "edits.log"
    start = forged(START, zlib.compress(bytes(4)))
    path.write_bytes(MAGIC + start + forged(stroke, zlib.compress(steps + bytes(2 * len(indices)))))
    with pytest.raises(InputError):
        replay(path)


def test_a_missing_log_is_said(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        EditLog.open(tmp_path / "edits.log")
