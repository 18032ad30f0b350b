"""``predict()``: the one place where volume, networks, sampler and aggregation meet."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from napari_pgrd.engine.aggregate import Aggregate, Prediction, hard
from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.device import free_memory, is_out_of_memory, precision, resolve
from napari_pgrd.engine.duration import and_left
from napari_pgrd.engine.errors import BundleError, DeviceError, require
from napari_pgrd.engine.given import as_prepared
from napari_pgrd.engine.grid import padded_shape, target_shape
from napari_pgrd.engine.heartbeat import Beat, beating
from napari_pgrd.engine.kept import Kept
from napari_pgrd.engine.prediction import Floats
from napari_pgrd.engine.preprocess import Restore, known_voxels, prepare
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.runner import Runner as Runner
from napari_pgrd.engine.sampler import Case, Known
from napari_pgrd.engine.scope import check_scope, middle_sentence
from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.engine.volume import Box, Reorder, Volume
from napari_pgrd.engine.windows import Size, size_of, smaller

STATES = 8  # arrays of a sample's size that a step of the sampler holds at once


@dataclass(frozen=True, eq=False)
class Update:
    """One heartbeat of a run.

    ``kind`` is "prior" (``prediction`` holds pi and no sample yet), "step" (progress alone), "sample" (``index`` and
    ``mask`` of one new sample, ``prediction`` with it), "note" (a sentence for the reader) or "done". ``soft`` is what
    the new sample adds to the probabilities (``Aggregate.soft``), for whoever sums up elsewhere.
    """

    kind: Literal["prior", "step", "sample", "note", "done"]
    drawn: int
    samples: int
    fraction: float
    seconds_left: float | None = None
    index: int | None = None
    mask: NDArray[np.uint8] | None = None
    prediction: Prediction | None = None
    note: str = ""
    soft: Floats | None = field(default=None, repr=False)

    @property
    def progress(self) -> str:
        """``sample 3 of 8, 1 min 12 s left``."""
        return f"sample {min(self.drawn + 1, self.samples)} of {self.samples}{and_left(self.seconds_left)}"


def sampling_key(volume: Volume, bundle: Bundle, request: Request) -> tuple[object, ...]:
    """What samples depend on beside their index; the number of samples is not in it."""
    r = request.resolved(bundle.spec)
    where = volume.affine.tobytes()  # it decides orientation and resampling
    free = (bundle.digest, volume.digest, volume.shape, where, r.steps, r.seed, r.solver, r.eta, r.box)
    # The bundle's own method goes unnamed, so that samples kept before there were others can still be added to.
    named = () if r.method == bundle.spec.method else (f"method {r.method}",)
    locked = (r.locks.on(volume.shape, r.box).digest, r.lock_method) if r.locks else ()
    given = (f"prior {r.prior.digest}",) if r.prior else ()
    return (*free, *locked, *named, *given)


def predict(
    volume: Volume,
    bundle: Bundle,
    request: Request = Request(),
    so_far: Prediction | None = None,
    kept: Kept | None = None,
) -> Iterator[Update]:
    """Segment a volume, yielding after the prior, after every network call and for every sample.

    Parameters
    ----------
    volume : Volume
        In any axis order and spacing; results come back on its grid (or on ``request.box`` of it).
    so_far : Prediction, optional
        An earlier result under the same :func:`sampling_key`; only the samples it lacks are drawn.
    kept : Kept, optional
        Given to several runs under one key, the image is prepared and the prior asked in the first of them alone.

    Raises
    ------
    InputError, DeviceError
        Before anything is computed where possible. Closing the generator cancels at the next network call.
    """
    r = request.resolved(bundle.spec)
    device = resolve(r.device)
    check_scope(volume, bundle.spec, r.box)
    if r.prior is not None:
        r.prior.check(volume.shape, len(bundle.spec.labels))
    if r.locks is not None:
        r = replace(r, locks=r.locks.on(volume.shape, r.box))
    key = sampling_key(volume, bundle, request)
    if so_far is not None and so_far.key != key:
        so_far = None
    kept = (kept or Kept()).under(key)
    image, restore = kept.prepared(lambda: prepare(volume, bundle.spec.prepare, r.box))
    if sentence := middle_sentence(volume, bundle.spec, r.box):
        yield Update("note", 0, r.samples or 0, 0.0, note=sentence)
    yield from _Run(bundle, r, key, restore, so_far, kept).on(device, image)


class _Run:
    """The state of one run, so that the memory ladder can step down without losing samples."""

    def __init__(
        self,
        bundle: Bundle,
        request: Request,
        key: tuple[object, ...],
        restore: Restore,
        so_far: Prediction | None,
        kept: Kept,
    ) -> None:
        self.bundle, self.request, self.key, self.restore, self.so_far = bundle, request, key, restore, so_far
        self.kept = kept
        self.aggregate: Aggregate | None = None
        self.calls, self.steps = 0, 1
        self.windows, self.ticks = 1, 0  # of a step, and how many of them are done
        self.at_once, self.step = 1, 0  # samples refined together, and how many steps of theirs are done
        self.began = 0.0

    def on(self, device: torch.device, image: Tensor) -> Iterator[Update]:
        wanted = self.request.samples or 0
        guided = self.request.locks is not None and self.request.lock_method == "guidance"
        shape, spec = size_of(image.shape[2:]), self.bundle.spec
        size = spec.prepare.window
        batch = self.request.batch or choose_batch(spec, shape, device, guided, size)
        while True:
            try:
                yield from self._drawn_on(device, image, batch, size)
                break
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            self.kept.without_prior()
            if device.type == "cuda":
                torch.cuda.empty_cache()
            # First what changes no answer, then what changes it a little, then what takes long.
            if batch > 1:
                batch = batch // 2
                sentence = f"Memory ran out; going on with {batch} sample{'s' * (batch > 1)} at once."
            elif (fewer := self._smaller(shape, size)) is not None:
                size = fewer
                sentence = f"Memory ran out; going on through smaller windows, of {_times(size)} voxels."
            elif device.type != "cpu":
                device, size = torch.device("cpu"), spec.prepare.window
                sentence = "The graphics card's memory ran out; going on with the CPU, which takes longer."
            else:
                raise DeviceError(
                    f"Memory ran out while refining one sample of {_times(shape)} voxels. "
                    "Choose a smaller box, or close other programs."
                )
            yield Update("note", self._drawn, wanted, self._fraction(0), note=sentence)
        assert self.aggregate is not None
        yield Update("done", self._drawn, wanted, 1.0, 0.0, prediction=self.aggregate.snapshot())

    def _smaller(self, shape: Size, size: Size | None) -> Size | None:
        """The next smaller window, where the method's networks can be asked about a part of their input."""
        spec, row = self.bundle.spec, self.bundle.spec.row(self.request.method)
        alone = spec.prepare.dims == 3 or row.stepwise or not row.files  # others draw for all slices of a stack at once
        return smaller(shape, size, spec.prepare) if alone else None

    def _drawn_on(self, device: torch.device, image: Tensor, batch: int, size: Size | None) -> Iterator[Update]:
        """Draw; through windows, each of them is a heartbeat."""
        if size is None or all(n <= w for n, w in zip(image.shape[2:], size, strict=True)):
            yield from self._draw(device, image, batch, size)
            return
        for update in beating(lambda beat: self._draw(device, image, batch, size, beat)):
            yield self._window_done() if update is None else update

    def _draw(
        self, device: torch.device, image: Tensor, batch: int, size: Size | None, beat: Beat = lambda: None
    ) -> Iterator[Update]:
        r = self.request
        assert r.samples is not None
        image = image.to(device)
        runner = Runner(self.bundle, device, r.method).over(image, size, beat)
        self.windows = len(runner.windows) if runner.windows is not None else 1
        pi, prior = self.kept.prior(device, size, lambda: self._prior(runner, image))
        if self.aggregate is None:
            self._check(prior)
            tau, weight = runner.row.map(runner.entry)
            self.aggregate = Aggregate(prior, tau, self.key, self.so_far, weight, r.locks)
            yield Update("prior", self._drawn, r.samples, 0.0, prediction=self.aggregate.snapshot())
            self.began = time.monotonic()
        sampler = runner.sampler(r)
        self.steps, self.ticks = sampler.steps, 0
        while self._drawn < r.samples:
            indices = range(self._drawn, min(self._drawn + batch, r.samples))
            y, mean = None, None
            self.at_once, self.step = len(indices), 0
            case = Case(image, pi, self._known(indices, device), indices)
            states = sampler.draw(case, runner.rngs(r.seed, indices))
            for step, y in enumerate(states, 1):
                # The first call says the mean, from noise alone. Later calls know more of locks, through the state:
                # the average of all is smoother than a sample and has heard of them.
                if mean is None:
                    mean = y
                elif r.locks is not None:
                    mean = mean + (y - mean) / step
                self.calls += len(indices)
                self.step, self.ticks = step, 0
                yield self._progress(len(indices) * step / sampler.steps)
            assert y is not None and mean is not None
            y, mean = runner.shown(y), runner.shown(mean)
            for index, one, its_mean in zip(indices, self.restore(y), self.restore(mean), strict=True):
                soft = self.aggregate.soft(one, its_mean)
                self._check(soft)
                mask = self.aggregate.take(hard(one), soft)
                computed = indices.stop - 1 - index  # refined already, so that progress never steps back
                yield self._progress(computed, index=index, mask=mask, prediction=self.aggregate.snapshot(), soft=soft)

    def _prior(self, runner: Runner, image: Tensor) -> tuple[Tensor, Floats]:
        """pi, or what is given in its place, for the networks and on the grid of the source."""
        r = self.request
        given = None if r.prior is None else as_prepared(r.prior.on(r.box), self.restore)
        pi = runner.prior(image) if given is None else given.to(image.device)
        return pi, np.ascontiguousarray(self.restore.probabilities(pi)[0].cpu().numpy())

    def _check(self, probabilities: Floats) -> None:
        """Weights that are finite may yet overflow."""
        require(
            bool(np.isfinite(probabilities).all()),
            BundleError,
            f"What the networks of {self.bundle.spec.name} say of this image are no numbers (NaN or infinite). Its "
            "weights are damaged, or the image is far from what it was trained on.",
        )

    def _known(self, indices: Sequence[int], device: torch.device) -> Known | None:
        """What these samples must keep, as the networks see it."""
        if self.request.locks is None:
            return None
        classes = len(self.bundle.spec.labels)
        labels, mask = known_voxels(self.request.locks, self.restore, classes, indices)
        y = F.one_hot(torch.from_numpy(labels).long(), classes).movedim(-1, 1)
        where = torch.from_numpy(mask)[:, None]
        return Known((y * where).float().to(device), where.to(device))

    @property
    def _drawn(self) -> int:
        return len(self.aggregate.masks) if self.aggregate else 0

    def _fraction(self, under_way: float) -> float:
        return min(1.0, (self._drawn + under_way) / (self.request.samples or 1))

    def _window_done(self) -> Update:
        """Progress within a step, or within the prior."""
        if self.aggregate is None:
            return Update("step", 0, self.request.samples or 0, 0.0)
        self.ticks += 1
        part = min(1.0, self.ticks / self.windows)
        return self._progress(self.at_once * (self.step + part) / self.steps, calls=self.calls + self.at_once * part)

    def _progress(self, under_way: float, calls: float = 0.0, **sample: Any) -> Update:
        r = self.request
        assert r.samples is not None
        calls = calls or max(self.calls, 1)
        left = (r.samples - self._drawn - under_way) * self.steps * (time.monotonic() - self.began) / calls
        kind: Literal["sample", "step"] = "sample" if sample else "step"
        return Update(kind, self._drawn, r.samples, self._fraction(under_way), left, **sample)


def prepared_shape(volume: Volume, spec: BundleSpec, box: Box | None = None) -> tuple[int, int, int]:
    """Size of the tensor the networks will see, without touching a voxel; the most it can be where the bundle crops."""
    part_shape = tuple(hi - lo for lo, hi in box) if box else volume.shape
    order = Reorder.between(volume.affine, spec.prepare.orientation)
    reordered = tuple(part_shape[a] for a in order.axes)
    affine = order.affine(volume.affine, volume.shape)
    size = target_shape(affine, reordered, spec.prepare)
    return padded_shape(size, spec.prepare)


def activation_bytes(spec: BundleSpec, shape: tuple[int, ...], device: torch.device) -> int:
    """Peak memory of one sample's network call, in bytes.

    The finest decoder level holds about ten feature maps at once: skips, the concatenated input of a block, its
    normalised copy and its output. ``benchmarks/sampling.py`` compares this with what happens.
    """
    voxels = int(np.prod(shape))
    size = 2 if precision(device) is torch.bfloat16 else 4
    return voxels * (10 * spec.width * size + 10 * len(spec.labels) * 4)


def choose_batch(
    spec: BundleSpec, shape: tuple[int, ...], device: torch.device, guided: bool = False, window: Size | None = None
) -> int:
    """How many samples to refine together: many on a GPU, two on a CPU, fewer where memory is short.

    Guidance keeps what its backward pass needs: measured at 1.4 kB a voxel, about three times the call itself. Through
    windows a call is as large as one of them, beside the samples' own states; on a CPU such a call for two took 2.1 to
    3.3 times as long as for one, and their states lie on the whole volume, so there it is one at a time.
    """
    seen = shape if window is None else tuple(min(n, w) for n, w in zip(shape, window, strict=True))
    most = 16 if device.type == "cuda" else 1 if device.type == "cpu" and seen != tuple(shape) else 2
    free = free_memory(device)
    if free is not None:
        size = activation_bytes(spec, seen, device) * (4 if guided else 1)
        if seen != tuple(shape):
            size += STATES * int(np.prod(shape)) * len(spec.labels) * 4
        most = min(most, max(1, int(0.6 * free / size)))
    return most


def _times(sizes: Sequence[int]) -> str:
    return " x ".join(str(int(s)) for s in sizes)
