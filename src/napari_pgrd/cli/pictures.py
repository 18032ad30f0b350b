"""A picture of a result, for machines without a display."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.aggregate import Prediction
from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.engine.volume import Reorder, Volume
from napari_pgrd.io.provenance import RESEARCH_USE

LEVELS, WIDTHS = (0.25, 0.5, 0.75), (0.8, 2.0, 0.8)
PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}  # the axis of an RAS array that the plane is normal to


def picture(prediction: Prediction, volume: Volume, spec: BundleSpec, path: Path) -> None:
    """Agreement lines and entropy on the slice with most foreground, in the bundle's plane.

    Parameters
    ----------
    prediction : Prediction
        Of the whole volume.
    path : Path
        A PNG file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    order, axis = Reorder.between(volume.affine, "RAS"), PLANES[spec.scope.start_plane]
    where = int((order.apply(prediction.consensus) > 0).sum(tuple(i for i in range(3) if i != axis)).argmax())
    spacing = np.delete([volume.spacing[a] for a in order.axes], axis)

    def cut(data: NDArray[Any]) -> NDArray[Any]:
        return np.take(order.apply(data), where, axis).T  # rows upwards, columns rightwards or forwards

    image, entropy = cut(volume.data[0]), cut(prediction.entropy)
    low, high = np.percentile(volume.data[0], (1, 99.5))
    figure = Figure(figsize=(10, 5.4), layout="constrained", facecolor="black")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for panel in (left, right):
        grey = {"cmap": "gray", "vmin": low, "vmax": high, "origin": "lower", "interpolation": "bicubic"}
        panel.imshow(image, aspect=float(spacing[1] / spacing[0]), **grey)
        panel.set_axis_off()
        if axis > 0:
            panel.invert_xaxis()  # the patient's right on the left
    for k, label in enumerate(spec.labels[1:], 1):
        share = cut(prediction.agreement(k))
        if share.max() > LEVELS[0]:
            left.contour(share, LEVELS, colors=label.colour, linewidths=WIDTHS)
    left.set_title("thick: half of the samples; thin: 25 and 75 %", color="white")
    shade = right.imshow(
        entropy,
        cmap="magma",
        origin="lower",
        alpha=np.clip(entropy / np.log(2), 0, 0.8),
        vmin=0,
        vmax=np.log(2),
        aspect=float(spacing[1] / spacing[0]),
    )
    bar = figure.colorbar(shade, ax=right, shrink=0.7)
    bar.set_label("entropy, nats", color="white")
    bar.ax.tick_params(colors="white")
    right.set_title(f"where {prediction.samples} samples disagree", color="white")
    figure.suptitle(f"{spec.name}, {spec.scope.start_plane} slice. {RESEARCH_USE}", color="white", fontsize=10)
    figure.savefig(path, dpi=130)
