"""The Sample tab: image, model, device, steps, samples, go."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QFormLayout, QLabel, QProgressBar, QSpinBox, QToolButton, QVBoxLayout, QWidget

from napari_pgrd.engine.request import MAX_SAMPLES
from napari_pgrd.engine.spec import PAPER_SAMPLING
from napari_pgrd.session.estimate import memory_sentence
from napari_pgrd.session.state import Phase, controls, solver_key
from napari_pgrd.viewer.about import AboutModel
from napari_pgrd.viewer.channels_panel import ChannelsPanel
from napari_pgrd.viewer.desk import Desk
from napari_pgrd.viewer.foretelling import Foretelling
from napari_pgrd.viewer.remote_panel import RemotePanel, sent_sentence
from napari_pgrd.viewer.widgets import Number, advance, button, combo, faint, fill, note, row

DEVICES = (("auto", "auto"), ("cpu", "CPU"), ("cuda", "GPU (CUDA)"), ("mps", "GPU (Apple)"))
SOLVERS = (
    ("", "model's own"),
    ("ddim eta 0", "DDIM, eta 0"),
    ("ddim eta 1", "DDIM, eta 1"),
    ("ddpm", "DDPM"),
    ("dpmpp2m", "DPM-Solver++ (2M)"),
)
PAPER = solver_key(PAPER_SAMPLING["solver"], PAPER_SAMPLING["eta"])
GO = "Draw plausible segmentations of this image"


class SamplePanel(QWidget):
    """Widgets that show the state and change it; nothing else."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        state = desk.state
        self.example = button(
            "Open example case", "A T1 MRI of a hippocampus that comes with the plugin", "example", desk.open_example
        )
        self.drop_hint = faint("or drop a NIfTI file or DICOM folder on the image area")
        self.source = combo("source", "The image to segment", desk.choose_source)
        self.bundle = combo("bundle", "The trained model", desk.try_bundle)
        self.load = button("Load folder ...", "Use a model bundle from a folder", "load_bundle", self._load)
        self.card = AboutModel(desk, self)
        self.about = button(
            "About this model", "Its card: what it is for, its limits, how good it measured", "about", self.card.show
        )
        self.scope = faint()
        self.scope.setObjectName("scope")
        self.device = combo("device", "Where to compute", lambda v: setattr(state, "device", v))
        self.steps = Number(
            "steps",
            "Network calls a sample; more than 50 are rarely useful",
            1,
            50,
            1000,
            lambda v: setattr(state, "steps", v),
        )
        self.samples = Number(
            "samples", "How many plausible segmentations", 1, 64, MAX_SAMPLES, lambda v: setattr(state, "samples", v)
        )
        self.presets = row(
            button("Preview 1", "One step: the mean, at once", "preset_preview", lambda: self._preset(1, "")),
            button("Standard 8", "The interactive default", "preset_standard", self._standard),
            button("Paper 300", "DDIM, eta 0, 300 steps, as published; slow", "preset_paper", self._paper),
        )
        self.advanced = QToolButton()
        self.advanced.setObjectName("advanced")
        self.advanced.setText("\u25b8 Advanced")
        self.advanced.setToolTip("Method, seed, solver, and a cluster to draw on")
        self.advanced.setCheckable(True)
        self.seed = QSpinBox()
        self.seed.setObjectName("seed")
        self.seed.setRange(0, 2**31 - 1)
        self.seed.setToolTip("The same seed gives the same samples")
        self.seed.valueChanged.connect(lambda v: setattr(state, "seed", v))
        self.solver = combo(
            "solver",
            "How a step is taken; eta 0 adds no noise on the way, eta 1 as much as DDPM",
            lambda v: setattr(state, "solver", v),
        )
        self.method = combo("method", "How samples are drawn, of what this model can do", self._choose_method)
        more = QWidget()
        more_form = QFormLayout(more)
        more_form.setContentsMargins(0, 0, 0, 0)
        self.method_name = QLabel("Method")
        more_form.addRow(self.method_name, self.method)
        more_form.addRow("Seed", self.seed)
        more_form.addRow("Solver", self.solver)
        self.remote = RemotePanel(desk)
        more_form.addRow(self.remote)
        more.setVisible(False)
        self.advanced.toggled.connect(more.setVisible)
        self.advanced.toggled.connect(lambda on: self.advanced.setText("\u25be Advanced" if on else "\u25b8 Advanced"))
        self.channels = ChannelsPanel(desk)
        self.memory = faint()
        foretelling = self.foretelling = Foretelling(desk)
        foretelling.changed.connect(self.refresh)
        self.destroyed.connect(lambda *_: foretelling.close())
        self.go = button("Sample", GO, "sample", desk.sample)
        self.stop = button("Cancel", "Stop; what was drawn stays", "cancel", desk.cancel)
        self.bar = QProgressBar()
        self.bar.setObjectName("progress")
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(False)
        self.bar.setMaximumHeight(10)
        self.progress = note()
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Image", self.source)
        form.addRow("Model", self.bundle)
        form.addRow(row(self.load, self.about))
        form.addRow(self.channels)
        form.addRow("Device", self.device)
        form.addRow("Steps", self.steps)
        form.addRow(self.presets)
        form.addRow("Samples", self.samples)
        layout = QVBoxLayout(self)
        for welcome in (self.example, self.drop_hint):
            layout.addWidget(welcome)
        layout.addLayout(form)
        for part in (self.scope, self.advanced, more, self.memory, row(self.go, self.stop), self.bar, self.progress):
            layout.addWidget(part)
        layout.addStretch()
        desk.sources_changed.connect(self.refresh)
        desk.bundles_changed.connect(self.refresh)
        state.events.connect(self.refresh)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the state as it is."""
        s, c = self.desk.state, controls(self.desk.state)
        empty = s.phase is Phase.EMPTY
        for widget in (self.example, self.drop_hint):
            widget.setVisible(empty)
        fill(self.source, [(n, n) for n in self.desk.sources()], s.source)
        fill(self.bundle, [(b, Path(b).name) for b in self.desk.bundles], s.bundle)
        fill(self.device, DEVICES, s.device)
        known = s.solver in dict(SOLVERS)  # a review that a script made may have any eta
        fill(self.solver, SOLVERS if known else (*SOLVERS, (s.solver, s.solver)), s.solver)
        self._show_method(c.can_choose)
        told = self.desk.fit.narrow if s.drawn else ""  # before, the dock says it above all tabs
        about = self.desk.spec.scope.sentence if self.desk.spec else "No model: load a bundle folder."
        self.scope.setText(f"{about} {told}".rstrip())
        for choice in (self.source, self.bundle, self.load, self.device, self.seed):
            choice.setEnabled(c.can_choose)
        self.steps.show_value(s.steps)
        self.samples.show_value(s.samples)
        needs = self.foretelling.sentence()
        needs = needs or ("" if s.unfit else memory_sentence(self.desk.volume, self.desk.spec, s.box, s.samples))
        self.memory.setText(sent_sentence(s.cluster, s.insecure) or needs)
        self.go.setText(c.sample_text)
        self.go.setEnabled(c.can_sample)
        self.go.setToolTip(s.unfit or GO)
        self.go.setVisible(not empty)
        self.stop.setVisible(c.can_cancel)
        self.bar.setVisible(c.can_cancel)
        advance(self.bar, round(1000 * s.progress))
        self.progress.setText(s.progress_text)
        self.progress.setVisible(bool(s.progress_text))

    def _show_method(self, can_choose: bool) -> None:
        """The chooser, where there is a choice, and what the chosen one leaves to choose; the others are set below."""
        spec = self.desk.spec
        offered = spec.offered if spec is not None else ()
        self.method_name.setVisible(len(offered) > 1)
        self.method.setVisible(len(offered) > 1)
        if spec is None:
            return
        fill(self.method, [(name, spec.row(name).title) for name in offered], self.desk.state.method)
        row = spec.row(self.desk.state.method or None)
        self.method.setToolTip(f"How samples are drawn, of what this model can do. Now: {row.about}")
        for widget in (self.steps, self.presets, self.solver):
            widget.setEnabled(can_choose and row.stepwise)
        self.samples.setEnabled(can_choose and row.most is None)
        self.method.setEnabled(can_choose)

    def _choose_method(self, name: str) -> None:
        if self.desk.spec is not None:
            self.desk.state.choose_method(name, self.desk.spec)

    def _preset(self, steps: int, solver: str) -> None:
        self.desk.state.steps = steps
        self.desk.state.solver = solver

    def _standard(self) -> None:
        self._preset(self.desk.spec.entry(self.desk.state.method or None).sampling.steps if self.desk.spec else 8, "")

    def _paper(self) -> None:
        self._preset(int(PAPER_SAMPLING["steps"]), PAPER)

    def _load(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder of a model bundle")
        if folder:
            self.desk.try_bundle(folder)
