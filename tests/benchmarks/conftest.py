"""Benchmarks are scripts, not a package; their folder is put where Python looks."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
