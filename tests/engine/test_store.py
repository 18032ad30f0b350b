"""Masks that stay: in memory or on disk, and nothing left of them afterwards, however the program ends."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_pgrd.engine import store as module
from napari_pgrd.engine.aggregate import Aggregate
from napari_pgrd.engine.store import LARGE, Store, room, stacked

SHAPE = (160, 160, 170)  # just large


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "_folder", lambda: str(tmp_path))
    return tmp_path


def masks(n: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 4, SHAPE, np.uint8) for _ in range(n)]


def resident(kind: str) -> int:
    """Bytes of this program's memory of a kind."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(kind))


def test_large_masks_stay_as_they_were_and_cannot_change(disk: Path) -> None:
    assert int(np.prod(SHAPE)) >= LARGE
    store, given = Store(), masks(5)
    kept = [store.keep(mask) for mask in given]
    given[0][...] = 9
    for mask, was in zip(kept, masks(5), strict=True):
        assert np.array_equal(mask, was)
        with pytest.raises(ValueError, match="read-only"):
            mask[0, 0, 0] = 1
    assert np.array_equal(stacked(kept), np.stack(masks(5)))
    assert list(disk.iterdir()) == [], "their files have no names"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says what memory is whose")
def test_large_masks_take_no_memory(disk: Path) -> None:
    store, mask = Store(), masks(1)[0]
    kept = [store.keep(mask)]
    gc.collect()
    before = resident("VmRSS")
    kept += [store.keep(mask) for _ in range(15)]
    grown = resident("VmRSS") - before
    assert grown < 3 * mask.nbytes, f"{len(kept)} masks of {mask.nbytes} bytes took {grown}"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says what memory is whose")
def test_a_sample_is_not_read_back_from_the_disk_to_be_counted(disk: Path) -> None:
    prior = np.full((2, *SHAPE), 0.5, np.float32)
    whole, mask = Aggregate(prior, 0.1), masks(1)[0] % 2
    whole.take(mask, prior)
    before = resident("RssFile")
    for _ in range(7):
        whole.take(mask, prior)
    grown = resident("RssFile") - before
    assert np.array_equal(whole.votes[1], 8 * mask)
    assert grown < mask.nbytes, f"7 masks of {mask.nbytes} bytes on disk took {grown} of memory"


def test_many_masks_need_few_open_files(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGE", 1)
    sizes: list[int] = []
    made = module._file
    monkeypatch.setattr(module, "_file", lambda size: sizes.append(size) or made(size))
    store, small = Store(), np.ones((4, 4, 4), np.uint8)
    kept = [store.keep(small * (i % 200)) for i in range(1024)]
    assert all((mask == i % 200).all() for i, mask in enumerate(kept))
    assert len(sizes) < 50
    assert sizes[0] == small.nbytes, "one sample takes the space of one"


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "sys.exit(0)"])
def test_nothing_is_left_when_the_program_ends(tmp_path: Path, end: str) -> None:
    code = (
        "import os, sys, numpy as np; from napari_pgrd.engine.store import Store, room\n"
        f"store = Store(); kept = [store.keep(np.ones({SHAPE}, np.uint8)) for _ in range(3)]\n"
        f"more = room((2, *{SHAPE}), 'u1')\n"
        "more[0] = kept[0]; print('kept', int(more.sum() // kept[0].size), flush=True)\n" + end
    )
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert run.stdout == "kept 1\n", run.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_masks_in_memory(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(stream: object, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_reserve", full)
    mask = masks(1)[0]
    assert np.array_equal(Store().keep(mask), mask)
    assert room(SHAPE, np.uint8).sum() == 0
    assert list(disk.iterdir()) == []


def test_without_a_way_to_reserve_space_zeros_are_written(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.posix_fallocate", raising=False)
    mask = masks(1)[0]
    assert np.array_equal(Store().keep(mask), mask)


def test_samples_of_a_large_volume_go_there(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGE", 6 * 5 * 4)
    asked: list[int] = []
    made = module._file
    monkeypatch.setattr(module, "_file", lambda size: asked.append(size) or made(size))
    y = torch.rand(3, 2, 6, 5, 4)
    whole = Aggregate(np.full((2, 6, 5, 4), 0.5, np.float32), 0.1)
    for one in y:
        whole.add(one)
    assert sum(asked) >= 3 * 6 * 5 * 4
    p = whole.snapshot()
    assert np.array_equal(np.stack(p.masks), y.argmax(1).numpy())
    more = Aggregate(p.prior, 0.1, so_far=p)
    more.add(y[0])
    assert np.array_equal(np.stack(more.snapshot().masks), np.concatenate([y, y[:1]]).argmax(1))
