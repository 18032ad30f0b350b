"""A case as a picture: image, raters, and each system's consensus, samples and entropy (the paper's Figure 2)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.evaluate.raters import majority
from napari_pgrd.io.nifti import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Arrays = Mapping[str, NDArray[Any]]
COLUMNS, INCH, DPI = 6, 1.55, 130
MARGIN = 6  # pixels around what anybody marked


def panel(systems: Mapping[str, Arrays], spec: BundleSpec, title: str, path: Path) -> None:
    """One row a system beneath the image and what the raters marked on it.

    Parameters
    ----------
    systems : mapping
        By name, what ``slices.picture_of`` gave; all of one case.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    first, top = next(iter(systems.values())), float(np.log(len(spec.labels)))
    truths, aspect = first["truths"], float(first["aspect"])
    where = _around(systems)
    height = first["image"][where].shape[0] * aspect / first["image"][where].shape[1]
    size = (COLUMNS * INCH + 0.9, (len(systems) + 1) * (INCH * height + 0.08) + 0.9)
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(systems) + 1, COLUMNS, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    image = first["image"]
    low, high = np.percentile(image, (1, 99.5))

    def show(axes: Axes, name: str, mask: NDArray[Any] | None = None) -> None:
        axes.imshow(image[where], cmap="gray", vmin=low, vmax=high, aspect=aspect, interpolation="bicubic")
        axes.set_title(name, fontsize=10)
        if mask is not None:
            for k, label in enumerate(spec.labels[1:], 1):
                _outline(axes, mask[where] == k, label.colour)

    show(grid[0, 0], "image")
    opinions = [("truth" if len(truths) == 1 else f"rater {i}", truth) for i, truth in enumerate(truths, 1)]
    if len(truths) > 1:
        opinions = [*opinions[: COLUMNS - 2], ("at least half", majority(truths))]
    for axes, (name, mask) in zip(grid[0, 1:], opinions, strict=False):
        show(axes, name if mask.any() else f"{name}: nothing", mask)
    if len(truths) == 1:
        show(grid[0, 2], "truth, filled")
        _fill(grid[0, 2], truths[0][where], spec, aspect)
    shade: Any = None
    for line, (name, arrays) in zip(grid[1:], systems.items(), strict=True):
        first_line = name == next(iter(systems))  # the columns are named once
        show(line[0], "consensus" * first_line, arrays["consensus"])
        for i, mask in enumerate(arrays["samples"]):
            if len(arrays["samples"]) > 1:  # a single mask is the consensus
                show(line[1 + i], f"sample {i + 1}" * first_line, mask)
        shade = line[-1].imshow(arrays["entropy"][where], cmap="magma", vmin=0, vmax=top, aspect=aspect)
        line[-1].set_title("entropy" * first_line, fontsize=10)
        line[0].text(-0.08, 0.5, name, rotation=90, ha="right", va="center", transform=line[0].transAxes, fontsize=10)
    bar = figure.colorbar(shade, ax=grid[1:, -1].tolist(), shrink=0.8)
    bar.set_label("nats", fontsize=10)
    figure.suptitle(title, fontsize=11)
    write_atomically(path, lambda place: figure.savefig(place, dpi=DPI, format="png"), ".png")


def _outline(axes: Axes, mask: NDArray[np.bool_], colour: str) -> None:
    """The border between voxels in and out, dark beneath so that it is seen on light ground, too."""
    if not mask.any():
        return
    padded = np.pad(mask.astype(float), 1)
    grid = [np.arange(-1, n + 1) for n in mask.shape]
    for c, width in (("#000000", 2.6), (colour, 1.3)):
        axes.contour(grid[1], grid[0], padded, [0.5], colors=c, linewidths=width)


def _fill(axes: Axes, mask: NDArray[Any], spec: BundleSpec, aspect: float) -> None:
    from matplotlib.colors import to_rgba

    table = np.array([(0, 0, 0, 0), *(to_rgba(label.colour, 0.55) for label in spec.labels[1:])])
    axes.imshow(table[mask], aspect=aspect, interpolation="nearest")


def _around(systems: Mapping[str, Arrays]) -> tuple[slice, ...]:
    """The part of the slice where anybody marked anything, and a margin; everything where nobody did."""
    parts = (a for arrays in systems.values() for a in (*arrays["truths"], *arrays["samples"], arrays["consensus"]))
    marked = np.any([part > 0 for part in parts], 0)
    if not marked.any():
        return tuple(slice(None) for _ in marked.shape)
    out = []
    for axis in (0, 1):
        found = np.flatnonzero(marked.any(1 - axis))
        out.append(slice(max(0, int(found[0]) - MARGIN), int(found[-1]) + MARGIN + 1))
    return tuple(out)
