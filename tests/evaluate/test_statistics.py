"""Tests of differences: against their definitions, and against how often they may be wrong."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, t

from napari_pgrd.evaluate.statistics import best, by_case, holm, paired


def values(numbers: list[float]) -> dict[str, float | None]:
    return {f"case{i}": x for i, x in enumerate(numbers)}


def test_p_values_are_their_definitions() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 1, 9), rng.normal(0.6, 1, 9)
    found, d = paired(values(list(a)), values(list(b))), a - b
    statistic = d.mean() / (d.std(ddof=1) / 3)
    assert found.n == 9 and found.difference == pytest.approx(d.mean())
    assert found.t_p == pytest.approx(2 * t.sf(abs(statistic), 8))
    ranks = rankdata(abs(d))  # every sign is as likely as its opposite
    sums = np.array([ranks @ np.array(signs) for signs in product((0, 1), repeat=9)])
    low = min(ranks[d > 0].sum(), ranks[d < 0].sum())
    assert found.wilcoxon_p == pytest.approx(2 * (sums <= low).mean())


def test_pairs_need_both_numbers() -> None:
    first, second = values([1.0, 2.0, 3.0, 4.0]), {"case0": 0.0, "case1": None, "case3": 2.0, "other": 9.0}
    found = paired(first, second)
    assert (found.n, found.difference) == (2, 1.5)
    assert paired(first, {}) == (0, None, None, None)
    assert paired(values([2.0]), values([1.0])) == (1, 1.0, None, None)
    assert paired(first, first) == (4, 0.0, 1.0, 1.0)
    assert paired(first, values([0.0, 1.0, 2.0, 3.0])).t_p == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_rejects_what_the_step_down_procedure_rejects(p: list[float]) -> None:
    adjusted = holm(p)
    for level in (0.01, 0.05, 0.2):
        rejected: set[int] = set()
        for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
            if p[i] > level / (len(p) - rank):
                break
            rejected.add(i)
        for i, value in enumerate(adjusted):
            if abs(value - level) > 1e-9:
                assert (value <= level) == (i in rejected)


def test_holm_by_hand() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])


def test_only_what_can_be_told_from_all_others_is_best() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(0.8, 0.05, 20)
    good, same, bad = (values(list(base + shift)) for shift in (0.02, 0.0, -0.05))
    blurred = values(list(base + 0.0199 + rng.normal(0, 0.01, 20)))
    assert best({"good": good, "same": same, "bad": bad}, higher=True) == "good"
    assert best({"good": good, "same": same, "bad": bad}, higher=False) == "bad"
    assert best({"good": good, "blurred": blurred, "bad": bad}, higher=True) is None
    assert best({"good": good, "copy": dict(good)}, higher=True) is None
    assert best({"good": good}, higher=True) is None
    few = {name: dict(list(v.items())[:4]) for name, v in {"good": good, "bad": bad}.items()}
    assert best(few, higher=True) is None  # with four pairs nothing can be told


def test_equal_systems_are_rarely_told_apart() -> None:
    rng = np.random.default_rng(2)
    bold = 0
    for _ in range(60):
        base = rng.normal(0, 1, 12)
        bold += best({n: values(list(base + rng.normal(0, 0.1, 12))) for n in "abcd"}, higher=True) is not None
    assert bold <= 6  # the best of four is picked first, yet all three tests must agree


def test_slices_are_averaged_within_their_case() -> None:
    rows = [("a", 1.0), ("b", None), ("a", 3.0), ("c", None), ("c", 5.0)]
    assert by_case(rows) == {"a": 2.0, "b": None, "c": 5.0}
