"""Sampling in a thread: the window stays free, errors arrive, a cancelled run keeps what it drew."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from superqt.utils import GeneratorWorker, WorkerBase

from napari_pgrd.cluster.address import Where
from napari_pgrd.engine.errors import PgrdError
from napari_pgrd.engine.volume import Volume
from napari_pgrd.viewer import collector

# What a run will want. napari imports the first two, slowly, for the first label layer, and would do so in the window.
MODULES = ("pandas", "skimage.color", "torch", "napari_pgrd.engine.bundle", "napari_pgrd.engine.predict")

if TYPE_CHECKING:
    from napari_pgrd.engine.aggregate import Prediction
    from napari_pgrd.engine.bundle import Bundle
    from napari_pgrd.engine.cost import Cost
    from napari_pgrd.engine.predict import Update
    from napari_pgrd.engine.request import Request


# Before Qt goes it deletes what a worker tells its end with, and a thread that outlives that says so on stderr. napari
# waits for workers when its event loop ends; a script that runs none just ends. Python calls last what was registered
# first, so this comes before Qt's own end. Runs stop at their next network call; files are written to their end.
atexit.register(WorkerBase.await_workers)


class SamplingWorker(GeneratorWorker["Update", None, None]):
    """A run in a thread, which also ends there: hanging up on a cluster would hold the window up."""

    def work(self) -> Exception | None:
        """As a generator's worker does, then close the generator."""
        try:
            return super().work()
        finally:
            self._gen.close()


def sampling_worker(
    volume: Volume, bundle: str, request: Request, so_far: Prediction | None, where: Where | None = None
) -> GeneratorWorker[Update, None, None]:
    """A worker that yields every :class:`Update` of one run, drawn here or on a cluster; connect, then start it."""
    return SamplingWorker(_run, volume, bundle, request, so_far, where)


def _run(
    volume: Volume, bundle: str, request: Request, so_far: Prediction | None, where: Where | None
) -> Generator[Update, None, None]:
    load_early().join()
    _yield_to_the_window()
    try:
        for update in _updates(volume, _cached(bundle), request, so_far, where):
            if update.prediction is not None:
                # Computed here and cached, so that the window has nothing left to do but draw.
                _ = update.prediction.consensus, update.prediction.entropy, update.prediction.variance
            yield update
    except PgrdError:
        raise
    except Exception as error:
        # superqt swallows every RuntimeError of a generator, which would leave the window busy for ever.
        raise PgrdError(f"Sampling stopped: {type(error).__name__}: {error}") from error


def _updates(
    volume: Volume, bundle: Bundle, request: Request, so_far: Prediction | None, where: Where | None
) -> Iterator[Update]:
    if where is None:
        from napari_pgrd.engine.predict import predict

        return predict(volume, bundle, request, so_far)
    from napari_pgrd.cluster.sampling import predict_at

    return predict_at(where, volume, bundle, request, so_far)


_loading: list[threading.Thread] = []


def load_early() -> threading.Thread:
    """Import PyTorch and MONAI in a thread, once, which takes seconds; the window opens without them.

    Called as soon as there is an image to segment, so that the first run finds them there.
    """
    if not _loading:
        _loading.append(threading.Thread(target=_load, name="pgrd load"))
        _loading[0].start()
    return _loading[0]


def _load() -> None:
    collector.set_aside_what_was_loaded()
    try:
        _load_library()
        for name in MODULES:
            importlib.import_module(name)
    except Exception:
        return  # the run imports them again and says what is wrong
    finally:
        collector.set_aside_what_was_loaded()


def _load_library() -> None:
    """Load PyTorch's library as PyTorch does, but with Python running on: ``import torch`` would stop it for 0.5 s."""
    spec = importlib.util.find_spec("torch") if sys.platform == "linux" else None
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        with contextlib.suppress(OSError):
            ctypes.CDLL(str(Path(folder, "lib", "libtorch_global_deps.so")), mode=ctypes.RTLD_GLOBAL)
            ctypes.CDLL(str(Path(folder, "lib", "libtorch_python.so")))


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


def foretold(volume: Volume, bundle: str, request: Request) -> Cost | None:
    """What a run takes, by one window; None where that cannot be computed, of which the run itself will tell."""
    load_early().join()
    _yield_to_the_window()
    try:
        from napari_pgrd.engine.measure import measure

        return measure(volume, _cached(bundle), request)
    except Exception:
        return None
