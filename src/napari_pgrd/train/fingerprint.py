"""The fingerprint of a data set: at which noise its masks stop being legible.

A small denoiser learns the masks alone, no image and pi = 0. Its error on masks it has not seen, ``err(t) = E ||yhat -
y||^2``, and the derivative of that say which times decide what (Öttl et al., arXiv:2403.14440); the weights of
:mod:`napari_pgrd.train.weighting` follow from it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_pgrd.engine import process
from napari_pgrd.engine.duration import in_words
from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.schedule import Array, cosine_rhobar
from napari_pgrd.io.cases import CaseFiles
from napari_pgrd.io.nifti import write_atomically
from napari_pgrd.io.provenance import now, versions
from napari_pgrd.train.config import FingerprintTraining
from napari_pgrd.train.data import Batches, load_case
from napari_pgrd.train.loop import Report, Trainer, autocast
from napari_pgrd.train.masks import MaskDenoiser, MaskLoss
from napari_pgrd.train.plots import fingerprint_curves
from napari_pgrd.train.prior import fingerprint, finish
from napari_pgrd.train.weighting import ErrorCurve, at_knots, noise_angle, slope, weights_of

WATCHED = 8
"""Masks on which the error is watched while training."""
SHARES_FROM = 64
"""Masks from which the shares of the classes are counted."""
AT_ONCE = 8
"""Times of one mask that go through the network together."""
Masks = Iterable[tuple[str, Tensor]]
Estimate = Callable[[Tensor, Tensor], Tensor]


def make_fingerprint(
    train: Sequence[CaseFiles],
    held_back: Sequence[CaseFiles],
    config: FingerprintTraining,
    out: Path,
    device: torch.device,
    say: Report,
    command: str = "pgrd fingerprint",
) -> Path:
    """Train the mask denoiser, measure its error on masks held back, and write what follows.

    Returns
    -------
    Path
        ``fingerprint.json`` in ``out``, its picture beside it.
    """
    check(config)
    learnt, unseen = (masks_of(files, config, say) for files in (train, held_back))
    trainer = train_masks(learnt, unseen, config, out, device, fingerprint(training_part(config), train), say)
    finish(trainer, "masks", config.model_dump_json(), train, say)
    curve, each = measure(
        estimate_of(trainer.averaged.eval(), device, trainer.precision),
        drawn(unseen, config.draws, say),
        times_of(config),
        cosine_rhobar(config.T, shift=config.shift),
        config.residual_scale,
        config.optimisation.seed,
        device,
    )
    result = {
        "command": command,
        **describe(curve, each, config),
        "mean_mask_err": round(mean_mask_error(learnt, unseen, config), 6),
        "cases": {"train": len(train), "measured": len(each.err)},
        "draws": config.draws,
        "training": {"steps": trainer.step, "batch": config.optimisation.batch, "seconds": round(trainer.seconds)},
        "parameters": sum(p.numel() for p in trainer.averaged.parameters()),
        "device": trainer.device.type,
        "precision": trainer.precision,
        "versions": versions(),
        "date": now(),
    }
    text = json.dumps(result, indent=1) + "\n"
    write_atomically(out / "fingerprint.json", lambda path: path.write_text(text, encoding="utf-8"))
    fingerprint_curves(result, out / "fingerprint.png")
    say("wrote fingerprint.json and fingerprint.png")
    return out / "fingerprint.json"


def check(config: FingerprintTraining) -> None:
    """The network must be able to halve the patch at each level, and to part its channels into groups."""
    widths, groups, patch = config.network.widths, config.network.groups, config.prepare.patch[: config.prepare.dims]
    stride = 2 ** (len(widths) - 1)
    require(
        all(n % stride == 0 for n in patch),
        InputError,
        f"The patch {list(patch)} has a side that {stride} does not divide, as {len(widths)} levels of the network "
        "need. Change [prepare] patch or [network] widths.",
    )
    require(
        all(n % groups == 0 for n in widths),
        InputError,
        f"[network] groups is {groups}, which does not divide each of the widths {list(widths)}. Change one of them.",
    )


def training_part(config: FingerprintTraining) -> FingerprintTraining:
    """The configuration with what follows training set to defaults: another floor needs no other training."""
    fields = FingerprintTraining.model_fields
    after = {name: fields[name].default for name in ("draws", "times", "smoothing", "floor")}
    return config.model_copy(update=after)


def masks_of(files: Sequence[CaseFiles], config: FingerprintTraining, say: Report) -> Batches:
    """Masks as a training of the denoiser draws them: cut to the patch, turned, scaled, mirrored."""
    require(bool(files), InputError, "A block of the split is empty; training and calibration both need cases.")
    index = {value: i for i, value in enumerate(sorted(config.labels))}
    cases = [load_case(case, config.prepare, index, whole=True) for case in files]
    say(f"{len(cases)} cases read")
    return Batches.told(cases, len(index), config.prepare, config.optimisation)


def class_shares(masks: Batches, count: int) -> list[float]:
    """How often each class is met in a voxel of the first masks."""
    found = torch.stack([y[0].flatten(1).mean(1) for _, y in drawn(masks, count)]).mean(0)
    return [round(share, 6) for share in found.tolist()]


def train_masks(
    learnt: Batches,
    unseen: Batches,
    config: FingerprintTraining,
    out: Path,
    device: torch.device,
    identity: str,
    say: Report,
) -> Trainer:
    """Train to the configured number of steps; one that was killed goes on."""
    rhobar, o = cosine_rhobar(config.T, shift=config.shift), config.optimisation
    torch.manual_seed(o.seed)
    shares = class_shares(learnt, SHARES_FROM)
    net = MaskDenoiser(config.network, config.prepare.dims, shares, config.residual_scale)
    trainer = Trainer(net, o, out, device, identity)
    few = tuple(max(1, round(share * config.T)) for share in (0.25, 0.5, 0.75, 1))

    def validate(model: nn.Module) -> dict[str, float]:
        estimate = estimate_of(model, device, trainer.precision)
        masks = drawn(unseen, min(WATCHED, config.draws))
        curve, _ = measure(estimate, masks, (0, *few), rhobar, config.residual_scale, o.seed, device)
        return {f"err at {t}": float(e) for t, e in zip(few, curve.err[1:], strict=True)}

    trainer.fit(learnt, MaskLoss(rhobar, config.residual_scale, o.seed), validate, say)
    return trainer


def estimate_of(model: nn.Module, device: torch.device, precision: str) -> Estimate:
    """``s (B, K, *spatial), rb (B,) -> yhat`` of a trained network."""

    def estimate(s: Tensor, rb: Tensor) -> Tensor:
        with autocast(device, precision):
            y: Tensor = model(s, rb)
        return y

    return estimate


def times_of(config: FingerprintTraining) -> tuple[int, ...]:
    """0 and the times to measure at: half evenly spaced, half ever closer towards T, where large structures fade."""
    half = config.times // 2
    even = np.linspace(0, config.T, config.times - half + 1)
    close = config.T * (1 - np.geomspace(1 / config.T, 1, half))
    return tuple(np.unique(np.rint(np.concatenate([even, close])).astype(int)).tolist())


def drawn(masks: Batches, count: int, say: Report | None = None) -> Masks:
    """``count`` masks ``(1, K, *patch)`` with their cases' names."""
    began, said = time.monotonic(), time.monotonic()
    for i in range(count):
        step, place = divmod(i, masks.batch)
        if place == 0:
            names, (_, y) = masks.names(step), masks(step)
        yield names[place], y[place : place + 1]
        if say and (time.monotonic() - said > 20 or i + 1 == count):
            said = time.monotonic()
            left = (count - i - 1) * (said - began) / (i + 1)
            say(f"measured on mask {i + 1}/{count}  {in_words(left)} left")


@torch.no_grad()
def measure(
    estimate: Estimate, masks: Masks, times: Sequence[int], rhobar: Array, scale: float, seed: int, device: torch.device
) -> tuple[ErrorCurve, ErrorCurve]:
    """Squared error of the clean estimate at each time, summed over classes, averaged over voxels.

    A mask has one noise at all times, so that its error is a smooth curve of t and the derivative is not drowned.

    Parameters
    ----------
    estimate : callable
        ``s (B, K, *spatial), rb (B,) -> yhat``, the mean of y given s.
    masks : iterable of (str, Tensor)
        Name of the case and one-hot mask ``(1, K, *spatial)``.
    times : sequence of int
        The first is 0, where there is no noise and no error.

    Returns
    -------
    curve : ErrorCurve
        Mean over masks, ``err (G,)``.
    each : ErrorCurve
        ``err (cases, G)``: what each case contributes. Their mean is the curve and their standard error the curve's,
        whether or not the cases have the same number of masks; where they have, these are the cases' own curves.
    """
    rb = torch.from_numpy(rhobar[list(times[1:])]).float()
    rows, names = [], []
    for i, (name, y) in enumerate(masks):
        noise = np.random.default_rng((seed, 17, i)).standard_normal(tuple(y.shape), dtype=np.float32)
        y, eps = y.to(device), torch.from_numpy(noise).to(device)
        row = [0.0]
        for some in rb.to(device).split(AT_ONCE):
            yhat = estimate(process.diffuse(scale * y, eps, some.reshape(-1, *[1] * (y.ndim - 1))), some)
            row += (yhat - y).square().sum(1).flatten(1).mean(1).tolist()
        rows.append(row)
        names.append(name)
    err, case = np.array(rows), np.unique(names, return_inverse=True)[1]
    mean, cases = err.mean(0), int(case.max()) + 1
    each = np.tile(mean, (cases, 1))
    np.add.at(each, case, (err - mean) * cases / len(err))
    angle = noise_angle(rhobar[list(times)], scale)
    return ErrorCurve(angle, mean), ErrorCurve(angle, each)


def mean_mask_error(learnt: Batches, unseen: Batches, config: FingerprintTraining) -> float:
    """Error of the mean of the training masks on those held back: what noise alone leaves to be known."""
    count = 4 * config.draws
    mean = sum((y for _, y in drawn(learnt, count)), torch.zeros(())) / count
    rhobar = cosine_rhobar(config.T, shift=config.shift)
    masks, cpu = drawn(unseen, config.draws), torch.device("cpu")
    found, _ = measure(lambda s, rb: mean, masks, (0, config.T), rhobar, config.residual_scale, 0, cpu)
    return float(found.err[-1])


def describe(curve: ErrorCurve, each: ErrorCurve, config: FingerprintTraining) -> dict[str, Any]:
    """Error, derivative, their standard errors over cases, and the weights, as plain numbers."""
    rhobar, times = cosine_rhobar(config.T, shift=config.shift), list(times_of(config))
    slopes = slope(curve.at(rhobar, config.residual_scale), config.smoothing)
    by_case = slope(each.at(rhobar, config.residual_scale), config.smoothing)
    weights = weights_of(slopes, config.floor)
    return {
        "T": config.T,
        "shift": config.shift,
        "residual_scale": config.residual_scale,
        "smoothing": config.smoothing,
        "floor": config.floor,
        "t": times,
        "err": curve.err.round(7).tolist(),
        "err_se": standard_error(each.err),
        "slope": slopes[times].round(6).tolist(),
        "slope_se": standard_error(by_case[:, times]),
        "weights": list(at_knots(weights)),
    }


def standard_error(each: Array) -> list[float] | None:
    """Of the mean over cases, ``(cases, G)`` to G numbers; None for a single case."""
    n = len(each)
    return (each.std(0, ddof=1) / n**0.5).round(7).tolist() if n > 1 else None
