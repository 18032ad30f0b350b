"""Learning curves as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


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
