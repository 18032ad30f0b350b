"""What runs on a worker: a bundle kept by its digest, an image without a name, samples.

Functions here are sent by name, so the worker needs this program, and of the same version. A bundle that it lacks is
written from safetensors bytes into the worker's own scratch folder, checked against the digest like any other, and is
gone when the worker ends.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from napari_pgrd import __version__
from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.device import precision, resolve
from napari_pgrd.engine.errors import BundleError, PgrdError, require
from napari_pgrd.engine.kept import Kept
from napari_pgrd.engine.predict import Update, choose_batch, predict, prepared_shape, sampling_key
from napari_pgrd.engine.prediction import Prediction
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.spec import embedded, find
from napari_pgrd.engine.store import Store
from napari_pgrd.engine.volume import Affine, Volume
from napari_pgrd.session.triage import Measures, measure

TOPIC = "napari-pgrd"  # progress, for every client that listens; says nothing but numbers
TOLD_S = 0.2
KEPT = 2  # bundles a worker keeps open
DIGEST, FILE = re.compile(r"[0-9a-f]{64}"), re.compile(r"bundle\.json|[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors")

_bundles: dict[str, Bundle] = {}
_images: WeakKeyDictionary[Job, tuple[Volume, Kept]] = WeakKeyDictionary()  # gone with the job that the cluster holds
_stopped: set[str] = set()
_one = threading.Lock()  # a worker with several threads still has but one device


@dataclass(frozen=True, eq=False)
class Job:
    """All that a worker is told of a case: voxels, where they lie, what is asked; no name, no header, no path.

    ``run`` is a random mark by which the work is stopped, ``digest`` the bundle's, ``number`` what progress is told
    by.
    """

    run: str
    digest: str
    data: NDArray[Any]
    affine: Affine
    spacing_known: bool
    request: Request
    version: str = __version__
    number: int = 0

    @property
    def volume(self) -> Volume:
        """The image as it was, but for its name and header."""
        return Volume(self.data, self.affine, self.spacing_known)


@dataclass(frozen=True)
class Lacking:
    """The worker at this address does not have the bundle."""

    worker: str


@dataclass(frozen=True)
class Refused:
    """A sentence for the reader: the case or the worker will not do."""

    sentence: str


@dataclass(frozen=True, eq=False)
class Begun:
    """The prior ``(K, x, y, z)``, how many samples a worker refines together, where it does, and what to know of it."""

    prior: NDArray[np.float32]
    batch: int
    drawn_on: tuple[str, str]
    notes: list[str]


@dataclass(frozen=True, eq=False)
class Group:
    """Samples ``first``, ``first + 1`` ...: their masks, what each says of the classes, and notes for the reader."""

    first: int
    masks: list[NDArray[np.uint8]]
    soft: list[NDArray[np.float32]]
    notes: list[str]


@dataclass(frozen=True, eq=False)
class Solved:
    """A whole case: what an export needs of its prediction, and its measures.

    ``masks`` are :func:`packed`: as they are, those of a whole brain take 7 MB a sample here, on the way and there.
    """

    probability: NDArray[np.float32]
    votes: NDArray[np.uint16]
    masks: tuple[bytes, ...]
    prior: NDArray[np.float32]
    key: tuple[object, ...]
    drawn_on: tuple[str, str]
    measures: Measures
    notes: list[str]

    @property
    def prediction(self) -> Prediction:
        """As it was on the worker, but for the sums that only further samples need."""
        none, store, shape = np.zeros(0, np.float32), Store(), self.votes.shape[1:]
        masks = tuple(store.keep(unpacked(mask, shape)) for mask in self.masks)
        return Prediction(self.probability, self.votes, masks, self.prior, none, none, self.key, self.drawn_on)


def packed(mask: NDArray[np.uint8]) -> bytes:
    """A mask in little space."""
    return zlib.compress(np.ascontiguousarray(mask).data, 1)


def unpacked(mask: bytes, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """What was :func:`packed`."""
    return np.frombuffer(zlib.decompress(mask), np.uint8).reshape(shape)


class _StopError(Exception):
    """Nobody waits for this work any more."""


def hold(job: Job) -> Job:
    """Keep a job on the cluster, so that it travels once for many tasks."""
    return job


def _answering(task: Callable[..., Any]) -> Callable[..., Any]:
    """Answer with a sentence or with what is lacking, rather than to fail: a failing task is logged with its image."""

    @wraps(task)
    def run(job: Job, *args: Any) -> Any:
        if job.version != __version__:
            return Refused(
                f"The worker runs napari-pgrd {__version__}, this program is {job.version}. Install the same version "
                "on both sides."
            )
        try:
            bundle = _bundle(job.digest)
            if bundle is None:
                return Lacking(_dask_worker().address)
            with _alone(job.run):
                return task(job, bundle, *args)
        except PgrdError as error:
            return Refused(str(error))
        except _StopError:
            return None

    return run


@_answering
def begin(job: Job, bundle: Bundle) -> Begun:
    """The prior, which the reader sees first."""
    request, (volume, kept) = job.request, _image(job)
    device = resolve(request.device)
    guided = request.locks is not None and request.lock_method == "guidance"
    shape = prepared_shape(volume, bundle.spec, request.box)
    window = bundle.spec.prepare.window
    batch = request.batch or choose_batch(bundle.spec, shape, device, guided, window)
    notes = []
    for update in _heard(job, 0, 0, predict(volume, bundle, request, kept=kept)):
        if update.note:
            notes.append(update.note)
        if update.prediction is not None:
            break
    assert update.prediction is not None
    return Begun(update.prediction.prior, batch, _place(request), notes)


@_answering
def group(job: Job, bundle: Bundle, first: int, stop: int) -> Group:
    """Samples ``first`` to ``stop - 1``, as they would be drawn after those before them."""
    (volume, kept), request = _image(job), replace(job.request, samples=stop)
    before = None
    if first:
        key, shape = sampling_key(volume, bundle, request), _grid(job)
        classes = len(bundle.spec.labels)
        empty = np.ones((classes, *shape), np.float32)
        masks = (np.zeros(shape, np.uint8),) * first  # only how many there are counts
        before = Prediction(empty, empty.astype(np.uint16), masks, empty, empty, empty[0], key)
    out = Group(first, [], [], [])
    for update in _heard(job, first, stop, predict(volume, bundle, request, before, kept)):
        if update.note:
            out.notes.append(update.note)
        if update.kind == "sample":
            assert update.mask is not None and update.soft is not None
            out.masks.append(np.array(update.mask))
            out.soft.append(update.soft)
    return out


@_answering
def case(job: Job, bundle: Bundle) -> Solved:
    """A whole case, with its measures."""
    last, notes = None, []
    for update in _heard(job, 0, job.request.samples or 0, predict(job.volume, bundle, job.request)):
        last = update.prediction or last
        if update.note:
            notes.append(update.note)
    assert last is not None
    measures = measure(last, job.volume, bundle.spec.measured_for(job.request.method), job.request.box)
    masks = tuple(map(packed, last.masks))
    return Solved(last.probability, last.votes, masks, last.prior, last.key, _place(job.request), measures, notes)


def install(digest: str, files: Mapping[str, bytes], dask_worker: Any = None) -> str:
    """Write a bundle into the worker's scratch folder, unless its files are not what the digest says.

    Returns a sentence; "" if all is well. Called on the worker by ``Client.run``.
    """
    folder = _store(dask_worker)
    try:
        require(
            DIGEST.fullmatch(digest) is not None and all(FILE.fullmatch(name) for name in files),
            BundleError,
            "A bundle was sent under a name that is none. Nothing was written on the worker.",
        )
        folder.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=".bundle-", dir=folder))
        try:
            for name, content in files.items():
                (staged / name).write_bytes(content)
            require(
                Bundle.load(staged).digest == digest,
                BundleError,
                "The bundle that arrived on the worker has another digest than the one sent. Try again.",
            )
            if not (folder / digest).exists():
                staged.rename(folder / digest)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    except PgrdError as error:
        return str(error)
    except OSError as error:
        return f"The worker cannot keep the bundle ({error.strerror}). Free some space in its local directory."
    return ""


def stop(run: str) -> None:
    """End the work of a run at its next network call. Called on the worker by ``Client.run``."""
    _stopped.add(run)


def _bundle(digest: str) -> Bundle | None:
    """The bundle of that digest, if this worker has it: open already, embedded, or sent before."""
    if digest not in _bundles:
        places = [find(name) for name in embedded()] + [_store(_dask_worker()) / digest]
        for folder in places:
            text = folder / "bundle.json"
            if text.is_file() and hashlib.sha256(text.read_bytes()).hexdigest() == digest:
                _bundles[digest] = Bundle.load(folder)
                break
        while len(_bundles) > KEPT:
            _bundles.pop(next(iter(_bundles)))
    return _bundles.get(digest)


@contextmanager
def _alone(run: str) -> Iterator[None]:
    """One case at a time on one device."""
    while not _one.acquire(timeout=TOLD_S):
        if run in _stopped:
            raise _StopError
    try:
        yield
    finally:
        _one.release()


def _heard(job: Job, first: int, stop: int, updates: Iterator[Update]) -> Iterator[Update]:
    """Pass updates on, tell clients how far they are, and end if nobody waits any more."""
    told = 0.0
    for update in updates:
        if job.run in _stopped:
            raise _StopError
        yield update
        if update.kind == "step" and time.monotonic() - told > TOLD_S:
            told = time.monotonic()
            done = float(update.fraction * stop - first)
            message = {"run": job.run, "case": job.number, "first": first, "done": done}
            _dask_worker().log_event(TOPIC, message)


def _place(request: Request) -> tuple[str, str]:
    device = resolve(request.device)
    return device.type, str(precision(device)).removeprefix("torch.")


def _grid(job: Job) -> tuple[int, ...]:
    box = job.request.box
    return tuple(hi - lo for lo, hi in box) if box else job.data.shape[1:]


def _image(job: Job) -> tuple[Volume, Kept]:
    """The image of a job, and what is known of it so far."""
    return _images.setdefault(job, (job.volume, Kept()))


def _store(worker: Any) -> Path:
    return Path(worker.local_directory) / "pgrd-bundles"


def _dask_worker() -> Any:
    from distributed import get_worker

    return get_worker()
