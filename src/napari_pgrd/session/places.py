"""How far the reader has come: the states of the places, the slices seen, and one honest sentence about both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.session.display import PLANES
from napari_pgrd.session.regions import Place

if TYPE_CHECKING:
    from napari_pgrd.engine.aggregate import Prediction

SAME = 0.5  # intersection over union from which a place found anew is the one that was settled


class State(Enum):
    """What became of a place."""

    OPEN = "open"
    ACCEPTED = "accepted"  # settled as the correction had it from the start
    CHANGED = "changed"  # settled, and the correction differs there from what it started as
    DEFERRED = "deferred"


class Places:
    """The list of places, which one is in hand, and what became of each."""

    changed = Signal()

    def __init__(self) -> None:
        self._items: tuple[Place, ...] = ()
        self._states: dict[str, State] = {}
        self._index = -1
        self._kept: frozenset[str] = frozenset()  # ids of places that the present samples do not make

    @property
    def items(self) -> tuple[Place, ...]:
        """The places, the one with most at stake first."""
        return self._items

    @property
    def present(self) -> tuple[Place, ...]:
        """Those that the present samples make: where something is still at stake."""
        return tuple(place for place in self._items if place.id not in self._kept)

    @property
    def states(self) -> Mapping[str, State]:
        """State of each place by its id."""
        return dict(self._states)

    @property
    def index(self) -> int:
        """Which place is in hand; -1 before the first step."""
        return self._index

    @property
    def current(self) -> Place | None:
        """The place in hand."""
        return self._items[self._index] if self._index >= 0 else None

    def count(self, state: State) -> int:
        """How many places are in a state."""
        return sum(s is state for s in self._states.values())

    @property
    def settled(self) -> int:
        """How many are accepted or changed."""
        return self.count(State.ACCEPTED) + self.count(State.CHANGED)

    def clear(self) -> None:
        """Forget all of them, as for another image: places are told apart by their voxels alone."""
        self._items, self._states, self._index, self._kept = (), {}, -1, frozenset()
        self.changed.emit()

    def show(self, found: Iterable[Place]) -> None:
        """Take a new list, as after further samples.

        A place that was already there keeps its state. One that the reader had decided about stays, at the end of the
        list, even if the new samples agree there: what was done is part of the record.
        """
        before, states, current = self._items, self._states, self.current
        new = tuple(found)
        was = {place.id: next((old for old in before if _same(old, place)), None) for place in new}
        gone = [old for old in before if states[old.id] is not State.OPEN and old not in was.values()]
        kept = {f"{old.id}-before" if old.id in was else old.id: old for old in gone}
        was |= kept
        renamed = (old if id == old.id else replace(old, id=id) for id, old in kept.items())
        self._items, self._kept = (*new, *renamed), frozenset(kept)
        self._states = {id: states[old.id] if old else State.OPEN for id, old in was.items()}
        here = [i for i, place in enumerate(self._items) if current is not None and was[place.id] is current]
        self._index = here[0] if here else -1
        self.changed.emit()

    @property
    def record(self) -> dict[str, Any]:
        """State of each place that was decided about, by its id; with its voxels where samples cannot tell them."""
        decided = [place for place in self._items if self._states[place.id] is not State.OPEN]
        return {
            place.id: {"state": self._states[place.id].value, **_facts(place)}
            if place.id in self._kept
            else self._states[place.id].value
            for place in decided
        }

    def restore(self, record: Mapping[str, Any]) -> None:
        """Take what :attr:`record` gave; a bare state whose place is not there is passed over."""
        facts = {id: value for id, value in record.items() if isinstance(value, Mapping)}
        more = tuple(_place(id, value) for id, value in facts.items() if id not in self._states)
        self._items, self._kept = (*self._items, *more), self._kept | {place.id for place in more}
        self._states |= {place.id: State.OPEN for place in more}
        for id, value in record.items():
            if id in self._states:
                self._states[id] = State(value["state"] if id in facts else value)
        self.changed.emit()

    def go(self, index: int) -> None:
        """Take a place in hand, counted from 0; beyond the last comes the first."""
        if self._items:
            self._index = index % len(self._items)
            self.changed.emit()

    def next(self) -> None:
        """The next place, or the first."""
        self.go(self._index + 1)

    def previous(self) -> None:
        """The previous place, or the last."""
        self.go(max(self._index, 0) - 1)

    def settle(self, started: NDArray[Any], present: NDArray[Any]) -> None:
        """Settle the place in hand and go on to the next open one.

        Parameters
        ----------
        started, present : numpy.ndarray
            ``(x, y, z)`` on the grid of the prediction, both label values or both class indices: what the correction
            started as, and what it is. Without a correction give the consensus twice.
        """
        place = self.current
        if place is not None:
            self._states[place.id] = _outcome(place, started, present)
            self._lead_on()

    def defer(self) -> None:
        """Leave the place in hand for later and go on to the next open one."""
        place = self.current
        if place is not None:
            self._states[place.id] = State.DEFERRED
            self._lead_on()

    def reopen(self) -> None:
        """Open the place in hand again."""
        place = self.current
        if place is not None:
            self._states[place.id] = State.OPEN
            self.changed.emit()

    def recheck(self, started: NDArray[Any], present: NDArray[Any]) -> None:
        """Decide accepted or changed anew for every settled place, as after a stroke or an undo; as :meth:`settle`."""
        before = dict(self._states)
        for place in self._items:
            if before[place.id] in (State.ACCEPTED, State.CHANGED):
                self._states[place.id] = _outcome(place, started, present)
        if self._states != before:
            self.changed.emit()

    def _lead_on(self) -> None:
        n = len(self._items)
        for step in range(1, n):
            i = (self._index + step) % n
            if self._states[self._items[i].id] is State.OPEN:
                self._index = i
                break
        self.changed.emit()


class SlicesSeen:
    """Which slices were on screen, out of those that hold the structure or a disagreement, for each plane.

    Slices are counted on the display grid ``(z, y, x)``; planes are "sagittal", "coronal" and "axial".
    """

    changed = Signal()

    def __init__(self) -> None:
        self._wanted: dict[str, NDArray[np.bool_]] = {plane: np.zeros(0, bool) for plane in PLANES}
        self._seen: dict[str, set[int]] = {plane: set() for plane in PLANES}

    def expect(self, wanted: NDArray[np.bool_]) -> None:
        """Say what must be seen: ``(z, y, x)``, :func:`worth_seeing` as the screen shows it. What was seen stays."""
        for plane, (_, *others) in PLANES.items():
            self._wanted[plane] = np.asarray(wanted.any(axis=tuple(others)))
        self.changed.emit()

    def see(self, plane: str, index: int) -> None:
        """Note that a slice was on screen."""
        if index not in self._seen[plane]:
            self._seen[plane].add(index)
            self.changed.emit()

    @property
    def seen(self) -> Mapping[str, Sequence[int]]:
        """Slices seen of each plane, in order; what a saved session keeps."""
        return {plane: sorted(indices) for plane, indices in self._seen.items()}

    def restore(self, seen: Mapping[str, Iterable[int]]) -> None:
        """Set what was saved."""
        self._seen = {plane: set(seen.get(plane, ())) for plane in PLANES}
        self.changed.emit()

    def clear(self) -> None:
        """Forget all of it, as for another image."""
        self.restore({})

    def bar(self, plane: str) -> NDArray[np.uint8]:
        """One number for each slice of a plane: 0 nothing to see there, 1 not seen yet, 2 seen."""
        wanted = self._wanted[plane]
        seen = np.isin(np.arange(len(wanted)), list(self._seen[plane]))
        return np.where(wanted, 1 + seen, 0).astype(np.uint8)

    def count(self, plane: str) -> tuple[int, int]:
        """How many slices of a plane were seen, and how many there are to see."""
        bar = self.bar(plane)
        return int(np.count_nonzero(bar == 2)), int(np.count_nonzero(bar))

    @property
    def fullest(self) -> str:
        """The plane of which the largest part was seen: one plane seen in full is the whole structure seen."""
        return max(PLANES, key=lambda plane: self.count(plane)[0] / max(self.count(plane)[1], 1))


def worth_seeing(prediction: Prediction) -> NDArray[np.bool_]:
    """Voxels ``(x, y, z)`` of the structure, in the consensus or in any sample: disagreement lies within them."""
    wanted: NDArray[np.bool_] = (prediction.consensus > 0) | (prediction.votes[0] < prediction.samples)
    return wanted


def progress_sentence(places: Places, seen: SlicesSeen, spec: BundleSpec, samples: int) -> str:
    """What was settled, what agreement is worth, what was looked at; with one sample, why there are no places."""
    n, deferred = len(places.items), places.count(State.DEFERRED)
    if samples < 2:
        first = "places to settle need at least two samples"
    elif not n:
        first = "no places to settle, as the samples agree"
    else:
        first = f"{places.settled} of {n} place{'s' * (n > 1)} settled" + f", {deferred} deferred" * (deferred > 0)
    r = spec.reliability
    if r is None:
        second = "how many errors remain where all samples agree was not measured"
    else:
        second = f"where all samples agree {r.unanimous_error_share * 100:.0f} % of errors remain on validation"
    done, total = seen.count(seen.fullest)
    return f"{first}; {second}; slices seen {done} of {total}"


def _same(a: Place, b: Place) -> bool:
    """Whether two places cover mostly the same voxels of one grid."""
    if a.id == b.id:
        return True
    ranges = [(max(i, j), min(k, m)) for (i, k), (j, m) in zip(a.box, b.box, strict=True)]
    if any(lo >= hi for lo, hi in ranges):
        return False
    cuts = [
        p.mask[tuple(slice(lo - start, hi - start) for (lo, hi), (start, _) in zip(ranges, p.box, strict=True))]
        for p in (a, b)
    ]
    both = np.count_nonzero(cuts[0] & cuts[1])
    return bool(both > SAME * (np.count_nonzero(a.mask) + np.count_nonzero(b.mask) - both))


def _facts(place: Place) -> dict[str, Any]:
    """All but the id, as values that JSON can hold; the mask as its flat indices in the box."""
    return {
        "name": place.name,
        "classes": list(place.classes),
        "box": [list(side) for side in place.box],
        "voxels": np.flatnonzero(place.mask).tolist(),
        "centre": list(place.centre),
        "stake": place.stake,
        "unit": place.unit,
    }


def _place(id: str, facts: Mapping[str, Any]) -> Place:
    x, y, z = ((int(lo), int(hi)) for lo, hi in facts["box"])
    mask = np.zeros([hi - lo for lo, hi in (x, y, z)], bool)
    mask.reshape(-1)[np.array(facts["voxels"], np.int64)] = True  # a tuple would name one voxel
    i, j, k = (int(v) for v in facts["centre"])
    classes = tuple(int(c) for c in facts["classes"])
    return Place(id, facts["name"], classes, (x, y, z), mask, (i, j, k), float(facts["stake"]), facts["unit"])


def _outcome(place: Place, started: NDArray[Any], present: NDArray[Any]) -> State:
    same = np.array_equal(place.within(started), place.within(present))
    return State.ACCEPTED if same else State.CHANGED
