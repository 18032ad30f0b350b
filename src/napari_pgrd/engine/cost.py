"""What a run takes, as one measured window foretells it; read without loading torch."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True)
class Cost:
    """Seconds and bytes of the parts of a run.

    Attributes
    ----------
    windows : int
        Of the volume; 1 where the networks see all of it at once.
    at_once : int
        Samples that are refined together.
    prior_seconds, call_seconds : float
        Of one window: the prior, and one step of the samples refined together.
    step_seconds : float
        Of a step, over the whole volume, beside the network.
    sample_seconds : float
        Of adding up one sample.
    base_bytes : float
        Peak where one window is computed.
    volume_bytes : float
        Of the arrays on the whole volume that a run adds to that.
    stored_bytes : float
        Of one sample that is kept in memory; 0 where samples lie on disk.
    device : str
        Whose memory it is: "cpu", "cuda" or "mps".
    """

    windows: int
    at_once: int
    prior_seconds: float
    call_seconds: float
    step_seconds: float
    sample_seconds: float
    base_bytes: float
    volume_bytes: float
    stored_bytes: float
    device: str = "cpu"

    def seconds(self, samples: int, steps: int) -> float:
        """From the first window to the last sample."""
        groups = ceil(samples / self.at_once) if samples > self.at_once else samples / self.at_once
        step = self.windows * self.call_seconds + self.step_seconds
        return self.windows * self.prior_seconds + groups * steps * step + samples * self.sample_seconds

    def bytes(self, samples: int) -> float:
        """Peak memory."""
        return self.base_bytes + self.volume_bytes + samples * self.stored_bytes
