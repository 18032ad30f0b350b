"""How much memory a run will take, said before it starts and without loading torch."""

from __future__ import annotations

import numpy as np

from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.engine.volume import Box, Volume

PROGRAM = 0.7e9  # PyTorch, MONAI and the networks themselves, resident


def memory_bytes(volume: Volume, spec: BundleSpec, box: Box | None, samples: int) -> float:
    """Expected peak in bytes: the programs, two network calls side by side, the maps, a byte a voxel and sample."""
    shape = tuple(hi - lo for lo, hi in box) if box else volume.shape
    grid = float(np.prod(shape))
    prepared = grid
    if spec.prepare.spacing is not None:
        prepared = grid * abs(np.linalg.det(volume.affine[:3, :3])) / float(np.prod(spec.prepare.spacing))
    prepared = max(prepared, float(np.prod(spec.prepare.patch)))
    k = len(spec.labels)
    call = prepared * (10 * spec.denoiser.widths[0] * 4 + 10 * k * 4)
    maps = grid * (6 * k * 4 + 4 * 4)
    return PROGRAM + 2 * call + maps + grid * samples


def memory_sentence(volume: Volume | None, spec: BundleSpec | None, box: Box | None, samples: int) -> str:
    """One line for the reader; empty when there is nothing to estimate."""
    if volume is None or spec is None:
        return ""
    size = memory_bytes(volume, spec, box, samples)
    return f"Needs about {size / 1e9:.1f} GB of memory."
