"""A window that is closed while it samples goes without a word: no traceback of a thread that outlived it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("how", ["close", "end"])
def test_nothing_is_said_when_a_window_goes_while_sampling(tiny, image_file, how):
    command = [sys.executable, "-m", "tests.viewer.closing_job", str(tiny), str(image_file), how]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=900)
    assert done.stdout == "ends while sampling: True\n"
    assert done.stderr == ""
    assert done.returncode == 0
