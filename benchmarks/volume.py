"""A whole brain of four channels, through windows: time and memory against the number of samples.

    python benchmarks/volume.py --data DIR
    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/volume.py --data DIR --clock processor  # a core that is shared

DIR holds ``flair.nii.gz``, ``t1.nii.gz``, ``t1post.nii.gz`` and ``t2.nii.gz`` of one patient on one grid. The bundle is
made here, with untrained networks of half the embedded MRI model's widths: nothing is said about segmentation, and it
is not shipped. Wider networks make the engine's share of the time smaller. The bare networks, and each number of
samples, run in a process of their own. With ``--clock processor`` seconds are those in which a core worked for the
process, of which a program that runs beside it takes nothing away; the foretold ones are then counted so too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

Clock = Callable[[], float]
HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "volume.json"
CHANNELS = ("FLAIR", "T1", "T1 post", "T2")
FILES = ("flair", "t1", "t1post", "t2")
WINDOW = (80, 88, 72)
FILTERS, WIDTHS = (8, 24, 48, 64), (8, 16, 32, 32)  # half of hippocampus-mri's
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
STEPS = 2


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the four channels of one patient")
    parser.add_argument("--samples", type=int, nargs="*", default=[1, 8, 32])
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--bundle", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        work = (args.data, args.bundle, args.child, CLOCKS[args.clock])
        print(json.dumps(one(*work) if args.child else bare(*work)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        bundle = untrained_bundle(Path(folder) / "untrained-four-channel")
        for samples in (0, *args.samples):  # 0: the networks alone
            words = [sys.executable, __file__, "--data", args.data, "--bundle", bundle, "--clock", args.clock]
            out = subprocess.run([*words, "--child", str(samples)], stdout=subprocess.PIPE, text=True, check=True)
            rows.append(json.loads(out.stdout.splitlines()[-1]))
            print(json.dumps(rows[-1]), file=sys.stderr)
    from napari_pgrd.io.provenance import versions

    alone, *rows = rows
    first, last = rows[0], rows[-1]
    said = [*["--samples", *map(str, args.samples)] * (args.samples != [1, 8, 32])]
    said += ["--clock", args.clock] * (args.clock != "wall")
    result = {
        "question": "a whole brain of four channels: time and peak memory against the bare networks', and as foretold",
        "command": " ".join(["python benchmarks/volume.py --data DIR", *said]),
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "cores_used": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "system": platform.system(),
        },
        "versions": versions(),
        "clock": args.clock,
        "steps": STEPS,
        "window": WINDOW,
        "filters_of_the_prior": FILTERS,
        "widths_of_the_denoiser": WIDTHS,
        "bare_networks": alone,
        "rows": rows,
        "growth_bytes": last["peak_bytes"] - first["peak_bytes"],
        "samples_on_disk_bytes": (last["samples"] - first["samples"]) * last["voxels"],
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def untrained_bundle(folder: Path) -> Path:
    """A bundle of untrained networks for four channels, prepared as nnU-Net does and seen through windows."""
    import torch
    from safetensors.torch import save_file

    from napari_pgrd.engine.bundle import save
    from napari_pgrd.engine.nets import build_denoiser, build_prior, named_weights
    from napari_pgrd.engine.spec import DenoiserConfig, PriorConfig

    folder.mkdir(parents=True, exist_ok=True)
    common: dict[str, Any] = {"dims": 3, "channels": len(CHANNELS), "classes": 2}
    prior = PriorConfig(**common, filters=FILTERS, deep_supervision=0)
    denoiser = DenoiserConfig(**common, widths=WIDTHS, groups=8, residual_std=0.3, supervised=())
    torch.manual_seed(0)
    nets = {"prior": build_prior(prior), "denoiser": build_denoiser(denoiser)}
    for parameter in nets["denoiser"].unet.out.parameters():  # type: ignore[union-attr]  # else it would say nothing
        torch.nn.init.normal_(parameter, std=0.1)
    for name, net in nets.items():
        weights = {k: v.detach().clone().contiguous() for k, v in named_weights(net).items()}
        save_file(weights, folder / f"{name}.safetensors")
    schemes = {"schemes": ["zscore-inside"] * 4, "foreground": [None] * 4, "strides": [8, 8, 8]}
    content = {
        "schema_version": 1,
        "name": "untrained-four-channel",
        "title": "Untrained networks for four channels, for measurements only",
        "modality": "MRI",
        "channels": list(CHANNELS),
        "labels": [
            {"value": 0, "name": "background", "colour": "#000000"},
            {"value": 1, "name": "nothing in particular", "colour": "#19E0FF"},
        ],
        "prepare": {"patch": WINDOW, "window": WINDOW, "overlap": 0.25, "nnunet": schemes},
        "scope": {"sentence": "Untrained: it measures time and memory and segments nothing."},
        "prior": prior.model_dump(),
        "denoiser": denoiser.model_dump(),
        "sampling": {"steps": STEPS, "samples": 8},
    }
    (folder / "MODEL_CARD.md").write_text("# Untrained\n\nRandom weights, for measurements only.\n", encoding="utf-8")
    save(folder, content)
    return folder


def one(data: Path, folder: Path, samples: int, clock: Clock) -> dict[str, Any]:
    """Foretell, draw and compare one number of samples."""
    from napari_pgrd.engine import measure as measuring
    from napari_pgrd.engine.bundle import Bundle
    from napari_pgrd.engine.predict import predict
    from napari_pgrd.engine.request import Request
    from napari_pgrd.io.images import read_image

    volume = read_image([data / f"{name}.nii.gz" for name in FILES], channels=CHANNELS)
    bundle, request = Bundle.load(folder), Request(samples=samples, steps=STEPS, device="cpu")
    measuring.time = SimpleNamespace(perf_counter=clock)  # type: ignore[assignment]  # what it foretells by
    cost = measuring.measure(volume, bundle, request)
    alone = [bare_seconds(volume, bundle, cost.at_once, samples, clock)]
    wall, began, first, done = time.perf_counter(), clock(), 0.0, None
    longest, last = 0.0, began
    for update in predict(volume, bundle, request):
        longest, last = max(longest, clock() - last), clock()
        if update.kind == "prior":
            first = clock() - began
        done = update.prediction or done
    seconds, wall = clock() - began, time.perf_counter() - wall
    peak = peak_bytes()
    alone.append(bare_seconds(volume, bundle, cost.at_once, samples, clock))
    foretold, expected = cost.seconds(samples, STEPS), cost.bytes(samples)
    network = float(np.mean(alone))
    return {
        "samples": samples,
        "at_once": cost.at_once,
        "windows": cost.windows,
        "seconds": seconds,
        "wall_seconds": wall,
        "seconds_to_prior": first,
        "longest_seconds_until_a_cancel_is_heard": longest,
        "network_seconds": network,
        "network_seconds_before_and_after": alone,
        "ratio": seconds / network,
        "foretold_seconds": foretold,
        "foretold_over_seconds": foretold / seconds,
        "peak_bytes": peak,
        "foretold_bytes": expected,
        "foretold_over_peak": expected / peak,
        "voxels": int(np.prod(volume.shape)),
        "seam": seam(volume, bundle, done),
    }


def bare(data: Path, folder: Path, _: int, clock: Clock) -> dict[str, Any]:
    """What the networks alone hold at their peak: the image, and one window of one sample."""
    from napari_pgrd.engine.bundle import Bundle
    from napari_pgrd.io.images import read_image

    volume = read_image([data / f"{name}.nii.gz" for name in FILES], channels=CHANNELS)
    seconds = bare_seconds(volume, Bundle.load(folder), 1, 1, clock)
    return {"at_once": 1, "seconds": seconds, "peak_bytes": peak_bytes()}


def peak_bytes() -> int:
    """The most memory this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def bare_seconds(volume: Any, bundle: Any, at_once: int, samples: int, clock: Clock) -> float:
    """The networks alone on the same windows: one pass over all of them, times as many as the samples need."""
    import torch

    from napari_pgrd.engine.predict import Runner
    from napari_pgrd.engine.preprocess import prepare
    from napari_pgrd.engine.windows import Windows

    image, _ = prepare(volume, bundle.spec.prepare)
    windows, runner = Windows.over(image, bundle.spec.prepare), Runner(bundle, torch.device("cpu"))
    assert windows is not None
    seconds = {"prior": 0.0, "denoiser": 0.0}
    with torch.no_grad():
        for number, place in enumerate([windows.places[0], *windows.places]):  # the first warms up
            part = image[(..., *place)].contiguous()
            s = torch.randn(at_once, 2, *part.shape[2:])
            began = clock()
            pi = torch.softmax(runner.logits(part), 1)
            middle = clock()
            runner.denoise(s, part, pi, 500, 0.5)
            if number:
                seconds["prior"] += middle - began
                seconds["denoiser"] += clock() - middle
    groups = -(-samples // at_once)
    return seconds["prior"] + seconds["denoiser"] * STEPS * groups


def seam(volume: Any, bundle: Any, prediction: Any) -> dict[str, float]:
    """Mean absolute step across the borders of windows over that two to six voxels beside them, inside the head."""
    from napari_pgrd.engine.preprocess import prepare
    from napari_pgrd.engine.windows import Windows

    image, restore = prepare(volume, bundle.spec.prepare)
    windows = Windows.over(image, bundle.spec.prepare)
    assert windows is not None
    head = (image[0] != 0).any(0).numpy()
    out = {}
    for name in ("prior", "probability"):
        p = restore.cropped(restore.reorder.apply(getattr(prediction, name)[1]))
        p = np.pad(p, restore.padding)
        across, beside = [], []
        for axis in range(3):
            step = np.moveaxis(np.abs(np.diff(p, axis=axis)), axis, 0)
            there = np.moveaxis(head, axis, 0)
            both = there[1:] & there[:-1]
            ends = {place[axis].start for place in windows.places} | {place[axis].stop for place in windows.places}
            for at in (end - 1 for end in ends if 0 < end < p.shape[axis]):
                across.append(step[at][both[at]])
                for near in (at + d for d in (*range(-6, -1), *range(2, 7)) if 0 <= at + d < len(step)):
                    beside.append(step[near][both[near]])
        out[name] = float(np.concatenate(across).mean() / np.concatenate(beside).mean())
    return out


if __name__ == "__main__":
    main()
