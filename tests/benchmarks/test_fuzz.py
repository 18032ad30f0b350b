"""The campaign of benchmarks/fuzz.py in short, by the same mutators and under the same watch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "fuzz.py"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it forks, and asks Linux who opened what")


def fuzz(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False
    )


@pytest.mark.parametrize(("family", "inputs"), [("nifti", 160), ("dicom", 60), ("bundle", 40), ("review", 60)])
def test_a_few_hundred_inputs_do_nothing_that_they_may_not(tmp_path: Path, family: str, inputs: int) -> None:
    out = tmp_path / "fuzz.json"
    words = ("--inputs", inputs, "--seed", 20, "--patience", 120, "--work", tmp_path / "work", "--out", out)
    done = fuzz("run", "--only", family, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(out.read_text())["families"][family]
    assert result["inputs"] == inputs and not result["findings"]
    assert result["outcomes"]["read"] > 5, "nothing was ever read, so nothing was tried"
    assert sum(result["outcomes"].values()) - result["outcomes"]["read"] > 5, "nothing was ever refused"


def test_an_interrupted_campaign_goes_on_and_makes_the_same_inputs(tmp_path: Path) -> None:
    words = ("run", "--only", "nifti", "--patience", 120, "--out", tmp_path / "fuzz.json")
    for inputs in (10, 25):
        assert fuzz(*words, "--inputs", inputs, "--work", tmp_path / "two").returncode == 0
    assert fuzz(*words, "--inputs", 25, "--work", tmp_path / "one").returncode == 0
    lines = [(tmp_path / name / "nifti-0.jsonl").read_text().splitlines() for name in ("one", "two")]
    one, two = (
        [{k: v for k, v in json.loads(line).items() if k not in ("s", "mb")} for line in part] for part in lines
    )
    assert one == two and [row["i"] for row in one] == list(range(25))


def test_every_oracle_finds_the_fault_planted_for_it() -> None:
    done = fuzz("prove", "--patience", 4)
    proof = json.loads(done.stdout)
    assert all(proof.values()), proof
    assert len(proof) >= 20 and done.returncode == 0
