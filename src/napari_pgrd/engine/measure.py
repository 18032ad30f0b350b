"""Compute one window, and say from it what the whole run will take."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_pgrd.engine.aggregate import Aggregate
from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.cost import Cost
from napari_pgrd.engine.device import resolve
from napari_pgrd.engine.predict import STATES, activation_bytes, choose_batch
from napari_pgrd.engine.preprocess import Restore, prepare
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.runner import Runner
from napari_pgrd.engine.sampler import Case
from napari_pgrd.engine.scope import check_scope
from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.engine.store import LARGE
from napari_pgrd.engine.volume import Volume

PROGRAM = 0.7e9  # PyTorch, MONAI and the networks, where the system does not tell


def measure(volume: Volume, bundle: Bundle, request: Request) -> Cost:
    """Time and memory of a run by its middle window, which is computed three times.

    Locks are left out: what they cost is a factor that is known (:mod:`napari_pgrd.session.estimate`).

    Raises
    ------
    PgrdError
        As :func:`~napari_pgrd.engine.predict.predict` does.
    """
    r = request.resolved(bundle.spec)
    device = resolve(r.device)
    check_scope(volume, bundle.spec, r.box)
    image, restore = prepare(volume, bundle.spec.prepare, r.box)
    whole = Runner(bundle, device, r.method).over(image)
    shape = tuple(image.shape[2:])
    batch = r.batch or choose_batch(bundle.spec, shape, device, window=bundle.spec.prepare.window)
    batch = min(batch, r.samples or 1)
    windows = whole.windows
    at: tuple[Any, ...] = (..., *windows.places[len(windows) // 2]) if windows is not None else (...,)
    part = image[at].to(device)
    runner = Runner(bundle, device, r.method)
    with _Peak(bundle.spec, tuple(part.shape[2:]), batch, device) as peak:
        prior_seconds, pi = _timed(lambda: runner.prior(part), device)
        call_seconds, step_seconds, y = _steps(runner, r, part, pi, batch, device)
    voxels, source = int(np.prod(shape)), int(np.prod(_answered(volume, restore)))
    factor = voxels / part[0, 0].numel()
    classes = len(bundle.spec.labels)
    return Cost(
        windows=len(windows) if windows is not None else 1,
        at_once=batch,
        prior_seconds=prior_seconds,
        call_seconds=call_seconds,
        step_seconds=step_seconds * factor,
        sample_seconds=_adding_up(y[0], pi[0], runner) * source / part[0, 0].numel(),
        base_bytes=peak.bytes,
        volume_bytes=_volume_bytes(voxels, source, classes, batch, windows is not None, device),
        stored_bytes=0 if source >= LARGE or device.type != "cpu" else source,
        device=device.type,
    )


def _answered(volume: Volume, restore: Restore) -> tuple[int, ...]:
    return tuple(hi - lo for lo, hi in restore.box) if restore.box else volume.shape


def _timed(work: Callable[[], Tensor], device: torch.device) -> tuple[float, Tensor]:
    """Seconds of a second call; the first prepares the libraries' own plans."""
    work()
    _wait(device)
    began = time.perf_counter()
    out = work()
    _wait(device)
    return time.perf_counter() - began, out


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _steps(
    runner: Runner, r: Request, part: Tensor, pi: Tensor, batch: int, device: torch.device
) -> tuple[float, float, Tensor]:
    """Seconds of the network and of the rest of a step, and what came out."""
    case = Case(part, pi, None, range(batch))

    def draw() -> Tensor:
        states = runner.sampler(r).draw(case, runner.rngs(r.seed, range(batch)))
        if runner.row.stepwise:
            return next(states)
        *_, y = states
        return y

    if not runner.row.stepwise:
        seconds, y = _timed(draw, device)
        return seconds, 0.0, y
    s = pi + torch.randn(batch, *pi.shape[1:], device=device)
    t = runner.entry.most_steps // 2
    with torch.no_grad():
        call, _ = _timed(lambda: runner.denoise(s, part, pi, t, 0.5), device)
    _wait(device)
    began = time.perf_counter()
    y = draw()
    _wait(device)
    return call, max(0.0, time.perf_counter() - began - call), y


def _adding_up(y: Tensor, pi: Tensor, runner: Runner) -> float:
    """Seconds to take in one sample and to make what is shown of it."""
    prior = pi.cpu().numpy()
    tau, weight = runner.row.map(runner.entry)
    began = time.perf_counter()
    whole = Aggregate(prior, tau, (), None, weight)
    whole.add(y, y)
    p = whole.snapshot()
    _ = p.consensus, p.entropy, p.variance
    return time.perf_counter() - began


def _volume_bytes(voxels: int, source: int, classes: int, batch: int, windowed: bool, device: torch.device) -> float:
    """What a run holds on the whole volume beside one window's call."""
    states = 4.0 * voxels * (classes * (1 + STATES * batch) + 3) if windowed else 0.0
    if device.type != "cpu":
        return states
    # In bytes a voxel and class: the sums 10, two states shown 10 each, two maps of each sample refined together, and
    # four temporary ones; and single maps of entropy, consensus and the like.
    return states + source * (classes * (30.0 + 8 * batch + 16) + 30)


class _Peak:
    """The most memory that this program, or its part of the graphics card, has held within."""

    def __init__(self, spec: BundleSpec, shape: tuple[int, ...], batch: int, device: torch.device) -> None:
        self.device = device
        self.bytes = PROGRAM * (device.type == "cpu") + batch * activation_bytes(spec, shape, device)

    def __enter__(self) -> _Peak:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        elif self.device.type == "cpu":
            _forget_peak()
        return self

    def __exit__(self, *error: object) -> None:
        if self.device.type == "cuda":
            self.bytes = float(torch.cuda.max_memory_allocated(self.device))
        elif self.device.type == "cpu":
            self.bytes = peak_memory() or self.bytes


def _forget_peak() -> None:
    """Let Linux count the peak anew; elsewhere it goes on counting from the program's start."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def peak_memory() -> float | None:
    """The most memory this program has held, in bytes; None where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return None
