"""File > Open Sample."""

from __future__ import annotations

from napari_pgrd.io.nifti import read_volume
from napari_pgrd.io.samples import sample_cases
from napari_pgrd.viewer.reader import LayerData, layer_data


def open_hippocampus_a() -> list[LayerData]:
    """The first hippocampus case."""
    return _open(0)


def open_hippocampus_b() -> list[LayerData]:
    """The second."""
    return _open(1)


def _open(index: int) -> list[LayerData]:
    case = sample_cases()[index]
    return [layer_data(read_volume(case.image), f"T1 {case.name}")]
