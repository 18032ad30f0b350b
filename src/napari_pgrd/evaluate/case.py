"""Everything that can be said of one case by arrays alone; importable without torch, so the window may use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.prediction import Prediction, entropy_of
from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.evaluate import metrics
from napari_pgrd.evaluate.doubt import Sparsification, sparsify, spearman
from napari_pgrd.evaluate.raters import agreement, majority
from napari_pgrd.evaluate.reliability import Reliability

Floats = NDArray[np.floating]
Indices = NDArray[np.integer]


class Believed(NamedTuple):
    """What probabilities are worth on one case: numbers by name, and the curves behind them."""

    numbers: dict[str, float | None]
    reliability: Reliability
    reliability_roi: Reliability
    sparsification: Sparsification | None


@dataclass(frozen=True, eq=False)
class CaseComparison:
    """One case beside its truth.

    Attributes
    ----------
    raters, samples : int
        How many there are.
    dice : mapping
        Of the consensus against the majority of the raters, by label name, background left out.
    numbers : mapping
        By the names of :data:`~napari_pgrd.evaluate.definitions.DEFINITIONS`; None where a case cannot have one (no
        error to find, no pair of samples or raters).
    reliability, reliability_roi : Reliability
        Over the whole image, and where the doubt is: near truth or prediction. Raters are pooled.
    sparsification : Sparsification or None
        None where there is neither truth nor prediction.
    """

    raters: int
    samples: int
    dice: Mapping[str, float]
    numbers: Mapping[str, float | None]
    reliability: Reliability
    reliability_roi: Reliability
    sparsification: Sparsification | None


def compare_case(prediction: Prediction, truths: Indices, spec: BundleSpec) -> CaseComparison:
    """Measure a prediction against the truth of this very case.

    Parameters
    ----------
    truths : numpy.ndarray
        ``(R, x, y, z)`` class indices of R >= 1 raters, on the prediction's grid (its box, if it has one).

    Raises
    ------
    InputError
        If the truth lies on another grid, holds classes the bundle does not know, or no sample was drawn yet.
    """
    shape, names = prediction.probability.shape[1:], [label.name for label in spec.labels[1:]]
    require(
        truths.ndim == 4 and len(truths) > 0 and truths.shape[1:] == shape,
        InputError,
        f"The truth has shape {truths.shape[1:] if truths.ndim == 4 else truths.shape}, the prediction {shape}. Give "
        "label maps on the grid of the image.",
    )
    require(
        0 <= int(truths.min()) and int(truths.max()) <= len(names),
        InputError,
        f"The truth holds classes {int(truths.min())} to {int(truths.max())}; {spec.name} knows 0 to {len(names)}. "
        "Choose a label map of the same structures.",
    )
    require(prediction.samples > 0, InputError, "There is no sample to compare yet. Draw samples first.")
    masks, truth = np.stack(prediction.masks), majority(truths)
    scores = metrics.dice(prediction.consensus, truth, len(spec.labels))
    believed = believe(prediction.probability, truths)
    return CaseComparison(
        len(truths),
        prediction.samples,
        dict(zip(names, scores, strict=True)),
        {
            "dice": float(np.mean(scores)),
            **believed.numbers,
            **among(masks, truths, len(spec.labels), spec.prepare.dims),
        },
        believed.reliability,
        believed.reliability_roi,
        believed.sparsification,
    )


def believe(p: Floats, truths: Indices) -> Believed:
    """Calibration of probabilities ``(K, *spatial)`` and whether their entropy finds errors, averaged over raters."""
    consensus = p.argmax(0)
    where = metrics.region(truths.max(0), consensus)
    whole, inside, rows = [], [], []
    for truth in truths:
        confidence, right = metrics.top_label(p, truth)
        whole.append(Reliability.of(confidence, right))
        inside.append(Reliability.of(confidence[where], right[where]))
        rows.append(
            {
                "nll": metrics.nll(p, truth),
                "brier": metrics.brier(p, truth),
                "ece": whole[-1].ece,
                "ece_roi": inside[-1].ece,
                "adaptive_ece": metrics.adaptive_ece(confidence, right),
                "adaptive_ece_roi": metrics.adaptive_ece(confidence[where], right[where]),
            }
        )
    wrong = truths[:, where] != consensus[where]  # (R, voxels)
    entropy, error = entropy_of(p[:, where]), wrong.mean(0)
    sparse = sparsify(entropy, error)
    numbers: dict[str, float | None] = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    numbers["auroc_entropy_error"] = metrics.auroc(np.tile(entropy, len(truths)), wrong.ravel())
    numbers["spearman_entropy_error"] = spearman(entropy, error)
    numbers["ause"] = sparse.ause if sparse and error.any() else None
    numbers["aurg"] = sparse.aurg if sparse and error.any() else None
    return Believed(numbers, Reliability.pooled(whole), Reliability.pooled(inside), sparse)


def among(masks: Indices, truths: Indices, classes: int, dims: int = 3) -> dict[str, float | None]:
    """What needs samples ``(M, *spatial)``: their distances to raters and to each other, and their volumes.

    Where each slice is drawn alone (``dims`` 2), samples of neighbouring slices have nothing to do with each other, so
    GED^2 and its like are means over the slices that any rater marked; over all, if none did.
    """
    covered = [metrics.volume_covered(masks, t, k) for t in truths for k in range(1, classes)]
    return {
        "sample_dice": float(np.mean([metrics.sample_dice(masks, t, classes) for t in truths])),
        "pairwise_dice": metrics.pairwise_dice(masks, classes),
        **(_by_slice(masks, truths) if dims == 2 else agreement(masks, truths)._asdict()),
        "volume_coverage": float(np.mean(covered)),
    }


def _by_slice(masks: Indices, truths: Indices) -> dict[str, float | None]:
    """Means over slices of what samples ``(M, x, y, z)`` and raters ``(R, x, y, z)`` have with each other."""
    marked = np.flatnonzero((truths > 0).any((0, 1, 2)))
    slices = marked if len(marked) else range(truths.shape[-1])
    rows = [agreement(masks[..., z], truths[..., z])._asdict() for z in slices]
    known = {key: [row[key] for row in rows if row[key] is not None] for key in rows[0]}
    return {key: float(np.mean(values)) if values else None for key, values in known.items()}
