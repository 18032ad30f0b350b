"""The record of a comparison: one table in three formats, and what made it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_pgrd.evaluate.compare import Plan, System, settings
from napari_pgrd.evaluate.definitions import DEFINITIONS
from napari_pgrd.evaluate.origin import training
from napari_pgrd.evaluate.raters import perfect_ged2
from napari_pgrd.evaluate.reliability import Reliability
from napari_pgrd.evaluate.statistics import STATEMENT
from napari_pgrd.evaluate.table import COST_DEFINITIONS, as_csv, markdown, tabulate, value
from napari_pgrd.io.nifti import write_atomically
from napari_pgrd.io.provenance import RESEARCH_USE, now, versions

Row = dict[str, Any]
NAME = "comparison"
ENOUGH = 6  # pairs: with five the smallest two-sided p of the Wilcoxon test is 1/16
FEW = f" Here there are fewer than {ENOUGH} pairs: the Wilcoxon test cannot reach p < .05, so nothing can be bold."
CURVE = ("dice", "ged2", "nll", "ece_roi", "hm_iou", "diversity")


def record(plan: Plan, systems: Sequence[System], command: str) -> Row:
    """Everything that was measured, for JSON."""
    rows = {s.entry.name: s.rows for s in systems}
    every = [row for found in rows.values() for row in found]
    return {
        "note": RESEARCH_USE,
        "command": command,
        "date": now(),
        "versions": versions(),
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "system": platform.system(),
            "ran_on": sorted({f"{r['device']}, {r['precision']}, {_count(r['threads'], 'thread')}" for r in every}),
        },
        "measured": len(plan.items),
        "cases": len({item.case.name for item in plan.items}),
        "slices": any(item.slice is not None for item in plan.items),
        "raters": sorted({row["raters"] for row in every}),
        "reference": plan.reference,
        "systems": {
            name: {**about, "training": training(s.entry, s.spec)}
            for s, (name, about) in zip(systems, settings(systems).items(), strict=True)
        },
        "table": tabulate(rows, plan.reference),
        "curve": {
            s.entry.name: [_point(steps, s.curve[steps]) for steps in sorted(s.curve)] for s in systems if s.curve
        },
        "reliability": {
            name: {key: pooled(found, key).stored() for key in ("reliability", "reliability_roi")}
            for name, found in rows.items()
        },
        "sparsification": {name: mean_curves(found) for name, found in rows.items()},
        "perfect_ged2": _perfect(rows[plan.reference]),
        "statistics": STATEMENT,
        "definitions": {**DEFINITIONS, **COST_DEFINITIONS},
        "per_case": {name: [_short(row) for row in found] for name, found in rows.items()},
    }


def write(folder: Path, made: Row) -> list[Path]:
    """``comparison.md``, ``.csv`` and ``.json``, each replaced whole."""
    texts = {
        "md": _markdown(made),
        "csv": as_csv(made["table"], made["reference"]),
        "json": json.dumps(made, indent=1, allow_nan=False) + "\n",
    }
    paths = [folder / f"{NAME}.{kind}" for kind in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        write_atomically(path, lambda where, text=text: where.write_text(text, encoding="utf-8"))
    return paths


def pooled(rows: Sequence[Row], key: str) -> Reliability:
    """The bins of all cases together."""
    return Reliability.pooled(Reliability.read(row[key]) for row in rows)


def mean_curves(rows: Sequence[Row]) -> dict[str, list[float]] | None:
    """Sparsification curves averaged over the cases that have one."""
    known = [row["sparsification"] for row in rows if row["sparsification"] is not None]
    return {k: np.mean([c[k] for c in known], 0).tolist() for k in ("curve", "oracle")} if known else None


def _point(steps: int, rows: Sequence[Row]) -> Row:
    out: Row = {"steps": steps}
    for key in CURVE:
        known = [v for row in rows if (v := value(row, key)) is not None]
        out[key] = float(np.mean(known)) if known else None
    return out


def _perfect(rows: Sequence[Row]) -> float | None:
    """Mean GED^2 of a perfect sampler with as many samples; None where a case has one rater."""
    each = [(value(row, "rater_diversity"), row["samples"], row["raters"]) for row in rows]
    known = [perfect_ged2(d, m, r) for d, m, r in each if d is not None]
    return float(np.mean(known)) if len(known) == len(each) else None


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _short(row: Row) -> Row:
    """A row without what is pooled elsewhere or belongs to the machine's files."""
    return {k: v for k, v in row.items() if k not in ("key", "reliability", "reliability_roi", "sparsification")}


def _markdown(made: Row) -> str:
    what = f"{made['measured']} slices of {made['cases']} cases" if made["slices"] else f"{made['cases']} cases"
    raters = " or ".join(map(str, made["raters"]))
    sampled = [s["request"] for s in made["systems"].values() if s["request"]]
    samples = " or ".join(sorted({str(r["samples"]) for r in sampled}))
    head = [
        f"**n = {what}**, {raters} rater{'s' * (raters != '1')} each, {samples} samples, seed "
        f"{' or '.join(sorted({str(r['seed']) for r in sampled}))}; mean ± standard deviation over "
        f"{'slices' if made['slices'] else 'cases'}. Reference of the tests: {made['reference']}. {RESEARCH_USE}.",
    ]
    if made["perfect_ged2"] is not None:
        head.append(
            f"A perfect sampler, drawn from the raters' own distribution, would score GED² {made['perfect_ged2']:.4f} "
            f"on average with as many samples as {made['reference']}."
        )
    lines = ["| system | bundle | solver | steps | training, optimiser steps | training, minutes |",
             "| --- | --- | --- | ---: | ---: | ---: |"]  # fmt: skip
    for name, s in made["systems"].items():
        asked, trained = s["request"], s["training"] or {}
        method = f" ({s['method']})" if s["method"] else ""
        solver = "–" if not asked or asked["solver"] is None else f"{asked['solver']}, eta {asked['eta']:g}"
        steps = asked.get("steps") or "–"
        minutes = f"{trained['minutes']:.0f}" if trained else "–"
        lines.append(
            f"| {name} | {s['bundle']}{method} | {solver} | {steps} | {trained.get('steps', '–')} | {minutes} |"
        )
    foot = [
        "\n".join(lines),
        made["statistics"] + (FEW if made["cases"] < ENOUGH else ""),
        "\n".join(f"- {key}: {text}" for key, text in made["definitions"].items()
                  if key in made["table"] or key in ("several_raters", *COST_DEFINITIONS)),
        f"{made['date'][:10]}, {'; '.join(made['machine']['ran_on'])}, {_count(made['machine']['cores'], 'core')}.",
        f"```\n{made['command']}\n```",
    ]  # fmt: skip
    return markdown(made["table"], made["reference"], head, foot)
