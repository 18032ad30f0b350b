"""Learning curves and fingerprints as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def learning_curves(history: Sequence[dict[str, float]], path: Path, title: str) -> None:
    """Loss on the left, every validation score on the right, against the step."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    steps = [row["step"] for row in history]
    left.plot(steps, [row["loss"] for row in history], color="#333333")
    left.set(title=f"{title}: training loss", xlabel="step", yscale="log")
    for key in sorted({k for row in history for k in row} - {"step", "loss"}):
        right.plot(steps, [row.get(key, float("nan")) for row in history], label=key)
    right.set(title=f"{title}: scores on the calibration block", xlabel="step")
    right.legend(fontsize=7)
    figure.savefig(path, dpi=120)


def fingerprint_curves(found: Mapping[str, Any], path: Path) -> None:
    """err(t), its derivative and the weights that follow, against t / T; bands are standard errors over cases."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3)
    T, blue, orange = found["T"], "#0072B2", "#D55E00"
    at = np.array(found["t"]) / T
    for panel, key in ((left, "err"), (middle, "slope")):
        value = np.array(found[key])
        panel.plot(at, value, color=blue)
        if found[f"{key}_se"] is not None:
            band = 2 * np.array(found[f"{key}_se"])
            panel.fill_between(at, value - band, value + band, color=blue, alpha=0.25, linewidth=0, label="± 2 SE")
    left.axhline(found["mean_mask_err"], color="#555555", linestyle="--", linewidth=1, label="mean training mask")
    left.set(title="error of the mask denoiser", ylabel="E ||yhat - y||², a voxel")
    middle.axhline(0, color="#555555", linewidth=0.8)
    middle.set(title="its derivative", ylabel="d err / d (t / T)")
    weights = found["weights"]
    right.plot(np.linspace(0, 1, len(weights)), weights, color=orange, label=f"floor {found['floor']:g}")
    right.axhline(1, color="#555555", linestyle="--", linewidth=1, label="uniform")
    right.set(title="weight in training", ylabel="w(t), mean 1", ylim=(0, None))
    for panel in (left, middle, right):
        panel.set(xlabel="t / T", xlim=(0, 1))
        if panel.get_legend_handles_labels()[0]:
            panel.legend(fontsize=7, loc="best")
    cases = found["cases"]
    figure.suptitle(
        f"{cases['measured']} cases held back, {found['draws']} masks, trained on {cases['train']}; shift "
        f"{found['shift']:g}",
        fontsize=9,
    )
    figure.savefig(path, dpi=120)
