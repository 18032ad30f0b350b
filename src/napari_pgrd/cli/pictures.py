"""A picture of a result, for machines without a display."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.aggregate import Prediction
from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.provenance import RESEARCH_USE
from napari_pgrd.session.display import PLANES, Display, first_plane, plane_text
from napari_pgrd.session.planes import cut

LEVELS, WIDTHS = (0.25, 0.5, 0.75), (0.8, 2.0, 0.8)


def picture(prediction: Prediction, volume: Volume, spec: BundleSpec, path: Path) -> None:
    """Agreement lines and entropy on the slice with most votes for the foreground, as the window would show it.

    In the bundle's plane; where the image's directions are not known, in the slices of the file.

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

    display, plane = Display.of(volume), first_plane(volume, spec.scope.start_plane)
    _, rows, columns = PLANES[plane]
    votes = display.show(prediction.votes[1:].sum(0))
    where = int(votes.sum((rows, columns)).argmax())
    look = {"aspect": display.scale[rows] / display.scale[columns], "origin": "upper"}

    def slice_of(data: NDArray[Any]) -> NDArray[Any]:
        """``(rows, columns)``, rows downwards."""
        return cut(display.show(data), plane, where)

    image, entropy = slice_of(volume.data[0]), slice_of(prediction.entropy)
    low, high = np.percentile(volume.data[0], (1, 99.5))
    figure = Figure(figsize=(10, 4.2), layout="constrained", facecolor="black")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for panel in (left, right):
        panel.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="bicubic", **look)
        panel.set_axis_off()
    for k, label in enumerate(spec.labels[1:], 1):
        share = slice_of(prediction.agreement(k))
        if share.max() > LEVELS[0]:
            left.contour(share, LEVELS, colors=label.colour, linewidths=WIDTHS)
    left.set_title("thick: half of the samples; thin: 25 and 75 %", color="white")
    magenta = LinearSegmentedColormap.from_list("doubt", [(1, 0, 1, 0), (1, 0, 1, 0.8)])
    shade = right.imshow(entropy, cmap=magenta, vmin=0.1, vmax=float(np.log(2)), **look)
    bar = figure.colorbar(shade, ax=right, shrink=0.7)
    bar.set_label("entropy, nats", color="white")
    bar.ax.tick_params(colors="white")
    right.set_title(f"where {prediction.samples} samples disagree", color="white")
    seen = plane_text(plane, display.known)
    figure.suptitle(f"{spec.name}, {seen}. {RESEARCH_USE}", color="white", fontsize=10)
    figure.savefig(path, dpi=130)
