"""Does anything pile up in one window: many rounds of sampling, most of them cancelled, and what is held after each.

    xvfb-run -a -s "-screen 0 1280x800x24" python benchmarks/soak.py --rounds 200

One real window on the sample cases and the embedded models. The buttons of the dock start a run and cancel it: at once,
when the prior is there, after a sample, after the last, or not at all; steps, samples, seed, image and model change in
between. After each round the window settles and everything that can pile up is counted. Python's garbage collector is
asked for in every fourth round only, so that what nobody else frees shows as well. Linux only.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
STOPS = ("at once", "prior", "sample", "last", "end")  # when a round is cancelled; the last is not
SHARES = (0.15, 0.2, 0.3, 0.15, 0.2)
CASES = ("hippocampus", "lung")
STAY, LUNG = 20, 4  # rounds on one image before the other has its turn, and how many that has
WARM_UP = 50
COLLECT_EVERY = 4
LIMIT_KB = 100.0  # of memory, per round, after the warm-up
SIZES = ("rss_bytes", "tensor_bytes")
COUNTS = ("python_threads", "threads", "descriptors", "children", "widgets", "timers", "layers", "tensors", "runs")
CRITERION = (
    f"after the warm-up: the least memory of {STAY + LUNG} rounds in a row grows by less than {LIMIT_KB:g} kB a round, "
    "as do tensors (the allocator keeps pages for a while, so that memory wavers above that); among rounds on the same "
    "image with as many layers, no count grows by one over all of them (least squares); and no run fails"
)
COLOURS = ("#0077bb", "#cc3311", "#009988", "#ee7733")
GIVE_UP_S = 300


@dataclass(frozen=True)
class Round:
    """What one round does."""

    case: str
    steps: int
    samples: int
    seed: int
    stop: str


def main() -> int:
    """Parse, soak, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "soak.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pgrd-soak-") as home:
        for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
            os.environ[name] = str(Path(home) / name.lower())
        os.environ["NAPARI_CONFIG"] = str(Path(home) / "napari.yaml")
        os.environ["NAPARI_PGRD_STATE"] = str(Path(home) / "reviews")
        began = time.monotonic()
        rows, left = soak(plan(args.rounds, args.seed))
        seconds = time.monotonic() - began
    from napari_pgrd.io.provenance import versions

    warm_up = min(WARM_UP, args.rounds // 2)
    verdicts = judge(rows[warm_up:])
    result = {
        "question": "does anything pile up in one window while samples are drawn and runs are cancelled",
        "command": f"python benchmarks/soak.py --rounds {args.rounds} --seed {args.seed}",
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "cores_used": len(os.sched_getaffinity(0)),
            "system": platform.system(),
            "graphics_card": rows[-1]["graphics_bytes"] is not None,
        },
        "versions": versions(),
        "seconds": round(seconds, 1),
        "warm_up_rounds": warm_up,
        "criterion": CRITERION,
        "passed": all(v["passed"] for v in verdicts.values()) and not any(r["sentence"] for r in rows),
        "verdicts": verdicts,
        "stops": dict(Counter(r["stop"] for r in rows)),
        "failures": sum(bool(r["sentence"]) for r in rows),
        "freed_at_the_end_when_all_is_looked_at": left,
        "rows": rows,
    }
    write(result, args.out)
    plot(result, args.out.with_suffix(".png"))
    print(json.dumps({k: v for k, v in result.items() if k not in ("rows", "versions")}, indent=1))
    return 0 if result["passed"] else 1


def plan(rounds: int, seed: int) -> list[Round]:
    """What each round does, drawn from a seed."""
    rng = np.random.default_rng(seed)
    out: list[Round] = []
    for number in range(rounds):
        case = CASES[number % (STAY + LUNG) >= STAY]
        steps, samples = int(rng.choice([1, 2, 3])), int(rng.integers(1, 5))
        more = bool(out) and out[-1].case == case and rng.random() < 0.2  # the same settings, further samples
        if more:
            steps, drawn_from, samples = out[-1].steps, out[-1].seed, min(out[-1].samples + 2, 8)
        out.append(Round(case, steps, samples, drawn_from if more else number, str(rng.choice(STOPS, p=SHARES))))
    return out


# ---- the window


def soak(rounds: list[Round]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Go through the rounds in one window; what was held after each, and what only a look at everything frees."""
    from qtpy.QtWidgets import QApplication

    from napari_pgrd.viewer.launch import open_window
    from napari_pgrd.viewer.samples import open_hippocampus_a, open_lung_a

    viewer, dock = open_window()
    viewer.window._qt_window.resize(1280, 800)
    app = QApplication.instance()
    assert app is not None
    opened = dict(zip(CASES, (open_hippocampus_a, open_lung_a), strict=True))
    shown = ""
    rows = []
    for number, this in enumerate(rounds):
        began = time.monotonic()
        if this.case != shown:  # the other image instead, and with it its own model
            viewer.layers.clear()
            for layer in opened[this.case]():
                viewer._add_layer_from_data(*layer)
            shown = this.case
        go_round(app, dock, this)
        settle(app, dock)
        collect_ms = None
        if number % COLLECT_EVERY == COLLECT_EVERY - 1:
            start = time.perf_counter()
            gc.collect()
            collect_ms = round(1000 * (time.perf_counter() - start), 1)
            settle(app, dock)
        took = {"seconds": round(time.monotonic() - began, 2), "collect_ms": collect_ms}
        s = dock.desk.state
        rows.append({**asdict(this), "drawn": s.drawn, "sentence": failure(s), **took, **held(viewer)})
        if number % 10 == 9:
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    before = held(viewer)
    gc.unfreeze()
    gc.collect()
    after = held(viewer)
    viewer.close()
    return rows, {k: before[k] - after[k] for k in ("rss_bytes", "widgets", "layers", "runs")}


def go_round(app: Any, dock: Any, this: Round) -> None:
    """Press Sample, and press Cancel when it is time."""
    desk, s = dock.desk, dock.desk.state
    s.steps, s.samples, s.seed = this.steps, this.samples, this.seed
    before = s.drawn if s.drawn and s.drawn_settings == s.settings else 0
    seen = {"prior": False}

    def prior() -> None:
        seen["prior"] = True

    desk.predicted.connect(prior)
    press(dock, "sample")
    wanted = {
        "at once": lambda: True,
        "prior": lambda: seen["prior"] and desk.prediction is not None,
        "sample": lambda: s.drawn > before + (this.samples - before) // 2,
        "last": lambda: s.drawn >= this.samples,
    }
    if this.stop in wanted:
        live(app, lambda: wanted[this.stop]() or desk.worker is None)
        press(dock, "cancel")
    live(app, lambda: desk.worker is None)
    desk.predicted.disconnect(prior)


def press(dock: Any, name: str) -> None:
    """Click a button of the dock; one that is disabled does nothing, as for a hand."""
    from qtpy.QtWidgets import QPushButton

    dock.findChild(QPushButton, name).click()


def live(app: Any, done: Callable[[], bool], seconds: float = GIVE_UP_S) -> None:
    """Let the window live until something is true."""
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            raise SystemExit("A round came to no end.")
        app.processEvents()
        time.sleep(0.001)


def settle(app: Any, dock: Any) -> None:
    """Until no run, search or job is under way, what was deleted is gone, and the lines are drawn."""
    from qtpy.QtCore import QEvent, QThreadPool
    from superqt.utils import WorkerBase

    pool, turns = QThreadPool.globalInstance(), dock.desk.layers.turns

    def quiet() -> bool:
        return not (WorkerBase._worker_set or pool.activeThreadCount() or turns.waiting)

    for _ in range(2):
        live(app, quiet)
        until = time.monotonic() + 0.25
        live(app, lambda: time.monotonic() > until)  # noqa: B023
        app.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def failure(state: Any) -> str:
    """What went wrong, if it is not merely what the window says beside a run."""
    return state.sentence if "stopped" in state.sentence or "ran out" in state.sentence else ""


# ---- what is held


def held(viewer: Any) -> dict[str, Any]:
    """Everything that can pile up."""
    import threading

    import psutil
    import torch
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication

    from napari_pgrd.engine.prediction import Prediction
    from napari_pgrd.engine.runner import Runner

    process = psutil.Process()
    objects = gc.get_objects()  # but for what the dock has set aside, which was there before the image's first run
    tensors = [x for x in objects if issubclass(type(x), torch.Tensor)]
    runs = sum(issubclass(type(x), (Prediction, Runner)) for x in objects)
    timers = sum(issubclass(type(x), QTimer) for x in objects)
    count, size = len(tensors), sum(x.numel() * x.element_size() for x in tensors)
    listed = len(objects)
    return {
        "rss_bytes": process.memory_info().rss,
        "python_threads": sum(not isinstance(t, threading._DummyThread) for t in threading.enumerate()),
        "threads": process.num_threads(),
        "descriptors": process.num_fds(),
        "children": len(process.children(recursive=True)),
        "widgets": len(QApplication.allWidgets()),
        "timers": timers,
        "layers": len(viewer.layers),
        "tensors": count,
        "tensor_bytes": size,
        "runs": runs,
        "objects": listed,
        "graphics_bytes": torch.cuda.memory_allocated() if torch.cuda.is_available() else None,
    }


def judge(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Whether something grew over these rounds."""
    out: dict[str, Any] = {}
    for name in [*SIZES, *(["graphics_bytes"] if rows[0]["graphics_bytes"] is not None else [])]:
        of_all = slope(rows, name) / 1e3
        kb = floor_slope([r[name] for r in rows]) / 1e3 if name == "rss_bytes" else of_all
        out[name] = {"kb_per_round": round(kb, 2), "kb_per_round_of_all": round(of_all, 2), "passed": kb < LIMIT_KB}
    for name in COUNTS:
        more, values = slope(rows, name) * len(rows), [r[name] for r in rows]
        out[name] = {"more_at_the_end": round(more, 2), "least": min(values), "most": max(values), "passed": more < 1}
    return out


def floor_slope(values: list[float]) -> float:
    """Growth a round of the least value of successive rounds, which see both images."""
    width = min(STAY + LUNG, max(1, len(values) // 2))
    least = [min(values[i : i + width]) for i in range(0, len(values) - width + 1, width)]
    return float(np.polyfit(range(len(least)), least, 1)[0]) / width if len(least) > 1 else 0.0


def slope(rows: list[dict[str, Any]], name: str) -> float:
    """Growth a round by least squares, among rounds on the same image with as many layers, which hold equally much."""
    kinds = [(r["case"], r["layers"] if name != "layers" else r["drawn"]) for r in rows]
    design = [[float(kind == k) for k in sorted(set(kinds))] + [float(i)] for i, kind in enumerate(kinds)]
    return float(np.linalg.lstsq(np.array(design), np.array([float(r[name]) for r in rows]), rcond=None)[0][-1])


# ---- what is written


def write(result: dict[str, Any], path: Path) -> None:
    """JSON with a round a line."""
    head = json.dumps({k: v for k, v in result.items() if k != "rows"}, indent=1)[:-2]
    body = ",\n  ".join(json.dumps(row) for row in result["rows"])
    path.write_text(f'{head},\n "rows": [\n  {body}\n ]\n}}\n', encoding="utf-8")


def plot(result: dict[str, Any], path: Path) -> None:
    """The series, a panel a kind."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = (
        ("memory, MB", ("rss_bytes",), 1e6),
        ("threads, descriptors, children", ("threads", "python_threads", "descriptors", "children"), 1),
        ("widgets, timers, layers", ("widgets", "timers", "layers"), 1),
        ("tensors, MB", ("tensor_bytes",), 1e6),
    )
    rows = result["rows"]
    for axis, (title, names, unit) in zip(figure.subplots(2, 2).flat, panels, strict=True):
        for name, colour in zip(names, COLOURS, strict=False):
            axis.plot([r[name] / unit for r in rows], color=colour, linewidth=1, label=name.replace("_", " "))
        axis.axvline(result["warm_up_rounds"], color="#555555", linestyle=":", linewidth=1)
        for at in [i for i, r in enumerate(rows) if r["case"] == "lung"]:
            axis.axvspan(at - 0.5, at + 0.5, color="#000000", alpha=0.06, linewidth=0)
        axis.set(xlabel="round (grey: on the lung case)", title=title, ylim=(0, None))
        axis.grid(alpha=0.3)
        if len(names) > 1:
            axis.legend(fontsize=7)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
