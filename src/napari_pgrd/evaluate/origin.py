"""What a system is made of: which networks, under which digest, after how much training."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from napari_pgrd.engine.methods import PRIOR
from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.evaluate.entries import Entry

ALONE = "deterministic"  # the method that is the prior by itself


def method_of(entry: Entry, spec: BundleSpec) -> str:
    """The bundle's method behind an entry."""
    return ALONE if entry.deterministic else entry.method or spec.method


def uses_prior(entry: Entry, spec: BundleSpec) -> bool:
    """Whether the prior has a part in the samples; every run calls it once, for something to show at once."""
    name = method_of(entry, spec)
    schedule = getattr(spec.entry(name), "schedule", None)
    return not spec.row(name).files or (schedule is not None and schedule.prior_guided)


def identity(entry: Entry, spec: BundleSpec) -> str:
    """SHA-256 over everything that an entry's samples come from.

    That is less than the bundle: another method that is added to it, or a new card, leaves this as it is.
    """
    name = method_of(entry, spec)
    content = {
        "weights": {file: spec.weights[file] for file in (PRIOR, *spec.row(name).files)},
        "method": spec.entry(name).model_dump(mode="json", exclude={"provenance", "sampling"}),
        "bundle": spec.model_dump(mode="json", include={"labels", "prepare", "prior", "prior_temperature"}),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def training(entry: Entry, spec: BundleSpec) -> dict[str, Any] | None:
    """Optimiser steps and minutes behind an entry, from what the bundle records; None if it records nothing."""
    name = method_of(entry, spec)
    stages = spec.provenance.get("training", {})
    records = [stages["prior"]] if uses_prior(entry, spec) and "prior" in stages else []
    own = spec.entry(name).provenance.get("training")
    if own is None and spec.row(name).files:
        own = stages.get(spec.row(name).training)
    if own is not None:
        records += [own]
    runs = [run for record in records for run in (*record.get("before", []), *(record.get("members") or [record]))]
    if not runs:
        return None
    return {"steps": sum(r["steps"] for r in runs), "minutes": round(sum(r["seconds"] for r in runs) / 60, 1)}
