"""What is compared: ``NAME=BUNDLE[:METHOD][@STEPS]`` as the command line gives it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.spec import BundleSpec

PRIOR, SCALED, THRESHOLDED = "prior", "prior_scaled", "thresholded"
ROWS = {PRIOR: "prior", SCALED: "prior, scaled", THRESHOLDED: "prior, thresholded"}  # which come by themselves
METHOD = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
NUMBER = {"steps": int, "solver": str, "eta": float}
SYNTAX = "NAME=BUNDLE, NAME=BUNDLE:METHOD or NAME=BUNDLE:METHOD@STEPS, as in PGRD=hippocampus-mri@8"


@dataclass(frozen=True)
class Entry:
    """One system: a bundle, one of its methods (None: the bundle's own), and how it is asked where not as all others.

    ``given`` is what the entry was called with, beside its name, without the folders above the bundle.
    """

    name: str
    bundle: str
    method: str | None = None
    steps: int | None = None
    solver: str | None = None
    eta: float | None = None

    @property
    def deterministic(self) -> bool:
        """Whether this is the prior alone: one mask, no samples."""
        return self.method in (PRIOR, SCALED)

    def request(self, common: Request, spec: BundleSpec, steps: int | None = None) -> Request:
        """What all are asked, with what this entry is asked otherwise; ``steps`` goes before both.

        What its method has no use for is left out: the common number of steps where a sample comes at once, and more
        samples than the method has to give.
        """
        method = None if self.deterministic else self.method
        row, samples = spec.row(method), common.samples
        if row.most is not None:
            samples = min(samples or row.most, row.most)
        shared = (common.steps, common.solver, common.eta) if row.stepwise else (None, None, None)
        return replace(
            common,
            samples=samples,
            steps=steps or self.steps or shared[0],
            solver=self.solver or shared[1],
            eta=shared[2] if self.eta is None else self.eta,
            method=method,
        )

    @property
    def shown(self) -> str:
        """As it was given, without the folders above the bundle's own."""
        options = {"steps": self.steps, "solver": self.solver, "eta": self.eta}
        asked = ",".join(f"{k}={v}" for k, v in options.items() if v is not None)
        method = f":{self.method}" if self.method else ""
        return f"{self.name}={Path(self.bundle).name}{method}{'@' + asked if asked else ''}"


def parse_entries(texts: Sequence[str]) -> list[Entry]:
    """Entries with different names.

    Raises
    ------
    InputError
        Quoting the entry that is not understood, or the name that two have.
    """
    require(len(texts) > 0, InputError, f"There is nothing to compare. Give --entry, as {SYNTAX}.")
    entries = [parse_entry(text) for text in texts]
    names = [entry.name for entry in entries]
    twice = sorted({n for n in names if names.count(n) > 1})
    require(not twice, InputError, f"Two entries are named {', '.join(twice)}. Give every entry a name of its own.")
    taken = [n for n in names if n in ROWS.values()]
    require(
        not taken,
        InputError,
        f"An entry is named {', '.join(taken)}, as a row that comes by itself. Give it another name.",
    )
    return entries


def parse_entry(text: str) -> Entry:
    """One entry; the method and the part after ``@`` may be left out."""
    name, equals, where = (part.strip() for part in text.partition("="))
    require(
        bool(name and equals and where and name.isprintable()),
        InputError,
        f"The entry {text!r} is not understood; write {SYNTAX}.",
    )
    options: dict[str, int | float | str] = {}
    if "@" in where and not Path(where).is_dir():
        where, _, asked = where.rpartition("@")
        options = _options(asked, text)
    method = None
    if ":" in where and not Path(where).is_dir():
        head, _, tail = where.rpartition(":")
        if head and METHOD.fullmatch(tail):  # C:\bundle is a path
            where, method = head, tail
    require(
        bool(where) and not where.startswith(":"), InputError, f"The entry {text!r} names no bundle; write {SYNTAX}."
    )
    return Entry(name, where, method, **options)  # type: ignore[arg-type]  # of the kinds in NUMBER


def _options(asked: str, text: str) -> dict[str, int | float | str]:
    """``8`` or ``steps=8,solver=ddim,eta=1``."""
    out: dict[str, int | float | str] = {}
    for part in asked.split(","):
        key, equals, value = (p.strip() for p in part.partition("="))
        if not equals:
            key, value = "steps", key
        try:
            out[key] = NUMBER[key](value)
        except (KeyError, ValueError) as error:
            raise InputError(
                f"The entry {text!r} asks for {part!r}, which is not understood; after @ write a number of steps, or "
                f"{', '.join(f'{k}=...' for k in NUMBER)}, with commas between."
            ) from error
    return out
