"""A fault for every oracle, planted on purpose, so that each is seen to find what it looks for."""

from __future__ import annotations

import ctypes
import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fuzzing import oracles
from napari_pgrd.engine.errors import InputError


def plants(inside: Path, canary: Path) -> dict[str, Callable[[], Any]]:
    """What is planted, by what the oracle calls it."""
    return {
        "ZeroDivisionError": lambda: 1 // 0,
        "SystemExit": lambda: sys.exit(2),
        "RecursionError": _deeper,
        "MemoryError": lambda: np.ones(2**40, np.uint8),
        "memory:": lambda: np.ones(oracles.MEMORY + 2**26, np.uint8).sum(),
        "sentence:": lambda: _say("too short"),
        "sentence: 58": lambda: _say("A label is called \x1b[2J, which a terminal obeys. Rename it."),
        "privacy: Sally": lambda: _say("The series of Sally Secret cannot be read. Export it again."),
        "write:": lambda: (inside.parent / "elsewhere").write_text("x"),
        "os.remove:": lambda: os.remove(inside.parent / "elsewhere"),
        "read elsewhere:": lambda: Path(__file__).with_name("secret").read_text(),
        "canary:": lambda: _open_in_c(canary / "prior.safetensors"),
        "canary: napari_pgrd": _unsafe_decoder,
        "os.system:": lambda: os.system("true"),
        "subprocess.Popen:": lambda: subprocess.run(["true"], check=True),
        "socket.": lambda: socket.create_connection(("127.0.0.1", 9)),
        "pickle.find_class:": lambda: pickle.loads(pickle.dumps(os.getcwd)),
        "exec:": lambda: exec(_compiled),
        "compile:": lambda: eval("1 + 1"),
        "time:": lambda: time.sleep(oracles.SECONDS + 0.5),
    }


def deadly() -> dict[str, Callable[[], Any]]:
    """Those that no process survives, or ends by itself."""
    return {"died of signal 6": os.abort, f"over {oracles.SECONDS:g} s and was killed": lambda: time.sleep(1000)}


_LIBC = ctypes.CDLL(None)
_compiled = compile("1 + 1", "<planted>", "eval")


def _say(sentence: str) -> None:
    raise InputError(sentence)


def _deeper() -> None:
    _deeper()


def _unsafe_decoder() -> None:
    """The decoder's process, started so that it imports from the working directory first."""
    safe, oracles.DECODER = oracles.DECODER, [word for word in oracles.DECODER if word != "-P"]
    try:
        subprocess.run(oracles.DECODER, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    finally:
        oracles.DECODER = safe


def _open_in_c(path: Path) -> None:
    """Without Python knowing, as libraries in C and Rust do."""
    _LIBC.close(_LIBC.open(os.fsencode(path), os.O_RDONLY))
