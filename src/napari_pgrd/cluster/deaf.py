"""Run by distributed in each worker of this machine, before anything else."""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import Any


def dask_setup(worker: Any) -> None:
    """Leave Ctrl+C, which a terminal sends to every process, to the one that was started there: it ends the workers."""
    with suppress(ValueError):  # off the main thread nothing is heard anyway
        signal.signal(signal.SIGINT, signal.SIG_IGN)
