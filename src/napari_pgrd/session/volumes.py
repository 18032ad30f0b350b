"""Volumes per label with the spread of the samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.engine.volume import Volume

if TYPE_CHECKING:  # the aggregate needs torch, the window does not
    from napari_pgrd.engine.aggregate import Prediction

RANGE = (5, 95)  # percentiles of the samples


@dataclass(frozen=True)
class LabelVolume:
    """One label's size: of the consensus, and the 5-95 % range of the samples."""

    name: str
    colour: str
    consensus: float
    low: float
    high: float
    unit: str


def voxel_volume(volume: Volume) -> tuple[float, str]:
    """Size of one voxel and its unit: mL, or voxels where the spacing is unknown."""
    if not volume.spacing_known:
        return 1.0, "voxels"
    return abs(float(np.linalg.det(volume.affine[:3, :3]))) / 1000, "mL"


def label_volumes(prediction: Prediction, volume: Volume, spec: BundleSpec) -> list[LabelVolume]:
    """Volumes of every label but the background."""
    size, unit = voxel_volume(volume)
    counts = np.array([np.bincount(m.ravel(), minlength=len(spec.labels)) for m in prediction.masks])
    consensus = np.bincount(prediction.consensus.ravel(), minlength=len(spec.labels))
    rows = []
    for k, label in enumerate(spec.labels):
        if k == 0:
            continue
        low, high = np.percentile(counts[:, k], RANGE) if len(counts) else (consensus[k], consensus[k])
        rows.append(
            LabelVolume(label.name, label.colour, consensus[k] * size, float(low) * size, float(high) * size, unit)
        )
    return rows


def reliability_sentence(spec: BundleSpec, name: str) -> str:
    """What the spread is worth, in the bundle's own measured figures."""
    r = spec.reliability
    if r is None or name not in r.volume_coverage:
        return "how often this range holds the true volume was not measured for this model"
    return f"this range held the true volume in {r.volume_coverage[name]} of {r.cases} validation cases"


def unanimous_sentence(spec: BundleSpec) -> str:
    """How far agreement between samples may be trusted."""
    r = spec.reliability
    if r is None:
        return "Samples that agree can all be wrong; this model's share of such errors was not measured."
    return (
        f"Samples that agree can all be wrong: on validation, {r.unanimous_error_share:.0%} of the remaining errors "
        "lay where every sample agreed."
    )
