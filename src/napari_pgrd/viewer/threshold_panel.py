"""One line of the Review tab: another threshold, looked at before it is written."""

from __future__ import annotations

from typing import cast

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QDoubleSpinBox, QLabel, QSlider, QVBoxLayout, QWidget

from napari_pgrd.viewer.threshold import ThresholdPreview
from napari_pgrd.viewer.widgets import button, note, row

LOW, HIGH, STEP = 0.05, 0.95, 0.05
TIP = (
    "Foreground where its probability reaches this number, there the most probable label. "
    "It is drawn as an outline; nothing changes before Apply"
)


class ThresholdPanel(QWidget):
    """A slider with its number; Apply and Off while there is something to apply."""

    def __init__(self, threshold: ThresholdPreview) -> None:
        super().__init__()
        self.threshold = threshold
        self.slider, self.spin = QSlider(Qt.Orientation.Horizontal), QDoubleSpinBox()
        self.slider.setObjectName("threshold_slider")
        self.slider.setRange(round(LOW / STEP), round(HIGH / STEP))
        self.slider.setPageStep(1)
        self.spin.setObjectName("threshold")
        self.spin.setRange(LOW, HIGH)
        self.spin.setSingleStep(STEP)
        self.spin.setDecimals(2)
        self.spin.setKeyboardTracking(False)
        for widget in (self.slider, self.spin):
            widget.setToolTip(TIP)
            widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            widget.installEventFilter(self)
        self.apply = button(
            "Apply to correction",
            "Make the correction what the outline shows, in one step that Ctrl+Z takes back",
            "apply_threshold",
            threshold.apply,
        )
        self.off = button("Off", "Take the outline away; nothing else changes", "threshold_off", threshold.off)
        self.said = note()
        self.said.setObjectName("threshold_sentence")
        self.buttons = row(self.apply, self.off)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.line = row(QLabel("Threshold"), self.slider, self.spin)
        for part in (self.line, self.said, self.buttons):
            layout.addWidget(part)
        self.slider.valueChanged.connect(lambda value: threshold.preview(round(value * STEP, 2)))
        self.spin.valueChanged.connect(lambda value: threshold.preview(round(float(value), 2)))
        threshold.changed.connect(self.refresh)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the state as it is."""
        t = self.threshold
        self.line.setEnabled(t.can)
        for widget in (self.slider, self.spin):
            widget.blockSignals(True)
        self.slider.setValue(round(t.level / STEP))
        self.spin.setValue(t.level)
        for widget in (self.slider, self.spin):
            widget.blockSignals(False)
        self.buttons.setVisible(t.on)
        self.said.setText(t.sentence)
        self.said.setVisible(bool(t.sentence))

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802  # Qt's name
        """The wheel scrolls the tab; it turns only the number in hand."""
        if event is not None and event.type() == QEvent.Type.Wheel and not cast(QWidget, watched).hasFocus():
            event.ignore()
            return True
        return False
