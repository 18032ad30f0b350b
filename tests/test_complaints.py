"""docs/complaints.md names tests that exist, for every complaint."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[1]
ROWS = [
    [cell.strip() for cell in line.strip("|\n ").split(" | ")]
    for line in (TOP / "docs" / "complaints.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("|")
][2:]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
ISSUES = {  # of each tool, as the list that the rows were made from has them
    "micro-sam": {740, 804, 1093},
    "SlicerTotalSegmentator": {10},
    "napari-nninteractive": {2, 3, 11, 17},
    "empanada": {75},
    "napari": {8829, 6440},
    "TotalSegmentator": {20, 598},
    "MONAILabel": {373, 780, 1266},
    "SlicerNNInteractive": {37},
    "regionprops": {83},
    "nnUNet": {2534, 2389},
}


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_every_complaint_has_tests_that_exist(row: list[str]) -> None:
    assert len(row) == 4 and all(row)
    named = NAMED.findall(row[3])
    assert named and len(named) == row[3].count("::")
    for file, name in named:
        path = TOP / file
        assert path.is_file(), f"there is no {file}"
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert name in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}, f"{file} has no test {name}"
        assert name.startswith("test_")


def test_no_complaint_was_forgotten() -> None:
    found: dict[str, set[int]] = {}
    for _, where, *_ in ROWS:
        tool = ""
        for word in re.split(r"[,;]?\s+", where):
            if word.startswith("#"):
                found.setdefault(tool, set()).add(int(word[1:]))
            elif word != "PR":
                tool = word
    assert found == ISSUES
