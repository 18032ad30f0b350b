"""Measure a bundle on cases with a known truth: PGRD, its prior as it came, and its prior at the fitted temperature."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.device import precision, resolve
from napari_pgrd.engine.errors import InputError, PgrdError, require
from napari_pgrd.engine.predict import Runner, predict
from napari_pgrd.engine.preprocess import prepare
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.engine.volume import Volume
from napari_pgrd.evaluate import metrics
from napari_pgrd.evaluate.case import among, believe
from napari_pgrd.evaluate.raters import majority
from napari_pgrd.evaluate.reliability import Reliability
from napari_pgrd.evaluate.surfaces import surfaces
from napari_pgrd.evaluate.volumes import conformal_range
from napari_pgrd.io.cases import CaseFiles, load_readers
from napari_pgrd.io.provenance import RESEARCH_USE, now, versions

PRIORS = ("prior", "prior_scaled")
SAMPLED = (
    "sample_dice", "pairwise_dice", "ged2", "hm_iou", "diversity", "rater_diversity", "empty_samples", "empty_raters",
)  # fmt: skip
MEANS = (
    "nll", "brier", "ece", "ece_roi", "adaptive_ece", "adaptive_ece_roi", "hd95", "nsd", "auroc_entropy_error",
    "spearman_entropy_error", "ause", "aurg", *SAMPLED,
)  # fmt: skip
POOLED = ("reliability", "reliability_roi")  # bins, of the voxels of all cases and raters together
Row = dict[str, Any]
Say = Callable[[float, str], None]  # fraction done, what is being done


def evaluate(
    bundle: Bundle, cases: Sequence[CaseFiles], request: Request, say: Say = lambda fraction, text: None
) -> Row:
    """Run every method on every case.

    Returns
    -------
    dict
        ``cases``, ``raters`` (the most that a case has), ``methods`` (each with the numbers that ``definitions``
        explains, the bins of its reliability diagrams and its ``per_case`` rows), and what made them. Numbers that need
        samples are None for the priors.

    Raises
    ------
    PgrdError
        Naming the case at fault.
    """
    require(len(cases) > 0, InputError, "There is no case to evaluate. Give at least one image with its label map.")
    index = {label.value: k for k, label in enumerate(bundle.spec.labels)}
    request = request.resolved(bundle.spec)
    runner = Runner(bundle, resolve(request.device))
    drawn = request.method or bundle.spec.method
    rows: dict[str, list[Row]] = {m: [] for m in (drawn, *PRIORS)}
    raters = 0
    for i, case in enumerate(cases):
        volume, truths = load_readers(case, index)
        raters = max(raters, len(truths))

        def heard(fraction: float, done: int = i, name: str = case.name) -> None:
            say((done + fraction) / len(cases), name)

        try:
            rows[drawn].append(_sampled(case.name, volume, truths, bundle, request, heard))
            for method, temperature in (("prior", 1.0), ("prior_scaled", bundle.spec.prior_temperature)):
                rows[method].append(_deterministic(case.name, volume, truths, runner, temperature))
        except PgrdError as error:
            raise type(error)(f"{case.name}: {error}") from error
    names = [label.name for label in bundle.spec.labels[1:]]
    asked = {k: v for k, v in asdict(request).items() if v is not None}
    return {
        "cases": len(cases),
        "raters": raters,
        "methods": {m: summarise(found, names) for m, found in rows.items()},
        "bundle": {
            "name": bundle.spec.name,
            "digest": bundle.digest,
            **fitted(bundle.spec),
        },
        "request": asked,
        "device": runner.device.type,
        "precision": str(precision(runner.device)).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "definitions": dict(metrics.DEFINITIONS),
        "versions": versions(),
        "date": now(),
        "note": RESEARCH_USE,
    }


def fitted(spec: BundleSpec) -> Row:
    """What an evaluation holds for: the weights and everything fitted to them."""
    keys = {"weights", "tau", "mean_weight", "prior_temperature", "volume_interval"}
    return spec.model_dump(mode="json", include=keys)


def _sampled(
    name: str,
    volume: Volume,
    truths: NDArray[np.int64],
    bundle: Bundle,
    request: Request,
    heard: Callable[[float], None],
) -> Row:
    began, result = time.perf_counter(), None
    for update in predict(volume, bundle, request):
        heard(update.fraction)
        result = update.prediction or result
    assert result is not None
    seconds = time.perf_counter() - began
    masks, truth, classes = np.stack(result.masks), majority(truths), len(bundle.spec.labels)
    row = measure(name, result.probability, truths, seconds, volume.spacing)
    unanimous, wrong = metrics.unanimous_errors(masks, result.consensus, truth)
    return row | {
        **{k: v for k, v in among(masks, truths, classes, bundle.spec.prepare.dims).items() if k in SAMPLED},
        "interval_covered": _interval_covered(masks, truths, bundle.spec.measured_for(request.method)),
        "volume_covered": {
            label.name: _mean([metrics.volume_covered(masks, t, k) for t in truths])
            for k, label in enumerate(bundle.spec.labels[1:], 1)
        },
        "errors": wrong,
        "unanimous_errors": unanimous,
    }


def _interval_covered(masks: NDArray[np.uint8], truths: NDArray[np.int64], spec: BundleSpec) -> dict[str, float]:
    """Whether the conformal interval of each label held its true volume: the share of raters for whom it did."""
    interval = spec.volume_interval
    out = {}
    for k, label in enumerate(spec.labels):
        if interval is not None and label.name in interval.widening:
            low, high = conformal_range((masks == k).reshape(len(masks), -1).sum(1), interval.widening[label.name])
            out[label.name] = float(np.mean([low <= (t == k).sum() <= high for t in truths]))
    return out


def _deterministic(name: str, volume: Volume, truths: NDArray[np.int64], runner: Runner, temperature: float) -> Row:
    began = time.perf_counter()
    p = prior_map(volume, runner, temperature)
    seconds = time.perf_counter() - began
    return measure(name, p, truths, seconds, volume.spacing) | dict.fromkeys(SAMPLED)


@torch.no_grad()
def prior_map(volume: Volume, runner: Runner, temperature: float) -> NDArray[np.floating]:
    """The prior's probabilities at a temperature, ``(K, x, y, z)``."""
    image, restore = prepare(volume, runner.spec.prepare)
    image = image.to(runner.device)
    runner = runner.over(image)
    pi = runner.shown(torch.softmax(runner.logits(image) / temperature, 1))
    p: NDArray[np.floating] = restore.probabilities(pi)[0].cpu().numpy()
    return p / p.sum(0, keepdims=True)


def measure(
    name: str, p: NDArray[np.floating], truths: NDArray[np.int64], seconds: float, spacing: Sequence[float]
) -> Row:
    """What can be said of one case from its probabilities ``(K, x, y, z)`` and raters ``(R, x, y, z)`` alone."""
    consensus, truth, believed = p.argmax(0), majority(truths), believe(p, truths)
    return {
        "case": name,
        "dice": metrics.dice(consensus, truth, len(p)),
        **believed.numbers,
        **{key: getattr(believed, key) for key in POOLED},
        **surfaces(consensus, truth, len(p), spacing)._asdict(),
        "seconds": seconds,
    }


def summarise(rows: Sequence[Row], names: Sequence[str]) -> Row:
    """Means over cases; a number that a case cannot have (None) is left out of its mean."""
    table = np.array([row["dice"] for row in rows])
    out: Row = {
        "dice": {
            "mean": float(table.mean()),
            "std": float(table.mean(1).std()),
            "per_class": _by(names, table.mean(0)),
            "per_class_std": _by(names, table.std(0)),
        }
    }
    out |= {key: _mean([row[key] for row in rows]) for key in MEANS}
    sampled = "volume_covered" in rows[0]
    covered = {n: [row["volume_covered"][n] for row in rows] for n in names} if sampled else {}
    errors = sum(row.get("errors", 0) for row in rows)
    out["volume_coverage"] = {n: float(np.mean(c)) for n, c in covered.items()} if sampled else None
    held = {n: [row["interval_covered"][n] for row in rows] for n in rows[0].get("interval_covered", {})}
    out["interval_coverage"] = {n: float(np.mean(h)) for n, h in held.items()} or None
    out["unanimous_error_share"] = sum(row["unanimous_errors"] for row in rows) / errors if sampled and errors else None
    out["seconds_per_case"] = _mean([row["seconds"] for row in rows])
    out |= {key: Reliability.pooled(row[key] for row in rows).stored() for key in POOLED}
    out["per_case"] = [
        {**{k: v for k, v in row.items() if k not in POOLED}, "dice": _by(names, row["dice"])} for row in rows
    ]
    return out


def _by(names: Sequence[str], values: Sequence[float] | NDArray[np.floating]) -> Mapping[str, float]:
    return {n: float(v) for n, v in zip(names, values, strict=True)}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None
