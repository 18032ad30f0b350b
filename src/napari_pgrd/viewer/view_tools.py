"""How the image is looked at, in two lines of the Review tab: its window, and what stands below it."""

from __future__ import annotations

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_pgrd.viewer.keys import key_of, tip
from napari_pgrd.viewer.planes import Planes
from napari_pgrd.viewer.side_by_side import SideBySide
from napari_pgrd.viewer.widgets import button, combo, fill, note, row
from napari_pgrd.viewer.window_level import WindowLevel


class ViewTools(QWidget):
    """One combo and two buttons."""

    def __init__(self, window: WindowLevel, planes: Planes, tiles: SideBySide) -> None:
        super().__init__()
        self.levels, self.planes, self.tiles = window, planes, tiles
        self.window_combo = combo(
            "window_level",
            "Which intensities are drawn, from black to white. By hand: drag the middle button (or Shift + right), "
            "sideways for the window, up for brighter; a double click gives 1\u201399.5 % back",
            window.choose,
        )
        self.planes_button = button(
            f"Linked planes  {key_of('planes.toggle')}",
            tip("Show the other planes below the image, with crosshairs", "planes.toggle"),
            "show_planes",
            planes.toggle,
        )
        self.tiles_button = button(
            "Side by side",
            "This slice below the image, as each reader marked it (your label layers, or those ticked under Compare "
            "with truth) and as each sample has it",
            "show_tiles",
            tiles.toggle,
        )
        for one in (self.planes_button, self.tiles_button):
            one.setCheckable(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(row(note("Window"), self.window_combo))
        layout.addWidget(row(self.planes_button, self.tiles_button))
        window.changed.connect(self.refresh)
        planes.changed.connect(self.refresh)
        tiles.changed.connect(self.refresh)
        window.desk.sources_changed.connect(self.refresh)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the state as it is."""
        fill(self.window_combo, self.levels.items(), self.levels.preset)
        self.window_combo.setEnabled(self.levels.image is not None)
        for one, shown in ((self.planes_button, self.planes.on), (self.tiles_button, self.tiles.on)):
            one.setEnabled(self.levels.desk.volume is not None)
            one.setChecked(shown)
