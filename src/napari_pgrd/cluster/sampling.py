"""Samples of one image from a cluster, in order and as they finish: what :func:`predict` yields, drawn elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent import futures
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from napari_pgrd.cluster import worker
from napari_pgrd.cluster.address import Where
from napari_pgrd.cluster.connection import Answer, Broken, Pool, connect
from napari_pgrd.engine.aggregate import Aggregate, Prediction
from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.errors import DeviceError, InputError
from napari_pgrd.engine.predict import Update, sampling_key
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.scope import check_scope
from napari_pgrd.engine.volume import Volume

BEAT_S = 0.2  # how long a cancel may wait


def predict_at(
    where: Where, volume: Volume, bundle: Bundle, request: Request = Request(), so_far: Prediction | None = None
) -> Iterator[Update]:
    """As :func:`~napari_pgrd.engine.predict.predict`, on the workers of a scheduler.

    The voxels of the box (or of the whole image) and their affine travel, not the image's name or header; the bundle's
    weights follow to workers that lack them. Samples are summed up here, in order, so that a prediction is the same as
    one drawn here on the same kind of machine. Closing the generator stops the workers at their next network call.

    Raises
    ------
    InputError, DeviceError, BundleError
        As :func:`~napari_pgrd.engine.predict.predict` does.
    ConnectionLostError
        If nothing answers, or no longer; what was yielded stays good.
    """
    r = request.resolved(bundle.spec)
    check_scope(volume, bundle.spec, r.box)
    if r.locks is not None:
        r = replace(r, locks=r.locks.on(volume.shape, r.box))
    key = sampling_key(volume, bundle, request)
    if so_far is not None and so_far.key != key:
        so_far = None
    with ExitStack() as stack:
        # In a thread of its own, as it may take long, and a cancel is to be heard.
        opening = stack.enter_context(_patient()).submit(_Line, where)
        stack.callback(opening.add_done_callback, _hang_up)
        while not opening.done():
            yield Update("note", so_far.samples if so_far is not None else 0, r.samples or 0, 0.0)
            futures.wait([opening], BEAT_S)
        pool = Pool(opening.result().client, bundle, where.address)
        stack.callback(pool.close)
        yield from _Run(pool, volume, bundle, r, key, so_far).updates()


class _Line:
    """A connection that stands."""

    def __init__(self, where: Where) -> None:
        self.stack = ExitStack()
        self.client = self.stack.enter_context(connect(where))


def _hang_up(opening: futures.Future[_Line]) -> None:
    if opening.exception() is None:
        opening.result().stack.close()


@contextmanager
def _patient() -> Iterator[futures.Executor]:
    """A thread that nobody waits for."""
    executor = futures.ThreadPoolExecutor(1, "pgrd connect")
    try:
        yield executor
    finally:
        executor.shutdown(wait=False)


def job_of(pool: Pool, volume: Volume, request: Request) -> worker.Job:
    """What a worker is told: the part of the image that is asked for, and the request on it."""
    # Given probabilities lie on the whole grid, and cut out they would be rounded anew.
    cut = request.box if request.prior is None else None
    part = volume.crop(cut) if cut else volume
    asked = replace(request, box=None) if cut else request
    return worker.Job(pool.run, pool.bundle.digest, part.data, part.affine, part.spacing_known, asked)


class _Run:
    def __init__(
        self,
        pool: Pool,
        volume: Volume,
        bundle: Bundle,
        request: Request,
        key: tuple[object, ...],
        so_far: Prediction | None,
    ) -> None:
        self.pool, self.request, self.bundle, self.key = pool, request, bundle, key
        self.so_far = so_far
        self.job = pool.hold(job_of(pool, volume, request))
        self.wanted = request.samples or 0
        self.first = so_far.samples if so_far is not None else 0
        self.under_way: dict[int, float] = {}  # samples' worth of work done in each group that is not summed up yet
        self.began = 0.0

    def updates(self) -> Iterator[Update]:
        self.pool.submit(worker.begin, self.job)
        begun: worker.Begun | None = None
        while begun is None:
            found = self._answer()
            if found is None:
                yield self._waiting(self.first)
            elif isinstance(found, worker.Begun):
                begun = found
        for note in begun.notes:
            yield self._waiting(self.first, note)
        aggregate = Aggregate(begun.prior, None, self.key, self.so_far, 0.0, self.request.locks)

        def snapshot() -> Prediction:
            return replace(aggregate.snapshot(), drawn_on=begun.drawn_on)

        yield Update("prior", self.first, self.wanted, self._fraction(self.first), prediction=snapshot())
        self.began = time.monotonic()
        starts = iter(range(self.first, self.wanted, begun.batch))
        arrived: dict[int, worker.Group] = {}
        drawn = self.first
        while drawn < self.wanted:
            # As many groups as there are workers, and one to follow each: results wait on workers, in their memory.
            while len(self.under_way) < 2 * max(1, self.pool.workers):
                start = next(starts, None)
                if start is None:
                    break
                stop = min(start + begun.batch, self.wanted)
                self.pool.submit(worker.group, self.job, start, stop)
                self.under_way[start] = 0.0
            found = self._answer()
            if isinstance(found, worker.Group):
                self.under_way[found.first] = len(found.masks)
                arrived[found.first] = found
            while drawn in arrived:
                one = arrived.pop(drawn)
                for note in (n for n in one.notes if n not in begun.notes):
                    yield self._waiting(drawn, note)
                del self.under_way[drawn]
                for behind, (mask, soft) in enumerate(zip(one.masks, one.soft, strict=True), 1):
                    taken = aggregate.take(mask, soft)
                    drawn += 1
                    more = len(one.masks) - behind  # arrived already, so that progress never steps back
                    yield self._progress("sample", drawn, more, index=drawn - 1, mask=taken, prediction=snapshot())
            yield self._progress("step", drawn) if self.pool.workers else self._waiting(drawn)
        yield Update("done", drawn, self.wanted, 1.0, 0.0, prediction=snapshot())

    def _answer(self) -> worker.Begun | worker.Group | None:
        """What arrives within a beat, or None; progress is noted."""
        found = self.pool.next(BEAT_S)
        if isinstance(found, Answer):
            value: Any = found.value
            if isinstance(value, worker.Refused):
                raise InputError(value.sentence)
            if isinstance(value, Broken):
                raise DeviceError(value.sentence)
            answer: worker.Begun | worker.Group | None = value
            return answer
        if isinstance(found, Mapping) and found.get("first") in self.under_way:
            first, done = int(found["first"]), float(found["done"])
            self.under_way[first] = max(self.under_way[first], done)  # one whose worker died begins anew
        return None

    def _waiting(self, drawn: int, note: str = "") -> Update:
        """A note, or a heartbeat before there is progress to show or while nobody is there to make any."""
        if not note and not self.pool.workers:
            note = f"{self.pool.name} has no workers any more; waiting for one. Cancel keeps samples."
        return Update("note", drawn, self.wanted, self._fraction(self._done(drawn)), note=note)

    def _done(self, drawn: int, arrived: int = 0) -> float:
        """Samples' worth of work that is done."""
        return min(float(self.wanted), drawn + arrived + sum(self.under_way.values()))

    def _fraction(self, done: float) -> float:
        return min(1.0, done / max(self.wanted, 1))

    def _progress(self, kind: Any, drawn: int, arrived: int = 0, **sample: Any) -> Update:
        done = self._done(drawn, arrived)
        made = done - self.first
        left = (self.wanted - done) * (time.monotonic() - self.began) / made if made > 0 else None
        return Update(kind, drawn, self.wanted, self._fraction(done), left, **sample)
