"""The table from rows whose means and differences are known."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pytest

from napari_pgrd.evaluate.table import as_csv, markdown, tabulate, value

NUMBERS = {"nll": 0.1, "ece": 0.02, "ged2": 0.3, "diversity": None, "rater_diversity": None}


def rows(shift: float, cases: int = 8, slices: int = 1, **more: Any) -> list[dict[str, Any]]:
    noise = np.random.default_rng(0).normal(0, 0.01, (cases, slices))
    return [
        {
            "case": f"case{i}",
            "dice": {"nodule": 0.8 + shift + noise[i, j]},
            "numbers": {**NUMBERS, "dice": 0.8 + shift + noise[i, j], "nll": 0.1 - shift - noise[i, j]},
            "spacing_known": False,
            "parameters": 2_500_000,
            "calls": 33,
            "seconds": 4.0,
            "samples": 4,
            **more,
        }
        for i in range(cases)
        for j in range(slices)
    ]


def cell(table: dict[str, Any], key: str, name: str) -> dict[str, Any]:
    return table[key]["systems"][name]


def test_means_differences_and_bold() -> None:
    table = tabulate({"mine": rows(0.05), "same": rows(0.05), "other": rows(0.0)}, "mine")
    assert cell(table, "dice", "mine")["mean"] - cell(table, "dice", "other")["mean"] == pytest.approx(0.05)
    assert cell(table, "dice", "other")["difference"] == pytest.approx(-0.05)
    assert cell(table, "nll", "other")["difference"] == pytest.approx(0.05)
    # All signs are equal, and there are two tests.
    assert cell(table, "dice", "other")["wilcoxon_p_holm"] == pytest.approx(2 * 2 / 2**8)
    assert cell(table, "dice", "same")["difference"] == 0
    assert not any(c["best"] for c in table["dice"]["systems"].values())  # two are equally good
    without = tabulate({"mine": rows(0.05), "other": rows(0.0)}, "mine")
    assert cell(without, "dice", "mine")["best"] and cell(without, "nll", "mine")["best"]
    assert not cell(without, "ece", "mine")["best"]  # equal numbers


def test_slices_of_one_case_are_one_pair() -> None:
    table = tabulate({"mine": rows(0.05, 5, 8), "other": rows(0.0, 5, 8)}, "mine")
    other = cell(table, "dice", "other")
    assert (other["n"], other["pairs"]) == (40, 5)
    assert other["wilcoxon_p"] == pytest.approx(2 / 2**5)
    assert not cell(table, "dice", "mine")["best"]  # with five pairs nothing can be


def test_costs_have_no_tests_and_no_winner() -> None:
    table = tabulate({"mine": rows(0.05), "other": rows(0.0)}, "mine")
    assert cell(table, "seconds", "mine")["mean"] == 1 and cell(table, "calls", "mine")["mean"] == 8.25
    assert cell(table, "parameters", "other")["mean"] == 2.5
    assert cell(table, "seconds", "other")["t_p"] is None and not cell(table, "seconds", "mine")["best"]


def test_what_nobody_has_is_no_line() -> None:
    table = tabulate({"mine": rows(0.05), "other": rows(0.0)}, "mine")
    assert "rater_diversity" not in table and "dice:nodule" not in table
    several = [{**row, "dice": {"a": 0.1, "b": 0.3}} for row in rows(0)]
    assert list(tabulate({"mine": several}, "mine"))[:3] == ["dice", "dice:a", "dice:b"]
    assert value(several[0], "dice:b") == 0.3


def test_markdown_and_csv_say_the_same() -> None:
    table = tabulate({"mine": rows(0.05), "a|b": rows(0.0)}, "mine")
    text = markdown(table, "mine", ["head"], ["foot"])
    lines = text.splitlines()
    assert lines[0] == "head" and lines[-1] == "foot"
    dice = next(line for line in lines if line.startswith("| DSC ↑"))
    mean, std = cell(table, "dice", "mine")["mean"], cell(table, "dice", "mine")["std"]
    assert f"**{mean:.4f} ± {std:.4f}**" in dice and "a\\|b" in text
    assert "-0.0500 (t <.001, W .008)" in text
    assert "NSD" not in text  # no row has one
    written = {(r["number"], r["system"]): r for r in csv.DictReader(io.StringIO(as_csv(table, "mine")))}
    assert float(written["dice", "mine"]["mean"]) == mean and written["dice", "mine"]["best"] == "True"
    assert written["dice", "mine"]["difference"] == "" and float(written["dice", "a|b"]["difference"]) < 0
    assert written["nll", "mine"]["better"] == "lower"


def test_a_single_system_has_no_differences() -> None:
    text = markdown(tabulate({"mine": rows(0)}, "mine"), "mine", [], [])
    assert "**" not in text and "minus" not in text
