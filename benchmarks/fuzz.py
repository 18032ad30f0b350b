"""Can a hostile file crash, stall, fill or misuse the program: mutated real files, many times, each watched.

    python benchmarks/fuzz.py run --data DIR          # DIR as for dicom_check.py; without it, sample data
    python benchmarks/fuzz.py one nifti 4711          # an input of the campaign again, with what it raises
    python benchmarks/fuzz.py prove                   # every oracle on a fault planted for it
    python benchmarks/fuzz.py guided --minutes 3      # atheris, where it is installed: guided by coverage

What is done to an input follows from the seed and its number alone. Inputs are read in child processes with limited
memory, many a child; a parent looks on and kills what takes too long. What is done stands in ``--work``, line by line:
an interrupted campaign goes on where it was. Only what ``fuzzing/oracles.py`` allows may happen. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import shutil
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # series and bundles are written as the tests write them

from fuzzing import oracles
from fuzzing.children import prove, scratch, watch_of, watched_child

RESULTS = Path(__file__).resolve().parent / "results"
FAMILIES = {"nifti": 70_000, "dicom": 14_000, "bundle": 6_000, "review": 12_000}
A_CHILD = 2_500  # inputs, then a fresh process
LIBRARIES = (
    "nibabel",
    "pydicom",
    "highdicom",
    "safetensors",
    "numpy",
    "pillow",
    "pyjpegls",
    "python-gdcm",
    "torch",
    "pydantic",
)


def main() -> int:
    """Do what was asked; the exit status is 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("--only", choices=FAMILIES, nargs="+", default=list(FAMILIES))
    run.add_argument("--inputs", type=int, help="of each family, instead of the usual number")
    run.add_argument("--work", type=Path, default=Path("runs/fuzz"))
    run.add_argument("--out", type=Path, default=RESULTS / "fuzz.json")
    one = commands.add_parser("one")
    one.add_argument("family", choices=FAMILIES)
    one.add_argument("number", type=int)
    one.add_argument("--keep", type=Path, help="a folder that the input is copied to")
    for command in (run, one):
        command.add_argument("--data", type=Path)
        command.add_argument("--seed", type=int, default=0)
    for command in (run, one, commands.add_parser("prove")):
        command.add_argument("--patience", type=float, default=oracles.SECONDS, help="seconds that an input may take")
    guided = commands.add_parser("guided")
    guided.add_argument("--minutes", type=float, default=3, help="a target")
    guided.add_argument("--out", type=Path, default=RESULTS / "fuzz.json")
    if sys.argv[1:2] == ["target"]:  # of the guided ones: the rest is for libFuzzer
        from fuzzing.guided import target

        target(sys.argv[2], sys.argv[3:])
    args = parser.parse_args()
    for name in {"work", "out", "data", "keep"} & set(vars(args)):
        path = getattr(args, name)
        setattr(args, name, path and path.resolve())  # inputs are read in another working directory
    if args.command == "guided":
        from fuzzing.guided import campaign

        return campaign(args.minutes, args.out)
    oracles.SECONDS = args.patience
    with scratch() as place:
        if args.command == "prove":
            proof = prove(place)
            print(json.dumps(proof, indent=1))
            return int(not all(proof.values()))
        if args.command == "one":
            return again(place, args)
        return run_all(place, args)


# ---- the campaign


def run_all(place: Path, args: argparse.Namespace) -> int:
    """Every family, then the table; returns the exit status."""
    args.work.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {}
    proof = {} if args.inputs else prove(place)  # a few inputs are a look, no campaign
    for name in args.only:
        family = load(name, place, args.data)
        record = args.work / f"{name}-{args.seed}.jsonl"
        run_family(family, place, record, args.inputs or FAMILIES[name], args.seed)
        results[name] = summary(record)
        found = results[name]["findings"]
        print(f"{name}: {results[name]['inputs']} inputs, {len(found)} kinds of findings", flush=True)
        for one in found:
            print("  ", json.dumps(one), flush=True)
    earlier = json.loads(args.out.read_text(encoding="utf-8")) if args.out.exists() else {}
    out = {
        "command": "python benchmarks/fuzz.py run" + (" --data DIR" if args.data else "") + f" --seed {args.seed}",
        "machine": {
            "cores": os.cpu_count(),
            "used": 1,
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "limits": {"seconds": oracles.SECONDS, "memory_mib": oracles.MEMORY >> 20, "sentence": oracles.LONGEST},
        "seconds": round(sum(r["seconds"] for r in results.values()), 1),
        "inputs": sum(r["inputs"] for r in results.values()),
        "findings": sum(len(r["findings"]) for r in results.values()),
        "oracles_proved": proof,
        "families": results,
        "guided": earlier.get("guided", {}),
        "versions": {name: version(name) for name in ("napari-pgrd", "hypothesis", *LIBRARIES)},
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")
    return int(out["findings"] > 0 or not all(proof.values()))


def run_family(family: Any, place: Path, record: Path, count: int, seed: int) -> None:
    """Children, one after the other, until every input has its line in ``record``."""
    judge_again(family, place, record, seed)
    done, clock = lines(record), record.with_suffix(".seconds")
    while done < count:
        began = time.monotonic()
        stop = min(count, done + A_CHILD)
        ended = watched_child(lambda tell, a=done, b=stop: inputs(family, place, record, a, b, seed, tell), record)
        now = lines(record)
        if ended is not None or now < stop:  # the input that the child was at ended it
            dead = {"i": now, "kind": "?", "outcome": "finding", "s": 0, "mb": 0}
            dead["findings"] = [ended or "ended without a word"]
            with open(record, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(dead) + "\n")
        done = lines(record)
        clock.write_text(f"{seconds_of(record) + time.monotonic() - began:.1f}")


def judge_again(family: Any, place: Path, record: Path, seed: int) -> None:
    """The inputs that something was found in when the campaign was interrupted: it may be mended by now."""
    rows = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()] if lines(record) else []
    fresh = record.with_suffix(".again")
    for at, row in enumerate(rows):
        if "findings" not in row:
            continue
        fresh.unlink(missing_ok=True)
        ended = watched_child(lambda tell, i=row["i"]: inputs(family, place, fresh, i, i + 1, seed, tell), fresh)
        if ended is None:
            now, before = json.loads(fresh.read_text(encoding="utf-8")), [*row.get("mended", ()), *row["findings"]]
            rows[at] = {**now, "mended": before}
    fresh.unlink(missing_ok=True)
    if rows:
        record.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def seconds_of(record: Path) -> float:
    """How long its inputs took to make and to judge, in all processes that did."""
    clock = record.with_suffix(".seconds")
    return float(clock.read_text()) if clock.exists() else 0.0


def inputs(
    family: Any, place: Path, record: Path, start: int, stop: int, seed: int, tell: Callable[[int], None]
) -> None:
    """In the child: make, judge and record inputs."""
    oracles.confine()
    watch = watch_of(place)
    with open(record, "a", encoding="utf-8") as stream:
        for i in range(start, stop):
            kind, run = make(family, place, i, seed)
            tell(i)
            verdict = watch.judge(run)
            tell(-1)
            line = {"i": i, "kind": kind, "outcome": verdict.outcome, "s": round(verdict.seconds, 4)}
            line |= {"mb": round(verdict.memory / 2**20, 1), "bytes": size(place / "input")}
            line |= {"said": skeleton(verdict.sentence)} if verdict.sentence else {}
            line |= {"findings": verdict.findings} if verdict.findings else {}
            stream.write(json.dumps(line) + "\n")
            stream.flush()


def make(family: Any, place: Path, i: int, seed: int) -> tuple[str, Callable[[], Any]]:
    """Input number i in the folder ``input``: its kind and what reads it."""
    folder = place / "input"
    for turn in ("", "/2", "/3", "/4"):  # what is spoilt twice can sometimes not be spoilt the second time
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        with contextlib.suppress(Exception):
            return family.make(random.Random(f"{seed}/{family.name}/{i}{turn}"), folder)
    return "none", lambda: None


def load(name: str, place: Path, data: Path | None) -> Any:
    """A family with its seeds, everything imported that its readers need."""
    folder = place / f"seeds-{name}"
    folder.mkdir(exist_ok=True)
    signal.signal(signal.SIGALRM, _late)
    module = import_module(f"fuzzing.{name}_files")
    family = module.Family(folder, place / "canary", place / "linked", data)
    for i in range(40):  # libraries import lazily; after this no import need be allowed for
        _, run = make(family, place, -1 - i, 0)
        signal.alarm(2)  # nobody looks on yet
        with contextlib.suppress(Exception):
            run()
        signal.alarm(0)
    return family


def _late(*_: Any) -> None:
    raise TimeoutError("an input that takes too long")


# ---- what was found


def lines(record: Path) -> int:
    """Whole lines of a record; what a killed child left of one is cut off."""
    if not record.exists():
        return 0
    raw = record.read_bytes()
    if not raw.endswith(b"\n"):
        record.write_bytes(raw[: raw.rfind(b"\n") + 1])
    return raw.count(b"\n")


def summary(record: Path) -> dict[str, Any]:
    """Counts, the slowest and the largest input, outcomes by kind, and every kind of finding."""
    rows = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    kinds: defaultdict[str, Counter[str]] = defaultdict(Counter)
    found: dict[str, list[int]] = {}
    mended: dict[str, list[int]] = {}
    for row in rows:
        kinds[row["kind"]][row["outcome"]] += 1
        for text in row.get("findings", ()):
            found.setdefault(f"{row['kind']}: {text}", []).append(row["i"])
        for text in row.get("mended", ()) if "findings" not in row else ():
            mended.setdefault(f"{row['kind']}: {text}", []).append(row["i"])
    slowest, largest = max(rows, key=lambda r: r["s"]), max(rows, key=lambda r: r["mb"])
    return {
        "inputs": len(rows),
        "seconds": seconds_of(record),
        "outcomes": dict(Counter(row["outcome"] for row in rows)),
        "sentences": len({row["said"] for row in rows if "said" in row}),
        "slowest": {key: slowest[key] for key in ("i", "kind", "s")},
        "largest": {key: largest[key] for key in ("i", "kind", "mb")},
        "bytes": sum(row.get("bytes", 0) for row in rows),
        "kinds": {kind: dict(sorted(counts.items())) for kind, counts in sorted(kinds.items())},
        "findings": [{"what": text, "times": len(at), "first": at[:3]} for text, at in sorted(found.items())],
        "mended": [{"what": text, "times": len(at), "first": at[:3]} for text, at in sorted(mended.items())],
    }


def skeleton(sentence: str) -> str:
    """A sentence without its numbers and its longer half: what tells kinds of them apart."""
    return "".join("N" if c.isdigit() else c for c in sentence)[:60]


def size(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*"))


def again(place: Path, args: argparse.Namespace) -> int:
    """One input, without the watch, so that a debugger or a traceback shows what happens."""
    family = load(args.family, place, args.data)
    kind, run = make(family, place, args.number, args.seed)
    if args.keep:
        shutil.copytree(place / "input", args.keep, symlinks=True)
    print(kind, [str(p.relative_to(place)) for p in sorted((place / "input").rglob("*"))][:20])
    verdict = watch_of(place).judge(run)
    print(verdict)
    make(family, place, args.number, args.seed)[1]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
