"""What a reader did with a case, in figures: for the manifest and the report of an export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.session.phases import RULE

STATES = ("accepted", "changed", "deferred", "open")


@dataclass(frozen=True)
class PlaceRow:
    """A place where the samples disagreed, and what became of it.

    Attributes
    ----------
    state : str
        One of ``STATES``.
    stake : float
        Volume at stake, in ``unit``: "mL", or "voxels" where the spacing is unknown.
    centre : (float, float, float)
        Voxel of the source image.
    """

    name: str
    state: str
    stake: float
    unit: str
    centre: tuple[float, float, float]

    def __post_init__(self) -> None:
        require(
            self.state in STATES,
            InputError,
            f"A place is in the state {self.state!r}; give one of {', '.join(STATES)}.",
        )


@dataclass(frozen=True)
class ReviewSummary:
    """What the reader did, in figures; nothing here may name the patient but ``source_name``.

    Attributes
    ----------
    slices_seen : (int, int), optional
        How many slices of how many were on the screen.
    seconds : mapping
        Time in each phase, by its name, as :data:`~napari_pgrd.session.phases.RULE` says.
    edits : mapping
        How many edits of each kind the log holds.
    source_name : str, optional
        What the reader wants the page to call the image. It goes on the page and nowhere else.
    """

    places: tuple[PlaceRow, ...] = ()
    slices_seen: tuple[int, int] | None = None
    initials: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    edits: Mapping[str, int] = field(default_factory=dict)
    source_name: str | None = None

    def record(self) -> dict[str, Any]:
        """For the manifest: all but the name of the image."""
        return {
            "places": [asdict(place) for place in self.places],
            "slices_seen": self.slices_seen,
            "initials": self.initials,
            "seconds": dict(self.seconds),  # asdict would count the items of a Counter
            "seconds_rule": RULE,
            "edits": dict(self.edits),
        }

    def count(self, state: str) -> int:
        """How many places are in a state."""
        return sum(place.state == state for place in self.places)


def progress(review: ReviewSummary) -> str:
    """As "5 of 6 places settled, 2 changed, 1 deferred, 12 of 35 slices seen"; empty where nothing was reviewed."""
    parts = []
    if review.places:
        settled = review.count("accepted") + review.count("changed")
        parts.append(f"{settled} of {counted(len(review.places), 'place')} settled")
        parts += [
            f"{review.count(s)} {s}" for s in ("changed", "deferred", "open") if review.count(s) or s == "changed"
        ]
    if review.slices_seen is not None:
        parts.append("{} of {} slices seen".format(*review.slices_seen))
    return ", ".join(parts)


def counted(n: int, noun: str) -> str:
    """As "1 place", "2 places"."""
    return f"{n} {noun}{'s' * (n != 1)}"
