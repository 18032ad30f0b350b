"""What a difference between two systems on the same cases is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ttest_rel, wilcoxon

LEVEL = 0.05
LEAST = 2  # pairs

Values = Mapping[str, float | None]  # a number a case

STATEMENT = (
    "Tests are paired by case: both systems saw the same cases, and a case that lacks the number under either is left "
    "out of the pair. Slices of one case are averaged first, for they are not independent. Two-sided paired t-test and "
    "Wilcoxon signed-rank test (zero differences dropped), each corrected after Holm over the systems compared with "
    "the reference, within one number; there is no correction over the numbers. Bold is the best mean of a row, and "
    "only if the Wilcoxon test tells it from every other system (Holm over those, "
    f"p < {LEVEL}); otherwise nothing is bold. Where p is large nothing was shown, neither a difference nor that "
    "there is none."
)


class Paired(NamedTuple):
    """One system against another on ``n`` cases; ``difference`` is the mean of first minus second."""

    n: int
    difference: float | None
    t_p: float | None
    wilcoxon_p: float | None


def paired(first: Values, second: Values) -> Paired:
    """Compare two systems case by case; p is None with fewer than two pairs."""
    both = [(a, b) for case, a in first.items() if a is not None and (b := second.get(case)) is not None]
    if not both:
        return Paired(0, None, None, None)
    a, b = np.array(both, float).T
    difference = float((a - b).mean())
    if len(both) < LEAST:
        return Paired(len(both), difference, None, None)
    if not (a - b).any():
        return Paired(len(both), 0.0, 1.0, 1.0)
    if np.ptp(a - b) <= 1e-9 * abs(difference):  # t is infinite: all differ by the same
        return Paired(len(both), difference, 0.0, float(wilcoxon(a, b).pvalue))
    return Paired(len(both), difference, float(ttest_rel(a, b).pvalue), float(wilcoxon(a, b).pvalue))


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjusted p-values (Holm 1979), in the given order; None stays and does not count."""
    known = [(value, i) for i, value in enumerate(p) if value is not None]
    out: list[float | None] = [None] * len(p)
    worst = 0.0
    for rank, (value, i) in enumerate(sorted(known)):
        worst = max(worst, min(1.0, value * (len(known) - rank)))
        out[i] = worst
    return out


def best(systems: Mapping[str, Values], higher: bool) -> str | None:
    """The system with the best mean, if it can be told from every other; None otherwise, or if it is alone."""
    means = {name: _mean(values) for name, values in systems.items()}
    known = {name: m for name, m in means.items() if m is not None}
    if len(known) < 2:
        return None
    first = (max if higher else min)(known, key=lambda name: known[name])
    corrected = holm([paired(systems[first], systems[other]).wilcoxon_p for other in known if other != first])
    return first if all(p is not None and p < LEVEL for p in corrected) else None


def by_case(values: Sequence[tuple[str, float | None]]) -> dict[str, float | None]:
    """The mean of every case's numbers, in order of appearance; None where it has none."""
    grouped: dict[str, list[float]] = {}
    for case, value in values:
        grouped.setdefault(case, []).extend([] if value is None else [value])
    return {case: float(np.mean(found)) if found else None for case, found in grouped.items()}


def _mean(values: Values) -> float | None:
    known: NDArray[np.float64] = np.array([v for v in values.values() if v is not None])
    return float(known.mean()) if known.size else None
