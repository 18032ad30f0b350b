"""File > Open Sample."""

from __future__ import annotations

from typing import Any

import napari
import numpy as np
from napari.layers import Layer
from napari.utils.colormaps import DirectLabelColormap

from napari_pgrd.io.nifti import read_labels, read_volume
from napari_pgrd.io.samples import SampleCase, sample_cases
from napari_pgrd.session.display import Display
from napari_pgrd.viewer.reader import MODEL, LayerData, layer_data

OUTLINE = "pgrd_outline"  # metadata key of label layers that open as outlines
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7")  # Okabe and Ito's, without those of the embedded models


def open_hippocampus_a() -> list[LayerData]:
    """The first hippocampus case."""
    return _open("hippocampus_375")


def open_hippocampus_b() -> list[LayerData]:
    """The second."""
    return _open("hippocampus_352")


def open_lung_a() -> list[LayerData]:
    """The first lung nodule, with the outlines of four radiologists."""
    return _open("LIDC-IDRI-0921_n0")


def open_lung_b() -> list[LayerData]:
    """The second."""
    return _open("LIDC-IDRI-0825_n0")


def open_lung_c() -> list[LayerData]:
    """The third."""
    return _open("LIDC-IDRI-1007_n1")


def _open(name: str) -> list[LayerData]:
    case = next(case for case in sample_cases() if case.name == name)
    volume = read_volume(case.image)
    image = layer_data(volume, f"{case.contrast} {case.name}")
    image[1]["metadata"][MODEL] = case.bundle
    if len(case.labels) == 1:
        return [image]  # the truth is not given away
    viewer = napari.current_viewer()
    if viewer is not None:
        viewer.layers.events.inserted.connect(_outline)
    return [image, *_opinions(case, Display.of(volume))]


def _opinions(case: SampleCase, display: Display) -> list[LayerData]:
    """What each reader marked, to compare with: label layers of their own, which nothing here writes to."""
    out: list[LayerData] = []
    for j, (path, colour) in enumerate(zip(case.labels, COLOURS, strict=True), 1):
        labels, _ = read_labels(path)
        meta: dict[str, Any] = {
            "name": f"Radiologist {j}",
            "colormap": DirectLabelColormap(color_dict={None: "transparent", 0: "transparent", 1: colour}),
            "opacity": 1.0,
            "metadata": {OUTLINE: True},
            **display.layer,
        }
        out.append((np.ascontiguousarray(display.show(labels)).astype(np.uint8), meta, "labels"))
    return out


def _outline(event: Any) -> None:
    """Show a layer as an outline that no stroke changes; napari takes neither together with the data."""
    layer: Layer = event.value
    if layer.metadata.get(OUTLINE):
        layer.contour, layer.editable = 1, False
