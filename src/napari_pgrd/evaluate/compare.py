"""Several systems on the same cases: every row that is missing is computed, then all of them are read together."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.device import precision, resolve
from napari_pgrd.engine.errors import BundleError, InputError, PgrdError, require
from napari_pgrd.engine.predict import Runner, predict
from napari_pgrd.engine.prediction import entropy_of
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.engine.volume import Volume
from napari_pgrd.evaluate import metrics
from napari_pgrd.evaluate.case import among, believe
from napari_pgrd.evaluate.counting import Calls
from napari_pgrd.evaluate.entries import PRIOR, ROWS, SCALED, THRESHOLDED, Entry
from napari_pgrd.evaluate.evaluate import prior_map
from napari_pgrd.evaluate.items import Item
from napari_pgrd.evaluate.origin import identity, method_of, uses_prior
from napari_pgrd.evaluate.raters import majority
from napari_pgrd.evaluate.slices import picture_of
from napari_pgrd.evaluate.store import Row, Rows
from napari_pgrd.evaluate.surfaces import surfaces

Say = Callable[[float, str], None]
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Plan:
    """What to compare.

    Attributes
    ----------
    request : Request
        What every entry is asked for that does not say otherwise; ``steps`` None takes each bundle's own.
    reference : str
        Name of the entry that all others are tested against; its bundle gives the rows of the prior.
    curve, curve_entries : tuple
        Numbers of steps, and names of the entries measured at each.
    pictures : tuple of str
        Cases (or slices, by their names in the table) to show.
    """

    entries: tuple[Entry, ...]
    items: tuple[Item, ...]
    request: Request
    out: Path
    reference: str
    curve: tuple[int, ...] = ()
    curve_entries: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names, items = {e.name for e in self.entries}, {i.name for i in self.items} | {i.case.name for i in self.items}
        require(len(self.items) > 0, InputError, "There is no case to compare on. Give a list with at least one.")
        asked = (("reference", {self.reference}, names), ("curve", set(self.curve_entries), names))
        for what, given, known in (*asked, ("picture", set(self.pictures), items)):
            missing = ", ".join(sorted(given - known))
            kind = "listed case" if what == "picture" else "entry"
            require(
                not missing,
                InputError,
                f"There is no {kind} named {missing} for the {what}; there are {', '.join(sorted(known)[:12])}.",
            )
        require(all(1 <= s for s in self.curve), InputError, "The curve needs numbers of steps from 1 on, as 1,2,5,10.")


@dataclass
class System:
    """One system and its rows, in the order of the items; ``curve`` holds rows by number of steps."""

    entry: Entry
    bundle: Bundle
    request: Request
    rows: list[Row] = field(default_factory=list)
    curve: dict[int, list[Row]] = field(default_factory=dict)
    pictures: dict[str, Arrays] = field(default_factory=dict)

    @property
    def spec(self) -> BundleSpec:
        """Of the bundle."""
        return self.bundle.spec


def compare(plan: Plan, say: Say = lambda fraction, text: None, systems: list[System] | None = None) -> list[System]:
    """Measure every system on every item; rows that stand on disk already are read.

    ``systems`` are those of :func:`systems_of`, where they were checked before.

    Raises
    ------
    PgrdError
        Naming system and case where it fails; the rows before it are kept.
    """
    systems = systems or systems_of(plan)
    rows, device = Rows(plan.out / "rows"), resolve(plan.request.device)
    jobs = [(s, None) for s in systems]
    jobs += [(s, steps) for s in systems if s.entry.name in plan.curve_entries for steps in plan.curve]  # type: ignore[misc]
    done, total = 0, len(jobs) * len(plan.items)
    for system, steps in jobs:
        request = system.entry.request(plan.request, system.spec, steps).resolved(system.spec)
        found = []
        for item in plan.items:
            say(done / total, f"{system.entry.name}, {item.name}{f', {steps} steps' if steps else ''}")
            wanted = steps is None and bool({item.name, item.case.name} & set(plan.pictures))
            try:
                row, arrays = _row(rows, system, request, item, device, wanted)
            except PgrdError as error:
                raise type(error)(f"{system.entry.name}, {item.name}: {error}") from error
            except Exception as error:
                error.add_note(f"This happened to {system.entry.name} on {item.name}.")
                raise
            found.append(row)
            if arrays is not None:
                system.pictures[item.name] = arrays
            done += 1
        if steps is None:
            system.rows = found
        else:
            system.curve[steps] = found
    say(1.0, "")
    return systems


def systems_of(plan: Plan) -> list[System]:
    """Every bundle loaded and every request checked before anything is computed, and the rows of the prior added.

    Raises
    ------
    PgrdError
        Naming the entry that cannot be asked for what the plan asks, or the two that cannot stand in one table.
    """
    reference = next(e for e in plan.entries if e.name == plan.reference)
    given = {(e.bundle, e.method) for e in plan.entries}
    loaded = {reference.bundle: Bundle.load(reference.bundle)}
    offered = [m for m in (THRESHOLDED,) if m in loaded[reference.bundle].spec.offered]
    alone = [
        Entry(ROWS[m], reference.bundle, m) for m in (*offered, SCALED, PRIOR) if (reference.bundle, m) not in given
    ]
    systems = []
    for entry in (*plan.entries, *alone):
        if entry.bundle not in loaded:
            loaded[entry.bundle] = Bundle.load(entry.bundle)
        bundle = loaded[entry.bundle]
        try:
            request = entry.request(plan.request, bundle.spec).resolved(bundle.spec)
            for steps in plan.curve if entry.name in plan.curve_entries else ():
                entry.request(plan.request, bundle.spec, steps).resolved(bundle.spec)
        except PgrdError as error:
            raise type(error)(f"{entry.name}: {error}") from error
        systems.append(System(entry, bundle, request))
    first = systems[0]
    for other in systems[1:]:
        require(
            _labels(other.spec) == _labels(first.spec),
            BundleError,
            f"{first.entry.name} and {other.entry.name} segment different labels ({_labels(first.spec)} and "
            f"{_labels(other.spec)}), so no table can hold both. Compare bundles with the same labels.",
        )
    return systems


def _labels(spec: BundleSpec) -> dict[int, str]:
    return {label.value: label.name for label in spec.labels}


def _row(
    rows: Rows, system: System, request: Request, item: Item, device: torch.device, wanted: bool
) -> tuple[Row, Arrays | None]:
    """A row from disk or computed, and its picture if it is wanted."""
    index = {label.value: k for k, label in enumerate(system.spec.labels)}
    volume, truths = item.load(index)
    asked = {} if system.entry.deterministic else _asked(request)
    key = {
        "networks": identity(system.entry, system.spec),
        "method": system.entry.method,
        "request": asked,
        "case": item.case.name,
        "slice": item.slice,
        "image": volume.digest,
        "affine": hashlib.sha256(volume.affine.tobytes()).hexdigest()[:16],
        "truth": hashlib.sha256(np.ascontiguousarray(truths, np.uint8).tobytes()).hexdigest()[:16],
    }
    path = rows.path(system.entry.name, asked.get("steps"), item.name)
    found = rows.get(path, key, wanted)
    if found is None:
        runner = Runner(
            system.bundle, device, method_of(system.entry, system.spec)
        )  # the networks are loaded before the clock starts
        p, masks, cost = _answer(system, request, volume, runner)
        row = {"case": item.case.name, "slice": item.slice, **measure(p, masks, truths, volume, system.spec), **cost}
        arrays = picture_of(volume, truths, p.argmax(0), masks, entropy_of(p), system.spec) if wanted else None
        found = rows.put(path, key, row, arrays)
    return found, rows.picture(path, key) if wanted else None


def _asked(request: Request) -> dict[str, Any]:
    names = ("samples", "steps", "seed", "solver", "eta")
    return {name: getattr(request, name) for name in names}


def _answer(
    system: System, request: Request, volume: Volume, runner: Runner
) -> tuple[NDArray[np.floating], NDArray[np.uint8], Row]:
    """Probabilities ``(K, x, y, z)``, masks ``(M, x, y, z)`` and what they cost."""
    unheard = () if uses_prior(system.entry, system.spec) else (runner.prior_net,)
    with Calls(unheard) as counted:
        began = time.perf_counter()
        if system.entry.deterministic:
            temperature = system.spec.prior_temperature if system.entry.method == SCALED else 1.0
            p = prior_map(volume, runner, temperature)
            masks = p.argmax(0).astype(np.uint8)[None]
        else:
            result = None
            for update in predict(volume, system.bundle, request):
                result = update.prediction or result
            assert result is not None
            p, masks = result.probability, np.stack(result.masks)
        seconds = time.perf_counter() - began
    return p, masks, {
        "samples": len(masks),
        "seconds": seconds,
        "calls": counted.calls,
        "parameters": counted.parameters,
        "device": runner.device.type,
        "precision": str(precision(runner.device)).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }  # fmt: skip


def measure(
    p: NDArray[np.floating],
    masks: NDArray[np.integer],
    truths: NDArray[np.integer],
    volume: Volume,
    spec: BundleSpec,
) -> Row:
    """Every number of one case, and the curves that are pooled over cases."""
    classes, truth, consensus = len(spec.labels), majority(truths), p.argmax(0)
    scores, believed = metrics.dice(consensus, truth, classes), believe(p, truths)
    near = surfaces(consensus, truth, classes, volume.spacing)
    sparse = believed.sparsification
    return {
        "raters": len(truths),
        "spacing_known": volume.spacing_known,
        "dice": {label.name: score for label, score in zip(spec.labels[1:], scores, strict=True)},
        "numbers": {
            "dice": float(np.mean(scores)),
            **believed.numbers,
            **near._asdict(),
            **among(masks, truths, classes, spec.prepare.dims),
        },
        "reliability": believed.reliability.stored(),
        "reliability_roi": believed.reliability_roi.stored(),
        "sparsification": {"curve": sparse.curve.tolist(), "oracle": sparse.oracle.tolist()} if sparse else None,
    }


def settings(systems: Sequence[System]) -> Mapping[str, Row]:
    """What each system is and was asked, for the record; no path."""
    return {
        s.entry.name: {
            "entry": s.entry.shown,
            "bundle": s.spec.name,
            "digest": s.bundle.digest,
            "method": s.entry.method,
            "request": {} if s.entry.deterministic else _asked(s.request),
        }
        for s in systems
    }
