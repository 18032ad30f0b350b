"""Processes in which inputs are read, the folders they see, and the proof that what watches them works."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import mmap
import os
import signal
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzzing import oracles
from fuzzing.plants import deadly, plants

SECRETS = ("Sally", "Secret", "ID-4711", "19700101", "ACC-0815", "STUDY-7")  # in every series of tests/dicoms.py

PLANTED = ("json", "struct", "numpy", "pydicom", "nibabel", "torch", "multiprocessing", "napari_pgrd")


def watched_child(work: Callable[[Callable[[int], None]], Any], record: Path) -> str | None:
    """Fork, and look on; returns what ended the child, None if it was done."""
    board = mmap.mmap(-1, 16)  # the input it is at, and since when; -1: between two
    board[:] = struct.pack("qd", -1, time.monotonic())
    child = os.fork()
    if child == 0:
        status = 1
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            faulthandler.enable(open(record.with_suffix(".fault"), "w"))  # noqa: SIM115 - until the process ends
            work(lambda i: board.__setitem__(slice(0, 16), struct.pack("qd", i, time.monotonic())))
            status = 0
        finally:
            os._exit(status)
    killed = False
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        at, since = struct.unpack("qd", board[:])
        if at >= 0 and time.monotonic() - since > 2 * oracles.SECONDS:  # those in between say so themselves
            killed = True
            os.kill(child, signal.SIGKILL)
        time.sleep(0.05)
    if killed:
        return f"time: over {oracles.SECONDS:g} s and was killed"
    if os.WIFSIGNALED(status):
        return f"died of signal {os.WTERMSIG(status)}"
    return None if status == 0 else "ended by itself"


def watch_of(place: Path) -> oracles.Watch:
    """Judges what happens in ``input``."""
    return oracles.Watch(place / "input", place / "canary", (place / "tmp", place / "linked"), SECRETS)


@contextlib.contextmanager
def scratch() -> Any:
    """The folders: what readers are given, what nobody may touch, where links may lead, temporary files.

    The working directory holds modules that touch what nobody may, under the names of some that every process imports.
    """
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="pgrd-fuzz-", dir=memory if memory.is_dir() else None) as name:
        place = Path(name)
        for part in ("input", "canary", "linked", "tmp", "working"):
            (place / part).mkdir()
        for part in (
            "prior.safetensors",
            "bundle.json",
            "session.json",
            "edits-0.log",
            "samples-0.npz",
            "scan.nii",
            "running.lock",
        ):
            (place / "canary" / part).write_bytes(b"nobody may read or change this")
        for part in PLANTED:
            touch = f"open({str(place / 'canary' / part)!r}, 'a').close()\n"
            (place / "working" / f"{part}.py").write_text(touch, encoding="utf-8")
        os.environ["TMPDIR"] = tempfile.tempdir = str(place / "tmp")
        os.environ["NAPARI_PGRD_STATE"] = str(place / "input" / "running")
        with contextlib.chdir(place / "working"):
            yield place


def prove(place: Path) -> dict[str, bool]:
    """Whether each oracle finds the fault planted for it, and nothing in an innocent input."""
    found: dict[str, bool] = {}
    record = place / "proof"

    def alive(tell: Callable[[int], None]) -> None:
        oracles.confine()
        watch = watch_of(place)
        for name, run in plants(place / "input", place / "canary").items():
            told = watch.judge(run).findings
            found[name] = any(name.strip() in text for text in told)
        found["nothing"] = not watch.judge(lambda: None).findings
        record.write_text(json.dumps(found))

    watched_child(alive, record)
    found = json.loads(record.read_text()) if record.exists() else {}
    for name, run in deadly().items():
        found[name] = name in (watched_child(lambda tell, run=run: (tell(0), run()), record) or "")
    return {name.strip(": "): good for name, good in found.items()}
