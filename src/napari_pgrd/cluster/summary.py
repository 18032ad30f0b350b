"""The summary of many cases: ``summary.csv`` and ``summary.md``, the case to look at first in front.

Neither holds times or dates, so the same cases always give the same tables.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_pgrd.cluster.batch import Outcome
from napari_pgrd.cluster.results import Results
from napari_pgrd.io.nifti import write_atomically
from napari_pgrd.io.provenance import RESEARCH_USE
from napari_pgrd.session.summary import counted
from napari_pgrd.session.triage import RULE, Measures, ranked, reason, typical_share
from napari_pgrd.session.volumes import LabelVolume, interval_sentence, unanimous_sentence

CSV, PAGE = "summary.csv", "summary.md"
FIRST = 5


def in_order(outcomes: Sequence[Outcome]) -> list[tuple[Outcome, str]]:
    """Outcomes, the one to look at first in front, and why each stands there; those not done come last."""
    by_name = {o.name: o for o in outcomes}
    typical = typical_share([o.measures for o in outcomes if o.measures is not None])
    done = [o for o in outcomes if o.state != "not done"]
    rows = []
    for name in ranked([(o.name, o.measures) for o in done]):
        o = by_name[name]
        rows.append((o, o.sentence if o.measures is None else reason(o.measures, typical)))
    return rows + [(o, "not done yet") for o in outcomes if o.state == "not done"]


def write_summary(outcomes: Sequence[Outcome], results: Results) -> list[Path]:
    """Write both files into the folder of results; returns them."""
    rows = in_order(outcomes)
    labels = [label.name for label in results.bundle.spec.labels[1:]]
    page = _page(rows, results)
    csv_path, page_path = results.folder / CSV, results.folder / PAGE
    write_atomically(csv_path, lambda path: _write_csv(path, rows, labels))
    write_atomically(page_path, lambda path: path.write_text(page, encoding="utf-8"))
    return [csv_path, page_path]


HEAD = (
    "rank", "case", "state", "samples", "unit", "structure", "at_stake", "share_at_stake", "places", "largest_place",
    "largest_place_at_stake", "mean_entropy_nats", "mean_mutual_information_nats", "share_unanimous",
    "not_in_all_samples",
)  # fmt: skip
EACH = ("volume", "samples_5", "samples_95", "interval_low", "interval_high")


def _write_csv(path: Path, rows: Sequence[tuple[Outcome, str]], labels: Sequence[str]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow([*HEAD, *(f"{label}_{kind}" for label in labels for kind in EACH), "why"])
        for rank, (o, why) in enumerate(rows, 1):
            state = "done" if o.state == "kept" else o.state  # whether this run or an earlier one did it
            numbers = [""] * (len(HEAD) - 3 + len(EACH) * len(labels)) if o.measures is None else _numbers(o.measures)
            table.writerow([rank, o.name, state, *numbers, why])


def _numbers(m: Measures) -> list[Any]:
    places = [m.places, m.worst, _short(m.worst_stake)]
    doubt = [_short(m.entropy), _short(m.mutual_information), _short(m.unanimous), " ".join(m.absent)]
    out = [m.samples, m.unit, _short(m.size), _short(m.stake), _short(m.share), *places, *doubt]
    for v in m.volumes:
        out += [_short(x) for x in (v.consensus, v.low, v.high)]
        out += ["", ""] if v.interval is None else [_short(x) for x in v.interval]
    return out


def _page(rows: Sequence[tuple[Outcome, str]], results: Results) -> str:
    spec, r = results.bundle.spec.measured_for(results.request.method), results.request
    whole = [o for o, _ in rows if o.measures is not None]
    failed = [o for o, _ in rows if o.state == "failed"]
    open_cases = [o for o, _ in rows if o.state == "not done"]
    parts = [f"{counted(len(whole), 'case')} segmented"]
    parts += [f"{len(failed)} failed"] * bool(failed) + [f"{len(open_cases)} not done yet"] * bool(open_cases)
    how = f"{counted(r.samples or 0, 'sample')}, {counted(r.steps or 0, 'step')}, seed {r.seed}"
    out = ["# Cases, the one to look at first in front", "", f"{', '.join(parts)}. {RESEARCH_USE}.", ""]
    out += [f"Model {spec.name} (`{results.bundle.digest[:12]}`), {spec.row(r.method).title}, {how}.", "", RULE, ""]
    out += [unanimous_sentence(spec), ""]
    labels = [label.name for label in spec.labels[1:]]
    if whole:
        out += [_row("", "case", *labels, "why it stands here"), _row(*["---"] * (len(labels) + 3))]
        for rank, (o, why) in enumerate(rows, 1):
            if o.measures is not None:
                out.append(_row(rank, f"[{_escaped(o.name)}](<{o.name}/>)", *map(_volume, o.measures.volumes), why))
        out += ["", "A volume is the consensus', with the 5-95 % range of the samples."]
        for name in labels:
            if said := interval_sentence(spec, name):
                out.append(f"After a semicolon, {name}: {said}.")
    if failed:
        out += ["", "## Failed", "", *(f"- {_escaped(o.name)}: {_escaped(o.sentence)}" for o in failed)]
    if open_cases:
        out += ["", "## Not done yet", "", *(f"- {_escaped(o.name)}" for o in open_cases)]
    return "\n".join(out) + "\n"


def _volume(v: LabelVolume) -> str:
    def text(x: float) -> str:
        return f"{x:.2f}" if v.unit == "mL" else f"{x:.0f}"

    interval = "" if v.interval is None else f"; {text(v.interval[0])}-{text(v.interval[1])}"
    return f"{text(v.consensus)} {v.unit} ({text(v.low)}-{text(v.high)}{interval})"


def _row(*cells: object) -> str:
    return f"| {' | '.join(_escaped(str(cell)) if i != 1 else str(cell) for i, cell in enumerate(cells))} |"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _short(x: float) -> str:
    return f"{x:.6g}"
