"""What a reader asks for; importable without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.locks import LockMethod, Locks
from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.engine.volume import Box

MAX_SAMPLES = 1024


@dataclass(frozen=True)
class Request:
    """What the reader asks for; None takes the bundle's default.

    ``batch`` is how many samples are refined together; None chooses by device and memory. ``locks`` is what the reader
    has settled, and ``lock_method`` how the rest is made to agree with it: see ``ResidualSampler``.
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

    def resolved(self, spec: BundleSpec) -> Request:
        """With every default filled in and every range checked."""
        d = spec.sampling
        out = Request(
            d.samples if self.samples is None else self.samples,
            d.steps if self.steps is None else self.steps,
            self.seed,
            self.solver or d.solver,
            d.eta if self.eta is None else self.eta,
            self.device,
            self.box,
            self.batch,
            self.locks,
            self.lock_method or (None if self.locks is None else d.lock_method),
        )
        T = spec.schedule.T
        assert out.samples is not None and out.steps is not None and out.eta is not None
        require(
            1 <= out.samples <= MAX_SAMPLES,
            InputError,
            f"{out.samples} samples were asked for; choose between 1 and {MAX_SAMPLES}.",
        )
        require(1 <= out.steps <= T, InputError, f"{out.steps} steps were asked for; choose between 1 and {T}.")
        # A larger seed is two words to SeedSequence, and could then share a sample with a smaller seed.
        require(0 <= out.seed < 2**32, InputError, f"The seed is {out.seed}; choose a whole number from 0 to 2^32 - 1.")
        require(0 <= out.eta <= 1, InputError, f"eta is {out.eta}; choose between 0 and 1.")
        require(
            out.solver in ("ddim", "ddpm", "dpmpp2m"),
            InputError,
            f"There is no solver {out.solver!r}; choose one of ddim, ddpm, dpmpp2m.",
        )
        require(
            out.batch is None or out.batch >= 1, InputError, f"{out.batch} samples at once were asked for; at least 1."
        )
        out._check_locks(spec)
        return out

    def _check_locks(self, spec: BundleSpec) -> None:
        methods = get_args(LockMethod)
        require(
            self.lock_method is None or self.lock_method in methods,
            InputError,
            f"There is no way of respecting locks named {self.lock_method!r}; choose one of {', '.join(methods)}.",
        )
        require(
            self.lock_method != "hint" or spec.denoiser.hints,
            InputError,
            f"The denoiser of {spec.name} was not trained to hear locks, so 'hint' cannot be used with it. "
            "Choose 'guidance' or 'replacement', or a bundle that was trained with hints.",
        )
        if self.locks is not None:
            self.locks.check(len(spec.labels), self.samples or 0)
