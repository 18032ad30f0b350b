"""How much memory and time a run will take, said before it starts and without loading torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_pgrd.engine.cost import Cost
from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.engine.store import LARGE
from napari_pgrd.engine.volume import Box, Volume

PROGRAM = 0.7e9  # PyTorch, MONAI and the networks themselves, resident
# What a sample costs around locks, as a multiple of one without them: benchmarks/results/locks.json.
COST = {None: 1.0, "replacement": 1.1, "hint": 1.1, "guidance": 2.1}
STATES = 8  # arrays that each of the two holds on a volume seen through windows
BACKWARD = 3  # guidance keeps what its backward pass needs: 0.87 GB at the peak, where sampling freely took 0.65


def memory_bytes(volume: Volume, spec: BundleSpec, box: Box | None, samples: int, method: str | None = None) -> float:
    """Expected peak in bytes: the programs, two network calls side by side, the maps, a byte a voxel and sample.

    ``method`` is how locks are respected, if there are any.
    """
    shape = tuple(hi - lo for lo, hi in box) if box else volume.shape
    grid = float(np.prod(shape))
    prepared = grid
    if spec.prepare.spacing is not None:
        prepared = grid * abs(np.linalg.det(volume.affine[:3, :3])) / float(np.prod(spec.prepare.spacing))
    prepared = max(prepared, float(np.prod(spec.prepare.patch)))
    k = len(spec.labels)
    seen = prepared if spec.prepare.window is None else min(prepared, float(np.prod(spec.prepare.window)))
    call = seen * (10 * spec.width * 4 + 10 * k * 4) * (BACKWARD if method == "guidance" else 1)
    maps = grid * (6 * k * 4 + 4 * 4)
    states = 0.0 if seen == prepared else 2 * STATES * k * 4 * prepared
    return PROGRAM + 2 * call + states + maps + (grid * samples if grid < LARGE else 0.0)


def memory_sentence(volume: Volume | None, spec: BundleSpec | None, box: Box | None, samples: int) -> str:
    """One line for the reader; empty when there is nothing to estimate."""
    if volume is None or spec is None:
        return ""
    size = memory_bytes(volume, spec, box, samples)
    return f"Needs about {size / 1e9:.1f} GB of memory."


def cost_sentence(cost: Cost, samples: int, steps: int, method: str | None = None) -> str:
    """One sentence: how long, how much memory, and through how many windows a step.

    ``method`` is how locks are respected, if there are any.
    """
    seconds = cost.seconds(samples, steps) * COST.get(method, 1.0)
    where = "graphics memory" if cost.device == "cuda" else "memory"
    windows = f": {cost.windows} windows a step, foretold by one of them" if cost.windows > 1 else ""
    return f"Takes about {_rounded(seconds)} and {cost.bytes(samples) / 1e9:.1f} GB of {where}{windows}."


@dataclass
class DrawingTime:
    """What a run's samples take, from its moments: not loading the model, nor the first network call.

    A first run loads programs and weights, and its first network call, the prior, is many times slower than any later
    one. Counted from the arrival of the prior, a first run forecasts the next.

    Attributes
    ----------
    before : float
        Seconds that samples of earlier runs took, to which this run adds more.
    """

    before: float = 0.0
    _since: float | None = None

    def hear(self, kind: str, now: float) -> None:
        """An update of the run, by ``Update.kind``, at a moment of a clock that never steps back."""
        if kind == "prior" and self._since is None:
            self._since = now

    def seconds(self, now: float) -> float:
        """What all samples took, where the run has ended now."""
        return self.before + (now - self._since if self._since is not None else 0.0)


def seconds_again(samples: int, drawn: int, seconds: float, method: str | None, earlier: str | None) -> float | None:
    """How long drawing again will take, by how long the samples that stand have taken.

    Parameters
    ----------
    samples : int
        How many will be drawn.
    drawn, seconds : int, float
        How many stand, and what they took by :class:`DrawingTime`.
    method, earlier : str, optional
        How locks will be respected, and how they were.

    Returns
    -------
    float or None
        Seconds; None if nobody knows what the samples that stand have taken.
    """
    if drawn <= 0 or seconds <= 0:
        return None
    return samples * seconds / drawn * COST.get(method, 1.0) / COST.get(earlier, 1.0)


def again_sentence(samples: int, seconds: float | None, bytes_needed: float) -> str:
    """As "Draws 16 samples again: about 30 s, about 0.9 GB of memory."; without the time where it is not known."""
    time = "" if seconds is None else f"about {_rounded(seconds)}, "
    return f"Draws {samples} sample{'s' * (samples != 1)} again: {time}about {bytes_needed / 1e9:.1f} GB of memory."


def _rounded(seconds: float) -> str:
    """To what can be promised: ``1 s``, ``30 s``, ``4 min``."""
    if seconds < 10:
        return f"{max(1, round(seconds))} s"
    if seconds < 90:
        return f"{round(seconds / 5) * 5} s"
    return f"{round(seconds / 60)} min"
