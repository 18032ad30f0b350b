"""What the reader intends, as one evented model, and what each control may then do, as one pure function."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from psygnal import SignalGroupDescriptor

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
    steps: int = 8
    samples: int = 16
    seed: int = 0
    solver: str = ""  # empty: the bundle's own
    drawn: int = 0  # samples that stand
    drawn_settings: tuple[object, ...] = ()  # settings they were drawn with
    seconds: float = 0.0
    progress: float = 0.0
    progress_text: str = ""
    sentence: str = ""  # what the reader must know now
    box_offered: bool = False
    box: Box | None = None  # the placed box, in source indices
    exported: str = ""  # folder

    @property
    def settings(self) -> tuple[object, ...]:
        """What samples of an image depend on beside their number."""
        return (self.bundle, self.steps, self.seed, self.solver, self.box)


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
        steps, seed = s.drawn_settings[1], s.drawn_settings[2]
        drawn, each = counted(s.drawn, "sample"), counted(steps, "step")
        headline = f"{drawn} \u00b7 {each} \u00b7 seed {seed} \u00b7 {s.seconds:.0f} s"
    return Controls(
        can_open=s.phase is Phase.EMPTY,
        can_choose=not running,
        can_sample=idle and bool(s.bundle) and not (more and s.samples <= s.drawn),
        can_cancel=running,
        can_review=there,
        can_correct=there and not running,
        can_take_mask=idle and bool(s.bundle),
        can_export=there and not running,
        sample_text=text,
        headline=headline,
    )
