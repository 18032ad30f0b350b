"""What benchmarks/reader.py found, in numbers, in a sentence made from them, and as a picture."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

READERS = {
    "prior": "brush, from the prior",
    "consensus": "brush, from the consensus",
    "places": "consensus + places",
    "alternatives": "places + alternatives",
    "again": "alternatives + sampling again",
}
COLOURS = ("#777777", "#000000", "#0077bb", "#ee7733", "#aa3377")
COUNTS = ("strokes", "taken", "presses", "accepted", "moves")
EVERY = 5  # interactions between two points of a curve
CURVE = f"dice_every_{EVERY}_interactions"
EARLY = (20, 40)  # interactions after which Dice is compared
Floats = NDArray[np.float64]


def record(hand: Any) -> dict[str, Any]:
    """The row of a reader, a ``Hand``, at the end."""
    from napari_pgrd.session.volumes import voxel_volume

    reached, cap = hand.curve[-1] >= hand.rules.target, hand.rules.cap
    size, unit = voxel_volume(hand.volume)
    return {
        "reached": reached,
        "interactions": hand.interactions if reached else cap,
        **{name: getattr(hand, name) for name in COUNTS},
        f"{unit}_changed": round(hand.changed * size, 4),
        "dice_at_the_start": round(hand.curve[0], 4),
        "dice_at_the_end": round(hand.curve[-1], 4),
        "gains_proposed": [round(g, 4) for g in hand.gains],
        CURVE: [round(d, 4) for d in hand.curve[: cap + 1 : EVERY]],
    }


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Numbers of each reader, and paired differences to the two who only brush."""
    table = {reader: [r for r in rows if r["reader"] == reader] for reader in READERS}
    out: dict[str, Any] = {}
    for reader, mine in table.items():
        changed = next(k for k in mine[0] if k.endswith("_changed"))
        n = np.array([r["interactions"] for r in mine], float)
        gains = [g for r in mine for g in r["gains_proposed"]]
        out[reader] = {
            "cases": len(mine),
            "reached": sum(r["reached"] for r in mine),
            "share_reached": sum(r["reached"] for r in mine) / len(mine),
            "interactions_median": float(np.median(n)),
            "interactions_mean": float(n.mean()),
            "interactions_and_moves_median": float(np.median([r["interactions"] + r["moves"] for r in mine])),
            f"{changed}_median": float(np.median([r[changed] for r in mine])),
            **{f"{key}_mean": float(np.mean([r[key] for r in mine])) for key in (changed, *COUNTS)},
            **({"gain_proposed_mean": float(np.mean(gains))} if gains else {}),
            **{f"dice_after_{n}": float(np.mean(after(mine, n))) for n in EARLY},
        }
        for base in ("prior", "consensus"):
            if base != reader:
                theirs = table[base]
                gaps = {"interactions": n - [r["interactions"] for r in theirs]}
                gaps[changed] = np.array([a[changed] - b[changed] for a, b in zip(mine, theirs, strict=True)])
                gaps |= {f"dice_after_{k}": after(mine, k) - after(theirs, k) for k in EARLY}
                out[reader][f"against_{base}"] = {key: paired(gap) for key, gap in gaps.items()}
    return out


def after(rows: list[dict[str, Any]], interactions: int) -> Floats:
    """Dice of every case after so many interactions; who reached the target earlier keeps it."""
    k = interactions // EVERY
    return np.array([r[CURVE][k] if k < len(r[CURVE]) else r["dice_at_the_end"] for r in rows], float)


def paired(gap: Floats) -> dict[str, Any]:
    """Of differences case by case: middle, mean, how many on each side, Wilcoxon's signed-rank p."""
    return {
        "median": float(np.median(gap)),
        "mean": float(gap.mean()),
        "less": int((gap < 0).sum()),
        "more": int((gap > 0).sum()),
        "wilcoxon_p": float(stats.wilcoxon(gap).pvalue) if gap.any() and len(gap) > 5 else None,
    }


def sentence(summary: dict[str, Any]) -> str:
    """What came out, in words made from the numbers."""
    cases = summary["prior"]["cases"]
    parts = [
        f"{text} {s['interactions_median']:g} (with moves {s['interactions_and_moves_median']:g}; "
        f"{s['reached']} of {cases} reached it)"
        for reader, text in READERS.items()
        for s in [summary[reader]]
    ]
    out = [f"Median interactions to the target: {'; '.join(parts)}."]
    for base in ("prior", "consensus"):
        verdicts = [
            f"{READERS[reader]} {verdict(summary[reader][f'against_{base}'])}"
            for reader in READERS
            if f"against_{base}" in summary[reader] and reader != "prior"
        ]
        out.append(f"Against the {READERS[base]}: {'; '.join(verdicts)}.")
    s = summary["again"]
    gain = f", its mean gain in Dice {s['gain_proposed_mean']:+.4f}" if "gain_proposed_mean" in s else ""
    out.append(
        f"Sampling again was tried {s['presses_mean']:.2f} and accepted {s['accepted_mean']:.2f} times a case{gain}."
    )
    return " ".join(out)


def verdict(against: dict[str, Any]) -> str:
    """One reader against another: at the target, and early on."""
    g, early = against["interactions"], against[f"dice_after_{EARLY[0]}"]
    words = "no clear difference" if not clear(g) else ("fewer" if g["mean"] < 0 else "more")
    return (
        f"{words}, {g['mean']:+.1f} interactions on average ({told(g)}; fewer in {g['less']}, more in {g['more']}), "
        f"Dice after {EARLY[0]} of them {early['mean']:+.4f} ({told(early)})"
    )


def clear(gap: dict[str, Any]) -> bool:
    """Whether a paired difference is more than chance would give, at 5 %."""
    return gap["wilcoxon_p"] is not None and gap["wilcoxon_p"] < 0.05


def told(gap: dict[str, Any]) -> str:
    """Its p, or why there is none."""
    if gap["wilcoxon_p"] is not None:
        return f"p = {gap['wilcoxon_p']:.2g}"
    return "too few cases to test" if gap["less"] + gap["more"] else "no difference in any case"


def write(result: dict[str, Any], path: Path) -> None:
    """JSON with a row a line, replaced in one step."""
    head = json.dumps({k: v for k, v in result.items() if k != "rows"}, indent=1)[:-2]
    body = ",\n  ".join(json.dumps(row) for row in result["rows"])
    temporary = path.with_suffix(".tmp")
    temporary.write_text(f'{head},\n "rows": [\n  {body}\n ]\n}}\n', encoding="utf-8")
    os.replace(temporary, path)


def plot(result: dict[str, Any], path: Path) -> None:
    """Interactions of every case, and mean Dice against interactions."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    end = max(r["interactions"] for r in result["rows"])
    at = np.arange(0, end + 1, EVERY)
    for y, (reader, colour) in enumerate(zip(READERS, COLOURS, strict=True)):
        mine = [r for r in result["rows"] if r["reader"] == reader]
        n = [r["interactions"] for r in mine]
        spread = np.linspace(-0.2, 0.2, len(mine)) if len(mine) > 1 else np.zeros(1)
        left.plot(n, y + spread, "o", markersize=4, color=colour, alpha=0.6)
        left.plot([np.median(n)] * 2, [y - 0.35, y + 0.35], color="#000000")
        right.plot(at, [after(mine, int(k)).mean() for k in at], color=colour, label=READERS[reader])
    left.set(yticks=range(len(READERS)), yticklabels=READERS.values(), ylim=(4.5, -0.5), xlabel="interactions")
    left.set_title(f"to Dice {result['rules']['target']:g}; the bar is the median", fontsize=10)
    right.set(xlabel="interactions", ylabel="Dice, mean over cases", xlim=(0, end))
    right.set_title("a simulation: the reader knows the truth", fontsize=10)
    right.legend(fontsize=8)
    for axis in (left, right):
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
