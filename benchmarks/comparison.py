"""Train everything a comparison needs, one after the other, and write its table.

    python benchmarks/comparison.py lung --data DIR --runs RUNS

Every step is one ``pgrd`` command, printed before it runs, and one that is finished is skipped, so a comparison that
was stopped goes on with the same line. All methods see the cases, batches, optimiser and number of steps of
PGRD's own networks; the prior that others are trained beside is PGRD's. For ``lung`` that is the embedded bundle. For
``hippocampus`` PGRD is trained here like the others, smaller and shorter than the embedded bundle, so that all of it
fits into an hour or two of one core; ``hippocampus-full`` compares with the embedded one, at its budget.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from napari_pgrd.engine.spec import find, read_spec

HERE = Path(__file__).parent
STAGES = ("prior", "denoiser")  # of PGRD's own training
BESIDE_PRIOR = ("no-dds", "no-pgr", "ddpm")
ALONE = ("dropout", "multi-head", "probunet", "ensemble")
CALIBRATION_SHARE = 3  # every third case of the block
SLOW_SHARE = {"ddpm": 9}  # which draws fifty steps of sixteen samples of each


@dataclass(frozen=True)
class Study:
    """One data set: its bundle, its settings, and what the table is made on."""

    bundle: str  # an embedded one; or, with ``packed``, the name of one that is trained here
    configs: str
    split: str
    cases: str
    curve: str
    pictures: tuple[str, ...]
    packed: bool = False
    variants: tuple[str, ...] = ()  # of PGRD's denoiser, with ``packed``: settings of their own, a bundle each


STUDIES = {
    "lung": Study(
        "lung-nodule-ct",
        "lung",
        "lidc.json",
        "lidc-slices.json",
        "1,2,4,8,16,50",
        (
            "LIDC-IDRI-0211_n0, slice 14",
            "LIDC-IDRI-0867_n1, slice 5",
            "LIDC-IDRI-0968_n1, slice 6",
        ),
    ),
    "hippocampus": Study(
        "hippocampus-small",
        "hippocampus-small",
        "hippocampus.json",
        "hippocampus.json",
        "1,2,4,8,16,50",
        ("hippocampus_352",),
        packed=True,
        variants=("fingerprint",),
    ),
    "hippocampus-full": Study(
        "hippocampus-mri", "hippocampus", "hippocampus.json", "hippocampus.json", "1,2,4,8,16,50", ("hippocampus_352",)
    ),
}
TITLES = {
    "dropout": "MC dropout",
    "multi-head": "Multi-head",
    "probunet": "Probabilistic U-Net",
    "ensemble": "Deep ensemble",
    "ddpm": "DDPM",
    "no-pgr": "w/o PGR",
    "no-dds": "w/o DDS",
    "fingerprint": "PGRD, weighted",
}


def pgrd(*words: str | Path) -> None:
    """Run one command of the package, in a process of its own."""
    line = [str(w) for w in words]
    print(f"$ pgrd {shlex.join(line)}", flush=True)
    subprocess.run([sys.executable, "-c", "from napari_pgrd.cli import main; main()", *line], check=True)


def train(name: str, study: Study, data: Path, runs: Path) -> Path:
    """The folder of a finished training: a method's, one of PGRD's own two stages, or a variant of the second."""
    out = runs / name
    if not (out / "training.json").exists():
        beside = name in (*BESIDE_PRIOR, *study.variants, "denoiser")
        stage = "denoiser" if beside else "prior"
        settings = f"{stage}-{name}" if name in study.variants else stage
        method = ["--method", name] if name in (*ALONE, *BESIDE_PRIOR) else [stage]
        words: list[str | Path] = ["train", *method, "--data", data, "--out", out]
        words += ["--config", HERE / "configs" / f"{study.configs}-{settings}.toml"]
        words += ["--split", HERE / "splits" / study.split]
        words += ["--prior", runs / "prior" if study.packed else study.bundle] if beside else []
        pgrd(*words)
    return out


def prepare(study: Study, data: Path, runs: Path) -> None:
    """Make the comparison's own bundle, which the other methods are added to, and those of PGRD's variants."""
    if study.packed:
        train("prior", study, data, runs)
        for denoiser in ("denoiser", *study.variants):
            pack(denoiser, study, data, runs)
    elif not (runs / "bundle").exists():
        shutil.copytree(find(study.bundle), runs / "bundle")


def pack(denoiser: str, study: Study, data: Path, runs: Path) -> None:
    """A bundle of the prior and one denoiser."""
    out = bundle_of(denoiser, study, runs)
    if not (out / "bundle.json").exists():
        words: list[str | Path] = ["bundle", "pack", "--prior", runs / "prior", "--data", data, "--out", out]
        words += ["--denoiser", train(denoiser, study, data, runs), "--split", fewer_cases(study, runs)]
        pgrd(*words, "--meta", HERE / "configs" / f"{study.configs}-bundle.toml")


def bundle_of(name: str, study: Study, runs: Path) -> Path:
    """Where the networks of a method lie, or those of a variant."""
    return runs / f"bundle-{name}" if name in study.variants else runs / "bundle"


def fewer_cases(study: Study, runs: Path, share: int = CALIBRATION_SHARE) -> Path:
    """The split with the calibration cases on which tau, w and temperatures are fitted here."""
    out = runs / ("split.json" if share == CALIBRATION_SHARE else f"split-{share}.json")
    if not out.exists():
        blocks = json.loads((HERE / "splits" / study.split).read_text(encoding="utf-8"))
        step = {"calibration": share}
        fewer = {k: v[:: step.get(k, 1)] for k, v in blocks.items() if isinstance(v, list)}
        out.write_text(json.dumps(fewer), encoding="utf-8")
    return out


def add(method: str, study: Study, data: Path, runs: Path) -> None:
    """Put a finished training into the comparison's bundle."""
    bundle = runs / "bundle"
    if method not in read_spec(bundle).offered:
        split = fewer_cases(study, runs, SLOW_SHARE.get(method, CALIBRATION_SHARE))
        pgrd("bundle", "add", "--bundle", bundle, "--training", runs / method, "--data", data, "--split", split)


def entries(methods: list[str], study: Study, runs: Path) -> list[str]:
    """What the table has a column for; the reference and the test-time augmentation need no training of their own."""
    bundle = runs / "bundle"
    more = [f"{TITLES[m]}={bundle}:{m}{'@50' if m == 'ddpm' else ''}" for m in methods]
    more += [f"{TITLES[m]}={bundle_of(m, study, runs)}" for m in study.variants]
    return [f"PGRD={bundle}", *more, f"Augmentation={bundle}:tta"]


def table(methods: list[str], study: Study, data: Path, runs: Path, out: Path, samples: int) -> None:
    """Write the comparison of what is in the bundle."""
    words: list[str | Path] = ["compare"]
    for entry in entries(methods, study, runs):
        words += ["--entry", entry]
    words += ["--images", data / "images", "--labels", data / "labels", "--cases", HERE / "splits" / study.cases]
    words += ["--samples", str(samples), "--seed", "0", "--reference", "PGRD", "--out", out, "--curve", study.curve]
    for name in ("PGRD", *(TITLES[m] for m in ("ddpm", "no-pgr") if m in methods)):
        words += ["--curve-entry", name]
    for case in study.pictures:
        words += ["--picture", case]
    pgrd(*words)


def main() -> None:
    """Train, add, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=sorted(STUDIES))
    parser.add_argument("--data", type=Path, required=True, help="folder with images and labels")
    parser.add_argument("--runs", type=Path, required=True, help="folder for trainings, bundle and table")
    parser.add_argument("--methods", nargs="*", default=[*ALONE, *BESIDE_PRIOR], choices=[*ALONE, *BESIDE_PRIOR])
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--no-table", action="store_true", help="train and add only")
    asked = parser.parse_args()
    study = STUDIES[asked.study]
    asked.runs.mkdir(parents=True, exist_ok=True)
    prepare(study, asked.data, asked.runs)
    for method in asked.methods:
        train(method, study, asked.data, asked.runs)
        add(method, study, asked.data, asked.runs)
    if not asked.no_table:
        table(asked.methods, study, asked.data, asked.runs, asked.runs / "table", asked.samples)


if __name__ == "__main__":
    main()
