"""Pictures of a comparison: reliability, sparsification, quality against steps. Matplotlib is loaded when one is drawn.

Colours are Okabe and Ito's, which colour-blind readers tell apart; each system has its own marker and line as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_pgrd.evaluate.doubt import SHARES
from napari_pgrd.evaluate.reliability import Reliability
from napari_pgrd.io.nifti import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = dict[str, Any]
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A7A00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", "--", "-.", ":")
LEVEL = (":", "-.", "--")  # of systems without steps, which are level lines against the number of steps
GREY = "#777777"
LEAST = 100  # voxels: a bin with fewer says little and is not drawn
SIZE: dict[Any, float] = {"font.size": 11, "legend.fontsize": 9.5, "axes.titlesize": 11.5}
DPI = 130
SHOWN = {"dice": "DSC of the consensus", "ged2": "GED²", "nll": "NLL, nats"}
SPAN = {
    "dice": 0.02,
    "ged2": 0.05,
    "nll": 0.01,
}  # an axis shows at least this much, so that nothing is made to look large


def style(index: int) -> dict[str, Any]:
    """Colour, marker and dash of the system at that place of the table; open, so that equal ones show through."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": DASHES[index // len(COLOURS) % len(DASHES)],
        "markersize": max(9.5 - 1.2 * index, 4.5),
        "markerfacecolor": "none",
        "linewidth": 1.6,
    }


def draw_reliability(axes: Axes, systems: Mapping[str, Reliability], ink: str = GREY, least: int = LEAST) -> None:
    """Share of right voxels against confidence; bins with fewer than ``least`` voxels are left out."""
    axes.plot([0, 1], [0, 1], color=ink, linewidth=1, linestyle=":")
    low = 1.0
    for i, (name, bins) in enumerate(systems.items()):
        shown = bins.count >= least
        if shown.any():
            axes.plot(bins.mean_confidence[shown], bins.accuracy[shown], label=name, **style(i))
            low = min(low, float(bins.mean_confidence[shown].min()), float(bins.accuracy[shown].min()))
    axes.set(xlim=(max(0.0, low - 0.05), 1.0), ylim=(max(0.0, low - 0.05), 1.0))
    axes.set(xlabel="confidence", ylabel="share that is right")
    axes.grid(alpha=0.25)


def draw_gap(axes: Axes, systems: Mapping[str, Reliability], least: int = LEAST) -> None:
    """Confidence minus share of right voxels: above zero is too sure."""
    axes.axhline(0, color=GREY, linewidth=1, linestyle=":")
    for i, (name, bins) in enumerate(systems.items()):
        shown = bins.count >= least
        axes.plot(bins.mean_confidence[shown], (bins.mean_confidence - bins.accuracy)[shown], label=name, **style(i))
    axes.set(xlabel="confidence", ylabel="confidence − share that is right")
    axes.grid(alpha=0.25)


def reliability(made: Row, path: Path) -> None:
    """Reliability in the region of interest: the diagram, and the same as distance from its diagonal."""
    figure, (left, right) = _figure(1, 2, (9.2, 4.3))
    systems = {name: Reliability.read(found["reliability_roi"]) for name, found in made["reliability"].items()}
    draw_reliability(left, systems)
    draw_gap(right, systems)
    left.set_title("region of interest, voxels of all cases")
    right.set_title("above 0: too sure, below: not sure enough")
    _legend(figure, right, len(systems))
    _save(figure, path)


def diagram(systems: Mapping[str, Reliability], title: str, path: Path) -> None:
    """One reliability diagram, for a model card."""
    figure, (axes,) = _figure(1, 1, (4.8, 4.9))
    draw_reliability(axes, systems)
    axes.set_title(title)
    _legend(figure, axes, len(systems))
    _save(figure, path)


def sparsification(made: Row, path: Path) -> None:
    """Mean error of what stays, and how far it lies above the best possible order."""
    known = {name: found for name, found in made["sparsification"].items() if found}
    figure, (left, right) = _figure(1, 2, (9.2, 4.3))
    for i, (name, found) in enumerate(known.items()):
        look = {**style(i), "markevery": 12}
        curve, oracle = np.array(found["curve"]), np.array(found["oracle"])
        left.plot(SHARES, curve, label=name, **look)
        right.plot(SHARES, curve - oracle, label=name, **look)
        left.plot(SHARES, oracle, color=look["color"], linewidth=0.8, alpha=0.6)
    left.set(title="thin: the best possible order", ylabel="error rate of what stays")
    right.set(title="above the best possible order (area: AUSE)", ylabel="error rate above it")
    for axes in (left, right):
        axes.set(xlabel="share of voxels left out, highest entropy first", ylim=(0, None), xlim=(0, 1))
        axes.grid(alpha=0.25)
    _legend(figure, left, len(known))
    _save(figure, path)


def curve(made: Row, path: Path) -> None:
    """Quality against the number of steps; systems without steps are level lines."""
    figure, panels = _figure(1, 3, (10.4, 4.0))
    names = list(made["systems"])
    ticks = sorted({point["steps"] for points in made["curve"].values() for point in points})
    for axes, (key, title) in zip(panels, SHOWN.items(), strict=True):
        for name, points in made["curve"].items():
            axes.plot([p["steps"] for p in points], [p[key] for p in points], label=name, **style(names.index(name)))
        for name, system in made["systems"].items():
            mean = made["table"].get(key, {}).get("systems", {}).get(name, {}).get("mean")
            stepwise = system["request"].get("solver") is not None
            if name not in made["curve"] and not stepwise and mean is not None:
                index = names.index(name)
                look = {**style(index), "linestyle": LEVEL[index // len(COLOURS) % len(LEVEL)], "linewidth": 1.3}
                axes.plot(ticks, [mean] * len(ticks), label=name, **look)
        low, high = axes.get_ylim()
        margin = max(0.0, SPAN[key] - (high - low)) / 2
        axes.set(xscale="log", title=title, xlabel="steps", ylim=(low - margin, high + margin))
        axes.set_xticks(ticks, [str(t) for t in ticks])
        axes.minorticks_off()
        axes.grid(alpha=0.25)
    _legend(figure, panels[0], len(panels[0].get_lines()))
    _save(figure, path)


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, Sequence[Axes]]:
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(SIZE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.flat)


def _legend(figure: Figure, axes: Axes, count: int) -> None:
    """One legend below all panels."""
    from matplotlib import rc_context

    handles, labels = axes.get_legend_handles_labels()
    with rc_context(SIZE):
        figure.legend(handles, labels, loc="outside lower center", ncols=min(4, max(count, 1)), frameon=False)


def _save(figure: Figure, path: Path) -> None:
    write_atomically(path, lambda where: figure.savefig(where, dpi=DPI, format="png"), ".png")
