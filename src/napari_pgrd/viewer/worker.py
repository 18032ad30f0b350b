"""Sampling in a thread: the window stays free, errors arrive, a cancelled run keeps what it drew."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Generator
from typing import TYPE_CHECKING

from superqt.utils import GeneratorWorker

from napari_pgrd.engine.errors import PgrdError
from napari_pgrd.engine.volume import Volume

if TYPE_CHECKING:
    from napari_pgrd.engine.aggregate import Prediction
    from napari_pgrd.engine.bundle import Bundle
    from napari_pgrd.engine.predict import Update
    from napari_pgrd.engine.request import Request


def sampling_worker(
    volume: Volume, bundle: str, request: Request, so_far: Prediction | None
) -> GeneratorWorker[Update, None, None]:
    """A worker that yields every :class:`Update` of one run; connect, then start it."""
    return GeneratorWorker(_run, volume, bundle, request, so_far)


def _run(volume: Volume, bundle: str, request: Request, so_far: Prediction | None) -> Generator[Update, None, None]:
    _yield_to_the_window()
    try:
        # torch and MONAI take seconds to import, so they are loaded here and not when the window opens.
        from napari_pgrd.engine.predict import predict

        for update in predict(volume, _cached(bundle), request, so_far):
            if update.prediction is not None:
                # Computed here and cached, so that the window has nothing left to do but draw.
                _ = update.prediction.consensus, update.prediction.entropy, update.prediction.variance
            yield update
    except PgrdError:
        raise
    except Exception as error:
        # superqt swallows every RuntimeError of a generator, which would leave the window busy for ever.
        raise PgrdError(f"Sampling stopped: {type(error).__name__}: {error}") from error


_bundles: dict[str, Bundle] = {}


def _cached(where: str) -> Bundle:
    """Load a bundle once, and again when its description changed on disk."""
    from napari_pgrd.engine.bundle import Bundle
    from napari_pgrd.engine.spec import find

    stamp = f"{find(where)}:{(find(where) / 'bundle.json').stat().st_mtime_ns}" if where else where
    if stamp not in _bundles:
        _bundles.clear()
        _bundles[stamp] = Bundle.load(where)
    return _bundles[stamp]


def _yield_to_the_window() -> None:
    """Let this thread, and the threads PyTorch starts from it, wait whenever the window wants the processor.

    On Linux niceness belongs to a thread; elsewhere the scheduler is left alone.
    """
    if sys.platform == "linux":
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        except OSError:
            return
