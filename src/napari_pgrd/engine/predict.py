"""``predict()``: the one place where volume, networks, sampler and aggregation meet."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_pgrd.engine.aggregate import Aggregate, Prediction, hard
from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.device import autocast, free_memory, is_out_of_memory, precision, resolve
from napari_pgrd.engine.errors import DeviceError
from napari_pgrd.engine.grid import padded_shape, target_shape
from napari_pgrd.engine.methods import Kit
from napari_pgrd.engine.prediction import Floats
from napari_pgrd.engine.preprocess import Restore, known_voxels, prepare
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.sampler import Case, Known, Sampler, sample_rng
from napari_pgrd.engine.scope import check_scope, middle_sentence
from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.engine.volume import Box, Reorder, Volume


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


class Runner:
    """A method's networks on one device, as plain callables; None is the bundle's own method."""

    def __init__(self, bundle: Bundle, device: torch.device, method: str | None = None) -> None:
        self.device, self.spec = device, bundle.spec
        self.row, self.entry = bundle.spec.row(method), bundle.spec.entry(method)
        self.prior_net, *self.nets = bundle.networks(device.type, method)

    @torch.no_grad()
    def logits(self, image: Tensor) -> Tensor:
        """Prior logits ``(m, K, *spatial)``, float32."""
        with autocast(self.device):
            out: Tensor = self.prior_net(image)
        return out.float()

    def prior(self, image: Tensor) -> Tensor:
        """pi: the scaled softmax of the prior."""
        return torch.softmax(self.logits(image) / self.spec.prior_temperature, 1)

    def call(self, net: nn.Module, *inputs: Any) -> Tensor:
        """One call in the device's precision, float32; whether gradients are kept is the sampler's to say.

        A number becomes a tensor of it, one for each hypothesis of the first input.
        """
        m = len(inputs[0])
        given = [torch.full((m,), x, device=self.device) if isinstance(x, (int, float)) else x for x in inputs]
        with autocast(self.device):
            out: Tensor = net(*given)
        return out.float()

    def denoise(self, *inputs: Any) -> Tensor:
        """The first of the method's own networks, as :data:`~napari_pgrd.engine.sampler.Denoise`."""
        return self.call(self.nets[0], *inputs)

    def rngs(self, seed: int, indices: Iterable[int]) -> list[np.random.Generator]:
        """The randomness of these samples; in 2D, of each of their slices."""
        return [sample_rng(seed, i, self.spec.prepare.dims == 2) for i in indices]

    def sampler(self, r: Request) -> Sampler:
        """What a resolved request draws samples with."""
        return self.row.sampler(Kit(self.entry, r, self.prior, [partial(self.call, net) for net in self.nets]))


def sampling_key(volume: Volume, bundle: Bundle, request: Request) -> tuple[object, ...]:
    """What samples depend on beside their index; the number of samples is not in it."""
    r = request.resolved(bundle.spec)
    where = volume.affine.tobytes()  # it decides orientation and resampling
    free = (bundle.digest, volume.digest, volume.shape, where, r.steps, r.seed, r.solver, r.eta, r.box)
    # The bundle's own method goes unnamed, so that samples kept before there were others can still be added to.
    named = () if r.method == bundle.spec.method else (f"method {r.method}",)
    locked = (r.locks.on(volume.shape, r.box).digest, r.lock_method) if r.locks else ()
    return (*free, *locked, *named)


def predict(
    volume: Volume, bundle: Bundle, request: Request = Request(), so_far: Prediction | None = None
) -> Iterator[Update]:
    """Segment a volume, yielding after the prior, after every network call and for every sample.

    Parameters
    ----------
    volume : Volume
        In any axis order and spacing; results come back on its grid (or on ``request.box`` of it).
    so_far : Prediction, optional
        An earlier result under the same :func:`sampling_key`; only the samples it lacks are drawn.

    Raises
    ------
    InputError, DeviceError
        Before anything is computed where possible. Closing the generator cancels at the next network call.
    """
    r = request.resolved(bundle.spec)
    device = resolve(r.device)
    check_scope(volume, bundle.spec, r.box)
    if r.locks is not None:
        r = replace(r, locks=r.locks.on(volume.shape, r.box))
    key = sampling_key(volume, bundle, request)
    if so_far is not None and so_far.key != key:
        so_far = None
    image, restore = prepare(volume, bundle.spec.prepare, r.box)
    if sentence := middle_sentence(volume, bundle.spec, r.box):
        yield Update("note", 0, r.samples or 0, 0.0, note=sentence)
    yield from _Run(bundle, r, key, restore, so_far).on(device, image)


class _Run:
    """The state of one run, so that the memory ladder can step down without losing samples."""

    def __init__(
        self, bundle: Bundle, request: Request, key: tuple[object, ...], restore: Restore, so_far: Prediction | None
    ) -> None:
        self.bundle, self.request, self.key, self.restore, self.so_far = bundle, request, key, restore, so_far
        self.aggregate: Aggregate | None = None
        self.calls, self.steps = 0, 1
        self.began = 0.0

    def on(self, device: torch.device, image: Tensor) -> Iterator[Update]:
        wanted = self.request.samples or 0
        guided = self.request.locks is not None and self.request.lock_method == "guidance"
        batch = self.request.batch or choose_batch(self.bundle.spec, image.shape[2:], device, guided)
        while True:
            try:
                yield from self._draw(device, image, batch)
                break
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            if device.type == "cuda":
                torch.cuda.empty_cache()
            if batch > 1:
                batch = batch // 2
                sentence = f"Memory ran out; going on with {batch} sample{'s' * (batch > 1)} at once."
            elif device.type != "cpu":
                device = torch.device("cpu")
                sentence = "The graphics card's memory ran out; going on with the CPU, which takes longer."
            else:
                raise DeviceError(
                    f"Memory ran out while refining one sample of {_times(image.shape[2:])} voxels. "
                    "Choose a smaller box, or close other programs."
                )
            yield Update("note", self._drawn, wanted, self._fraction(0), note=sentence)
        assert self.aggregate is not None
        yield Update("done", self._drawn, wanted, 1.0, 0.0, prediction=self.aggregate.snapshot())

    def _draw(self, device: torch.device, image: Tensor, batch: int) -> Iterator[Update]:
        r = self.request
        assert r.samples is not None
        runner = Runner(self.bundle, device, r.method)
        image = image.to(device)
        pi = runner.prior(image)
        if self.aggregate is None:
            prior = np.ascontiguousarray(self.restore(pi)[0].cpu().numpy())
            tau, weight = runner.row.map(runner.entry)
            self.aggregate = Aggregate(prior, tau, self.key, self.so_far, weight, r.locks)
            yield Update("prior", self._drawn, r.samples, 0.0, prediction=self.aggregate.snapshot())
            self.began = time.monotonic()
        sampler = runner.sampler(r)
        self.steps = sampler.steps
        while self._drawn < r.samples:
            indices = range(self._drawn, min(self._drawn + batch, r.samples))
            y, mean = None, None
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
                yield self._progress(len(indices) * step / sampler.steps)
            assert y is not None and mean is not None
            for index, one, its_mean in zip(indices, self.restore(y), self.restore(mean), strict=True):
                soft = self.aggregate.soft(one, its_mean)
                mask = self.aggregate.take(hard(one), soft)
                computed = indices.stop - 1 - index  # refined already, so that progress never steps back
                yield self._progress(computed, index=index, mask=mask, prediction=self.aggregate.snapshot(), soft=soft)

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

    def _progress(self, under_way: float, **sample: Any) -> Update:
        r = self.request
        assert r.samples is not None
        left = (r.samples - self._drawn - under_way) * self.steps * (time.monotonic() - self.began) / max(self.calls, 1)
        kind: Literal["sample", "step"] = "sample" if sample else "step"
        return Update(kind, self._drawn, r.samples, self._fraction(under_way), left, **sample)


def prepared_shape(volume: Volume, spec: BundleSpec, box: Box | None = None) -> tuple[int, int, int]:
    """Size of the tensor the networks will see, without touching a voxel."""
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


def choose_batch(spec: BundleSpec, shape: tuple[int, ...], device: torch.device, guided: bool = False) -> int:
    """How many samples to refine together: many on a GPU, two on a CPU, fewer where memory is short.

    Guidance keeps what its backward pass needs: measured at 1.4 kB a voxel, about three times the call itself.
    """
    most = 16 if device.type == "cuda" else 2
    free = free_memory(device)
    if free is not None:
        size = activation_bytes(spec, shape, device) * (4 if guided else 1)
        most = min(most, max(1, int(0.6 * free / size)))
    return most


def _times(sizes: tuple[int, ...] | torch.Size) -> str:
    return " x ".join(str(int(s)) for s in sizes)
