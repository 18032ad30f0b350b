"""Real clusters for tests; started once for a file, as that takes longer than most tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import dask
import psutil
import pytest
from distributed import Client, LocalCluster

from napari_pgrd.cluster.connection import local_cluster


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Of two worker processes, as the program starts them."""
    with local_cluster(2, "cpu") as client:
        client.wait_for_workers(2, timeout=600)
        yield client


@pytest.fixture
def address(client: Any) -> Iterator[str]:
    """Where its scheduler listens; its certificates are named in dask's configuration, as those of any cluster are."""
    mine = client.security
    pair = {"cert": mine.tls_client_cert, "key": mine.tls_client_key}
    with dask.config.set({"distributed.comm.tls.ca-file": mine.tls_ca_file, "distributed.comm.tls.client": pair}):
        yield str(client.scheduler.address)


@pytest.fixture(scope="module")
def near() -> Iterator[Any]:
    """A client of two workers that are threads of this process: reached by TCP like any, and quick to start."""
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address=None
    )
    with cluster, Client(cluster, set_as_default=False) as client:
        yield client


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
