"""What every button of the dock does, as plain methods: the one place that knows state, worker and layers together."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Layer
from psygnal import Signal

from napari_pgrd.cluster.address import Where
from napari_pgrd.engine.errors import InputError, PgrdError, require
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.scope import ScopeError, check_scope
from napari_pgrd.engine.spec import BundleSpec, embedded, read_spec
from napari_pgrd.engine.volume import Volume
from napari_pgrd.session.display import Display
from napari_pgrd.session.estimate import DrawingTime
from napari_pgrd.session.state import Phase, ReviewState, solver_key
from napari_pgrd.viewer import collector
from napari_pgrd.viewer.camera import go_to_middle, lies_alike, uncover
from napari_pgrd.viewer.fit import Fit
from napari_pgrd.viewer.layers import ROLE, LayerDesk
from napari_pgrd.viewer.reader import VOLUME
from napari_pgrd.viewer.worker import load_early, sampling_worker

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from superqt.utils import GeneratorWorker

    from napari_pgrd.engine.aggregate import Prediction
    from napari_pgrd.engine.predict import Update

STEP_S = 0.1  # progress is shown no more often: each time the window's image is put together anew


class Desk:
    """The reader's desk behind the dock."""

    predicted = Signal()  # the prediction changed
    sources_changed = Signal()  # image layers came or went
    bundles_changed = Signal()
    switching = Signal(str)  # "image" or "model" is about to change, and samples will leave the screen for it

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.state = ReviewState()
        self.layers = LayerDesk(viewer)
        self.bundles: list[str] = embedded()
        self.volume: Volume | None = None
        self.spec: BundleSpec | None = None
        self.prediction: Prediction | None = None
        self.request: Request | None = None
        self.image: Layer | None = None  # the layer that the state names
        self.fit = Fit(self)
        self.worker: GeneratorWorker[Update, None, None] | None = None
        self._drawing = DrawingTime()
        self._told = 0.0  # when progress was last shown
        self._away = False  # the run is a cluster's
        viewer.layers.events.inserted.connect(self._layers_changed)
        viewer.layers.events.removed.connect(self._layers_changed)
        viewer.layers.events.renamed.connect(self._layers_changed)
        if self.bundles:
            self.try_bundle(self.bundles[0])
        self._layers_changed()

    def close(self) -> None:
        """End a run and let go of the viewer."""
        self._abandon()
        self.viewer.layers.events.inserted.disconnect(self._layers_changed)
        self.viewer.layers.events.removed.disconnect(self._layers_changed)
        self.viewer.layers.events.renamed.disconnect(self._layers_changed)
        self.fit.remove_box()
        self.layers.close()

    # ---- source

    def sources(self) -> list[str]:
        """Names of the image layers, newest first."""
        return [
            layer.name
            for layer in reversed(self.viewer.layers)
            if isinstance(layer, Image) and ROLE not in layer.metadata
        ]

    def choose_source(self, name: str) -> None:
        """Take an image layer as the case; earlier results of another image leave the screen."""
        if name == self.state.source and self.volume is not None:
            return
        if name:
            self._keep("image")
        self._abandon()
        before = self.image
        # Named first: every result that leaves is heard of in _layers_changed, which must not choose again.
        self.image = self.viewer.layers[name] if name else None
        self.state.source, self.volume = name, None
        self._forget()
        collector.take_back()
        self.fit.remove_box()
        self.fit.forget()
        if not name:
            self.state.phase = Phase.EMPTY
            return
        assert self.image is not None
        self.state.phase = Phase.READY
        volume = self.image.metadata.get(VOLUME)
        if volume is None:
            self.state.sentence = self.state.unfit = (
                f"{name} carries no orientation and voxel size that can be trusted. Open its NIfTI file or DICOM "
                "folder with File > Open, or drop it here, and choose napari-pgrd to read it."
            )
            return
        self.volume = volume
        load_early()
        chosen = self.fit.take_meant()
        self.fit.check()
        self.state.sentence = self.state.sentence or chosen
        self.lie_on(None)
        self._look_at(self.image, before)
        self.sources_changed.emit()

    def _look_at(self, image: Layer, before: Layer | None) -> None:
        """Show the image that is worked on; the view stays where the one before lay there, too."""
        uncover(self.viewer, image, [self.viewer.layers[name] for name in self.sources()])
        if before is None or before not in self.viewer.layers or not lies_alike(before, image):
            go_to_middle(self.viewer, image)
            if self.viewer.dims.ndisplay == 2:
                self.layers.set_plane(self.fit.plane, image)

    def choose_bundle(self, where: str) -> None:
        """Take an embedded bundle by name or any other by folder; samples of another bundle leave the screen."""
        spec = read_spec(where)
        if where not in self.bundles:
            self.bundles.append(where)
            self.bundles_changed.emit()
        if where == self.state.bundle and spec == self.spec:
            return
        self._keep("model")
        self.drop()  # their class indices mean other labels now
        self.spec = spec
        self.lie_on(None)  # not on the box of an earlier run
        default, self.state.method = spec.entry().sampling, spec.method
        self.state.bundle, self.state.steps, self.state.samples = where, default.steps, default.samples
        self.fit.remove_box()
        self.fit.check()

    def lie_on(self, request: Request | None) -> None:
        """Take the part of the image that a request names, or all of it, for what is begun without samples."""
        self.request, self.layers.spec = request, self.spec
        if self.volume is not None:
            self.layers.display = Display.of(self.volume, request.box if request is not None else None)

    def _keep(self, what: str) -> None:
        """Give whoever keeps samples a chance to; they are still there."""
        if self.state.drawn and self.prediction is not None:
            self.switching.emit(what)

    def drop(self) -> None:
        """Stop a run and take samples off the screen; corrections stay."""
        self._abandon()
        self._forget()

    def try_bundle(self, where: str) -> None:
        """Take a bundle, or say why not and keep the present one."""
        try:
            self.choose_bundle(where)
        except PgrdError as error:
            self.state.sentence = str(error)

    def open(self, path: str | Path) -> None:
        """Open a NIfTI file or a DICOM series as an image layer."""
        self.viewer.open(str(path), plugin="napari-pgrd")

    def open_example(self) -> None:
        """Open the example case."""
        from napari_pgrd.viewer.samples import open_hippocampus_a

        try:
            case = open_hippocampus_a()
        except PgrdError as error:
            self.state.sentence = str(error)
            return
        for data, meta, kind in case:
            self.viewer._add_layer_from_data(data, meta, kind)

    def _layers_changed(self, event: Any = None) -> None:
        self.fit.layers_changed()
        if self.image is not None and self.image in self.viewer.layers:
            self.state.source = self.image.name  # renamed, perhaps
        names = self.sources()
        if self.state.source not in (names or [""]):
            self.choose_source(names[0] if names else "")
        elif event is not None and event.type == "inserted" and event.value.name in names:
            self._greet(event.value)
        self.sources_changed.emit()

    def _greet(self, layer: Image) -> None:
        """A further image becomes the case; where that would take results off the screen, it must not cover them."""
        if self.state.drawn or self.state.phase is Phase.RUNNING:
            told = f"{layer.name} was added, hidden. To segment it, choose it as the image under Sample."
            layer.visible, self.state.sentence = False, told
        else:
            self.choose_source(layer.name)

    # ---- sampling

    def where(self) -> Where | None:
        """The cluster that samples are drawn on; None is this computer. Raises an InputError if it cannot be used."""
        s = self.state
        return Where(s.cluster, s.insecure) if s.cluster else None

    def sample_here(self) -> None:
        """Draw on this computer what a cluster did not; its address stays for the next time."""
        self.sample(here=True)

    def sample(self, here: bool = False) -> None:
        """Draw the samples that are wanted and not yet there."""
        try:
            self._start(None if here else self.where())
        except PgrdError as error:
            self.state.sentence = str(error)
            self.state.box_offered = isinstance(error, ScopeError) and error.box is not None

    def _start(self, where: Where | None) -> None:
        s = self.state
        require(s.phase in (Phase.READY, Phase.REVIEWING), InputError, "Open an image first; a run may be under way.")
        require(self.spec is not None, InputError, "Choose a model bundle first.")
        require(self.volume is not None, InputError, s.unfit or "Choose an image that was opened from NIfTI or DICOM.")
        assert self.volume is not None and self.spec is not None
        box = s.box
        check_scope(self.volume, self.spec, box)
        more = s.drawn > 0 and s.drawn_settings == s.settings
        around = self.request if more and self.request is not None else Request()  # more samples keep what these kept
        request = replace(s.request(self.spec), locks=around.locks, lock_method=around.lock_method)
        request.resolved(self.spec)
        if not more:
            self._forget(recycle=self.request is not None and self.request.box == box)
        self.layers.begin(Display.of(self.volume, box), self.spec)
        self.request = request
        starting = "Loading the model ..." if where is None else f"Connecting to {where.address} ..."
        s.sentence, s.progress, s.progress_text, s.exported = "", 0.0, starting, ""
        s.here_offered, self._away = False, where is not None
        s.drawn_settings = s.settings
        s.phase = Phase.RUNNING
        self._drawing = DrawingTime(s.seconds if more else 0.0)
        self.worker = sampling_worker(self.volume, s.bundle, self.request, self.prediction, where)
        self.worker.yielded.connect(self._updated)
        self.worker.errored.connect(self._failed)
        self.worker.finished.connect(self._finished)  # type: ignore[arg-type]
        collector.set_aside()
        self.worker.start()

    def take(self, prediction: Prediction, request: Request, seconds: float = 0.0) -> None:
        """Show samples that were drawn before, or around a correction; the image and the bundle are chosen already."""
        require(self.spec is not None and self.volume is not None, InputError, "Choose the image and its model first.")
        assert self.volume is not None and self.spec is not None
        self._abandon()
        s, box = self.state, request.box
        if self.request is not None and self.request.box == box:
            self.layers.results.recycle()
        else:
            self.layers.results.clear()
        self.layers.begin(Display.of(self.volume, box), self.spec)
        self.request, self.prediction, s.exported = request, prediction, ""
        r = request.resolved(self.spec)
        s.steps, s.samples, s.seed, s.box = r.steps or 1, prediction.samples, r.seed, box
        s.solver, s.method = solver_key(request.solver, request.eta), r.method or ""
        s.drawn_settings, s.seconds = s.settings, seconds
        self.fit.hush()
        s.drawn = prediction.samples  # last: whoever hears of samples looks up their settings
        self.layers.results.update_maps(prediction)
        self.layers.results.settle()
        s.phase = Phase.REVIEWING
        self.predicted.emit()

    def cancel(self) -> None:
        """Stop at the next network call; what was drawn stays."""
        if self.worker is not None:
            self.state.progress_text = "Stopping ..."
            self.worker.quit()

    def _abandon(self) -> None:
        """Stop a run whose results nobody waits for any more."""
        if self.worker is not None:
            worker, self.worker = self.worker, None
            worker.yielded.disconnect()
            worker.errored.disconnect()
            worker.finished.disconnect()
            worker.quit()
            self.state.progress_text = ""
            self.state.phase = Phase.READY

    def _updated(self, update: Update) -> None:
        if self.worker is None:
            return
        s, now = self.state, time.monotonic()
        self._drawing.hear(update.kind, now)
        if update.kind == "step" and now - self._told < STEP_S:
            return
        self._told = now
        s.progress = update.fraction
        if update.note and update.note != self.fit.narrow:  # which was said before the run
            s.sentence = update.note
        if update.kind == "step" or update.kind == "sample":
            s.progress_text = update.progress
        if update.prediction is None:
            return
        self.prediction = update.prediction
        if update.kind == "prior":
            if update.prediction.samples == 0:
                self.layers.results.show_prior(update.prediction)
            s.progress_text = "The prior is there; drawing samples ..."
        elif update.kind == "sample" and update.index is not None and update.mask is not None:
            follow = round(update.fraction * update.samples) - update.drawn  # refined already
            self.layers.results.add_sample(update.index, update.mask, update.prediction, more=follow > 0)
            s.drawn = update.drawn
        self.predicted.emit()

    def _failed(self, error: Exception) -> None:
        self.state.sentence = str(error)
        self.state.here_offered = self._away

    def _finished(self) -> None:
        if self.worker is None:
            return
        self.worker = None
        s = self.state
        s.seconds = self._drawing.seconds(time.monotonic())
        s.progress_text = ""
        if s.drawn:
            self.layers.results.settle()
            if self.fit.box is not None:
                self.fit.box.layer.visible = False  # it would tint what is to be read
        s.phase = Phase.REVIEWING if s.drawn else Phase.READY
        if not s.drawn and not s.sentence:
            self.fit.check()

    def _forget(self, recycle: bool = False) -> None:
        """Drop results, never a correction; their layers are kept for a next run on the same grid if asked."""
        self.layers.results.recycle() if recycle else self.layers.results.clear()
        self.prediction = None
        s = self.state
        s.drawn, s.seconds, s.drawn_settings, s.exported = 0, 0.0, (), ""
        s.here_offered = False
        if s.phase is Phase.REVIEWING:
            s.phase = Phase.READY
        self.predicted.emit()
