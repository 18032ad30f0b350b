"""Small pieces that several panels use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QSlider,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_pgrd.viewer.theme import Rich

AnyLabel = TypeVar("AnyLabel", bound=QLabel)


def note(text: str = "", ink: str = "") -> QLabel:
    """A wrapped line of plain text that may be selected and copied; ``ink`` is "", "faint" or "warning"."""
    label = _wrapped(QLabel(text))
    label.setProperty("ink", ink)
    return label


def faint(text: str = "") -> QLabel:
    """A note that stands back."""
    return note(text, "faint")


def name_of(text: str) -> QLabel:
    """A word before a control, which keeps its width however wide the control is."""
    label = QLabel(text)
    label.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
    return label


def rich() -> Rich:
    """A note of rich text, in which ``var(--faint)`` and ``var(--warning)`` stand for colours."""
    return _wrapped(Rich())


def _wrapped(label: AnyLabel) -> AnyLabel:
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    return label


def button(text: str, tip: str, name: str, clicked: Callable[[], object]) -> QPushButton:
    """A push button; ``name`` is its object name, by which tests and style sheets find it."""
    out = QPushButton(text)
    out.setToolTip(tip)
    out.setObjectName(name)
    out.setMinimumWidth(24)
    out.clicked.connect(lambda: clicked())
    return out


def row(*widgets: QWidget) -> QWidget:
    """Widgets side by side."""
    out = QWidget()
    layout = QHBoxLayout(out)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(4)
    for widget in widgets:
        layout.addWidget(widget)
    return out


def stacked(*panels: QWidget) -> QWidget:
    """Panels one below the other."""
    out = QWidget()
    layout = QVBoxLayout(out)
    layout.setContentsMargins(4, 6, 4, 4)
    for panel in panels:
        layout.addWidget(panel)
    layout.addStretch()
    return out


def combo(name: str, tip: str, chosen: Callable[[str], object]) -> QComboBox:
    """A combo box that narrows with the dock; each item carries its value as data."""
    out = QComboBox()
    out.setObjectName(name)
    out.setToolTip(tip)
    out.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    out.setMinimumContentsLength(8)
    out.activated.connect(lambda index: chosen(str(out.itemData(index))))
    return out


def fill(box: QComboBox, items: Sequence[tuple[str, str]], current: str) -> None:
    """Set the ``(value, text)`` items of a combo box without a signal; equal ones stay, for its list may be open."""
    box.blockSignals(True)
    if [(box.itemData(i), box.itemText(i)) for i in range(box.count())] != list(items):
        box.clear()
        for value, text in items:
            box.addItem(text, value)
    box.setCurrentIndex(max(0, next((i for i, (value, _) in enumerate(items) if value == current), 0)))
    box.blockSignals(False)


def advance(bar: QProgressBar, value: int) -> None:
    """Set a progress bar, to be painted with what else changes.

    By itself it paints at once, and the window's image is put together whole for it: once more than needed.
    """
    bar.setUpdatesEnabled(False)
    bar.setValue(value)
    bar.setUpdatesEnabled(True)


class Number(QWidget):
    """A slider with its number beside it; the number reaches further than the slider."""

    def __init__(
        self, name: str, tip: str, low: int, slider_high: int, high: int, changed: Callable[[int], object]
    ) -> None:
        super().__init__()
        self.slider, self.spin = QSlider(Qt.Orientation.Horizontal), QSpinBox()
        self.slider.setObjectName(f"{name}_slider")
        self.spin.setObjectName(name)
        self.slider.setRange(low, slider_high)
        self.spin.setRange(low, high)
        self.spin.setKeyboardTracking(False)
        self.spin.setMinimumWidth(72)
        for widget in (self.slider, self.spin):
            widget.setToolTip(tip)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.slider, 1)
        layout.addWidget(self.spin)
        self.slider.valueChanged.connect(self.spin.setValue)
        self.spin.valueChanged.connect(self._follow)
        self.spin.valueChanged.connect(lambda value: changed(value))

    def _follow(self, value: int) -> None:
        self.slider.blockSignals(True)
        self.slider.setValue(min(value, self.slider.maximum()))
        self.slider.blockSignals(False)

    def show_value(self, value: int) -> None:
        """Show a value without telling anybody."""
        if self.spin.value() != value:
            self.spin.blockSignals(True)
            self.spin.setValue(value)
            self.spin.blockSignals(False)
            self._follow(value)
