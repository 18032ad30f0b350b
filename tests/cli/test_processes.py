"""``--processes``: one command, several processes, one training."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import load_file

PRIOR = """
[prepare]
patch = [16, 16, 16]
stride = 4
[network]
filters = [4, 8, 8]
deep_supervision = 1
[optimisation]
steps = 2
batch = {batch}
validate_every = 2
warmup = 0
precision = "float32"
"""


@pytest.mark.parametrize("batch", [2, 3])
def test_two_processes_leave_what_one_leaves_or_one_sentence(dataset: Path, tmp_path: Path, batch: int) -> None:
    config, out = tmp_path / "prior.toml", tmp_path / "prior"
    config.write_text(PRIOR.format(batch=batch), encoding="utf-8")
    words = ("train", "prior", "--data", dataset, "--config", config, "--device", "cpu", "--out", out)
    command = [sys.executable, "-c", "from napari_pgrd.cli import main; main()", *map(str, words), "--processes", "2"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    said = result.stderr
    if batch == 3:
        assert result.returncode == 2, said
        assert said.count("cannot be shared out among 2 processes") == 1
        return
    assert result.returncode == 0, said
    assert said.count("step 2/2") == 1 and said.count("temperature") == 1, "one of them speaks"
    record = json.loads((out / "training.json").read_text(encoding="utf-8"))
    assert record["steps"] == 2 and record["temperature"] > 0 and record["history"][0]["step"] == 2
    assert (out / "split.json").is_file() and load_file(out / "prior.safetensors")
