"""Decoding in a process of its own, for a decoder that ends the process it runs in when a picture is damaged.

GDCM, the only one for JPEG lossless, does so (``terminate called after throwing an instance of 'gdcm::Exception'``).
The child is started with the first picture, asked for one after the other, and ended with the series; if it dies or
takes too long, that is an error like any other.
"""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

LIMIT_S = 60.0  # for one picture; a large one takes a tenth of a second
_lock = threading.RLock()
_child: subprocess.Popen[bytes] | None = None


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Keep the child from picture to picture, and end it at the end."""
    try:
        yield
    finally:
        _end()


def decode(picture: bytes, syntax: str, plugin: str, options: Mapping[str, Any]) -> NDArray[np.integer]:
    """``(row, column)`` stored values of a compressed picture; as :func:`encapsulated.decoded`.

    Raises
    ------
    RuntimeError
        If it cannot be decoded.
    """
    with _lock:
        child = _started()
        assert child.stdin is not None and child.stdout is not None
        watch = threading.Timer(LIMIT_S, child.kill)
        watch.start()
        try:
            child.stdin.write(json.dumps([len(picture), syntax, plugin, dict(options)]).encode() + b"\n" + picture)
            child.stdin.flush()
            answer = json.loads(child.stdout.readline() or b"null")
            if answer:
                kind, shape = np.dtype(answer[0]), tuple(answer[1])
                data = child.stdout.read(kind.itemsize * math.prod(shape))
                return np.frombuffer(data, kind).reshape(shape)
        except (OSError, ValueError) as error:
            _end()
            raise RuntimeError("the decoder died") from error
        finally:
            watch.cancel()
        _end()
        raise RuntimeError("the decoder died or refused")


def _started() -> subprocess.Popen[bytes]:
    global _child
    if _child is None or _child.poll() is not None:
        words = [sys.executable, "-P", "-m", "napari_pgrd.io.dicom.apart"]  # -P: no modules of the working directory
        _child = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    return _child


def _end() -> None:
    global _child
    with _lock:
        child, _child = _child, None
        if child is not None:
            child.kill()
            for stream in (child.stdin, child.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
            child.wait()


def serve(questions: IO[bytes], answers: IO[bytes]) -> None:
    """Answer the questions of :func:`decode`: a line with type and shape, then the values; ``null`` if it cannot."""
    from napari_pgrd.io.dicom.encapsulated import decoded
    from napari_pgrd.io.dicom.files import quiet

    for line in questions:
        size, syntax, plugin, options = json.loads(line)
        try:
            with quiet():
                pixels = decoded(questions.read(size), syntax, plugin, options)
        except Exception:  # decoders raise whatever the bytes lead them to
            answers.write(b"null\n")
        else:
            answers.write(json.dumps([pixels.dtype.str, list(pixels.shape)]).encode() + b"\n")
            answers.write(np.ascontiguousarray(pixels).tobytes())
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
