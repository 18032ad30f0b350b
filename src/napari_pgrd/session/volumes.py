"""Volumes per label with the spread of the samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.engine.volume import Volume
from napari_pgrd.evaluate.volumes import conformal_range, sample_range

ENOUGH = 0.8  # of validation cases; below it, the conformal interval is the headline

if TYPE_CHECKING:  # the aggregate needs torch, the window does not
    from napari_pgrd.engine.aggregate import Prediction


@dataclass(frozen=True)
class LabelVolume:
    """One label's size.

    Attributes
    ----------
    consensus, low, high : float
        Of the consensus, and the 5-95 % range of the samples, in ``unit``.
    interval : (float, float), optional
        Conformal interval of the bundle, where it has one.
    """

    name: str
    colour: str
    consensus: float
    low: float
    high: float
    unit: str
    interval: tuple[float, float] | None = None


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
        low, high = sample_range(counts[:, k]) if len(counts) else (consensus[k], consensus[k])
        interval = None
        if len(counts) > 1 and spec.volume_interval is not None and label.name in spec.volume_interval.widening:
            a, b = conformal_range(counts[:, k], spec.volume_interval.widening[label.name])
            interval = (a * size, b * size)
        rows.append(LabelVolume(label.name, label.colour, consensus[k] * size, low * size, high * size, unit, interval))
    return rows


def reliability_sentence(spec: BundleSpec, name: str) -> str:
    """What the spread is worth, in the bundle's own measured figures."""
    r = spec.reliability
    if r is None or name not in r.volume_coverage:
        return "how often this range holds the true volume was not measured for this model"
    return f"this range held the true volume in {r.volume_coverage[name]} of {r.cases} validation cases"


def poorly_covered(spec: BundleSpec, name: str) -> bool:
    """Whether the samples' range was measured to hold the truth too rarely to stand as the headline."""
    r = spec.reliability
    return r is not None and name in r.volume_coverage and r.volume_coverage[name] < ENOUGH * r.cases


def interval_sentence(spec: BundleSpec, name: str) -> str:
    """How often the conformal interval held the truth on validation; "" where it was not measured."""
    r, interval = spec.reliability, spec.volume_interval
    if r is None or interval is None or name not in r.interval_coverage:
        return ""
    return f"{interval.level:.0%} interval; held the true volume in {r.interval_coverage[name]} of {r.cases} cases"


def unanimous_sentence(spec: BundleSpec) -> str:
    """How far agreement between samples may be trusted."""
    r = spec.reliability
    if r is None:
        return "Samples that agree can all be wrong; this model's share of such errors was not measured."
    return (
        f"Samples that agree can all be wrong: on validation, {r.unanimous_error_share:.0%} of the remaining errors "
        "lay where every sample agreed."
    )
