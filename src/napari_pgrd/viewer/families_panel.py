"""One line of the Review tab: whose samples are looked at, where they fall into families."""

from __future__ import annotations

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_pgrd.viewer.families import Families
from napari_pgrd.viewer.widgets import combo, faint, fill, note, row


class FamiliesPanel(QWidget):
    """One sentence, and a choice where there is one."""

    def __init__(self, families: Families) -> None:
        super().__init__()
        self.families = families
        self.overview = faint()
        self.overview.setObjectName("families")
        self.choice = combo(
            "family",
            "Whose agreement lines, outlines and samples are shown. Places, volumes and corrections stay those of all",
            families.choose,
        )
        self.said = note()
        self.said.setObjectName("family_sentence")
        self.line = row(note("Show"), self.choice)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self.overview, self.line, self.said):
            layout.addWidget(part)
        families.changed.connect(self.refresh)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the state as it is."""
        f = self.families
        overview, items = f.overview(), f.items()
        self.overview.setText(f"{overview[:1].upper()}{overview[1:]}." if overview else "")
        self.overview.setVisible(bool(overview))
        self.line.setVisible(bool(items))
        fill(self.choice, items, f.chosen)
        self.said.setText(f.sentence)
        self.said.setVisible(bool(f.sentence))
