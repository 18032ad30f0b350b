"""``pgrd compare``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from napari_pgrd.cli.inference import Device, Samples, Seed, Steps
from napari_pgrd.cli.terminal import progress, shown
from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.request import Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_pgrd.evaluate.compare import Plan, System


def compare(
    entry: Annotated[
        list[str],
        Option(help="NAME=BUNDLE, NAME=BUNDLE:METHOD or NAME=BUNDLE:METHOD@STEPS. Repeat.", show_default=False),
    ],
    images: Annotated[Path, Option(help="Folder of images.", show_default=False)],
    labels: Annotated[Path, Option(help="Folder of label maps of the same names.", show_default=False)],
    cases: Annotated[Path, Option(help="A split, a list of names, or of cases and slices.", show_default=False)],
    out: Annotated[
        Path, Option(help="Folder for table and pictures; one that was stopped goes on.", show_default=False)
    ],
    block: Annotated[str, Option(help="Which block, where the list of cases is a split.")] = "validation",
    samples: Samples = None,
    steps: Steps = None,
    seed: Seed = 0,
    device: Device = "auto",
    reference: Annotated[str | None, Option(help="The entry to test all others against; default: the first.")] = None,
    curve: Annotated[str | None, Option(help="Measure at these numbers of steps, too, as 1,2,5,10,20,50.")] = None,
    curve_entry: Annotated[list[str] | None, Option(help="Entries to measure so. Repeat; default: reference.")] = None,
    picture: Annotated[list[str] | None, Option(help="A case to show: truth, samples, entropy. Repeat.")] = None,
) -> None:
    """Compare bundles and methods on the same cases: one table with tests, and pictures."""
    from napari_pgrd.evaluate.compare import Plan, systems_of
    from napari_pgrd.evaluate.compare import compare as measure
    from napari_pgrd.evaluate.entries import parse_entries
    from napari_pgrd.evaluate.items import read_items
    from napari_pgrd.evaluate.report import record, write
    from napari_pgrd.io.cases import pair
    from napari_pgrd.session.export import check_destination

    entries = parse_entries(entry)
    first = reference or entries[0].name
    require(curve is not None or not curve_entry, InputError, "--curve-entry needs --curve with numbers of steps.")
    plan = Plan(
        tuple(entries),
        tuple(read_items(cases, block, pair(images, labels))),
        Request(samples, steps, seed, device=device),
        out,
        first,
        parse_steps(curve),
        tuple(curve_entry or [first]) if curve else (),
        tuple(picture or ()),
    )
    require(not out.is_file(), InputError, f"{out.name} is a file; give a folder for table and pictures.")
    systems = systems_of(plan)
    check_destination(out)
    with progress() as show:
        measure(plan, show, systems)
    words = ["pgrd", "compare", *(w for e in entries for w in ("--entry", e.shown))]
    words += ["--images", shown(images), "--labels", shown(labels), "--cases", shown(cases), "--block", block]
    words += [
        w
        for name, v in (("--samples", samples), ("--steps", steps), ("--curve", curve))
        if v is not None
        for w in (name, str(v))
    ]
    words += [w for name in curve_entry or () for w in ("--curve-entry", name)]
    words += [w for name in picture or () for w in ("--picture", name)]
    words += ["--seed", str(seed), "--reference", first, "--out", shown(out)]
    made = record(plan, systems, shlex.join(words))
    written = [*write(out, made), *pictures(plan, systems, made)]
    for name, cell in made["table"]["dice"]["systems"].items():
        rest = "  ".join(f"{k} {made['table'][k]['systems'][name]['mean']:.4f}" for k in ("nll", "ece", "ged2"))
        print(f"{name:20} dice {cell['mean']:.4f}  {rest}")
    print(f"Wrote {', '.join(path.name for path in written)} to {out}")


def pictures(plan: Plan, systems: Sequence[System], made: dict[str, object]) -> list[Path]:
    """Draw what was measured; returns the files."""
    from napari_pgrd.evaluate import plots
    from napari_pgrd.evaluate.items import file_name
    from napari_pgrd.evaluate.panel import panel

    out = [(plots.reliability, "reliability"), (plots.sparsification, "sparsification")]
    out += [(plots.curve, "steps")] if plan.curve else []
    written = [plan.out / f"{name}.png" for _, name in out]
    for (draw, _), path in zip(out, written, strict=True):
        draw(made, path)
    for item in plan.items:
        arrays = {s.entry.name: s.pictures[item.name] for s in systems if item.name in s.pictures}
        if arrays:
            written.append(plan.out / f"case-{file_name(item.name)}.png")
            panel(arrays, systems[0].spec, item.name, written[-1])
    return written


def parse_steps(text: str | None) -> tuple[int, ...]:
    """``"1,2,5"`` as rising numbers; empty for None."""
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    require(
        all(p.isdecimal() and len(p) < 7 and int(p) > 0 for p in parts),
        InputError,
        f"The curve {text!r} is not understood; give numbers of steps from 1 on, as 1,2,5,10,20,50.",
    )
    return tuple(sorted({int(p) for p in parts}))
