"""Does sampling again around locked corrections help the voxels that were not locked?

    python benchmarks/locks.py --data DIR                          # every validation case
    python benchmarks/locks.py --data DIR --cases 2 --samples 2 --name quick
    python benchmarks/locks.py --data DIR --block calibration --zeta 1 3 10 30 --name zeta    # choose guidance's weight

A simulated reader, who knows the truth, corrects a case in one of two ways. ``slice``: of all slices along the bundle's
start plane, the one where the consensus has most wrong voxels is set to the truth. ``clicks``: at the three largest
connected groups of wrong voxels (6 neighbours), a ball of truth of 2 mm radius around the group's voxel nearest its
centroid. The corrected voxels are locked and the rest is drawn again, from the same seed, by every method the bundle
can; ``none`` only pastes the correction into the consensus. Everything reported is about voxels that were not locked.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
SPLIT = HERE / "splits" / "hippocampus.json"
PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}  # the world axis that runs through the plane
CLICKS, RADIUS, NEAR = 3, 2.0, 6.0  # number, mm, mm
METHODS = ("replacement", "guidance", "hint")


def main() -> None:
    """Parse, run, write JSON and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and labels/")
    parser.add_argument("--bundle", default="hippocampus-mri")
    parser.add_argument("--block", default="validation", help="block of the split; choose settings on calibration only")
    parser.add_argument("--cases", type=int, default=0, help="first n cases of the block; 0 takes all")
    parser.add_argument("--zeta", type=float, nargs="+", help="measure guidance alone, at these weights")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--steps", type=int, default=None, help="the bundle's, if not given")
    parser.add_argument("--name", default="", help="suffix of the result files")
    args = parser.parse_args()
    from napari_pgrd.io.provenance import versions

    result = measure(args)
    shown = ["DIR" if i and sys.argv[i] == "--data" else a for i, a in enumerate(sys.argv[1:])]
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "system": platform.system()}
    command = " ".join(["python benchmarks/locks.py", *shown])
    result = {"command": command, "machine": machine, "versions": versions(), **result}
    RESULTS.mkdir(exist_ok=True)
    name = f"locks{'_' + args.name if args.name else ''}"
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    plot(result, RESULTS / f"{name}.png")
    print(json.dumps({k: v for k, v in result.items() if k not in ("versions", "rows")}, indent=1))


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Every case, every correction, every method."""
    from napari_pgrd.engine.bundle import Bundle
    from napari_pgrd.engine.device import resolve
    from napari_pgrd.engine.locks import Locks
    from napari_pgrd.engine.request import Request
    from napari_pgrd.io.cases import choose, find_cases, load_pair, read_split

    cases = choose(find_cases(args.data), read_split(SPLIT)[args.block][: args.cases or None])
    bundle = Bundle.load(args.bundle)
    index = {label.value: k for k, label in enumerate(bundle.spec.labels)}
    methods = {m: (m, bundle) for m in METHODS if m != "hint" or bundle.spec.denoiser.hints}
    if args.zeta:
        methods = {f"guidance {z:g}": ("guidance", weighted(bundle, z)) for z in args.zeta}
    rows = []
    for case in cases:
        volume, truth = load_pair(case, index)
        free, taken = timed(volume, bundle, Request(args.samples, args.steps))
        wrong = free.consensus != truth
        for scenario, mask in (
            ("slice", worst_slice(wrong, volume, bundle.spec.scope.start_plane)),
            ("clicks", clicks(wrong, volume)),
        ):
            if not mask.any():
                print(f"{case.name}: nothing is wrong, so nothing is corrected", file=sys.stderr)
                continue
            locks = Locks(mask, truth.astype(np.uint8))
            about = {"case": case.name, "correction": scenario, "locked": int(mask.sum())}
            rows.append({**about, "method": "none", **taken, **score(free, truth, mask, volume)})
            for method, (kind, model) in methods.items():
                request = Request(args.samples, args.steps, locks=locks, lock_method=kind)
                drawn, taken = timed(volume, model, request)
                kept = np.mean([np.array_equal(m[mask], truth[mask]) for m in drawn.masks])
                rows.append(
                    {
                        **about,
                        "method": method,
                        **taken,
                        "share_of_samples_that_keep_the_locks": float(kept),
                        "consensus_keeps_the_locks": bool((drawn.consensus[mask] == truth[mask]).all()),
                        **score(drawn, truth, mask, volume),
                    }
                )
            for row in rows[-1 - len(methods) :]:
                print(json.dumps(row), file=sys.stderr)
    return {
        "question": "what sampling again around locks does to the voxels that are not locked",
        "simulation": (__doc__ or "").split("\n\n")[2].replace("\n", " "),
        "definitions": {
            "dice": "Dice of the consensus over unlocked voxels, mean over foreground classes",
            "wrong": "wrong unlocked voxels of the consensus",
            "wrong_near": f"those within {NEAR:g} mm of a locked voxel",
        },
        "bundle": bundle.spec.name,
        "bundle_sha256": bundle.digest,
        "request": {"samples": args.samples, "steps": args.steps or bundle.spec.sampling.steps, "seed": 0},
        "block": args.block,
        "zeta": args.zeta or bundle.spec.sampling.zeta,
        "device": resolve("auto").type,
        "notes": [] if bundle.spec.denoiser.hints else ["hint: left out, the denoiser of this bundle hears no locks"],
        "summary": summarise(rows, ["none", *methods]),
        "rows": rows,
    }


def weighted(bundle: Any, zeta: float) -> Any:
    """The bundle with another weight of guidance."""
    sampling = bundle.spec.sampling.model_copy(update={"zeta": zeta})
    return replace(bundle, spec=bundle.spec.model_copy(update={"sampling": sampling}))


def timed(volume: Any, bundle: Any, request: Any) -> tuple[Any, dict[str, float]]:
    """The last prediction of a run, and the seconds a sample took: on the clock, and of all processor cores."""
    from napari_pgrd.engine.predict import predict

    clock, cores = time.perf_counter(), time.process_time()
    *_, last = predict(volume, bundle, request)
    clock, cores = time.perf_counter() - clock, time.process_time() - cores
    n = request.samples
    return last.prediction, {"seconds_per_sample": clock / n, "cpu_seconds_per_sample": cores / n}


def worst_slice(wrong: NDArray[np.bool_], volume: Any, plane: str) -> NDArray[np.bool_]:
    """The slice along a plane with most wrong voxels."""
    from napari_pgrd.engine.volume import axis_order

    axis = axis_order(volume.affine)[0][PLANES[plane]]
    counts = wrong.sum(tuple(a for a in range(3) if a != axis))
    mask = np.zeros(wrong.shape, bool)
    if counts.any():
        np.moveaxis(mask, axis, 0)[counts.argmax()] = True
    return mask


def clicks(wrong: NDArray[np.bool_], volume: Any) -> NDArray[np.bool_]:
    """Balls around the middles of the largest groups of wrong voxels."""
    groups, n = ndimage.label(wrong)
    sizes = np.bincount(groups.ravel(), minlength=n + 1)[1:]
    spacing = np.array(volume.spacing)
    grid = np.stack(np.meshgrid(*[np.arange(k) for k in wrong.shape], indexing="ij"), -1)
    mask = np.zeros(wrong.shape, bool)
    for k in np.argsort(-sizes, kind="stable")[:CLICKS]:
        where = np.argwhere(groups == k + 1)
        middle = where[(((where - where.mean(0)) * spacing) ** 2).sum(1).argmin()]
        mask |= (((grid - middle) * spacing) ** 2).sum(-1) <= RADIUS**2
    return mask


def score(p: Any, truth: NDArray[np.integer], mask: NDArray[np.bool_], volume: Any) -> dict[str, Any]:
    """Numbers of the unlocked voxels."""
    from napari_pgrd.evaluate import metrics

    near = ndimage.distance_transform_edt(~mask, sampling=volume.spacing) <= NEAR
    wrong = (p.consensus != truth) & ~mask
    return {
        "dice": float(np.mean(metrics.dice(p.consensus[~mask], truth[~mask], len(p.probability)))),
        "wrong": int(wrong.sum()),
        "wrong_near": int((wrong & near).sum()),
    }


def summarise(rows: list[dict[str, Any]], methods: list[str]) -> dict[str, Any]:
    """Means over cases, and the paired difference of each method to no resampling."""
    out: dict[str, Any] = {}
    for scenario in ("slice", "clicks"):
        table: dict[str, Any] = {}
        for method in methods:
            mine = [r for r in rows if (r["correction"], r["method"]) == (scenario, method)]
            if not mine:
                continue
            keys = ("dice", "wrong", "wrong_near", "seconds_per_sample", "cpu_seconds_per_sample")
            table[method] = {"cases": len(mine), **{k: float(np.mean([r[k] for r in mine])) for k in keys}}
            if method == "none":
                base = np.array([r["dice"] for r in mine])
                continue
            gain = np.array([r["dice"] for r in mine]) - base
            table[method] |= {
                "dice_gain": float(gain.mean()),
                "better": int((gain > 0).sum()),
                "worse": int((gain < 0).sum()),
                "wilcoxon_p": float(stats.wilcoxon(gain).pvalue) if gain.any() and len(gain) > 5 else None,
                "share_of_samples_that_keep_the_locks": float(
                    np.mean([r["share_of_samples_that_keep_the_locks"] for r in mine])
                ),
                "consensus_keeps_the_locks": all(r["consensus_keeps_the_locks"] for r in mine),
            }
        out[scenario] = table
    return out


def plot(result: dict[str, Any], path: Path) -> None:
    """Gain in Dice of every case, a column a method."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    FigureCanvasAgg(figure)
    titles = {"slice": "worst slice corrected", "clicks": "three clicks of 2 mm"}
    axes = figure.subplots(1, 2, sharey=True)
    for axis, (scenario, title) in zip(axes, titles.items(), strict=True):
        rows = [r for r in result["rows"] if r["correction"] == scenario]
        base = {r["case"]: r["dice"] for r in rows if r["method"] == "none"}
        methods = [m for m in dict.fromkeys(r["method"] for r in rows) if m != "none"]
        for x, method in enumerate(methods):
            gains = [r["dice"] - base[r["case"]] for r in rows if r["method"] == method]
            spread = np.linspace(-0.15, 0.15, len(gains)) if len(gains) > 1 else [0]
            axis.plot(x + np.array(spread), gains, "o", markersize=4, color="#0077bb", alpha=0.6)
            axis.plot([x - 0.25, x + 0.25], [np.mean(gains)] * 2, color="#000000")
        axis.axhline(0, color="#555555", linewidth=0.8, linestyle="--")
        axis.set(title=title, xticks=range(len(methods)), xticklabels=methods, xlim=(-0.6, len(methods) - 0.4))
        axis.grid(alpha=0.3, axis="y")
    axes[0].set_ylabel("gain in Dice of unlocked voxels")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
