"""Where the samples part: a short list of places that a reader can settle one by one.

The entropy of a structure is one closed shell, so it is smoothed and split by watershed from its peaks. What lies at
stake in a place is the volume by which a sample's mask there differs from the consensus, expected over the samples:

    ``stake = voxel size * sum over the place's voxels of (1 - votes[consensus] / M)``

A place holds exactly the voxels where at least one sample differs from the consensus; anywhere else no alternative
could change anything. So one sample alone makes no places, and neither do samples that agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, gaussian_filter, sum_labels
from scipy.spatial import cKDTree
from skimage.feature import peak_local_max
from skimage.segmentation import watershed

from napari_pgrd.engine.spec import Label
from napari_pgrd.engine.volume import Box, Volume
from napari_pgrd.session.naming import Structure
from napari_pgrd.session.volumes import voxel_volume

if TYPE_CHECKING:  # the aggregate needs torch, the window does not
    from napari_pgrd.engine.aggregate import Prediction

SIGMA = 1.5  # mm, or voxels where the spacing is unknown
APART = 4.0  # mm or voxels between two peaks
REACH = 3.0  # sigmas after which the smoothing kernel ends
MOST = 10
NAMED = 0.2  # of the votes, from which a third class is named
LEAST = 0.05  # of what is at stake in the first place; one with less, or with less than a voxel, is dropped

Slices = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Place:
    """One place to settle.

    Attributes
    ----------
    id : str
        The same for the same prediction, today and after reopening.
    name : str
        "posterior end (superior), posterior | background".
    classes : tuple of int
        The two class indices with most votes there, and any other with a fifth of the votes; the background last.
    box : Box
        What surrounds it, on the grid of the prediction.
    mask : numpy.ndarray
        Bool, the place itself within ``box``.
    centre : (int, int, int)
        A voxel of the place nearest to its middle, on the grid of the source.
    stake : float
        Expected volume of a sample's difference from the consensus, in ``unit``.
    unit : str
        "mL", or "voxels" where the spacing is unknown.
    """

    id: str
    name: str
    classes: tuple[int, ...]
    box: Box
    mask: NDArray[np.bool_]
    centre: tuple[int, int, int]
    stake: float
    unit: str

    def within(self, data: NDArray[Any]) -> NDArray[Any]:
        """``(..., x, y, z)`` on the grid of the prediction to ``(..., n)``, the voxels of the place in C order."""
        inside: NDArray[Any] = data[(..., *_slices(self.box))][..., self.mask]
        return inside

    def flat(self, shape: tuple[int, ...]) -> NDArray[np.intp]:
        """Flat indices, in the same order, of its voxels in a C-ordered array of the prediction's shape."""
        starts = np.array([lo for lo, _ in self.box])[:, None]
        return np.ravel_multi_index(tuple(np.stack(np.nonzero(self.mask)) + starts), shape)


def find_places(
    prediction: Prediction, volume: Volume, labels: Sequence[Label], box: Box | None = None
) -> tuple[Place, ...]:
    """At most ten places, the one with most at stake first.

    Parameters
    ----------
    prediction : Prediction
        On the grid of ``volume``, or on ``box`` of it.
    volume : Volume
        The source: its affine gives sizes and directions.
    labels : sequence of Label
        The bundle's, in the order of its classes.
    """
    doubt, first = _disagreement(prediction)
    if doubt is None:
        return ()
    size, unit = voxel_volume(volume)
    regions, count = _split(_crop(prediction.entropy, first, doubt.shape), doubt, _spacing(volume))
    stakes = sum_labels(doubt, regions, range(1, count + 1))
    worth = stakes >= max(1.0, LEAST * float(stakes.max()))
    ranked = [int(i) for i in np.argsort(-stakes, kind="stable") if worth[i]][:MOST]
    structure = Structure.of(_structure(prediction), volume)
    offset = np.array([lo for lo, _ in box]) if box else np.zeros(3, int)
    parts = find_objects(regions)
    places = []
    for i in ranked:
        mask = regions[parts[i]] == i + 1
        start = np.array([s.start for s in parts[i]]) + first
        middle = _middle(doubt[parts[i]], mask, _spacing(volume)) + start
        within = _box(start, mask.shape)
        classes = _classes(prediction, within, mask)
        x, y, z = (int(v) for v in middle + offset)
        between = " | ".join(labels[k].name for k in classes)
        name = f"{structure.position(middle)}, {between}"
        stake = float(stakes[i]) * size
        places.append(Place(f"{x}-{y}-{z}", name, classes, within, mask, (x, y, z), stake, unit))
    return _tell_apart(places)


def total_stake(prediction: Prediction, volume: Volume) -> float:
    """All that is at stake, in and outside the listed places, in mL or voxels."""
    doubt, _ = _disagreement(prediction)
    return 0.0 if doubt is None else float(doubt.sum(dtype=np.float64)) * voxel_volume(volume)[0]


def stake_sentence(places: Sequence[Place], total: float, open_places: Sequence[Place] | None = None) -> str:
    """As "0.21 mL at stake in 7 places", with what lies elsewhere and what is still open; "" without places.

    Parameters
    ----------
    total : float
        :func:`total_stake`.
    open_places : sequence of Place, optional
        Those not settled yet, if some are.
    """
    if not places:
        return ""
    unit = places[0].unit
    digits = 2 if unit == "mL" else 0
    inside, all_of_it = (f"{stake:.{digits}f}" for stake in (sum(p.stake for p in places), total))
    where = f"in {len(places)} place{'s' * (len(places) > 1)}"
    text = f"{inside} {unit} at stake {where}"
    if inside != all_of_it:
        text = f"{all_of_it} {unit} at stake, {inside} of it {where}"
    if open_places is not None and len(open_places) < len(places):
        text += f"; {sum(p.stake for p in open_places):.{digits}f} {unit} still open"
    return text


def _disagreement(prediction: Prediction) -> tuple[NDArray[np.float32] | None, NDArray[np.int64]]:
    """Share of samples that differ from the consensus, cropped to where any does, and the crop's first voxel."""
    nowhere = np.zeros(3, int)
    if prediction.samples < 2:
        return None, nowhere
    with_it = np.take_along_axis(prediction.votes, prediction.consensus[None], 0)[0]
    differ = with_it < prediction.samples
    if not differ.any():
        return None, nowhere
    ranges = []
    for axis in range(3):
        hit = np.flatnonzero(differ.any(axis=tuple(a for a in range(3) if a != axis)))
        ranges.append(slice(int(hit[0]), int(hit[-1]) + 1))
    doubt = 1 - with_it[tuple(ranges)].astype(np.float32) / prediction.samples
    return doubt, np.array([r.start for r in ranges])


def _split(
    entropy: NDArray[np.float32], doubt: NDArray[np.float32], spacing: NDArray[np.float64]
) -> tuple[NDArray[np.int32], int]:
    """Basins of the smoothed entropy, 1 and up, on the voxels where samples differ; 0 elsewhere.

    The entropy where all samples agree is left out: temperature and mean map leave a haze there that nobody can settle.
    The kernel ends at three sigma, so basins also spread over the gaps between fragments that belong together.
    """
    sigma = np.where(np.array(doubt.shape) > 1, SIGMA / spacing, 0)
    smooth = gaussian_filter(np.where(doubt > 0, entropy, 0), sigma, mode="constant", truncate=REACH)
    peaks = _apart(peak_local_max(smooth, min_distance=1, threshold_abs=0, exclude_border=False), spacing)
    seeds = np.zeros(doubt.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    regions = watershed(-smooth, seeds, mask=smooth > 0)
    return np.where(doubt > 0, regions, 0).astype(np.int32), len(peaks)


def _apart(peaks: NDArray[np.int64], spacing: NDArray[np.float64]) -> NDArray[np.int64]:
    """Of peaks ``(n, 3)``, the highest first, those with no higher one nearer than ``APART``."""
    tree = cKDTree(peaks * spacing)
    stays = np.ones(len(peaks), bool)
    for i, at in enumerate(peaks * spacing):
        if stays[i]:
            stays[tree.query_ball_point(at, APART * (1 - 1e-9))] = False
            stays[i] = True
    return peaks[stays]


def _structure(prediction: Prediction) -> NDArray[np.bool_]:
    """The consensus' foreground; if it is empty, that of any sample."""
    foreground = prediction.consensus > 0
    return foreground if foreground.any() else prediction.votes[0] < prediction.samples


def _classes(prediction: Prediction, box: Box, mask: NDArray[np.bool_]) -> tuple[int, ...]:
    """What a place is between, most votes first, the background last; the consensus counts where votes are equal."""
    slices = _slices(box)
    votes = prediction.votes[(slice(None), *slices)][:, mask].sum(1, dtype=np.int64)
    consensus = np.bincount(prediction.consensus[slices][mask], minlength=len(votes))
    order = [int(k) for k in np.lexsort((-consensus, -votes))]
    named = [k for i, k in enumerate(order) if i < 2 or votes[k] >= NAMED * votes.sum()]
    return tuple(sorted(named, key=lambda k: k == 0))


def _middle(doubt: NDArray[np.float32], mask: NDArray[np.bool_], spacing: NDArray[np.float64]) -> NDArray[np.int64]:
    """The voxel of a place nearest to its centre of mass, which for a curved one may lie outside."""
    voxels = np.argwhere(mask)
    mean = np.average(voxels, axis=0, weights=doubt[mask])
    nearest: NDArray[np.int64] = voxels[np.argmin((((voxels - mean) * spacing) ** 2).sum(1))]
    return nearest


def _tell_apart(places: Sequence[Place]) -> tuple[Place, ...]:
    """Number those that would bear one name."""
    names = [p.name for p in places]
    return tuple(
        replace(p, name=f"{p.name} ({names[: i + 1].count(p.name)})") if names.count(p.name) > 1 else p
        for i, p in enumerate(places)
    )


def _spacing(volume: Volume) -> NDArray[np.float64]:
    return np.array(volume.spacing) if volume.spacing_known else np.ones(3)


def _crop(data: NDArray[Any], first: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[Any]:
    return data[tuple(slice(int(lo), int(lo) + n) for lo, n in zip(first, shape, strict=True))]


def _box(start: NDArray[np.int64], shape: tuple[int, ...]) -> Box:
    (a, b, c), (i, j, k) = (int(v) for v in start), shape
    return (a, a + i), (b, b + j), (c, c + k)


def _slices(box: Box) -> Slices:
    (a, b), (c, d), (e, f) = box
    return slice(a, b), slice(c, d), slice(e, f)
