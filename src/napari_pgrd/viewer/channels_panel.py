"""Which layer is which channel, for models that read several: chosen by name, joined into one image."""

from __future__ import annotations

from functools import partial

from napari.layers import Image
from qtpy.QtWidgets import QCheckBox, QFormLayout, QWidget

from napari_pgrd.engine.errors import PgrdError
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.channels import claimed, join
from napari_pgrd.session.state import controls
from napari_pgrd.viewer.desk import Desk
from napari_pgrd.viewer.reader import VOLUME, layer_data
from napari_pgrd.viewer.widgets import button, combo, fill


class ChannelsPanel(QWidget):
    """A chooser for each channel; hidden for models that read one, and once they are joined."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self.chosen: dict[int, str] = {}  # by the reader; the others follow the layers' names
        self.form = QFormLayout(self)
        self.form.setContentsMargins(0, 0, 0, 0)
        self.rows: list[QWidget] = []
        self.resample = QCheckBox("Resample onto the first channel's grid")
        self.resample.setObjectName("resample_channels")
        self.resample.setToolTip("Channels on another grid are brought onto that of the first; else they are refused")
        self.together = button("Join channels", "Make one image of these layers", "join_channels", self.join)
        self.form.addRow(self.resample)
        self.form.addRow(self.together)
        self._of: tuple[str, ...] = ()
        desk.sources_changed.connect(self.refresh)
        desk.state.events.connect(self.refresh)
        self.refresh()

    def images(self) -> dict[str, Volume]:
        """Image layers of one channel whose place in the patient is known, by name, oldest first."""
        layers = [layer for layer in self.desk.viewer.layers if layer.name in self.desk.sources()]
        known = {layer.name: layer.metadata.get(VOLUME) for layer in layers if isinstance(layer, Image)}
        return {name: v for name, v in known.items() if v is not None and len(v.data) == 1}

    def names(self) -> list[str]:
        """The layer of each channel: what the reader chose, else by name, else the first that is left; "" for none."""
        channels = self.desk.spec.channels if self.desk.spec is not None else ()
        there = list(self.images())
        out = {c: name for c, name in self.chosen.items() if name in there}
        claims = {name: claimed(name, channels) for name in there if name not in out.values()}
        for c in range(len(channels)):
            mine = [name for name, claim in claims.items() if claim == c]
            if c not in out and len(mine) == 1:
                out[c] = mine[0]
        rest = iter([name for name in there if name not in out.values()])
        return [out.get(c) or next(rest, "") for c in range(len(channels))]

    def refresh(self, *_: object) -> None:
        """Show the choosers where the model reads several channels and the image is not joined yet."""
        spec, volume = self.desk.spec, self.desk.volume
        channels = spec.channels if spec is not None else ()
        wanted = len(channels) > 1 and not (volume is not None and len(volume.data) == len(channels))
        wanted = wanted and bool(self.images())
        self.setVisible(wanted)
        if not wanted:
            return
        if channels != self._of:
            self._rebuild(channels)
        can, names = controls(self.desk.state).can_choose, self.names()
        items = [("", "choose ..."), *((name, name) for name in self.images())]
        for chooser, name in zip(self.rows, names, strict=True):
            fill(chooser, items, name)  # type: ignore[arg-type]  # each is a combo box
            chooser.setEnabled(can)
        self.together.setEnabled(can and all(names) and len(set(names)) == len(names))

    def _rebuild(self, channels: tuple[str, ...]) -> None:
        for chooser in self.rows:
            self.form.removeRow(chooser)
        self._of, self.chosen, self.rows = channels, {}, []
        for c, channel in enumerate(channels):
            chooser = combo(f"channel_{c}", f"The layer that is {channel}", partial(self._choose, c))
            self.form.insertRow(c, channel, chooser)
            self.rows.append(chooser)

    def _choose(self, channel: int, name: str) -> None:
        self.chosen = {c: n for c, n in self.chosen.items() if n != name} | {channel: name}
        self.refresh()

    def join(self) -> None:
        """Make one image of the chosen layers and take it as the case; the layers are hidden."""
        images, names = self.images(), self.names()
        try:
            volume = join([images[name] for name in names], self._of, self.resample.isChecked())
        except PgrdError as error:
            self.desk.state.sentence = str(error)
            return
        limits = self.desk.viewer.layers[names[0]].contrast_limits  # of the channel that is shown first
        data, meta, kind = layer_data(volume, " + ".join(names), (limits[0], limits[1]))
        self.desk.viewer._add_layer_from_data(data, meta, kind)
        for name in names:
            self.desk.viewer.layers[name].visible = False
        self.desk.choose_source(self.desk.sources()[0])
