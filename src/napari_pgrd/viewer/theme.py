"""Colours of the dock's own text, readable on napari's theme whichever it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from napari.utils.theme import get_theme
from qtpy.QtWidgets import QLabel, QWidget

RGB = tuple[float, float, float]
READABLE = 4.5  # WCAG 2.2, contrast of text (AA)
WARNING: RGB = (0xE0, 0x8A, 0x1E)
FAINT_INK, WARNING_INK = "var(--faint)", "var(--warning)"  # stand for a colour in the text of a Rich label


@dataclass(frozen=True)
class Inks:
    """Colours as ``#rrggbb``; ``raised`` is what tables and lists stand on."""

    text: str
    faint: str
    warning: str
    background: str
    raised: str


@lru_cache
def inks(theme: str) -> Inks:
    """The colours to use on a napari theme."""
    colours = get_theme(theme).to_rgb_dict()
    text, background, raised = (_rgb(colours[key]) for key in ("text", "background", "foreground"))
    grounds = (background, raised)
    faint = readable(_mix(text, background, 0.45), text, grounds)
    warning = readable(WARNING, text, grounds)
    return Inks(*(_hex(c) for c in (text, faint, warning, background, raised)))


def readable(colour: RGB, text: RGB, grounds: Sequence[RGB]) -> RGB:
    """A colour, moved towards the theme's text only as far as it takes to be read on every ground."""
    for step in range(21):
        moved = _mix(colour, text, step / 20)
        if min(contrast(moved, ground) for ground in grounds) >= READABLE:
            return moved
    return text


def contrast(a: RGB, b: RGB) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    low, high = sorted((_luminance(a), _luminance(b)))
    return (high + 0.05) / (low + 0.05)


class Rich(QLabel):
    """A label whose rich text may name inks, and which follows the theme."""

    def __init__(self) -> None:
        super().__init__()
        self._written, self._inks = "", inks("dark")

    def setText(self, text: str | None) -> None:  # noqa: N802  # Qt's name
        """Show text in which ``var(--faint)`` and ``var(--warning)`` stand for colours."""
        self._written = text or ""
        shown = self._written.replace(FAINT_INK, self._inks.faint).replace(WARNING_INK, self._inks.warning)
        super().setText(shown)

    def dress(self, colours: Inks) -> None:
        """Take the inks of a theme."""
        self._inks = colours
        self.setText(self._written)


def dress(widget: QWidget, theme: str) -> None:
    """Give a widget and all in it the inks of a theme; call it again when the theme changes."""
    colours = inks(theme)
    widget.setStyleSheet(
        f'QLabel[ink="faint"] {{ color: {colours.faint}; }} QLabel[ink="warning"] {{ color: {colours.warning}; }}'
    )
    for label in widget.findChildren(Rich):
        label.dress(colours)


def swatch(colour: str) -> str:
    """A square in a label's colour as rich text, on the black it is seen on in the image."""
    return f'<span style="background-color:#000000; color:{colour}">&nbsp;\u25a0&nbsp;</span>'


def _rgb(text: str) -> RGB:
    """``rgb(1, 2, 3)`` as napari writes it."""
    r, g, b = (float(v) for v in text[text.index("(") + 1 : text.index(")")].split(",")[:3])
    return r, g, b


def _hex(colour: RGB) -> str:
    return "#" + "".join(f"{round(v):02x}" for v in colour)


def _mix(a: RGB, b: RGB, part: float) -> RGB:
    r, g, b_ = ((1 - part) * x + part * y for x, y in zip(a, b, strict=True))
    return r, g, b_


def _luminance(colour: RGB) -> float:
    def linear(value: float) -> float:
        v = value / 255
        return v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4

    r, g, b = (linear(v) for v in colour)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
