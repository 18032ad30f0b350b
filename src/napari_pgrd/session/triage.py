"""How unsure a case is, in figures, and which of many cases a reader should look at first.

All of it is counted over the voxels worth seeing: those of the structure in the consensus or in any sample. Where
samples agree nothing is at stake; whether they agree on something wrong, no figure here can say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.engine.volume import Box, Volume
from napari_pgrd.session.places import worth_seeing
from napari_pgrd.session.regions import find_places, total_stake
from napari_pgrd.session.volumes import LabelVolume, label_volumes, voxel_volume

if TYPE_CHECKING:
    from napari_pgrd.engine.prediction import Prediction

RULE = (
    "First come cases without a result, then those where samples do not agree whether a structure is there at all, "
    "then all others by the share of the structure that is at stake: the volume by which a sample differs from the "
    "consensus, expected over the samples, over the samples' mean volume of the whole structure. It says where "
    "samples part, not where they are wrong together."
)


@dataclass(frozen=True)
class Measures:
    """One case in figures.

    Attributes
    ----------
    volumes : tuple of LabelVolume
        Every label but the background.
    size : float
        Mean over the samples of the whole foreground, in ``unit``.
    stake : float
        :func:`~napari_pgrd.session.regions.total_stake`, in ``unit``.
    unit : str
        "mL", or "voxels" where the spacing is unknown.
    places : int
        How many places there are to settle.
    worst : str
        The place with most at stake, and ``worst_stake`` how much.
    entropy, mutual_information : float
        Means over the voxels worth seeing, nats; of the map, and what of it is disagreement between samples.
    unanimous : float
        Share of the voxels worth seeing on which all samples agree.
    absent : tuple of str
        Labels that some samples have and others have not at all.
    samples : int
        How many there are.
    """

    volumes: tuple[LabelVolume, ...]
    size: float
    stake: float
    unit: str
    places: int
    worst: str
    worst_stake: float
    entropy: float
    mutual_information: float
    unanimous: float
    absent: tuple[str, ...]
    samples: int

    @property
    def share(self) -> float:
        """Share of the structure at stake; 0 where no sample has any of it."""
        return self.stake / self.size if self.size > 0 else 0.0


def measure(prediction: Prediction, volume: Volume, spec: BundleSpec, box: Box | None = None) -> Measures:
    """Count a prediction, made on ``volume`` or on ``box`` of it."""
    unit_size, unit = voxel_volume(volume)
    places = find_places(prediction, volume, spec.labels, box)
    seen = worth_seeing(prediction)
    n = max(prediction.samples, 1)
    agreed = (prediction.votes[:, seen] == n).any(0)
    there = [[bool((mask == k).any()) for mask in prediction.masks] for k in range(1, len(spec.labels))]
    parted = (any(has) and not all(has) for has in there)
    return Measures(
        volumes=tuple(label_volumes(prediction, volume, spec)),
        size=float(sum(np.count_nonzero(mask) for mask in prediction.masks)) / n * unit_size,
        stake=total_stake(prediction, volume),
        unit=unit,
        places=len(places),
        worst=places[0].name if places else "",
        worst_stake=places[0].stake if places else 0.0,
        entropy=_mean(prediction.entropy[seen]),
        mutual_information=_mean(prediction.mutual_information[seen]),
        unanimous=_mean(agreed) if seen.any() else 1.0,
        absent=tuple(label.name for label, part in zip(spec.labels[1:], parted, strict=True) if part),
        samples=prediction.samples,
    )


def ranked(cases: Sequence[tuple[str, Measures | None]]) -> list[str]:
    """Names of cases, the one to look at first in front: see ``RULE``; equal ones by name. None is no result."""

    def place(entry: tuple[str, Measures | None]) -> tuple[int, int, float, str]:
        name, m = entry
        return (0, 0, 0.0, name) if m is None else (1, -bool(m.absent), -m.share, name)

    return [name for name, _ in sorted(cases, key=place)]


def reason(m: Measures, typical: float) -> str:
    """Why a case stands where it does, as "5.1 % at stake (0.16 of 3.20 mL), 2.3 times the median; most at ...".

    ``typical`` is the median share at stake of the cases it is ranked among.
    """
    if m.samples < 2:
        return "one sample alone parts from nothing; draw several to rank"
    first = f"whether there is any {' and '.join(m.absent)}, the samples do not agree; " if m.absent else ""
    if m.stake == 0:
        return f"{first}nothing at stake: all samples agree"
    digits = 2 if m.unit == "mL" else 0
    of = f"{m.stake:.{digits}f} of {m.size:.{digits}f} {m.unit}"
    times = f", {m.share / typical:.1f} times the median" if typical > 0 else ""
    where = f"; most at {m.worst}" if m.worst else ""
    return f"{first}{m.share:.1%} at stake ({of}){times}{where}"


def typical_share(cases: Sequence[Measures]) -> float:
    """The median share at stake."""
    return float(np.median([m.share for m in cases])) if cases else 0.0


def _mean(x: np.ndarray) -> float:
    return float(x.mean(dtype=np.float64)) if x.size else 0.0
