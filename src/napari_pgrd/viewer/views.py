"""What the reader chose to see: lines or outlines, heat, one sample, a plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

from napari_pgrd.viewer.desk import Desk

if TYPE_CHECKING:
    from napari_pgrd.session.hypotheses import Part

HEATS = (("off", "off"), ("entropy", "entropy"), ("variance", "variance"))


class Views:
    """Switches layer visibility and nothing else; the data stay as they are."""

    changed = Signal()

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.heat_shown = "off"
        self.sample = 0  # 0: none, else 1-based
        desk.layers.results.stack.moved.connect(self._slid)
        desk.predicted.connect(self._predicted)
        desk.state.events.phase.connect(self._phase_changed)

    def plane(self, name: str) -> None:
        """Turn to a plane."""
        self.desk.layers.set_plane(name, self.desk.image)

    def lines(self) -> None:
        """Agreement lines."""
        self._lines(False)

    def outlines(self) -> None:
        """Outlines of every sample."""
        self._lines(True)

    def _lines(self, every: bool) -> None:
        self._show_sample(0)
        layer = self.desk.layers.first("agreement")
        if layer is not None:
            layer.visible = True
        self.desk.layers.lines.show_all_samples(every)
        self.changed.emit()

    def heat(self, kind: str) -> None:
        """One heat map at a time, or none."""
        self.heat_shown = kind
        for role in ("entropy", "variance"):
            layer = self.desk.layers.first(role)
            if layer is not None:
                layer.visible = role == kind
        self.changed.emit()

    def next_heat(self) -> None:
        """Off, entropy, variance, and round again."""
        names = [value for value, _ in HEATS]
        self.heat(names[(names.index(self.heat_shown) + 1) % len(names)])

    def step(self, by: int) -> None:
        """Show the next or previous sample over the image; after the last, none."""
        ring = (0, *self.numbers)
        if len(ring) > 1:
            at = ring.index(self.sample) if self.sample in ring else 0
            self._show_sample(ring[(at + by) % len(ring)])
            self.changed.emit()

    def choose(self, number: int) -> None:
        """Show a sample over the image, 1 the first; 0 shows none."""
        if number == 0 or number in self.numbers:
            self._show_sample(number)
            self.changed.emit()

    @property
    def can_share(self) -> bool:
        """Whether there are so many samples that one layer for all of them is offered."""
        return self.desk.layers.results.stack.offered

    @property
    def shared(self) -> bool:
        """Whether the samples share one layer."""
        return self.desk.layers.results.stack.on

    def share(self) -> None:
        """One layer for all samples with a slider, or again a layer for each; the sample on screen stays."""
        on = not self.shared
        self.desk.layers.results.share(on)
        self._show_sample(self.sample or int(on))
        self.changed.emit()

    def _slid(self, number: int) -> None:
        """The reader moved the slider of the samples."""
        self._show_sample(number)
        self.changed.emit()

    @property
    def numbers(self) -> tuple[int, ...]:
        """The samples to step through, 1 the first: all, or those of a family."""
        heard = self.desk.layers.heard if self.desk.prediction is not None else None
        members = getattr(heard, "members", None)
        if members is None:
            members = range(heard.samples if heard is not None else 0)
        return tuple(i + 1 for i in members)

    def choose_part(self, part: Part | None) -> None:
        """Lines, outlines and steps of some of the samples, or of all."""
        self.desk.layers.part = part
        if self.sample and self.sample not in self.numbers:
            self._show_sample(0)
        self.desk.layers.lines.redraw()
        self.changed.emit()

    def sample_text(self) -> str:
        """What the sample browser says."""
        p, numbers = self.desk.prediction, self.numbers
        if p is None or not numbers:
            return ""
        if not self.sample:
            return f"{len(numbers)} sample{'s' * (len(numbers) > 1)}"
        which = f"sample {self.sample} of {p.samples}"
        if len(numbers) == p.samples or self.sample not in numbers:
            return which
        return f"{which} ({numbers.index(self.sample) + 1} of {len(numbers)})"

    def _show_sample(self, number: int) -> None:
        self.sample = number
        chosen = self.desk.layers.results.sample(number)
        for role in ("sample", "arriving", "prior", "consensus") if number else ("sample", "arriving"):
            for layer in self.desk.layers.of(role):
                if layer.visible and layer is not chosen:
                    layer.visible = False
        if chosen is not None and not chosen.visible:
            chosen.visible = True

    def _phase_changed(self) -> None:
        """A run shows its newest sample and hides all at its end, so no sample is the chosen one."""
        self.sample = 0
        self.changed.emit()

    def _predicted(self) -> None:
        if self.desk.prediction is None:
            self.sample, self.heat_shown = 0, "off"
            self.changed.emit()
