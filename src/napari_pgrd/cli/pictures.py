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
    """Agreement lines and entropy on the slice with most votes for the foreground, in the bundle's plane.

    Parameters
    ----------
    prediction : Prediction
        Of the whole volume.
    path : Path
        A PNG file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    order, axis = Reorder.between(volume.affine, "RAS"), PLANES[spec.scope.start_plane]
    votes = order.apply(prediction.votes[1:].sum(0))
    where = int(votes.sum(tuple(i for i in range(3) if i != axis)).argmax())
    spacing = np.delete([volume.spacing[a] for a in order.axes], axis)

    def cut(data: NDArray[Any]) -> NDArray[Any]:
        """Rows upwards; anterior, or the patient's right, on the left, as on the screen."""
        return np.take(order.apply(data), where, axis).T[:, ::-1]

    image, entropy = cut(volume.data[0]), cut(prediction.entropy)
    low, high = np.percentile(volume.data[0], (1, 99.5))
    figure = Figure(figsize=(10, 4.2), layout="constrained", facecolor="black")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for panel in (left, right):
        grey = {"cmap": "gray", "vmin": low, "vmax": high, "origin": "lower", "interpolation": "bicubic"}
        panel.imshow(image, aspect=float(spacing[1] / spacing[0]), **grey)
        panel.set_axis_off()
    for k, label in enumerate(spec.labels[1:], 1):
        share = cut(prediction.agreement(k))
        if share.max() > LEVELS[0]:
            left.contour(share, LEVELS, colors=label.colour, linewidths=WIDTHS)
    left.set_title("thick: half of the samples; thin: 25 and 75 %", color="white")
    magenta = LinearSegmentedColormap.from_list("doubt", [(1, 0, 1, 0), (1, 0, 1, 0.8)])
    heat = {"cmap": magenta, "vmin": 0.1, "vmax": float(np.log(2)), "origin": "lower"}
    shade = right.imshow(entropy, aspect=float(spacing[1] / spacing[0]), **heat)
    bar = figure.colorbar(shade, ax=right, shrink=0.7)
    bar.set_label("entropy, nats", color="white")
    bar.ax.tick_params(colors="white")
    right.set_title(f"where {prediction.samples} samples disagree", color="white")
    figure.suptitle(f"{spec.name}, {spec.scope.start_plane} slice. {RESEARCH_USE}", color="white", fontsize=10)
    figure.savefig(path, dpi=130)
