"""kill -9 of real editing processes, a few times; benchmarks/kill.py does it two hundred times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "kill.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the script forks")
def test_a_killed_process_loses_at_most_the_stroke_under_way(tmp_path):
    out = tmp_path / "kill.json"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--kills", "8", "--seed", "3", "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert out.exists(), done.stderr
    result = json.loads(out.read_text())
    assert result["failures"] == []
    assert done.returncode == 0
    assert result["edits acknowledged"] > 0
    assert result["reviews offered"] >= result["killed while editing"] > 0
