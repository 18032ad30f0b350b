"""``pgrd batch``."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Exit, Option

from napari_pgrd.cli.inference import (
    DEFAULT_BUNDLE,
    BundleOption,
    Device,
    Eta,
    Method,
    Resample,
    Samples,
    Seed,
    Solver,
    Steps,
)
from napari_pgrd.cli.terminal import progress, tell
from napari_pgrd.engine.duration import and_left
from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.request import Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_pgrd.cluster.address import Where
    from napari_pgrd.cluster.batch import Batch

FAILED = 1
MOST_WORKERS = 64


def batch(
    images: Annotated[Path, Argument(help="A folder of images, or a list: text, CSV or JSON.", show_default=False)],
    out: Annotated[
        Path, Option(help="Folder for results, a folder a case; one that was stopped goes on.", show_default=False)
    ],
    bundle: BundleOption = DEFAULT_BUNDLE,
    method: Method = None,
    steps: Steps = None,
    samples: Samples = None,
    seed: Seed = 0,
    solver: Solver = None,
    eta: Eta = None,
    device: Device = "auto",
    scheduler: Annotated[
        str | None, Option(help="A dask scheduler: tls://host:port, or tcp://localhost:port. Default: this machine.")
    ] = None,
    workers: Annotated[int | None, Option(help="Processes on this machine; default: one a GPU, or few.")] = None,
    allow_insecure: Annotated[bool, Option("--allow-insecure", help="Plain tcp:// to another machine.")] = False,
    resample: Resample = False,
    page: Annotated[bool, Option("--report", help="A report of every case, too: an HTML page.")] = False,
) -> None:
    """Segment many images, on this machine or a cluster, and rank them: summary.csv and summary.md."""
    from napari_pgrd.cluster.address import Where
    from napari_pgrd.cluster.batch import Batch
    from napari_pgrd.cluster.results import Results
    from napari_pgrd.cluster.summary import CSV, PAGE
    from napari_pgrd.engine.bundle import Bundle
    from napari_pgrd.io.caselist import find_images

    require(
        scheduler is None or workers is None,
        InputError,
        "--workers starts processes on this machine, but a cluster has its own. Give it or --scheduler, not both.",
    )
    require(
        workers is None or 1 <= workers <= MOST_WORKERS,
        InputError,
        f"{workers} workers were asked for; choose between 1 and {MOST_WORKERS}.",
    )
    where = None if scheduler is None else Where(scheduler, allow_insecure)
    loaded = Bundle.load(bundle)
    request = Request(samples, steps, seed, solver, eta, device, method=method).resolved(loaded.spec)
    require(not out.is_file(), InputError, f"{out.name} is a file; give a folder for the results.")
    require(
        not images.is_dir() or images.resolve() != out.resolve(),
        InputError,
        "Results would lie among the images. Choose another --out.",
    )
    results = Results(out, loaded, request, page, resample)
    cases = find_images(images, loaded.spec.channels, [out], tell, (CSV, PAGE))
    with results.opened(), progress() as show:
        run = Batch(cases, results, lambda fraction, text, left: show(fraction, text + and_left(left)), _hear, _say)
        try:
            compute(run, where, workers)
        except KeyboardInterrupt:
            tell(f"{done(run)} of {len(cases)} cases are finished; the same command goes on from there.")
            raise
        finally:
            show(1.0, "writing the summary")
            conclude(run)
    if any(outcome.state == "failed" for outcome in run.outcomes):
        raise Exit(FAILED)


def compute(run: Batch, where: Where | None, workers: int | None) -> None:
    """Take what is there, compute the rest; no process is started for nothing."""
    rest = run.keep()
    if rest:
        with cluster(where, workers, run.results.request.device) as (client, name):
            run.run(client, name, rest)


@contextmanager
def cluster(where: Where | None, workers: int | None, device: str) -> Iterator[tuple[Any, str]]:
    """A client, and what to call its cluster."""
    from napari_pgrd.cluster.connection import connect, local_cluster

    if where is not None:
        with connect(where) as client:
            yield client, where.address
    else:
        with local_cluster(workers, device, tell) as client:
            yield client, "the workers on this machine"


def conclude(run: Batch) -> None:
    """Write the summary and say on stdout what to look at first."""
    from napari_pgrd.cluster.summary import FIRST, in_order, write_summary

    written = write_summary(run.outcomes, run.results)
    states = [outcome.state for outcome in run.outcomes]
    kept = f", {states.count('kept')} of them earlier" if "kept" in states else ""
    parts = [f"{done(run)} of {len(states)} cases segmented{kept}"]
    parts += [f"{states.count(s)} {s}" for s in ("failed", "not done") if s in states]
    print(", ".join(parts))
    first = [(o.name, why) for o, why in in_order(run.outcomes) if o.measures is not None][:FIRST]
    for name, why in first:
        print(f"  look at {name}: {why}" if name == first[0][0] else f"  then {name}: {why}")
    print(f"Wrote {' and '.join(path.name for path in written)} to {run.results.folder}")


def done(run: Batch) -> int:
    """How many cases have their result."""
    return sum(outcome.measures is not None for outcome in run.outcomes)


def _hear(outcome: Any) -> None:
    if outcome.sentence:
        _say(outcome.name, outcome.sentence)


def _say(name: str, text: str) -> None:
    tell(f"{name}: {text}")
