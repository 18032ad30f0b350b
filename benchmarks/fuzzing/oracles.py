"""What reading an input may not do, watched while it is read.

It may succeed, or raise a PgrdError with a sentence. Everything else is a finding: another exception, time, memory, a
file written, or read elsewhere than in the folder given, a program, a connection, code that came with the input, a
pickle.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import resource
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_pgrd.engine.errors import PgrdError

SECONDS = 10.0  # an input
MEMORY = 512 * 2**20  # bytes that an input may add to the resident memory
ADDRESSES = 4 * MEMORY  # bytes that a process may reserve beyond what it begins with
LONGEST = 2000  # characters of a sentence
NO_ROOM = "fit into memory"  # in the sentences that say so; no input here is that large
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
}
RUNS = {"os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn", "ctypes.dlopen"}
DECODER = [sys.executable, "-P", "-m", "napari_pgrd.io.dicom.apart"]
_WATCHED = 0x02 | 0x04 | 0x20 | 0x40 | 0x80 | 0x100 | 0x200  # modify, attrib, open, moved, create, delete
SYSTEM = tuple(
    os.path.realpath(p)
    for p in (sys.prefix, sys.base_prefix, "/usr", "/lib", "/etc", "/proc", "/sys", Path(__file__).parents[2] / "src")
)
HARMLESS = ("/dev/null", "/dev/urandom")


@dataclass
class Verdict:
    """How one input ended."""

    outcome: str  # "read", the name of a PgrdError, or "finding"
    seconds: float
    memory: int  # bytes by which the process' peak grew
    sentence: str = ""
    findings: tuple[str, ...] = ()


class Watch:
    """Judges inputs, one after the other, in the process that it is made in.

    Parameters
    ----------
    inside : path
        The folder that is given to the readers: read at will, written only where ``may_write`` says so.
    canary : path
        A folder beside it that nobody may open, whichever library or process does; the kernel tells.
    free : tuple of path
        Folders that links may lead to, and that temporary files lie in.
    """

    def __init__(self, inside: Path, canary: Path, free: tuple[Path, ...], secrets: tuple[str, ...] = ()) -> None:
        self.inside, self.secrets = os.path.realpath(inside), secrets
        self.free = tuple(os.path.realpath(p) for p in free)
        self.seen: list[str] = []
        self.said: list[str] = []
        self._armed = False
        self._canary = Canary(canary)
        sys.addaudithook(self._hook)
        handler = logging.Handler()
        handler.emit = lambda record: self.said.append(record.getMessage())  # type: ignore[method-assign]
        logging.getLogger().addHandler(handler)

    def judge(self, run: Callable[[], Any]) -> Verdict:
        """Let ``run`` read an input."""
        self.seen.clear()
        self.said.clear()
        self._canary.touched()
        peak, now = _peak(), _resident()
        began, outcome, sentence = time.perf_counter(), "read", ""
        try:
            with self._armed_and_listening():
                run()
        except PgrdError as error:
            outcome, sentence = type(error).__name__, str(error)
            self._check_sentence(sentence)
        except BaseException as error:
            self.seen.append(_described(error))
        seconds, after = time.perf_counter() - began, _peak()
        memory = after - now if after > peak else 0
        if seconds > SECONDS:
            self.seen.append(f"time: over {SECONDS:g} s")
        if memory > MEMORY:
            self.seen.append(f"memory: over {MEMORY >> 20} MiB")
        self.seen += [f"canary: {name} was touched" for name in self._canary.touched()]
        told = "\n".join((*self.said, sentence))
        self.seen += [f"privacy: {secret} was said" for secret in self.secrets if secret in told]
        findings = tuple(dict.fromkeys(self.seen))
        return Verdict("finding" if findings else outcome, seconds, memory, sentence, findings)

    def _check_sentence(self, text: str) -> None:
        good = 20 <= len(text) <= LONGEST and text.isprintable() and text.rstrip()[-1:] in ".!?"
        if not good:
            self.seen.append(f"sentence: {len(text)} characters, {text[:80]!r} ... {text[-40:]!r}")
        if os.path.dirname(self.inside) in text:
            self.seen.append("privacy: a path was said")
        if NO_ROOM in text:
            self.seen.append(f"memory: {text[:120]}")

    @contextlib.contextmanager
    def _armed_and_listening(self) -> Iterator[None]:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = lambda message, *_, **__: self.said.append(str(message))  # type: ignore[assignment]
            self._armed = True
            try:
                yield
            finally:
                self._armed = False

    # ---- what Python reports before it happens

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._armed:
            return
        if event == "open":
            self._opened(args[0], args[2] or 0)
        elif event in CHANGES:
            self._changed(event, args)
        elif event in RUNS or event.startswith("socket."):
            self._forbid(f"{event}: {str(args)[:80]}")
        elif event == "subprocess.Popen" and list(args[1]) != DECODER:
            self._forbid(f"{event}: {str(args[1])[:80]}")
        elif event == "pickle.find_class":
            self._forbid(f"{event}: {args}")
        elif event == "exec":
            self._executed(args[0])
        elif event == "compile" and args[0] is not None and not _parses_only():
            self._forbid(f"compile: {str(args[0])[:80]}")

    def _forbid(self, text: str) -> None:
        self.seen.append(text)
        raise RuntimeError(f"refused while fuzzing: {text}")

    def _opened(self, path: Any, flags: int) -> None:
        if isinstance(path, int):
            return
        real = os.path.realpath(os.fsdecode(path))
        if flags & WRITING:
            if not _under(real, (self.inside, *self.free)) and real not in HARMLESS:
                self._forbid(f"write: {self._short(real)}")
        elif not _under(real, (self.inside, *self.free, *SYSTEM)) and real not in HARMLESS:
            self.seen.append(f"read elsewhere: {self._short(real)}")

    def _changed(self, event: str, args: tuple[Any, ...]) -> None:
        for path in args[:2]:
            if isinstance(path, (str, bytes, os.PathLike)):
                # What is renamed or removed is the name, not what a link of that name leads to.
                where, name = os.path.split(os.path.abspath(os.fsdecode(path)))
                real = os.path.join(os.path.realpath(where), name)
                if not _under(real, (self.inside, *self.free)):
                    self._forbid(f"{event}: {self._short(real)}")

    def _executed(self, code: Any) -> None:
        where = os.path.realpath(getattr(code, "co_filename", ""))
        if not _under(where, SYSTEM) and not str(code.co_filename).startswith("<frozen"):
            self._forbid(f"exec: {code.co_filename}")

    def _short(self, path: str) -> str:
        return path.replace(os.path.dirname(self.inside), "SCRATCH")


class Canary:
    """Which files of a folder anybody opened, changed, made or deleted, as Linux tells (inotify)."""

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._handle = libc.inotify_init1(os.O_NONBLOCK)
        if self._handle < 0 or libc.inotify_add_watch(self._handle, os.fsencode(folder), _WATCHED) < 0:
            raise OSError(ctypes.get_errno(), "no inotify")

    def touched(self) -> list[str]:
        """Names since the last call."""
        out, head = [], struct.Struct("iIII")
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._handle, 2**16):
                at = 0
                while at < len(data):
                    *_, size = head.unpack_from(data, at)
                    out.append(
                        data[at + head.size : at + head.size + size].rstrip(b"\0").decode(errors="replace") or "."
                    )
                    at += head.size + size
        return sorted(set(out))


def confine() -> None:
    """Limit what this process may reserve."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + ADDRESSES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _under(path: str, folders: tuple[str, ...]) -> bool:
    return any(path == folder or path.startswith(folder + os.sep) for folder in folders)


def _parses_only() -> bool:
    """Whether it is ast.parse that compiles, or an import: neither runs what an input holds."""
    frame = sys._getframe(2)
    for _ in range(3):
        if frame is None:
            return False
        if os.path.basename(frame.f_code.co_filename) == "ast.py" or "importlib" in frame.f_code.co_filename:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _described(error: BaseException) -> str:
    """Kind of exception, and the last line of the program's own that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "napari_pgrd" in f.filename] or frames
    last = f"{Path(ours[-1].filename).name}:{ours[-1].lineno} {ours[-1].name}" if ours else "nowhere"
    return f"{type(error).__name__} in {last}: {str(error)[:120]}"
