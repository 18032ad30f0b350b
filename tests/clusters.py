"""A real cluster of processes on this machine, for tests; started once, as that takes longer than any test."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from napari_pgrd.cluster.connection import local_cluster


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Of two workers."""
    with local_cluster(2, "cpu") as client:
        client.wait_for_workers(2, timeout=300)
        yield client


@pytest.fixture(scope="module")
def address(client: Any) -> str:
    """Where its scheduler listens."""
    return str(client.scheduler.address)


def kill_workers(client: Any) -> list[int]:
    """Kill the processes of all workers at once, as a power cut does; returns their ids."""
    pids = list(client.run(os.getpid).values())
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    return pids


def listening(process: psutil.Process) -> set[str]:
    """Addresses on which a process and its children accept connections."""
    family = [process, *process.children(recursive=True)]
    return {c.laddr.ip for p in family for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN}
