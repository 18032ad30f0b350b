"""Saving as the reader works: every stroke at once, the rest a moment later; and taking up what was left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from psygnal import Signal
from qtpy.QtCore import QTimer
from superqt.utils import FunctionWorker

from napari_pgrd.engine.errors import InputError, PgrdError, require
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.volume import Volume
from napari_pgrd.session import autosave
from napari_pgrd.session.autosave import Autosave, Left
from napari_pgrd.session.correction import Correction
from napari_pgrd.session.folder import ImageMark
from napari_pgrd.session.phases import SAMPLING, PhaseClock
from napari_pgrd.session.review import Review, bundle_mark, load, save
from napari_pgrd.session.state import Phase
from napari_pgrd.session.summary import PlaceRow, ReviewSummary
from napari_pgrd.viewer.corrections import Corrections
from napari_pgrd.viewer.desk import Desk
from napari_pgrd.viewer.places import PlacesDesk
from napari_pgrd.viewer.resume import CORRECT, HAND, TAB, look, show, tab_of

if TYPE_CHECKING:
    from napari_pgrd.engine.prediction import Prediction

WATCH_MS = 1000  # napari says nothing when a hidden layer is undone
LATER_MS = 700


class Saving:
    """The running review of this window on disk."""

    changed = Signal()
    resumed = Signal(str)  # a review is back on the screen; the tab to go on with

    def __init__(self, desk: Desk, corrections: Corrections, places: PlacesDesk) -> None:
        self.desk, self.corrections, self.places = desk, corrections, places
        self.clock = PhaseClock()  # the reader's time with this review
        self.tab: Callable[[], str] = lambda: ""
        """The tab that the reader works on; set by whoever knows."""
        self.left: list[Left] = []  # reviews that a crash left behind
        self.sentence = ""
        self.running: Autosave | None = None
        self._watched: dict[Labels, Correction] = {}
        self._resuming: Correction | None = None
        self._worker: FunctionWorker[Any] | None = None
        self._saved: Prediction | None = None  # what the running review holds, or will in a moment
        self._image = desk.image
        self._timer, self._later = QTimer(), QTimer()
        self._timer.setInterval(WATCH_MS)
        self._timer.timeout.connect(self._look_at_all)
        self._later.setSingleShot(True)
        self._later.setInterval(LATER_MS)
        self._later.timeout.connect(self._save_the_rest)
        corrections.naming = self._named
        corrections.started.connect(self._began)
        corrections.changed.connect(self.soon)  # another layer was selected
        places.changed.connect(self.soon)
        desk.state.events.source.connect(self._other_case)
        desk.state.events.phase.connect(self._predicted)
        desk.predicted.connect(self._predicted)
        self.find()

    def close(self) -> None:
        """End the review if it was exported; else the next start offers it."""
        self.corrections.started.disconnect(self._began)
        self.corrections.changed.disconnect(self.soon)
        self.places.changed.disconnect(self.soon)
        self.corrections.naming = lambda layer, name: nullcontext()
        if self._later.isActive():
            self._save_the_rest()
        self._end()

    # ---- what was left

    def find(self) -> None:
        """Look for reviews that were left."""
        try:
            self.left = autosave.unfinished()
        except OSError:
            self.left = []  # a home that cannot be read holds nothing to offer
        self.changed.emit()

    def resume(self) -> None:
        """Take up the newest review that was left, on the image that is open."""
        if not self.left:
            return
        try:
            self._resume(self.left[0])
        except PgrdError as error:
            self._say(str(error))

    def discard(self) -> None:
        """Set the newest one aside."""
        if self.left:
            try:
                autosave.discard(self.left[0].folder)
            except PgrdError as error:
                self._say(str(error))
            self.find()

    def _resume(self, left: Left) -> None:
        self._volume()
        self._end()
        running = Autosave.resume(left.folder)
        try:
            self._show(running)
        except PgrdError:
            running.leave()
            raise
        self.sentence = running.problem
        self.find()

    # ---- for exports

    def log(self) -> bytes | None:
        """The edit log of the correction in hand."""
        layer = self.corrections.layer
        correction = self._watched.get(layer) if layer is not None else None
        if correction is None:
            return None
        self._look_at_all()
        return correction.log.content()

    def summary(self, initials: str) -> ReviewSummary:
        """What was done so far, in figures."""
        places, seen = self.places.places, self.places.seen
        rows = tuple(PlaceRow(p.name, places.states[p.id].value, p.stake, p.unit, p.centre) for p in places.items)
        layer = self.corrections.layer
        correction = self._watched.get(layer) if layer is not None else None
        edits = Counter(entry.kind for entry in correction.log.entries) if correction is not None else Counter()
        return ReviewSummary(rows, seen.count(seen.fullest), initials, self._phases(), edits)

    def _phases(self) -> dict[str, float]:
        return {SAMPLING: self.desk.state.seconds, **self.clock.seconds}

    # ---- a folder of the reader's choice

    def save_as(self, folder: str) -> None:
        """Write the review to a folder ``NAME.pgrd``."""
        try:
            there = self.running is not None or self.desk.prediction is not None
            require(there, InputError, "Draw samples or start a correction first; there is no review yet.")
            self._look_at_all()
            path = save(folder, self.snapshot())
        except PgrdError as error:
            self._say(str(error))
        else:
            self._say(f"Saved as {path.name}.")

    def snapshot(self) -> Review:
        """The review as it stands now."""
        review = self.running.review if self.running is not None else self._review()
        request = self.desk.request or review.request
        return replace(review, prediction=self.desk.prediction, request=request, **self._rest())

    def open(self, folder: str) -> None:
        """Bring a saved review back on the image that is open; the folder stays as it is."""
        try:
            review = load(folder, self._volume())
            self._end()
            self._show(Autosave.begin(review))
        except PgrdError as error:
            self._say(str(error))
        else:
            self._say("")

    def _volume(self) -> Volume:
        volume = self.desk.volume
        require(
            volume is not None,
            InputError,
            "Open the image of that review first, then try again; its voxels are compared.",
        )
        assert volume is not None
        return volume

    def _show(self, running: Autosave) -> None:
        (review := running.review).image.check(self._volume())
        show(self.desk, review)
        self.running, self._saved = running, review.prediction
        self.clock.go_on_from(review.phases)
        layers = [self._bring_back(correction) for correction in review.corrections]
        at = review.view.get("place")
        self.places.bring_back(review.places, review.seen, at if isinstance(at, int) else -1)
        look(self.desk, review.view, layers)
        self.resumed.emit(tab_of(review))

    def _bring_back(self, correction: Correction) -> Labels:
        """The layer of a correction, its undo history filled again."""
        masks = correction.history()
        self._resuming = correction
        layer = self.corrections.add(next(masks), correction.log.entries[0].name, correction.log.start())
        layer.name = correction.name
        display = self.desk.layers.display
        assert display is not None
        for mask in masks:
            shown = display.show(mask)
            where = np.nonzero(np.asarray(layer.data) != shown)
            with layer.block_history():
                layer.data_setitem(where, shown[where])
        for _ in range(len(correction.undone)):
            layer.undo()
        self._resuming = None
        self._watch(layer, correction)
        return layer

    # ---- saving

    def _began(self, layer: Labels, source: str) -> None:
        if self._resuming is not None:
            return
        try:
            if self.running is None:
                self.running = Autosave.begin(self._review())
                self._save_samples()
            correction = self.running.start_correction(self.corrections.start_of(layer), source, layer.name)
        except PgrdError as error:
            self._say(str(error))
            return
        self._watch(layer, correction)

    def _watch(self, layer: Labels, correction: Correction) -> None:
        self._watched[layer] = correction
        layer.events.paint.connect(lambda event, of=layer: self._observe(of, new=True))
        for event in (layer.events.labels_update, layer.events.set_data):
            event.connect(lambda event, of=layer: self._observe(of))
        self._timer.start()
        self.changed.emit()

    def _observe(self, layer: Labels, new: bool = False) -> None:
        correction, display = self._watched.get(layer), self.desk.layers.display
        if correction is None or display is None or (not new and layer._block_history):
            return
        try:
            correction.observe(display.hide(np.asarray(layer.data)), new=new)
        except PgrdError as error:
            self._say(str(error))

    def _look_at_all(self) -> None:
        for layer in self._watched:
            self._observe(layer)

    def _named(self, layer: Labels, name: str) -> AbstractContextManager[None]:
        correction = self._watched.get(layer)
        return correction.operation(name) if correction is not None else nullcontext()

    def _review(self) -> Review:
        desk = self.desk
        assert desk.volume is not None
        name, digest = bundle_mark(desk.state.bundle)
        return Review(ImageMark.of(desk.volume), name, digest, request=desk.request or Request())

    def _predicted(self) -> None:
        """Samples of a run that has ended, or that were taken around a correction."""
        if self.running is not None and self.desk.state.phase is Phase.REVIEWING:
            self._save_samples()

    def _save_samples(self) -> None:
        """In a thread: writing a large volume's samples takes seconds; one at a time, the last ones last."""
        running, prediction, request = self.running, self.desk.prediction, self.desk.request
        if running is None or prediction is None or request is None or prediction is self._saved:
            return
        if self._worker is not None:
            return  # when it has ended, it looks again
        self._saved = prediction
        self._worker = FunctionWorker(running.put_samples, self.desk.state.bundle, prediction, request)
        self._worker.errored.connect(lambda error: self._say(str(error)))
        self._worker.finished.connect(self._samples_saved)  # type: ignore[arg-type]
        self._worker.start()

    def _samples_saved(self) -> None:
        self._worker = None
        self._save_samples()

    def soon(self) -> None:
        """Save in a moment what the reader decided and what is on the screen."""
        if not self._later.isActive():  # a reader who never rests must not put it off for ever
            self._later.start()

    def _save_the_rest(self) -> None:
        if self.running is not None:
            try:
                self.running.update(**self._rest())
            except PgrdError as error:
                self._say(str(error))

    def _rest(self) -> dict[str, Any]:
        """States, slices seen and what is on the screen."""
        seen = dict(self.places.seen.seen)
        return {"places": self.places.record[0], "seen": seen, "view": self._view(), "phases": self._phases()}

    def _view(self) -> dict[str, Any]:
        viewer, tab = self.desk.viewer, self.tab()
        return {
            TAB: tab,
            HAND: self._hand(tab),
            "plane": self.desk.layers.plane(),
            "point": [float(v) for v in viewer.dims.point[-3:]],
            "zoom": float(viewer.scene.camera.zoom),
            "centre": [float(v) for v in viewer.scene.camera.center],
            "place": self.places.record[1],
        }

    def _hand(self, tab: str) -> int:
        """Which correction is in the reader's hand; -1 if another layer is."""
        layer = self.corrections.layer
        if layer is None or self.running is None:
            return -1
        # On Correct the outline being dragged, or the locks, may be selected instead.
        there = tab == CORRECT or layer is self.desk.viewer.layers.selection.active
        held = self._watched.get(layer) if there else None
        return next((i for i, kept in enumerate(self.running.review.corrections) if kept is held), -1)

    def _other_case(self) -> None:
        """Another image is another review."""
        if self.desk.image is not self._image:  # else it was only renamed
            self._image = self.desk.image
            self._end()

    def _end(self) -> None:
        self._timer.stop()
        self._later.stop()
        self._look_at_all()
        running, self.running, self._saved = self.running, None, None
        phases = self._phases()
        self.clock.go_on_from({})
        self._watched.clear()
        if running is not None:
            let_go = running.finish if self.desk.state.exported else running.leave
            for step in (partial(running.update, phases=phases), let_go):
                try:
                    step()
                except PgrdError as error:
                    self._say(str(error))

    def _say(self, text: str) -> None:
        self.sentence = text
        self.changed.emit()
