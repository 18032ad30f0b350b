"""The tools of the Correct tab."""

from __future__ import annotations

from qtpy.QtWidgets import QDoubleSpinBox, QVBoxLayout, QWidget

from napari_pgrd.viewer.tools import SCOPES, Tools
from napari_pgrd.viewer.widgets import button, combo, faint, fill, note, row


class ToolsPanel(QWidget):
    """Buttons for what a brush does badly."""

    def __init__(self, tools: Tools) -> None:
        super().__init__()
        self.tools = tools
        self.scope = combo("tool_scope", "Where the tools work", self._choose_scope)
        fill(self.scope, SCOPES, tools.scope)
        self.mm = QDoubleSpinBox()
        self.mm.setObjectName("tool_mm")
        self.mm.setRange(0.1, 50)
        self.mm.setSingleStep(0.5)
        self.mm.setDecimals(1)
        self.mm.setValue(tools.mm)
        self.mm.setToolTip("How far to smooth, grow or shrink")
        self.mm.valueChanged.connect(lambda value: setattr(tools, "mm", float(value)))
        self.smooth = button("Smooth", "Smooth the border; the volume stays", "smooth", tools.smooth)
        self.grow = button("Grow", "Add what lies this near", "grow", tools.grow)
        self.shrink = button("Shrink", "Take away what lies this near to the border", "shrink", tools.shrink)
        self.fill = button("Fill holes", "Fill what the label encloses", "fill_holes", tools.fill)
        self.largest = button("Keep largest", "Remove all pieces but the largest", "keep_largest", tools.largest)
        self.outline = button(
            "Outline", "The label's outline on this slice as points to drag", "draw_outline", tools.draw_outline
        )
        self.use = button("Use outline", "Make the label what the outline says", "use_outline", tools.use_outline)
        self.drop = button("Discard", "Take the outline away; the label stays", "drop_outline", tools.drop_outline)
        self.between = button(
            "Interpolate slices",
            "Redraw the label between the slices edited since the last time, in this plane",
            "interpolate",
            tools.interpolate,
        )
        self.swap = button(
            "Swap at place", "Exchange the two labels in doubt at the place in hand", "swap_labels", tools.swap
        )
        self.why = faint("Swap at place exchanges labels at a place, and those come with samples.")
        self.why.setObjectName("tools_need_samples")
        self.said = note()
        self.said.setObjectName("tools_sentence")
        self.rule = faint("Tools work on the painted label; other labels keep their voxels. Ctrl+Z takes each back.")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        parts = (
            row(self.scope, self.mm),
            row(self.smooth, self.grow, self.shrink),
            row(self.fill, self.largest),
            row(self.outline, self.use, self.drop),
            row(self.between, self.swap),
            self.why,
            self.said,
            self.rule,
        )
        for part in parts:
            layout.addWidget(part)
        tools.changed.connect(self.refresh)
        tools.corrections.changed.connect(self.refresh)
        tools.places.changed.connect(self.refresh)
        tools.desk.predicted.connect(self.refresh)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the state as it is."""
        t = self.tools
        there, drawn = t.corrections.layer is not None, t.contour is not None
        for widget in (self.smooth, self.grow, self.shrink, self.fill, self.largest, self.between):
            widget.setEnabled(there and not drawn)
        self.swap.setEnabled(there and not drawn and t.places.places.current is not None)
        self.why.setVisible(there and t.desk.state.drawn == 0)
        self.outline.setVisible(not drawn)
        self.outline.setEnabled(there)
        self.use.setVisible(drawn)
        self.drop.setVisible(drawn)
        display = t.desk.layers.display
        self.mm.setSuffix(" mm" if display is None or display.unit == "mm" else " voxels")
        self.said.setText(t.sentence)
        self.said.setVisible(bool(t.sentence))

    def _choose_scope(self, value: str) -> None:
        self.tools.scope = value
