"""Many rows become one table: what it says, and how Markdown, CSV and JSON write it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_pgrd.evaluate.statistics import Paired, best, by_case, holm, paired

Row = dict[str, Any]
Systems = Mapping[str, Sequence[Row]]  # rows by name of the system, in the order of the table


@dataclass(frozen=True)
class Measure:
    """One line of the table; ``higher`` is None where neither is better."""

    key: str
    title: str
    higher: bool | None = None
    digits: int = 4


MEASURES = (
    Measure("dice", "DSC", True),
    Measure("nll", "NLL, nats", False),
    Measure("ece", "ECE, whole image", False),
    Measure("ece_roi", "ECE, region of interest", False),
    Measure("adaptive_ece", "adaptive ECE, whole image", False),
    Measure("adaptive_ece_roi", "adaptive ECE, region", False),
    Measure("brier", "Brier", False),
    Measure("hd95", "HD95, {units}", False, 2),
    Measure("nsd", "NSD at 1 {unit}", True),
    Measure("ged2", "GED²", False),
    Measure("hm_iou", "HM-IoU", True),
    Measure("diversity", "diversity of samples"),
    Measure("rater_diversity", "diversity of raters"),
    Measure("empty_samples", "share of empty samples"),
    Measure("empty_raters", "share of empty raters"),
    Measure("auroc_entropy_error", "AUROC, entropy finds errors", True),
    Measure("spearman_entropy_error", "Spearman, entropy and error", True),
    Measure("ause", "AUSE", False),
    Measure("aurg", "AURG", True),
    Measure("sample_dice", "DSC of single samples", True),
    Measure("volume_coverage", "true volume in the samples' 5-95 % range"),
    Measure("parameters", "parameters, millions", None, 2),
    Measure("calls", "network calls per sample", None, 2),
    Measure("seconds", "seconds per sample", None, 3),
)
COSTS = ("parameters", "calls", "seconds")
COST_DEFINITIONS = {
    "parameters": "Of the networks that a sample comes from, in millions.",
    "calls": "Evaluations of those networks for a case over the number of its samples; a batch of m counts m times, "
    "and the prior's one call where the method uses the prior.",
    "seconds": "Wall time from the volume in memory to the last sample, over the number of samples; networks loaded, "
    "the prior's one call, which every run makes, included.",
    "training_minutes": "Wall time of the trainings of the networks that the system uses, as the bundle records it.",
}


def value(row: Row, key: str) -> float | None:
    """One number of one row."""
    if key.startswith("dice:"):
        return float(row["dice"][key.removeprefix("dice:")])
    if key == "parameters":
        return float(row["parameters"]) / 1e6
    if key in COSTS:
        return float(row[key]) / int(row["samples"])
    found = row["numbers"].get(key)
    return None if found is None else float(found)


def measures(rows: Sequence[Row]) -> list[Measure]:
    """The lines for these rows: each label's Dice where there are several, the unit of length as it is known."""
    known = all(row["spacing_known"] for row in rows)
    names = {"unit": "mm", "units": "mm"} if known else {"unit": "voxel", "units": "voxels"}
    labels = list(rows[0]["dice"])
    each = [Measure(f"dice:{name}", f"DSC, {name}", True) for name in labels] if len(labels) > 1 else []
    lines = [Measure(m.key, m.title.format(**names), m.higher, m.digits) for m in MEASURES]
    return [lines[0], *each, *lines[1:]]


def tabulate(systems: Systems, reference: str) -> dict[str, Row]:
    """Mean, standard deviation, bold and tests of every line and system; see ``statistics.STATEMENT``."""
    out: dict[str, Row] = {}
    for line in measures(next(iter(systems.values()))):
        values = {name: [value(row, line.key) for row in rows] for name, rows in systems.items()}
        cases = {
            name: by_case([(row["case"], v) for row, v in zip(systems[name], values[name], strict=True)])
            for name in systems
        }
        cells = {name: _spread(found) for name, found in values.items()}
        if all(cell["mean"] is None for cell in cells.values()):
            continue  # raters' numbers, where there is one rater
        first = None if line.higher is None else best(cases, line.higher)
        tests = {name: paired(cases[name], cases[reference]) for name in systems if name != reference}
        if line.key in COSTS:
            tests = dict.fromkeys(tests, Paired(0, None, None, None))
        t, w = (holm([getattr(test, key) for test in tests.values()]) for key in ("t_p", "wilcoxon_p"))
        for (name, test), t_holm, w_holm in zip(tests.items(), t, w, strict=True):
            cells[name] |= {**test._asdict(), "pairs": test.n, "t_p_holm": t_holm, "wilcoxon_p_holm": w_holm}
            del cells[name]["n"]
        for name, cell in cells.items():
            cell["n"] = sum(v is not None for v in values[name])
            cell["best"] = name == first
        out[line.key] = {"title": line.title, "higher": line.higher, "digits": line.digits, "systems": cells}
    return out


def _spread(values: Sequence[float | None]) -> Row:
    known = np.array([v for v in values if v is not None], float)
    return {"mean": float(known.mean()), "std": float(known.std())} if known.size else {"mean": None, "std": None}


def markdown(table: Mapping[str, Row], reference: str, head: Sequence[str], foot: Sequence[str]) -> str:
    """Numbers as lines, systems as columns; then differences to the reference with their p-values."""
    names = list(next(iter(table.values()))["systems"])
    first = [["", *names], ["---", *["---:"] * len(names)]]
    for line in table.values():
        arrow = {True: " ↑", False: " ↓", None: ""}[line["higher"]]
        first.append([line["title"] + arrow, *(_cell(line, line["systems"][name]) for name in names)])
    others = [name for name in names if name != reference]
    second = [[f"minus {reference}", *others], ["---", *["---:"] * len(others)]]
    for key, line in table.items():
        if key not in COSTS and line["higher"] is not None:
            second.append([line["title"], *(_difference(line, line["systems"][name]) for name in others)])
    parts = [*head, _grid(first)]
    if others:
        sentence = (
            "Difference of means over the pairs, with p of the paired t-test and of the Wilcoxon test, both Holm."
        )
        parts += [f"{sentence} Positive: higher than {reference}.", _grid(second)]
    return "\n\n".join([*parts, *foot]) + "\n"


def _cell(line: Row, cell: Row) -> str:
    if cell["mean"] is None:
        return "–"
    digits = line["digits"]
    text = f"{cell['mean']:.{digits}f}"
    if cell["std"] > 1e-9 * abs(cell["mean"]):
        text += f" ± {cell['std']:.{digits}f}"
    return f"**{text}**" if cell["best"] else text


def _difference(line: Row, cell: Row) -> str:
    if cell["difference"] is None:
        return "–"
    tests = ", ".join(f"{name} {_p(cell[key])}" for name, key in (("t", "t_p_holm"), ("W", "wilcoxon_p_holm")))
    return f"{cell['difference']:+.{line['digits']}f} ({tests})"


def _p(p: float | None) -> str:
    if p is None:
        return "–"
    return "<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def _grid(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def as_csv(table: Mapping[str, Row], reference: str) -> str:
    """One line a number and system."""
    fields = (
        "n", "mean", "std", "best", "pairs", "difference", "t_p", "t_p_holm", "wilcoxon_p", "wilcoxon_p_holm",
    )  # fmt: skip
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["number", "title", "better", "system", "reference", *fields])
    for key, line in table.items():
        better = {True: "higher", False: "lower", None: ""}[line["higher"]]
        for name, cell in line["systems"].items():
            values = ["" if cell.get(f) is None else cell[f] for f in fields]
            writer.writerow([key, line["title"], better, name, reference, *values])
    return out.getvalue()
