"""A connection to a cluster, and the tasks given to it: weights follow where they lack, failures are sentences."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from napari_pgrd.cluster import deaf
from napari_pgrd.cluster.address import ConnectionLostError, Where
from napari_pgrd.cluster.surroundings import safe_path, scratch
from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.errors import InputError, PgrdError, require

CONNECT_S, WORKERS_S = 30, 300
LOOK_S, CLOSE_S = 5.0, 5.0
CORES = 4  # to a worker, where there is no GPU
MISSING = (
    'Other processes need dask.distributed, which is not installed. Install it with pip install "napari-pgrd[cluster]".'
)

PLAIN = (
    "The library cryptography is not installed, so the processes on this machine talk unencrypted, and whoever has an "
    'account on it could reach them and run code as you. Install it with pip install "napari-pgrd[cluster]".'
)


@dataclass(frozen=True)
class Broken:
    """A task failed in a way nobody foresaw; the sentence says how, without a word of the image."""

    sentence: str


@dataclass(eq=False)
class Task:
    """Something given to the cluster; ``tag`` is the caller's own."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    tag: Any
    future: Any = field(default=None, repr=False)


@dataclass(frozen=True)
class Answer:
    """What became of a task."""

    task: Task
    value: Any


class Pool:
    """Tasks on one cluster for one bundle.

    ``run`` marks them: :meth:`close` stops them by it.
    """

    def __init__(self, client: Any, bundle: Bundle, name: str) -> None:
        from napari_pgrd.cluster.worker import TOPIC

        self.client, self.bundle, self.name = client, bundle, name
        self.run = uuid.uuid4().hex
        self._arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._topic, self._open = TOPIC, set[Task]()
        self._looked, self._workers = -LOOK_S, 0
        client.subscribe_topic(TOPIC, self._heard)

    @property
    def workers(self) -> int:
        """How many there are, or were a few seconds ago."""
        now = time.monotonic()
        if now - self._looked > LOOK_S:
            with self._connected():
                self._looked, self._workers = now, len(self.client.nthreads())
        return self._workers

    def submit(self, function: Callable[..., Any], *args: Any, tag: Any = None) -> Task:
        """Give a task to the cluster; futures among the arguments are waited for there."""
        task = Task(function, args, tag)
        self._send(task)
        return task

    def hold(self, job: Any) -> Any:
        """Put a job on the cluster, from where tasks take it; it comes back by itself if its worker dies."""
        from napari_pgrd.cluster.worker import hold

        with self._connected():
            return self.client.submit(hold, job, key=f"pgrd-{uuid.uuid4().hex}", pure=False)

    def next(self, seconds: float) -> Answer | Mapping[str, Any] | None:
        """The next answer, or a message of progress; None if there was neither within so many seconds.

        Raises
        ------
        ConnectionLostError, BundleError
        """
        try:
            item = self._arrived.get(timeout=seconds)
        except queue.Empty:
            if self.client.status != "running":
                raise self._lost() from None
            return None
        if not isinstance(item, Task):
            message: Mapping[str, Any] = item
            return message
        return self._answer(item) if item in self._open else None

    def close(self) -> None:
        """Let go of all tasks; those at work end at their next network call."""
        # Not waited for long: a worker that is ending, too, may never answer.
        ending = threading.Thread(target=self._stop, name="pgrd close", daemon=True)
        ending.start()
        ending.join(CLOSE_S)
        self._open.clear()

    def _stop(self) -> None:
        from napari_pgrd.cluster.worker import stop

        with suppress(Exception):  # nothing can be told to a cluster that is gone
            if self.client.status == "running":
                self.client.unsubscribe_topic(self._topic)
                under_way = [task.future for task in self._open]
                if under_way:
                    self.client.cancel(under_way, reason="closed")
                    self.client.run(stop, self.run, on_error="ignore")

    def _send(self, task: Task) -> None:
        with self._connected():
            task.future = self.client.submit(task.function, *task.args, key=f"pgrd-{uuid.uuid4().hex}", pure=False)
        self._open.add(task)
        task.future.add_done_callback(lambda _: self._arrived.put(task))

    def _heard(self, event: tuple[float, Any]) -> None:
        message = event[1]
        if isinstance(message, dict) and message.get("run") == self.run:
            self._arrived.put(message)

    def _answer(self, task: Task) -> Answer | None:
        from napari_pgrd.cluster.worker import Lacking

        self._open.discard(task)
        with self._connected():
            error = task.future.exception()
            if error is not None:
                return Answer(task, Broken(self._why(error)))
            value = self.client.gather(task.future, direct=False)
        task.future.release()
        if isinstance(value, Lacking):
            self._give_bundle(value.worker)
            self._send(task)
            return None
        return Answer(task, value)

    def _give_bundle(self, worker: str) -> None:
        from napari_pgrd.cluster.worker import install
        from napari_pgrd.engine.errors import BundleError

        names = ["bundle.json", *self.bundle.spec.weights]
        files = {name: (self.bundle.folder / name).read_bytes() for name in names}
        with self._connected():
            said = self.client.run(install, self.bundle.digest, files, workers=[worker], on_error="ignore")
        for sentence in said.values():  # none if the worker has gone: the task will meet another
            require(not sentence, BundleError, sentence)

    def _why(self, error: BaseException) -> str:
        kind = type(error).__name__
        if kind == "KilledWorker":
            return (
                "The workers that tried it ended without a word, one after another; most often their memory was "
                "too small. Give workers more memory, or choose a smaller box."
            )
        if isinstance(error, ImportError):
            return f"The workers of {self.name} lack napari-pgrd or a part of it. Install the same version there."
        if isinstance(error, PgrdError):
            return str(error)
        return f"Unexpected {kind} on a worker; its log says where."

    def _lost(self) -> ConnectionLostError:
        return ConnectionLostError(
            f"The connection to {self.name} was lost. What had arrived stays; go on when it is back, or here."
        )

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """A connection that breaks in the middle is a sentence."""
        from concurrent.futures import CancelledError

        try:
            yield
        except PgrdError:
            raise
        except (CancelledError, OSError, TimeoutError) as error:
            raise self._lost() from error
        except Exception as error:
            if self.client.status != "running":
                raise self._lost() from error
            raise


@contextmanager
def connect(where: Where) -> Iterator[Any]:
    """A client of the scheduler at an address.

    Raises
    ------
    InputError
        If dask.distributed is missing, or TLS is asked for and there are no certificates.
    ConnectionLostError
        If nothing answers there, or there is no worker.
    """
    distributed = _distributed()
    if where.encrypted:
        found = distributed.Security().get_connection_args("client").get("ssl_context")
        require(
            found is not None,
            InputError,
            f"{where.address} wants certificates. Name them in dask's configuration, as distributed.comm.tls.ca-file, "
            "client.cert and client.key (docs/batch.md).",
        )
    try:
        client = distributed.Client(where.address, timeout=CONNECT_S, set_as_default=False, direct_to_workers=False)
    except Exception as error:
        raise ConnectionLostError(
            f"Nothing that can be used answers at {where.address} ({type(error).__name__}). Check the address, that "
            "the scheduler runs, and that both sides use the same encryption and version of distributed."
        ) from error
    try:
        require(
            bool(client.nthreads()),
            ConnectionLostError,
            f"The scheduler at {where.address} has no workers. Start one: dask worker {where.address} --nthreads 1",
        )
        yield client
    finally:
        with suppress(Exception):
            client.close(timeout=5)


@contextmanager
def local_cluster(
    workers: int | None = None, device: str = "auto", say: Callable[[str], None] = lambda text: None
) -> Iterator[Any]:
    """A client of workers of our own on this machine: one a GPU, else one for every four cores; loopback only.

    The processes talk to each other encrypted, with certificates made for this run, so that nobody else on the machine
    can join. Where the library ``cryptography``, which makes them, is missing, ``say`` hears that they do not.
    """
    distributed = _distributed()
    import dask
    from distributed.deploy.local import LocalCluster

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpus = [] if device not in ("auto", "cuda") else _gpus()
    count = workers or len(gpus) or max(1, cores // CORES)
    threads = str(max(1, cores // count))
    env = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    try:
        security = distributed.Security.temporary()
    except ImportError:
        security = None
        say(PLAIN)
    with ExitStack() as stack:
        stack.enter_context(safe_path())
        with dask.config.set({"temporary-directory": scratch()}):
            cluster = LocalCluster(
                n_workers=0,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False},
                silence_logs=logging.CRITICAL,
                security=security,
                memory_limit=int(distributed.system.MEMORY_LIMIT / count),  # by default a share of one core each
            )
            stack.callback(_close, cluster, 10)
            spec = cluster.new_worker_spec()
            ((_, worker),) = spec.items()
            for i in range(count):
                mine = env | ({"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} if gpus else {})
                options = {**worker["options"], "env": mine, "nthreads": 1, "preload": [deaf.__name__]}
                cluster.worker_spec[i] = {**worker, "options": options}
            cluster._i = count
            cluster.sync(cluster._correct_state)
        client = distributed.Client(cluster, set_as_default=False)
        stack.callback(_close, client, 5)
        try:
            client.wait_for_workers(1, timeout=WORKERS_S)
        except Exception as error:
            raise ConnectionLostError(
                "The workers on this machine did not start. Free some memory, then try again."
            ) from error
        yield client


def _close(what: Any, seconds: float) -> None:
    with suppress(Exception):
        what.close(timeout=seconds)


def _gpus() -> list[str]:
    """The CUDA devices this process may use, as their variable names them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not torch.cuda.is_available():
        return []
    return named.split(",") if named else [str(i) for i in range(torch.cuda.device_count())]


def _distributed() -> Any:
    try:
        import dask
        import distributed
    except ImportError as error:
        raise InputError(MISSING) from error
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what it would log is said in a sentence
    dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"})  # an image is as large as it is
    return distributed
