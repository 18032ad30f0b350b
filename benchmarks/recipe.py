"""What sampling recipe is best for a bundle: solver, steps and eta, measured on its calibration block.

    python benchmarks/recipe.py --bundle lung-nodule-ct --data DIR --split benchmarks/splits/lidc.json --every 6 \\
        --setting ddim,eta=1,steps=8 --setting dpmpp2m,steps=8 --name lung

A setting is a solver with its steps, or a method that takes none (thresholded). All start from the same noise; each
gets its own tau and w by the rule of ``pgrd bundle pack`` and is scored so.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.methods import METHODS
from napari_pgrd.engine.predict import Runner, choose_batch
from napari_pgrd.engine.preprocess import prepare
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.sampler import Case
from napari_pgrd.engine.spec import find
from napari_pgrd.evaluate import metrics
from napari_pgrd.evaluate.calibration import MapFit, fit_map
from napari_pgrd.evaluate.raters import agreement, majority
from napari_pgrd.io.cases import CaseFiles, choose, find_cases, load_readers, read_names
from napari_pgrd.io.provenance import versions

RESULTS = Path(__file__).parent / "results"
START = 0.1
Floats = NDArray[np.float32]
SHOWN = ("dice", "nll", "ece", "ece_roi", "ged2", "hm_iou", "diversity", "rater_diversity", "calls")


@dataclass(frozen=True)
class Drawn:
    """The samples of one case: last and first estimates ``(M, K, *spatial)``, and ``(readers, *spatial)`` truths."""

    last: Floats
    first: Floats
    truths: NDArray[np.int64]
    slices: bool

    @property
    def flat(self) -> tuple[Any, Any, Any]:
        """As :func:`fit_map` takes it."""
        m, k = self.last.shape[:2]
        return self.last.reshape(m, k, -1), self.first.reshape(m, k, -1), self.truths.reshape(len(self.truths), -1)


def parse(setting: str) -> Request:
    """``solver,name=value,...`` as a request, or ``method,...`` for one that takes no steps."""
    first, *rest = setting.split(",")
    given = dict(pair.split("=") for pair in rest)
    samples = int(given.get("samples", 16))
    if first in METHODS:
        return Request(samples, None, 0, method=first)
    return Request(samples, int(given["steps"]), 0, first, float(given["eta"]) if "eta" in given else None)


@torch.no_grad()
def draw(bundle: Bundle, case: CaseFiles, request: Request) -> Drawn:
    """All samples of a case."""
    r = request.resolved(bundle.spec)
    runner = Runner(bundle, torch.device("cpu"), r.method)
    sampler, index = runner.sampler(r), {label.value: k for k, label in enumerate(bundle.spec.labels)}
    volume, truths = load_readers(case, index)
    image, restore = prepare(volume, bundle.spec.prepare)
    pi = runner.prior(image)
    batch = choose_batch(bundle.spec, image.shape[2:], runner.device)
    last, first = [], []
    for start in range(0, r.samples or 0, batch):
        indices = range(start, min(start + batch, r.samples or 0))
        states = list(sampler.draw(Case(image, pi, None, indices), runner.rngs(r.seed, indices)))
        last.append(restore(states[-1]).numpy())
        first.append(restore(states[0]).numpy())
    return Drawn(np.concatenate(last), np.concatenate(first), truths, bundle.spec.prepare.dims == 2)


def score(drawn: Drawn, fit: MapFit, classes: int) -> dict[str, float | None]:
    """The numbers of one case; GED^2 and its like over slices where each is drawn alone."""
    kept = np.maximum(drawn.first, 0) + 1e-6
    mean = kept / kept.sum(1, keepdims=True)
    soft = torch.softmax(torch.from_numpy(drawn.last) / fit.tau, 1).numpy()
    p = ((1 - fit.mean_weight) * soft + fit.mean_weight * mean).mean(0)
    consensus, where = p.argmax(0), metrics.region(drawn.truths.max(0), p.argmax(0))
    out: dict[str, float | None] = {
        "dice": float(np.mean(metrics.dice(consensus, majority(drawn.truths), classes))),
        "nll": float(np.mean([metrics.nll(p, t) for t in drawn.truths])),
    }
    pairs = [metrics.top_label(p, t) for t in drawn.truths]
    out["ece"] = float(np.mean([metrics.ece(c, r) for c, r in pairs]))
    out["ece_roi"] = float(np.mean([metrics.ece(c[where], r[where]) for c, r in pairs]))
    masks = drawn.last.argmax(1)
    marked = [z for z in range(masks.shape[-1]) if drawn.truths[..., z].any()] if drawn.slices else [slice(None)]
    agreed = [agreement(masks[..., z], drawn.truths[..., z]) for z in marked]
    for name in ("ged2", "hm_iou", "diversity", "rater_diversity"):
        values = [v for v in (getattr(a, name) for a in agreed) if v is not None]
        out[name] = float(np.mean(values)) if values else None
    return out


def measure(bundle: Bundle, cases: Sequence[CaseFiles], setting: str) -> dict[str, Any]:
    """One row of the study."""
    began = time.monotonic()
    drawn = [draw(bundle, case, parse(setting)) for case in cases]
    seconds = time.monotonic() - began
    fit = fit_map((d.flat for d in drawn), START)
    rows = [score(d, fit, len(bundle.spec.labels)) for d in drawn]
    means = {k: float(np.mean([v for v in (r[k] for r in rows) if v is not None] or [np.nan])) for k in rows[0]}
    known = {k: None if np.isnan(v) else round(v, 5) for k, v in means.items()}
    return {
        "setting": setting,
        **known,
        "tau": round(fit.tau, 5),
        "mean_weight": round(fit.mean_weight, 5),
        "calls": parse(setting).steps or 1,
        "seconds": round(seconds, 1),
    }


def main() -> None:
    """Measure each setting; a setting that the result file holds for the same weights and cases is kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder with images and labels")
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--block", default="calibration")
    parser.add_argument("--every", type=int, default=1, help="take every n-th case of the block")
    parser.add_argument("--setting", action="append", required=True, help="solver,eta=E,steps=S,samples=M, or METHOD")
    parser.add_argument("--name", required=True, help="of the result file: recipe_NAME.json")
    asked = parser.parse_args()
    bundle = Bundle.load(find(asked.bundle))
    cases = choose(find_cases(asked.data), read_names(asked.split, asked.block)[:: asked.every])
    out = RESULTS / f"recipe_{asked.name}.json"
    mark = {"bundle": bundle.digest, "block": asked.block, "cases": [c.name for c in cases]}
    old = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    rows = old["rows"] if {k: old.get(k) for k in mark} == mark else []
    words = [w if w != str(asked.data) else "DIR" for w in sys.argv[1:]]
    for setting in asked.setting:
        if any(row["setting"] == setting for row in rows):
            continue
        rows.append(measure(bundle, cases, setting))
        print("  ".join([setting, *(f"{k} {rows[-1][k]}" for k in SHOWN)]), flush=True)
        record = {"command": f"python benchmarks/recipe.py {shlex.join(words)}", **mark, "versions": versions()}
        out.write_text(json.dumps({**record, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
