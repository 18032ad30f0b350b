"""What the reader intends, as one evented model, and what each control may then do, as one pure function."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, ClassVar

from psygnal import SignalGroupDescriptor

from napari_pgrd.engine.methods import FIRST, METHODS
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.engine.volume import Box
from napari_pgrd.session.summary import counted


class Phase(Enum):
    """Where the reader stands."""

    EMPTY = "empty"  # no image
    READY = "ready"  # an image, nothing drawn yet
    RUNNING = "running"
    REVIEWING = "reviewing"  # samples are there


@dataclass
class ReviewState:
    """The whole of it; widgets hold none."""

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    phase: Phase = Phase.EMPTY
    source: str = ""  # name of the image layer
    bundle: str = ""  # embedded name or folder
    device: str = "auto"
    cluster: str = ""  # a scheduler's address; empty: this computer
    insecure: bool = False  # plain tcp to another machine is allowed
    steps: int = 8
    samples: int = 16
    seed: int = 0
    solver: str = ""  # and its eta, as solver_key() writes them; empty: the bundle's own
    method: str = ""  # empty: the bundle's own
    drawn: int = 0  # samples that stand
    drawn_settings: tuple[Any, ...] = ()  # settings they were drawn with
    seconds: float = 0.0
    progress: float = 0.0
    progress_text: str = ""
    sentence: str = ""  # what the reader must know now
    unfit: str = ""  # why the image cannot be sampled as it is; empty if it can
    box_offered: bool = False
    here_offered: bool = False  # the cluster failed; this computer would not
    offered: str = ""  # another bundle, which takes the image as it is
    box: Box | None = None  # the placed box, in source indices
    exported: str = ""  # folder

    @property
    def settings(self) -> tuple[Any, ...]:
        """What samples of an image depend on beside their number."""
        return (self.bundle, self.steps, self.seed, self.solver, self.box, self.method)

    def choose_method(self, name: str, spec: BundleSpec) -> None:
        """Take a method, with its own number of steps; the number of samples stays unless it has but one to give."""
        row, before, d = spec.row(name), spec.row(self.method or None), spec.entry(name).sampling
        self.method, self.steps = name, d.steps
        if row.most != before.most:
            self.samples = d.samples

    def request(self, spec: BundleSpec) -> Request:
        """What the reader asks for; a solver is none of a method without steps."""
        stepwise = spec.row(self.method or None).stepwise
        solver, eta = solver_and_eta(self.solver if stepwise else "")
        asked = Request(self.samples, self.steps, self.seed, solver, eta, device=self.device, box=self.box)
        return replace(asked, method=self.method or None)


def solver_key(solver: str | None, eta: float | None) -> str:
    """One word for a solver and its eta, ``ddim eta 0``; what the bundle decides is left out, all of it is empty."""
    return f"{solver or ''}{'' if eta is None else f' eta {eta:g}'}".strip()


def solver_and_eta(key: str) -> tuple[str | None, float | None]:
    """What :func:`solver_key` was given."""
    solver, _, eta = f" {key}".partition(" eta ")
    return solver.strip() or None, float(eta) if eta else None


@dataclass(frozen=True)
class Controls:
    """What may be done now, and how the buttons read."""

    can_open: bool
    can_choose: bool
    can_sample: bool
    can_cancel: bool
    can_review: bool
    can_correct: bool
    can_take_mask: bool  # as a correction; there need be no samples
    can_export: bool
    sample_text: str
    headline: str


def controls(s: ReviewState) -> Controls:
    """Resolve a state to what each control may do."""
    running, there = s.phase is Phase.RUNNING, s.drawn > 0
    more = there and s.drawn_settings == s.settings
    idle = s.phase in (Phase.READY, Phase.REVIEWING)
    if more and s.samples > s.drawn:
        text = f"Draw {s.samples - s.drawn} more"
    elif more:
        text = "Samples are drawn"
    else:
        text = f"Sample {s.samples} time{'s' * (s.samples != 1)}"
    headline = ""
    if running:
        headline = s.progress_text
    elif there:
        _, steps, seed, _, _, method = s.drawn_settings
        row = METHODS.get(method or FIRST, METHODS[FIRST])
        named = [] if row is METHODS[FIRST] else [row.title]
        parts = [counted(s.drawn, "sample"), *named, *([counted(steps, "step")] if row.stepwise else [])]
        headline = " \u00b7 ".join([*parts, f"seed {seed}", f"{s.seconds:.0f} s"])
    return Controls(
        can_open=s.phase is Phase.EMPTY,
        can_choose=not running,
        can_sample=idle and bool(s.bundle) and not s.unfit and not (more and s.samples <= s.drawn),
        can_cancel=running,
        can_review=there,
        can_correct=there and not running,
        can_take_mask=idle and bool(s.bundle),
        can_export=there and not running,
        sample_text=text,
        headline=headline,
    )
