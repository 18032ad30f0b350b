"""The alternatives at a place, and the families of answers that the samples fall into where there are any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.spec import Label
from napari_pgrd.engine.volume import Volume
from napari_pgrd.session.clusters import Matrix, differing, groups, iou_distance, medoid, silhouette
from napari_pgrd.session.regions import Place
from napari_pgrd.session.volumes import voxel_volume

if TYPE_CHECKING:  # the aggregate needs torch, the window does not
    from napari_pgrd.engine.aggregate import Prediction

MOST_ALTERNATIVES = 3
CLEAR = 0.25  # silhouette above which families are real
LEAST = 2  # samples in a family
MOST_FAMILIES = 4


@dataclass(frozen=True, eq=False)
class Alternative:
    """One answer at a place.

    Attributes
    ----------
    sample : int
        Index, from 0, of the sample that stands for it.
    votes, samples : int
        How many of all samples are nearer to it than to the other alternatives.
    values : numpy.ndarray
        ``(n,)`` label values of the place's voxels, in the order of ``place.within``.
    changes : mapping
        What each label but the background gains or loses, in ``unit``, against the present correction.
    changed : float
        Size of all voxels that would change, in ``unit``.
    """

    place: Place
    sample: int
    votes: int
    samples: int
    values: NDArray[np.uint8]
    changes: Mapping[str, float]
    changed: float
    unit: str

    @property
    def share(self) -> float:
        """Its part of the votes."""
        return self.votes / self.samples

    @property
    def text(self) -> str:
        """What it would do: "posterior +0.12 mL; 3 of 8 samples"."""
        digits = 2 if self.unit == "mL" else 0
        seen = {name: round(by, digits) for name, by in self.changes.items()}
        parts = [f"{name} {by:+.{digits}f} {self.unit}" for name, by in seen.items() if by]
        if not self.changed:
            parts = ["as it is"]
        elif not parts:
            parts = [f"moves {self.changed:.{digits}f} {self.unit}"]
        return f"{', '.join(parts)}; {self.votes} of {self.samples} samples"


def alternatives(
    prediction: Prediction,
    place: Place,
    volume: Volume,
    labels: Sequence[Label],
    correction: NDArray[np.integer] | None = None,
) -> tuple[Alternative, ...]:
    """Up to three distinct answers at a place, the one with most votes first.

    The samples' masks inside the place are clustered by the number of voxels in which they differ; each cluster is
    stood for by its medoid, a sample as it was drawn. There are as many clusters, at most three, as leave any two
    medoids at least as different as a sample, on average, is from the consensus there, and in at least one voxel.

    Parameters
    ----------
    correction : numpy.ndarray, optional
        ``(x, y, z)`` label values on the grid of the prediction; the consensus if there is none yet.
    """
    size, unit = voxel_volume(volume)
    lut = np.array([label.value for label in labels], np.uint8)
    drawn = np.stack([place.within(mask) for mask in prediction.masks])
    consensus = place.within(prediction.consensus)
    present = lut[consensus] if correction is None else place.within(correction)
    least = max(1.0, np.count_nonzero(drawn != consensus) / len(drawn))
    found = []
    for sample, votes in _clusters(differing(drawn), least).items():
        values = lut[drawn[sample]]
        gains = {
            label.name: (np.count_nonzero(values == label.value) - np.count_nonzero(present == label.value)) * size
            for label in labels[1:]
        }
        changed = np.count_nonzero(values != present) * size
        found.append(Alternative(place, sample, votes, len(drawn), values, gains, changed, unit))
    return tuple(sorted(found, key=lambda a: (-a.votes, a.sample)))


def _clusters(distance: Matrix, least: float) -> dict[int, int]:
    """Representative sample and number of samples of each cluster; no two nearer than ``least``."""
    for count in range(min(MOST_ALTERNATIVES, len(distance)), 0, -1):
        group = groups(distance, count)
        members = [np.flatnonzero(group == g) for g in np.unique(group)]
        found = {medoid(distance, m): len(m) for m in members}
        if all(distance[a, b] >= least for a, b in combinations(found, 2)):
            break
    return found


def apply(alternative: Alternative, mask: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.uint8]]:
    """The voxels an alternative would set, for the caller to set in one step that can be undone.

    Parameters
    ----------
    mask : numpy.ndarray
        ``(x, y, z)`` label values on the grid of the prediction; it is not changed.

    Returns
    -------
    flat, values : numpy.ndarray
        Flat indices into a C-ordered array of the mask's shape, and the value of each; only voxels that change.
    """
    change = alternative.place.within(mask) != alternative.values
    return alternative.place.flat(mask.shape)[change], alternative.values[change]


@dataclass(frozen=True)
class Family:
    """Samples that give one answer: their indices from 0, and the one that stands for them."""

    members: tuple[int, ...]
    medoid: int


def families(prediction: Prediction, place: Place | None = None) -> tuple[Family, ...]:
    """Families of answers, the largest first; empty unless they are real.

    Samples are clustered by the IoU of their whole masks, or of their part in a place. Real are two to four clusters of
    at least two samples each with a mean silhouette above 0.25, and of those the ones with the highest.
    """
    m = prediction.samples
    if m < 2 * LEAST:
        return ()
    distance = _distance(prediction, place)
    best, score = None, CLEAR
    for count in range(2, min(MOST_FAMILIES, m // LEAST) + 1):
        group = groups(distance, count)
        sizes = np.bincount(group)
        if len(sizes) > 1 and sizes.min() >= LEAST and (s := silhouette(distance, group)) > score:
            best, score = group, s
    if best is None:
        return ()
    members = sorted((np.flatnonzero(best == g) for g in np.unique(best)), key=lambda i: (-len(i), i[0]))
    return tuple(Family(tuple(int(i) for i in one), medoid(distance, one)) for one in members)


@dataclass(frozen=True, eq=False)
class Part:
    """Some samples of a prediction, with what lines and outlines are drawn from.

    Attributes
    ----------
    members : tuple of int
        Their indices from 0.
    votes : numpy.ndarray
        ``(K, x, y, z)`` uint16: how many of them chose each class.
    """

    of: Prediction
    members: tuple[int, ...]
    votes: NDArray[np.uint16]

    @property
    def masks(self) -> tuple[NDArray[np.uint8], ...]:
        """Their masks, class indices ``(x, y, z)``."""
        return tuple(self.of.masks[i] for i in self.members)

    @property
    def samples(self) -> int:
        """How many they are."""
        return len(self.members)


def part_of(prediction: Prediction, members: Sequence[int]) -> Part:
    """The samples with some indices, by themselves."""
    votes = np.zeros_like(prediction.votes)
    for i in members:
        for k, chosen in enumerate(votes):
            chosen += prediction.masks[i] == k
    return Part(prediction, tuple(members), votes)


def family_sentence(found: Sequence[Family], number: int, part: Part, volume: Volume, labels: Sequence[Label]) -> str:
    """One family for the reader: how many samples, how large each label is in them, which of them is typical.

    Parameters
    ----------
    number : int
        Which of the families, 1 the largest; ``part`` are its samples.
    """
    size, unit = voxel_volume(volume)
    digits = 2 if unit == "mL" else 0
    means = part.votes.reshape(len(part.votes), -1).sum(1, dtype=np.int64) / part.samples * size
    each = ", ".join(f"{x.name} {mean:.{digits}f} {unit}" for x, mean in zip(labels[1:], means[1:], strict=True))
    return (
        f"Family {number} of {len(found)}: {part.samples} of {part.of.samples} samples; on average {each}. "
        f"Sample {found[number - 1].medoid + 1} is the most typical."
    )


def families_sentence(found: Sequence[Family], samples: int) -> str:
    """How many answers there are, for the reader."""
    if samples < 2 * LEAST:
        return f"too few samples to tell families of answers; draw at least {2 * LEAST}"
    if not found:
        return "one family of answers"
    *most, last = (str(len(family.members)) for family in found)
    return f"{len(found)} families of answers: {', '.join(most)} and {last} of {samples} samples"


def _distance(prediction: Prediction, place: Place | None) -> Matrix:
    if place is not None:
        return iou_distance(np.stack([place.within(mask) for mask in prediction.masks]))
    agree = prediction.votes.max(0) == prediction.samples
    shared = int(np.count_nonzero(agree & (prediction.votes[0] == 0)))
    return iou_distance(np.stack([mask[~agree] for mask in prediction.masks]), shared)
