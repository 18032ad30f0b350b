"""Sampling again around what the reader has settled, and showing what it would move before anything moves."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray
from psygnal import Signal

from napari_pgrd.engine.errors import InputError, PgrdError, require
from napari_pgrd.engine.locks import Locks
from napari_pgrd.engine.request import Request
from napari_pgrd.session.estimate import DrawingTime, again_sentence, memory_bytes, seconds_again
from napari_pgrd.session.neighbourhood import near
from napari_pgrd.session.state import Phase
from napari_pgrd.session.volumes import voxel_volume
from napari_pgrd.viewer.corrections import Corrections
from napari_pgrd.viewer.desk import Desk
from napari_pgrd.viewer.earlier import EarlierSamples

if TYPE_CHECKING:
    from superqt.utils import GeneratorWorker

    from napari_pgrd.engine.aggregate import Prediction
    from napari_pgrd.engine.predict import Update

WHAT = (("voxels", "what I changed"), ("slices", "slices I edited"))
WHERE = (("everywhere", "everything else"), ("near", "near the locks"))
# Gained and lost, in colours that no label has.
MOVED: dict[int | None, Any] = {1: (1.0, 0.55, 0.0, 0.9), 2: (0.75, 0.3, 1.0, 0.9)}
Values = NDArray[np.uint8]


class Resampling:
    """Lock corrections, draw again, look, accept or discard."""

    changed = Signal()

    def __init__(self, desk: Desk, corrections: Corrections, earlier: EarlierSamples) -> None:
        self.desk, self.corrections, self.earlier = desk, corrections, earlier
        self.what, self.where, self.reach = "slices", "everywhere", 10.0
        self.sentence = ""
        self.worker: GeneratorWorker[Update, None, None] | None = None
        self.candidate: Prediction | None = None
        self._request: Request | None = None
        self._locks: Locks | None = None
        self._of: tuple[Labels, Values] | None = None  # the correction, and what it was when the run began
        self._drawing, self._seconds, self._reached = DrawingTime(), 0.0, 0.0
        self._strokes: Labels | None = None
        self._moved: Labels | None = None
        desk.state.events.source.connect(self.discard)
        desk.state.events.phase.connect(self._phase)
        desk.viewer.layers.events.removed.connect(self._removed)

    def close(self) -> None:
        """End a run and let go of the viewer."""
        self.desk.viewer.layers.events.removed.disconnect(self._removed)
        self._stop()

    # ---- what is locked

    def paint(self) -> None:
        """A layer for strokes over what is right, besides what was changed."""
        layer, display = self.corrections.layer, self.desk.layers.display
        if layer is None or display is None:
            self._say("Start a correction first.")
            return
        if self._strokes is None:
            table: dict[int | None, Any] = {0: (0, 0, 0, 0), None: (0, 0, 0, 0), 1: (1, 1, 1, 1)}
            colours = DirectLabelColormap(color_dict=table)
            empty = np.zeros(layer.data.shape, np.uint8)
            self._strokes = Labels(empty, name="Locks", opacity=0.4, colormap=colours, **display.layer)
            self.desk.layers.mark(self._strokes, "locks")
            self.desk.viewer.layers.append(self._strokes)
        self.desk.viewer.layers.selection.active = self._strokes
        self._strokes.selected_label, self._strokes.brush_size, self._strokes.mode = 1, layer.brush_size, "paint"
        self._say("Paint over what is right; it is kept exactly.")

    def locked(self) -> NDArray[np.bool_] | None:
        """``(x, y, z)``: voxels that were changed, or the whole slices they lie on, and lock strokes."""
        layer, display, now = self.corrections.layer, self.desk.layers.display, self.corrections.values()
        if layer is None or display is None or now is None:
            return None
        mask = now != self.corrections.start_of(layer)
        if self.what == "slices" and mask.any() and (where := self.desk.layers.current_slice()) is not None:
            shown = display.show(mask)
            others = tuple(i for i in range(3) if i != where[0])
            mask = display.hide(np.broadcast_to(shown.any(others, keepdims=True), shown.shape))
        if self._strokes is not None:
            mask = mask | (display.hide(np.asarray(self._strokes.data)) > 0)
        return np.ascontiguousarray(mask)

    # ---- drawing again

    def start(self) -> None:
        """Draw as many samples again, with the locked voxels as they are."""
        try:
            self._start()
        except PgrdError as error:
            self._say(str(error))

    def _start(self) -> None:
        from napari_pgrd.viewer.worker import sampling_worker

        desk, mask, now = self.desk, self.locked(), self.corrections.values()
        require(desk.state.phase is Phase.REVIEWING, InputError, "Draw samples first, and let the run end.")
        require(now is not None, InputError, "Start a correction first.")
        assert now is not None and desk.spec is not None and desk.request is not None and desk.volume is not None
        require(
            mask is not None and bool(mask.any()),
            InputError,
            "Nothing is locked. Correct a slice, or paint locks over what is right, then sample again.",
        )
        assert mask is not None and desk.prediction is not None and self.corrections.layer is not None
        self.discard()
        index = np.zeros(256, np.uint8)
        index[desk.spec.values] = np.arange(len(desk.spec.labels))
        region = self._region(mask)
        self._locks = Locks(mask, index[now], region, None if region is None else desk.prediction)
        self._of, self._reached = (self.corrections.layer, now), self.reach
        self._request = replace(desk.request, samples=desk.prediction.samples, locks=self._locks)
        self.worker = sampling_worker(desk.volume, desk.state.bundle, self._request, None, desk.where())
        self.worker.yielded.connect(self._updated)
        self.worker.errored.connect(lambda error: self._say(str(error)))
        self.worker.finished.connect(self._finished)  # type: ignore[arg-type]
        self._say(f"Sampling again around {int(mask.sum())} locked voxels ...")
        self._drawing = DrawingTime()
        self.worker.start()

    def _region(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
        """Where the rest is drawn again, ``(x, y, z)``; None is everywhere."""
        volume = self.desk.volume
        if self.where == "everywhere" or volume is None:
            return None
        region = near(mask, self.reach, volume.spacing if volume.spacing_known else (1.0, 1.0, 1.0))
        require(
            bool((region & ~mask).any()),
            InputError,
            f"Nothing but the locks lies within {self.reach:g} {self.unit} of them. Choose a longer distance.",
        )
        return region

    @property
    def unit(self) -> str:
        """What lengths of this image are given in."""
        volume = self.desk.volume
        return "mm" if volume is None or volume.spacing_known else "voxels"

    def forecast(self) -> str:
        """What sampling again would do and take, or why it cannot be done yet."""
        desk = self.desk
        p, request, spec, volume = desk.prediction, desk.request, desk.spec, desk.volume
        if p is None or request is None or spec is None or volume is None or p.samples == 0:
            return "Sampling again needs samples: draw some under Sample. The correction stays as it is."
        default = spec.sampling.lock_method
        method = request.lock_method or default
        seconds = seconds_again(p.samples, p.samples, desk.state.seconds, method, method if request.locks else None)
        return again_sentence(p.samples, seconds, memory_bytes(volume, spec, request.box, p.samples, method))

    def _updated(self, update: Update) -> None:
        if self.worker is None:
            return
        self._drawing.hear(update.kind, time.monotonic())
        self._say(f"Sampling again: {update.progress}")
        if update.kind == "done":
            self.candidate = update.prediction

    def _finished(self) -> None:
        if self.worker is None:
            return
        self.worker = None
        self._seconds = self._drawing.seconds(time.monotonic())
        if self.candidate is not None:
            self._show_moved()
        self.changed.emit()

    def proposal(self) -> Values | None:
        """The correction with the new consensus in it, label values ``(x, y, z)``.

        Locked voxels are as they were, and so is what lies outside the region, and what was painted during the run.
        """
        if self.candidate is None or self.desk.spec is None or self._locks is None or self._of is None:
            return None
        now, (_, then) = self._now(), self._of
        stays = now != then
        if self._locks.kept is not None:
            stays |= self._locks.kept
        return np.where(stays, now, self.desk.spec.values[self.candidate.consensus])

    def _now(self) -> Values:
        """The correction that was locked, ``(x, y, z)``, whichever is in hand."""
        display = self.desk.layers.display
        assert self._of is not None and display is not None
        return np.ascontiguousarray(display.hide(np.asarray(self._of[0].data))).astype(np.uint8)

    def _show_moved(self) -> None:
        """Voxels that would join or leave the structure, or change label, over the correction."""
        after, display, desk = self.proposal(), self.desk.layers.display, self.desk
        if after is None or display is None or desk.volume is None:
            return
        now = self._now()
        moved = np.where(after > 0, 1, 2).astype(np.uint8) * (after != now)
        size, unit = voxel_volume(desk.volume)
        gained, lost = (int((moved == kind).sum()) * size for kind in (1, 2))
        digits = 2 if unit == "mL" else 0
        self._say(
            f"{self._done()} It would add or relabel {gained:.{digits}f} {unit} (orange) and take away "
            f"{lost:.{digits}f} {unit} (violet). Accept, or discard. An approximation: look before you accept."
        )
        table: dict[int | None, Any] = {0: (0, 0, 0, 0), None: (0, 0, 0, 0), **MOVED}
        self._moved = Labels(
            np.array(display.show(moved), order="C"),
            name="Would move",
            opacity=0.8,
            colormap=DirectLabelColormap(color_dict=table),
            **display.layer,
        )
        self._moved.editable = False
        desk.layers.mark(self._moved, "moved")
        active = desk.viewer.layers.selection.active
        desk.viewer.layers.append(self._moved)
        desk.viewer.layers.selection.active = active

    def _done(self) -> str:
        """Where samples were drawn again."""
        if self._locks is None or self._locks.region is None:
            return "Everything but the locks was drawn again."
        return f"Drawn again within {self._reached:g} {self.unit} of the locks; beyond, every sample is as it was."

    def accept(self) -> None:
        """The correction becomes the proposal, in one step that can be undone; the new samples replace the old."""
        after, candidate, request, of = self.proposal(), self.candidate, self._request, self._of
        if after is None or candidate is None or request is None or of is None:
            return
        if of[0] is not self.corrections.layer:
            self.desk.viewer.layers.selection.active = of[0]
        count, seconds = self.corrections.put(after, "accept resampling"), self._seconds
        self.discard()
        self.earlier.replace(candidate, request, seconds)
        self._say(
            f"{count} voxel{'s' * (count != 1)} moved. Ctrl+Z takes the correction back; the new samples stay until "
            "you go back to the earlier ones."
        )

    def swap(self) -> None:
        """Show the samples that were there before, or the newer ones again; the correction stays as it is."""
        self.discard()
        self.earlier.swap()
        which = "earlier" if self.earlier.newer else "newer"
        self._say(f"The {which} samples are shown; the correction stays as it is.")

    def discard(self) -> None:
        """Leave everything as it was."""
        self._stop()
        self.candidate = self._locks = self._of = None
        moved, self._moved = self._moved, None
        if moved is not None and moved in self.desk.viewer.layers:
            self.desk.viewer.layers.remove(moved)
        self._say("")

    def _stop(self) -> None:
        if self.worker is not None:
            worker, self.worker = self.worker, None
            worker.yielded.disconnect()
            worker.errored.disconnect()
            worker.finished.disconnect()
            worker.quit()

    def _removed(self, event: Any) -> None:
        if event.value is self._strokes:
            self._strokes = None
        if event.value is self._moved:
            self._moved = None
        if self._of is not None and event.value is self._of[0]:
            self.discard()
            self._say("The correction that was locked is gone, and so is what was drawn around it.")

    def _phase(self) -> None:
        """Samples that are drawn anew, or dropped, leave nothing to accept."""
        if self.desk.state.phase is not Phase.REVIEWING:
            self.discard()

    def _say(self, text: str) -> None:
        self.sentence = text
        self.changed.emit()
