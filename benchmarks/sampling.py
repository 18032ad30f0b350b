"""What sampling costs and what its steps buy: one question a command, one JSON each in ``benchmarks/results``.

    python benchmarks/sampling.py engine --repeats 12        # predict() against the bare network, same calls and batch
    python benchmarks/sampling.py memory                     # peak memory against the number of samples
    python benchmarks/sampling.py window --repeats 4         # time to the prior and to the samples; the event loop
    python benchmarks/sampling.py steps --data DIR           # quality against steps, as in the paper's Figure 3
    python benchmarks/sampling.py steps --data DIR --cases 4 --samples 2 --eta 0 --only 8 300 --name paper

``window`` needs a display (``xvfb-run -a -s "-screen 0 1280x800x24"`` gives one in software); each repeat is a window
in a process of its own. ``engine`` measures the two of a pair in turns, by the wall and by the time a core worked for
this process, from which a program that runs beside it takes nothing away.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
SPLIT = HERE / "splits" / "hippocampus.json"


def main() -> None:
    """Parse and run one command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("engine", "memory", "memory-child", "window", "window-child", "steps"))
    parser.add_argument("--bundle", default="hippocampus-mri")
    parser.add_argument("--data", type=Path, help="folder with images/ and labels/ (steps)")
    parser.add_argument("--cases", type=int, default=0, help="first n validation cases; 0 takes all (steps)")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--only", type=int, nargs="*", default=[1, 2, 5, 10, 20, 50], help="numbers of steps (steps)")
    parser.add_argument("--solver", default=None)
    parser.add_argument("--eta", type=float, default=None, help="instead of the bundle's (steps)")
    parser.add_argument("--repeats", type=int, default=4, help="measured pairs (engine), windows opened (window)")
    parser.add_argument("--name", default="", help="suffix of the result file")
    args = parser.parse_args()
    if args.command.endswith("-child"):
        print(json.dumps({"memory-child": _peak, "window-child": _window}[args.command](args)))
        return
    result = {"engine": engine, "memory": memory, "window": window, "steps": steps}[args.command](args)
    from napari_pgrd.io.provenance import versions

    command = " ".join(
        ["python benchmarks/sampling.py", *(a if " " not in a else f"'{a}'" for a in _shown(sys.argv[1:]))]
    )
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "system": platform.system()}
    result = {"command": command, "machine": machine, "versions": versions(), **result}
    RESULTS.mkdir(exist_ok=True)
    name = f"sampling_{args.command}{'_' + args.name if args.name else ''}"
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({k: v for k, v in result.items() if k != "versions"}, indent=1))


def _shown(arguments: list[str]) -> list[str]:
    """The arguments with the data folder's path left out: it differs from machine to machine."""
    return ["DIR" if i and arguments[i - 1] == "--data" else a for i, a in enumerate(arguments)]


def _case() -> Any:
    from napari_pgrd.io.nifti import read_volume
    from napari_pgrd.io.samples import sample_cases

    return read_volume(sample_cases()[0].image)


def engine(args: argparse.Namespace) -> dict[str, Any]:
    """Time of predict() over time of the bare network for the same calls, paired run by run."""
    import torch

    from napari_pgrd.engine.bundle import Bundle
    from napari_pgrd.engine.device import precision, resolve
    from napari_pgrd.engine.predict import Runner, predict
    from napari_pgrd.engine.preprocess import prepare
    from napari_pgrd.engine.request import Request

    volume, bundle, device = _case(), Bundle.load(args.bundle), resolve("auto")
    request = Request(samples=args.samples, steps=args.steps, batch=args.batch, solver=args.solver)
    runner = Runner(bundle, device)
    image, _ = prepare(volume, bundle.spec.prepare)
    image = image.to(device)
    pi = runner.prior(image)
    s = pi + torch.randn(args.batch, *pi.shape[1:], device=device)

    def whole() -> None:
        for _ in predict(volume, bundle, request):
            pass

    def bare() -> None:
        runner.prior(image)
        for _ in range(args.samples // args.batch * args.steps):
            runner.denoise(s, image, pi, 500, 0.5)
        if device.type == "cuda":
            torch.cuda.synchronize()

    def timed(work: Callable[[], None]) -> tuple[float, float]:
        began, busy = time.perf_counter(), time.process_time()
        work()
        return time.perf_counter() - began, time.process_time() - busy

    rows = []
    for i in range(args.repeats + 1):
        both = {work: timed(work) for work in ((whole, bare) if i % 2 else (bare, whole))}
        if i:  # the first pair warms up
            seconds = {"predict_seconds": both[whole][0], "network_seconds": both[bare][0]}
            ratios = {"ratio": both[whole][0] / both[bare][0], "processor_ratio": both[whole][1] / both[bare][1]}
            rows.append({**seconds, **ratios})
            print(json.dumps(rows[-1]), file=sys.stderr)
    return {
        "question": "predict() over the bare networks, same calls and batch (target at most 1.10)",
        "device": device.type,
        "precision": str(precision(device)),
        "threads": torch.get_num_threads(),
        **{f"{name}_median": float(np.median([r[name] for r in rows])) for name in ("ratio", "processor_ratio")},
        **{
            f"{name}_range": [min(r[name] for r in rows), max(r[name] for r in rows)]
            for name in ("ratio", "processor_ratio")
        },
        "seconds_per_sample_median": float(np.median([r["predict_seconds"] for r in rows])) / args.samples,
        "pairs": rows,
    }


def memory(args: argparse.Namespace) -> dict[str, Any]:
    """Peak resident memory of a fresh process for several numbers of samples."""
    rows = []
    for samples in (1, 8, 32, 128):
        child = [sys.executable, __file__, "memory-child", "--bundle", args.bundle, "--samples", str(samples)]
        out = subprocess.run([*child, "--steps", "2"], capture_output=True, text=True, check=True)
        rows.append(json.loads(out.stdout.splitlines()[-1]))
    first, last = rows[0], rows[-1]
    stored = (last["samples"] - first["samples"]) * last["voxels"]
    return {
        "question": "peak memory against the number of samples (flat but for the stored uint8 samples)",
        "rows": rows,
        "growth_bytes": last["peak_bytes"] - first["peak_bytes"],
        "stored_sample_bytes": stored,
    }


def _peak(args: argparse.Namespace) -> dict[str, Any]:
    from napari_pgrd.engine.bundle import Bundle
    from napari_pgrd.engine.predict import predict
    from napari_pgrd.engine.request import Request
    from napari_pgrd.session.estimate import memory_bytes

    volume, bundle = _case(), Bundle.load(args.bundle)
    for _ in predict(volume, bundle, Request(samples=args.samples, steps=args.steps, batch=1)):
        pass
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "samples": args.samples,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        "estimated_bytes": memory_bytes(volume, bundle.spec, None, args.samples),
        "voxels": int(np.prod(volume.shape)),
    }


def window(args: argparse.Namespace) -> dict[str, Any]:
    """Some windows, one after the other; what they all showed, with and without the run that loads the model."""
    windows = []
    for _ in range(args.repeats):
        child = [sys.executable, __file__, "window-child", "--bundle", args.bundle]
        child += ["--samples", str(args.samples), "--steps", str(args.steps)]
        out = subprocess.run(child, stdout=subprocess.PIPE, text=True, check=True)
        windows.append(json.loads(out.stdout.splitlines()[-1]))
    runs = [run for one in windows for run in one]

    def ranges(loads: bool) -> dict[str, list[float]]:
        those = [run for run in runs if run["loads_the_model"] is loads]
        seen = {k: [r[k] for r in those] for k in ("seconds_to_prior", "seconds_to_samples", "seconds_to_every_layer")}
        seen |= {f"event_loop_ms_{k}": [r["event_loop_ms"][k] for r in those] for k in ("p50", "p99", "max")}
        seen["event_loop_afterwards_ms_max"] = [r["event_loop_afterwards_ms"]["max"] for r in those]
        return {key: [min(values), max(values)] for key, values in seen.items()}

    return {
        "question": "time on screen, and the event loop while sampling (target p99 < 50 ms, maximum < 300 ms)",
        "samples": args.samples,
        "steps": args.steps,
        "ranges_of_runs_that_load_the_model": ranges(True),
        "ranges_of_later_runs": ranges(False),
        "windows": windows,
    }


def _window(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Open the real window, sample, and let a 10 ms timer say how late the event loop was, and how busy its thread."""
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication

    from napari_pgrd.viewer.launch import open_window

    viewer, dock = open_window()
    viewer.window._qt_window.resize(1280, 800)
    dock.desk.choose_bundle(args.bundle)
    dock.desk.open_example()
    app = QApplication.instance()
    assert app is not None
    _live(app, 1.0)
    runs = []
    for seed in range(3):  # the first run also loads torch and the model
        ticks: list[tuple[float, float]] = []  # wall and processor seconds of this thread at each tick

        def tick(ticks: list[tuple[float, float]] = ticks) -> None:
            ticks.append((time.perf_counter(), time.thread_time()))

        timer = QTimer()
        timer.setInterval(10)
        timer.timeout.connect(tick)
        dock.desk.state.samples, dock.desk.state.steps, dock.desk.state.seed = args.samples, args.steps, seed
        began = time.perf_counter()
        tick()
        timer.start()
        dock.desk.sample()
        prior = 0.0
        while dock.desk.worker is not None:
            app.processEvents()
            layer = dock.desk.layers.first("prior")
            if not prior and layer is not None and layer.visible:
                prior = time.perf_counter() - began
            time.sleep(0.0005)
        whole, drawn = time.perf_counter() - began, len(ticks)
        while dock.desk.layers.turns.waiting:
            _live(app, 0.01)
        layers = time.perf_counter() - began
        _live(app, 0.5)
        timer.stop()
        runs.append(
            {
                "loads_the_model": seed == 0,
                "seconds_to_prior": prior,
                "seconds_to_samples": whole,
                "seconds_to_every_layer": layers,
                "event_loop_ms": _gaps([wall for wall, _ in ticks[: drawn + 1]]),
                "event_loop_processor_ms": _gaps([busy for _, busy in ticks[: drawn + 1]]),
                "event_loop_afterwards_ms": _gaps([wall for wall, _ in ticks[drawn:]]),
            }
        )
        print(json.dumps(runs[-1]), file=sys.stderr)
    viewer.close()
    return runs


def _gaps(times: list[float]) -> dict[str, float]:
    gaps = np.diff(times) * 1000
    p50, p99 = (float(v) for v in np.percentile(gaps, (50, 99)))
    over = int((gaps > 50).sum())
    return {"p50": p50, "p99": p99, "max": float(gaps.max()), "over_50": over, "ticks": len(gaps)}


def _live(app: Any, seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        app.processEvents()
        time.sleep(0.0005)


def steps(args: argparse.Namespace) -> dict[str, Any]:
    """Dice, NLL, ECE and pairwise Dice against the number of steps, on validation cases."""
    from napari_pgrd.engine.bundle import Bundle
    from napari_pgrd.engine.request import Request
    from napari_pgrd.evaluate.evaluate import evaluate
    from napari_pgrd.io.cases import choose, find_cases, read_split

    if args.data is None:
        raise SystemExit("steps needs --data: the folder with images/ and labels/.")
    names = read_split(SPLIT)["validation"]
    cases = choose(find_cases(args.data), names[: args.cases or None])
    bundle, rows = Bundle.load(args.bundle), []
    priors: dict[str, Any] = {}
    for S in args.only:
        result = evaluate(bundle, cases, Request(args.samples, S, solver=args.solver, eta=args.eta))
        mine = result["methods"]["pgrd"]
        kept = ("nll", "ece", "ece_roi", "brier", "sample_dice", "pairwise_dice", "seconds_per_case")
        rows.append({"steps": S, "dice": mine["dice"]["mean"], **{k: mine[k] for k in kept}})
        print(json.dumps(rows[-1]), file=sys.stderr)
        priors = {
            m: {"dice": result["methods"][m]["dice"]["mean"], **{k: result["methods"][m][k] for k in kept[:4]}}
            for m in ("prior", "prior_scaled")
        }
    out = {
        "question": "quality against the number of steps",
        "cases": [c.name for c in cases],
        "samples": args.samples,
        "solver": args.solver or bundle.spec.sampling.solver,
        "eta": bundle.spec.sampling.eta if args.eta is None else args.eta,
        "rows": rows,
        "priors": priors,
    }
    _plot(out, RESULTS / f"sampling_steps{'_' + args.name if args.name else ''}.png")
    return out


def _plot(result: dict[str, Any], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 2.8), layout="constrained")
    FigureCanvasAgg(figure)
    panels = (
        ("dice", "Dice of the consensus"),
        ("nll", "NLL"),
        ("ece", "ECE"),
        ("pairwise_dice", "Dice between samples"),
    )
    for axis, (key, title) in zip(figure.subplots(1, 4), panels, strict=True):
        axis.plot(
            [r["steps"] for r in result["rows"]], [r[key] for r in result["rows"]], "o-", color="#0077bb", label="PGRD"
        )
        for name, style in (("prior", ":"), ("prior_scaled", "--")):
            if key in result["priors"].get(name, {}):
                axis.axhline(
                    result["priors"][name][key], color="#555555", linestyle=style, label=name.replace("_", ", ")
                )
        axis.set(xscale="log", title=title, xlabel="steps")
        axis.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=7)
    asked = f"{result['samples']} samples, {result['solver']}, eta {result['eta']:g}"
    figure.suptitle(f"{len(result['cases'])} validation cases, {asked}", fontsize=8)
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
