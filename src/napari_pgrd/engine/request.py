"""What a reader asks for; importable without torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

from napari_pgrd.engine.entries import Entry
from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.given import GivenPrior, no_prior
from napari_pgrd.engine.locks import LockMethod, Locks
from napari_pgrd.engine.methods import Method
from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.engine.volume import Box

MAX_SAMPLES = 1024


@dataclass(frozen=True)
class Request:
    """What the reader asks for; None takes the bundle's default.

    ``batch`` is how many samples are refined together; None chooses by device and memory. ``locks`` is what the reader
    has settled, and ``lock_method`` how the rest is made to agree with it: see ``ResidualSampler``. ``method`` is one
    that the bundle offers: see :mod:`napari_pgrd.engine.methods`. ``prior`` is what another model says of the image,
    in place of the bundle's prior.
    """

    samples: int | None = None
    steps: int | None = None
    seed: int = 0
    solver: str | None = None
    eta: float | None = None
    device: str = "auto"
    box: Box | None = None
    batch: int | None = None
    locks: Locks | None = None
    lock_method: str | None = None
    method: str | None = None
    prior: GivenPrior | None = None

    def resolved(self, spec: BundleSpec) -> Request:
        """With every default filled in and every range checked."""
        row, entry = spec.row(self.method), spec.entry(self.method)
        d, solver, eta = entry.sampling, self.solver or None, self.eta
        if row.stepwise:
            solver, eta = solver or d.solver, d.eta if eta is None else eta
        out = replace(
            self,
            method=self.method or spec.method,
            samples=d.samples if self.samples is None else self.samples,
            steps=d.steps if self.steps is None else self.steps,
            solver=solver,
            eta=eta,
            lock_method=self.lock_method or (None if self.locks is None else d.lock_method),
        )
        require(spec.prior is not None or self.prior is not None, InputError, no_prior(spec.name))
        require(
            self.prior is None or not row.asks_again,
            InputError,
            f"{row.title} asks the prior's network of changed images, so given probabilities cannot stand in for it. "
            "Leave them out, or choose another method.",
        )
        out._check_numbers(row, entry)
        out._check_locks(spec, row, entry)
        return out

    def _check_numbers(self, row: Method, entry: Entry) -> None:
        samples, steps, most = self.samples or 0, self.steps or 0, row.most or MAX_SAMPLES
        require(
            1 <= samples <= MAX_SAMPLES,
            InputError,
            f"{samples} samples were asked for; choose between 1 and {MAX_SAMPLES}.",
        )
        require(
            samples <= most,
            InputError,
            f"{samples} samples were asked for, but by {row.title} there is no more than {most}. Ask for that, or "
            "choose another method.",
        )
        require(
            row.stepwise or (steps == 1 and self.solver is None and self.eta is None),
            InputError,
            f"A sample by {row.title} comes at once: there are no steps, solver and eta to choose. Leave them out, or "
            "choose a method that takes steps.",
        )
        T = entry.most_steps
        require(1 <= steps <= T, InputError, f"{steps} steps were asked for; choose between 1 and {T}.")
        # A larger seed is two words to SeedSequence, and could then share a sample with a smaller seed.
        require(
            0 <= self.seed < 2**32, InputError, f"The seed is {self.seed}; choose a whole number from 0 to 2^32 - 1."
        )
        require(0 <= (self.eta or 0) <= 1, InputError, f"eta is {self.eta}; choose between 0 and 1.")
        require(
            self.solver in (None, "ddim", "ddpm", "dpmpp2m"),
            InputError,
            f"There is no solver {self.solver!r}; choose one of ddim, ddpm, dpmpp2m.",
        )
        require(
            self.batch is None or self.batch >= 1,
            InputError,
            f"{self.batch} samples at once were asked for; at least 1.",
        )

    def _check_locks(self, spec: BundleSpec, row: Method, entry: Entry) -> None:
        methods = get_args(LockMethod)
        require(
            self.lock_method is None or self.lock_method in methods,
            InputError,
            f"There is no way of respecting locks named {self.lock_method!r}; choose one of {', '.join(methods)}.",
        )
        require(
            self.locks is None or bool(row.lock_methods),
            InputError,
            f"Samples by {row.title} cannot be drawn around what is locked. Choose a method that can: "
            f"{', '.join(name for name in spec.offered if spec.row(name).lock_methods) or 'none in this bundle'}.",
        )
        require(
            self.lock_method != "hint" or entry.hears_locks,
            InputError,
            f"The denoiser of {spec.name} was not trained to hear locks, so 'hint' cannot be used with it. "
            "Choose 'guidance' or 'replacement', or a bundle that was trained with hints.",
        )
        if self.locks is not None:
            self.locks.check(len(spec.labels), self.samples or 0)
