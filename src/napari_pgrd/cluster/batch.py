"""Many cases on a cluster: each read here, drawn there, written here; one that fails never stops the others."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import napari_pgrd
from napari_pgrd.cluster import worker
from napari_pgrd.cluster.address import ConnectionLostError
from napari_pgrd.cluster.connection import Answer, Broken, Pool
from napari_pgrd.cluster.results import Results
from napari_pgrd.engine.errors import InputError, PgrdError, require
from napari_pgrd.engine.scope import check_scope
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.caselist import ImageFiles, open_image
from napari_pgrd.session.triage import Measures

BEAT_S = 0.2
SOURCE = Path(napari_pgrd.__file__).parent
Show = Callable[[float, str, float | None], None]


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes
    ----------
    state : str
        "done", "kept" (it was there already), "failed" or "not done".
    sentence : str
        Why it failed, or what to know of how this run did it.
    """

    name: str
    state: str
    sentence: str = ""
    measures: Measures | None = None


@dataclass(eq=False)
class _Open:
    """A case on the cluster; ``part`` of it is done."""

    case: ImageFiles
    key: str
    volume: Volume
    part: float = 0.0


@dataclass
class Batch:
    """Cases and what became of them so far.

    Attributes
    ----------
    show : callable
        Is told the share that is done, a line, and how many seconds are left if that can be said.
    heard : callable
        Is told of every outcome as it comes.
    say : callable
        Is told which image of which case became which channel.
    """

    cases: Sequence[ImageFiles]
    results: Results
    show: Show = lambda *_: None
    heard: Callable[[Outcome], None] = lambda _: None
    say: Callable[[str, str], None] = lambda *_: None
    found: dict[str, Outcome] = field(default_factory=dict)

    @property
    def outcomes(self) -> list[Outcome]:
        """Of every case, in the order of the list."""
        return [self.found.get(case.name, Outcome(case.name, "not done")) for case in self.cases]

    def keep(self) -> list[tuple[ImageFiles, str]]:
        """Find what is there already; the rest comes back, with the key of each. Needs no cluster."""
        rest = []
        for number, case in enumerate(self.cases, 1):
            self.show((number - 1) / len(self.cases), f"looking at case {number} of {len(self.cases)}", None)
            with self._failing(case):
                gone = [path.name for path in case.images if not os.path.exists(path)]
                require(
                    not gone, InputError, f"There is no {' and no '.join(gone)} where the list says. Check the path."
                )
                self.results.check(case.name)
                key = self.results.key(case.digest(self.results.bundle.spec.channels))
                measures = self.results.finished(case.name, key)
                if measures is None:
                    rest.append((case, key))
                else:
                    self._note(Outcome(case.name, "kept", measures=measures))
        return rest

    def run(self, client: Any, name: str, rest: Sequence[tuple[ImageFiles, str]]) -> None:
        """Compute what is not there yet, on the cluster that is called so.

        Raises
        ------
        ConnectionLostError
            What was finished by then stays, and another run goes on from there.
        """
        pool = Pool(client, self.results.bundle, name)
        under_way: dict[int, _Open] = {}
        began, read = time.monotonic(), 0
        try:
            while read < len(rest) or under_way:
                # One more than there are workers, so that none waits for a file to be read or written here.
                while read < len(rest) and len(under_way) <= max(1, pool.workers):
                    self._start(pool, under_way, read, *rest[read])
                    read += 1
                found = pool.next(BEAT_S)
                if isinstance(found, Answer):
                    self._finish(under_way.pop(found.task.tag), found.value)
                elif isinstance(found, Mapping) and found.get("case") in under_way:
                    under_way[int(found["case"])].part = float(found["done"]) / (self.results.request.samples or 1)
                done = read - len(under_way)
                worth = done + sum(one.part for one in under_way.values())
                left = (len(rest) - worth) * (time.monotonic() - began) / worth if worth > 0 else None
                number = min(done + 1, len(rest))
                text = f"case {number} of {len(rest)}" if pool.workers else f"{name} has no workers; waiting for one"
                self.show(worth / max(len(rest), 1), text, left if pool.workers else None)
        finally:
            pool.close()

    def _start(self, pool: Pool, under_way: dict[int, _Open], number: int, case: ImageFiles, key: str) -> None:
        r, spec = self.results.request, self.results.bundle.spec
        with self._failing(case):
            volume = open_image(case, spec.channels, self.results.resample, partial(self.say, case.name))
            check_scope(volume, spec, r.box)
            job = worker.Job(
                pool.run, pool.bundle.digest, volume.data, volume.affine, volume.spacing_known, r, number=number
            )
            pool.submit(worker.case, job, tag=number)
            under_way[number] = _Open(case, key, volume)

    def _finish(self, one: _Open, value: Any) -> None:
        with self._failing(one.case):
            if isinstance(value, (worker.Refused, Broken)):
                raise InputError(value.sentence)
            solved: worker.Solved = value
            self.results.put(one.case.name, one.key, solved.prediction, one.volume, solved.measures)
            self._note(Outcome(one.case.name, "done", " ".join(solved.notes), solved.measures))

    def _note(self, outcome: Outcome) -> None:
        self.found[outcome.name] = outcome
        self.heard(outcome)

    @contextmanager
    def _failing(self, case: ImageFiles) -> Iterator[None]:
        """Whatever goes wrong is this case's own."""
        try:
            yield
        except ConnectionLostError:
            raise
        except PgrdError as error:
            sentence = str(error)
        except Exception as error:
            sentence = unexpected(error)
        else:
            return
        if (self.results.folder / case.name / "manifest.json").is_file():
            sentence += " An earlier result is in its folder still."
        self._note(Outcome(case.name, "failed", sentence))


def unexpected(error: BaseException) -> str:
    """What to report of an error that nobody foresaw: its kind and where in this program, no message and no path.

    Messages of libraries may hold paths, and these may hold patients' names.
    """
    where = ""
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if path.is_relative_to(SOURCE):
            where = f" in {path.relative_to(SOURCE).as_posix()}, line {frame.lineno}"
    return f"Unexpected {type(error).__name__}{where}. Please report it; the other cases are not concerned."
