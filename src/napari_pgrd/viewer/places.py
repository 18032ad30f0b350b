"""The walk from place to place: find them, go there, show the alternatives, note what became of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtCore import QTimer
from superqt.utils import FunctionWorker

from napari_pgrd.session.hypotheses import Alternative, Family, alternatives, families
from napari_pgrd.session.places import Places, SlicesSeen, State, progress_sentence, worth_seeing
from napari_pgrd.session.regions import Place, find_places, stake_sentence, total_stake
from napari_pgrd.session.state import Phase
from napari_pgrd.viewer.camera import centre_on
from napari_pgrd.viewer.corrections import Corrections
from napari_pgrd.viewer.desk import Desk

if TYPE_CHECKING:
    from napari_pgrd.engine.aggregate import Prediction
    from napari_pgrd.engine.spec import BundleSpec
    from napari_pgrd.engine.volume import Box, Volume

VIEW_MM = 20.0  # what the window shows around a place
RECHECK_MS = 300
Values = NDArray[np.uint8]
Found = tuple[tuple[Place, ...], tuple[Family, ...], float]


class PlacesDesk:
    """Places to settle in the open image."""

    changed = Signal()

    def __init__(self, desk: Desk, corrections: Corrections) -> None:
        self.desk, self.corrections = desk, corrections
        self.places, self.seen = Places(), SlicesSeen()
        self.families: tuple[Family, ...] | None = None  # of answers; None before they were looked for
        self.total = 0.0  # at stake, in and outside the places
        self.options: tuple[Values, ...] = ()  # answers at the place in hand; the first is what was there
        self.texts: tuple[str, ...] = ()
        self.option = 0
        self.worker: FunctionWorker[Any] | None = None
        self._of: Prediction | None = None  # whose places these are, or will be
        self._saved: tuple[Mapping[str, Any], int] | None = None
        self._recheck = QTimer()
        self._recheck.setSingleShot(True)
        self._recheck.setInterval(RECHECK_MS)
        self._recheck.timeout.connect(self._check_again)
        desk.state.events.phase.connect(self._find)
        desk.predicted.connect(self._predicted)
        corrections.edited.connect(self._recheck.start, check_nargs=False)  # a method of Qt has no signature
        desk.viewer.dims.events.current_step.connect(self.look)
        desk.viewer.dims.events.order.connect(self.look)

    def close(self) -> None:
        """Let go of the viewer."""
        self.corrections.edited.disconnect(self._recheck.start)
        self._recheck.stop()
        self._stop()
        self.desk.viewer.dims.events.current_step.disconnect(self.look)
        self.desk.viewer.dims.events.order.disconnect(self.look)

    # ---- finding them

    def _find(self) -> None:
        p, desk = self.desk.prediction, self.desk
        if desk.state.phase is not Phase.REVIEWING or p is None or desk.volume is None or desk.spec is None:
            return
        self._stop()
        self._of = p
        box = desk.request.box if desk.request else None
        self.worker = FunctionWorker(_search, p, desk.volume, desk.spec, box)
        self.worker.returned.connect(partial(self._found, p))
        self.worker.errored.connect(self._failed)
        self.worker.start()
        self.changed.emit()

    def _found(self, of: Prediction, found: Found) -> None:
        if self.worker is None:
            return  # closed meanwhile
        self.worker = None
        if of is not self.desk.prediction or self.desk.layers.display is None:
            return  # of samples that are no longer there
        places, self.families, self.total = found
        self.seen.expect(self.desk.layers.display.show(worth_seeing(of)))
        self.places.show(places)
        self._leave()  # first: the answers in hand are of places that are gone, and looking draws them
        self.look()
        self._restore()

    def _failed(self, error: Exception) -> None:
        """Without places the rest must still work, the export too."""
        self._stop()
        self.desk.state.sentence = f"Places could not be looked for: {type(error).__name__}: {error}"
        self._restore()

    def bring_back(self, record: Mapping[str, Any], seen: Mapping[str, Sequence[int]], index: int) -> None:
        """States, slices seen and the place in hand of a saved review; at once, or when the places are found."""
        self.seen.restore(seen)
        self._saved = (record, index)
        if self.worker is None:
            self._restore()

    @property
    def record(self) -> tuple[Mapping[str, Any], int]:
        """States and the place in hand, to save; while a resumed review's places are looked for, as they were."""
        return self._saved if self._saved is not None else (self.places.record, self.places.index)

    def _restore(self) -> None:
        if self._saved is not None:
            (record, index), self._saved = self._saved, None
            self.places.restore(record)
            if 0 <= index < len(self.places.items):
                self.places.go(index)
                self._collect(self.places.items[index])
        self.changed.emit()

    def _predicted(self) -> None:
        if self.desk.prediction is None:
            self._forget()
        elif self.desk.prediction is not self._of:
            self._find()

    def _forget(self) -> None:
        self._stop()
        self._of = None
        self.places.clear()
        self.seen.clear()
        self.families = None
        self._leave()

    def _stop(self) -> None:
        if self.worker is not None:
            self.worker.returned.disconnect()
            self.worker.errored.disconnect()
            self.worker = None

    def sentence(self) -> str:
        """How far the reader has come."""
        p, spec = self.desk.prediction, self.desk.spec
        if p is None or spec is None or self.desk.state.phase is not Phase.REVIEWING:
            return ""
        if self.worker:
            return "Looking for places ..."
        spec = spec.measured_for(self.desk.request.method if self.desk.request is not None else None)
        return progress_sentence(self.places, self.seen, spec, p.samples)

    def stake(self) -> str:
        """How much is at stake in all, and how much of it is not settled yet."""
        items, states = self.places.present, self.places.states
        still_open = [p for p in items if states[p.id] in (State.OPEN, State.DEFERRED)]
        return stake_sentence(items, self.total, still_open)

    # ---- walking

    def next(self) -> None:
        """To the next place."""
        self.places.next()
        self._arrive()

    def previous(self) -> None:
        """To the previous place."""
        self.places.previous()
        self._arrive()

    def go(self, index: int) -> None:
        """To a place by its number."""
        self.places.go(index)
        self._arrive()

    def settle(self) -> None:
        """Settle the place in hand and go on to the next open one."""
        pair = self._before_and_now()
        if self.places.current is None:
            self.next()
        elif pair is not None:
            self.places.settle(*pair)
            self._arrive()

    def defer(self) -> None:
        """Leave the place in hand for later."""
        self.places.defer()
        self._arrive()

    def _arrive(self) -> None:
        place, desk = self.places.current, self.desk
        if place is None or desk.prediction is None or desk.layers.display is None:
            return
        self._collect(place)
        shape = desk.prediction.consensus.shape
        box = desk.request.box if desk.request else None
        at = tuple(c - (lo if box else 0) for c, (lo, _) in zip(place.centre, box or ((0, 0),) * 3, strict=True))
        world = desk.layers.display.world(desk.layers.display.index((at[0], at[1], at[2]), shape))
        if desk.viewer.dims.ndisplay == 2:
            centre_on(desk.viewer, world, VIEW_MM)
        self.changed.emit()

    def look(self) -> None:
        """Note the slice on screen as seen."""
        where, plane = self.desk.layers.current_slice(), self.desk.layers.plane()
        if where is not None and plane and self.desk.state.phase is Phase.REVIEWING:
            self.seen.see(plane, where[1])
            self.changed.emit()

    # ---- alternatives

    def cycle(self, by: int) -> None:
        """Apply the next or previous answer at the place in hand; a correction begins if there is none."""
        place = self.places.current
        if place is None or len(self.options) < 2:
            return
        self.choose((self.option + by) % len(self.options))

    def choose(self, option: int) -> None:
        """Apply an answer by its number, 0 being what was there, as one step that can be undone."""
        place = self.places.current
        if place is None or not 0 <= option < len(self.options):
            return
        if self.corrections.layer is None:
            self.corrections.start("consensus")
        mask = self.corrections.values()
        if mask is None:
            return
        mask = mask.copy()
        mask.reshape(-1)[place.flat(mask.shape)] = self.options[option]
        self.option = option
        self.corrections.put(mask, f"alternative {option}" if option else "alternative taken back")
        self.changed.emit()

    def preview(self, option: int) -> Values | None:
        """The mask ``(x, y, z)`` as it would be with an answer."""
        place, pair = self.places.current, self._before_and_now()
        if place is None or pair is None:
            return None
        mask = pair[1].copy()
        mask.reshape(-1)[place.flat(mask.shape)] = self.options[option]
        return mask

    def _collect(self, place: Place) -> None:
        """What was there and up to three samples' answers that differ from it."""
        p, volume, spec, pair = self.desk.prediction, self.desk.volume, self.desk.spec, self._before_and_now()
        self._leave()
        if p is None or volume is None or spec is None or pair is None:
            return
        now = pair[1]
        others: list[Alternative] = [a for a in alternatives(p, place, volume, spec.labels, now) if a.changed]
        self.options = (place.within(now).copy(), *(a.values for a in others))
        self.texts = ("as it is", *(a.text for a in others))

    def _leave(self) -> None:
        self.options, self.texts, self.option = (), (), 0
        self.changed.emit()

    def _before_and_now(self) -> tuple[Values, Values] | None:
        """What the correction began as and what it is; without one, the consensus twice."""
        p, spec, layer = self.desk.prediction, self.desk.spec, self.corrections.layer
        if p is None or spec is None:
            return None
        now = self.corrections.values()
        if layer is None or now is None:
            consensus: Values = spec.values[p.consensus]
            return consensus, consensus
        return self.corrections.start_of(layer), now

    def _check_again(self) -> None:
        pair = self._before_and_now()
        if pair is not None:
            self.places.recheck(*pair)
        self.changed.emit()


def _search(p: Prediction, volume: Volume, spec: BundleSpec, box: Box | None) -> Found:
    """In a thread: the places, the families of answers, and all that is at stake."""
    return find_places(p, volume, spec.labels, box), families(p), total_stake(p, volume)
