"""A tool's first use: whatever it imports holds the window up, seconds on a busy machine."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
import numpy as np
import napari_pgrd.viewer.dock
from napari_pgrd.session import tools
from napari_pgrd.session.change import VOLUME
from napari_pgrd.session.contours import outline, redraw
from napari_pgrd.session.interpolation import interpolate
from napari_pgrd.session.neighbourhood import near

before = set(sys.modules)
labels = np.zeros((12, 30, 30), np.uint8)
labels[2:10, 5:20, 8:25] = 1
labels[[2, 9], 5:9] = 0
labels[5, 10, 12] = 0
mm = (1.0, 0.7, 2.0)
used = [
    tools.smooth(labels, 1, 1.0, mm, VOLUME),
    tools.grow(labels, 1, 1.0, mm, VOLUME),
    tools.shrink(labels, 1, 1.0, mm, VOLUME),
    tools.fill_holes(labels, 1, VOLUME),
    tools.keep_largest(labels, 1, VOLUME),
    interpolate(labels, 1, 0, [2, 9], mm),
    redraw(labels, 1, 0, 5, outline(labels, 1, 0, 5, mm)[:0]),
    near(labels == 1, 3.0, mm),
]
print(len(used), sorted(set(sys.modules) - before))
"""


def test_no_tool_imports_anything_when_it_is_first_used():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "8 []"
