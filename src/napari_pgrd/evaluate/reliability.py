"""How often the model is right when it says it is sure: the bins of a reliability diagram."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.evaluate.metrics import BINS, Bools, Floats, equal_bins


@dataclass(frozen=True, eq=False)
class Reliability:
    """Sums over the voxels whose confidence lies in each of ``BINS`` equal bins ``(lo, hi]``; sums of cases add up.

    Attributes
    ----------
    count, confidence, right : numpy.ndarray
        ``(BINS,)``: how many voxels, the sum of their confidences, how many of them are right.
    """

    count: NDArray[np.float64]
    confidence: NDArray[np.float64]
    right: NDArray[np.float64]

    @classmethod
    def of(cls, confidence: Floats, right: Bools) -> Reliability:
        """Of top labels, any shape."""
        bins = equal_bins(confidence)
        values = confidence.ravel().astype(np.float64)
        sums = (np.bincount(bins, weights, BINS) for weights in (np.ones(values.size), values, right.ravel()))
        return cls(*(np.asarray(s, np.float64) for s in sums))

    @classmethod
    def pooled(cls, parts: Iterable[Reliability]) -> Reliability:
        """All voxels of several cases or raters together."""
        zero = np.zeros(BINS)
        out = cls(zero, zero, zero)
        for part in parts:
            out = cls(out.count + part.count, out.confidence + part.confidence, out.right + part.right)
        return out

    @classmethod
    def read(cls, stored: Mapping[str, Sequence[float]]) -> Reliability:
        """From what :meth:`stored` gave."""
        return cls(*(np.asarray(stored[key], np.float64) for key in ("count", "confidence", "right")))

    def stored(self) -> dict[str, list[float]]:
        """As lists, for JSON."""
        return {key: getattr(self, key).tolist() for key in ("count", "confidence", "right")}

    @property
    def edges(self) -> NDArray[np.float64]:
        """``(BINS + 1,)``: where each bin begins and ends."""
        return np.linspace(0, 1, len(self.count) + 1)

    @property
    def mean_confidence(self) -> NDArray[np.float64]:
        """``(BINS,)``, NaN where a bin is empty."""
        return self._mean(self.confidence)

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Share of right voxels, ``(BINS,)``, NaN where a bin is empty."""
        return self._mean(self.right)

    @property
    def ece(self) -> float:
        """Expected calibration error of these voxels together."""
        return float(np.abs(self.confidence - self.right).sum() / max(float(self.count.sum()), 1.0))

    def _mean(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(self.count > 0, total / np.maximum(self.count, 1), np.nan)
