"""What the reader chose to see: lines or outlines, heat, one sample, a plane."""

from __future__ import annotations

from psygnal import Signal

from napari_pgrd.viewer.desk import Desk

HEATS = (("off", "off"), ("entropy", "entropy"), ("variance", "variance"))


class Views:
    """Switches layer visibility and nothing else; the data stay as they are."""

    changed = Signal()

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.heat_shown = "off"
        self.sample = 0  # 0: none, else 1-based
        desk.predicted.connect(self._predicted)
        desk.state.events.phase.connect(self._phase_changed)

    def plane(self, name: str) -> None:
        """Turn to a plane."""
        self.desk.layers.set_plane(name)

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
        count = self.desk.prediction.samples if self.desk.prediction else 0
        if count:
            self._show_sample((self.sample + by) % (count + 1))
            self.changed.emit()

    def sample_text(self) -> str:
        """What the sample browser says."""
        p = self.desk.prediction
        count = p.samples if p is not None else 0
        if not count:
            return ""
        return f"sample {self.sample} of {count}" if self.sample else f"{count} sample{'s' * (count > 1)}"

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
