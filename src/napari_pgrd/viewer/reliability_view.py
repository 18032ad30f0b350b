"""A reliability diagram in the theme's ink: how often voxels are right, against how sure the samples are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

from napari_pgrd.viewer.theme import Inks, inks

if TYPE_CHECKING:
    from napari_pgrd.evaluate.reliability import Reliability

LEAST = 20  # voxels: a bin of one case with fewer is not drawn
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Curve:
    """Confidence and share right of every bin; the second of two is told from the first by dashes and open marks."""

    points: Points
    name: str = ""


def points(bins: Reliability | None, least: int = LEAST) -> Points:
    """Confidence and share right of every bin that holds enough voxels."""
    if bins is None:
        return []
    shown = bins.count >= least
    pairs = zip(bins.mean_confidence[shown], bins.accuracy[shown], strict=True)
    return [(float(x), float(y)) for x, y in pairs]


class ReliabilityView(QWidget):
    """The diagram of one case."""

    def __init__(self, theme: Callable[[], str]) -> None:
        super().__init__()
        self.theme = theme
        self.bins: Reliability | None = None
        self.setObjectName("truth_reliability")
        self.setFixedHeight(170)
        self.setToolTip(
            "Reliability near truth or prediction: on the dotted line voxels are right as often as the samples say, "
            "below it they are surer than right"
        )

    def show_bins(self, bins: Reliability | None) -> None:
        """Draw these, or nothing."""
        self.bins = bins
        self.setVisible(bins is not None)
        self.update()

    def points(self) -> Points:
        """What is drawn."""
        return points(self.bins)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802  # Qt's name
        """Frame, diagonal, points."""
        if found := self.points():
            painter = QPainter(self)
            paint(painter, QRectF(self.rect()), [Curve(found)], inks(self.theme()))
            painter.end()


def picture(curves: list[Curve], colours: Inks, width: int = 380, height: int = 320) -> QImage:
    """The diagram as an image on the theme's own ground."""
    out = QImage(width, height, QImage.Format.Format_ARGB32)
    out.fill(Qt.GlobalColor.transparent)
    painter = QPainter(out)
    paint(painter, QRectF(0, 0, width, height), curves, colours)
    painter.end()
    return out


def paint(painter: QPainter, room: QRectF, curves: list[Curve], colours: Inks) -> None:
    """Draw the diagram; names, where there are any, stand in its lower right corner."""
    every = [pair for curve in curves for pair in curve.points]
    if not every:
        return
    low = max(0.0, float(np.floor(10 * min(min(pair) for pair in every)) / 10))
    left, bottom, top = 44, 34, 8
    frame = QRectF(room.left() + left, room.top() + top, room.width() - left - 10, room.height() - top - bottom)

    def at(x: float, y: float) -> QPointF:
        return QPointF(
            frame.left() + (x - low) / (1 - low) * frame.width(),
            frame.bottom() - (y - low) / (1 - low) * frame.height(),
        )

    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    ink, back = QColor(colours.text), QColor(colours.faint)
    painter.setPen(QPen(back, 1))
    painter.drawRect(frame)
    painter.setPen(QPen(back, 1.5, Qt.PenStyle.DotLine))
    painter.drawLine(at(low, low), at(1, 1))
    painter.setPen(ink)
    middle = Qt.AlignmentFlag.AlignCenter
    for value in (low, (1 + low) / 2, 1.0):
        x, y = at(value, low).x(), at(low, value).y()
        painter.drawText(QRectF(x - 20, frame.bottom() + 1, 40, 15), middle, f"{value:.2g}")
        painter.drawText(QRectF(frame.left() - 30, y - 8, 28, 16), middle, f"{value:.2g}")
    painter.drawText(QRectF(frame.left(), frame.bottom() + 16, frame.width(), 16), middle, "confidence")
    painter.save()
    painter.translate(room.left() + 8, frame.center().y())
    painter.rotate(-90)
    painter.drawText(QRectF(-60, -8, 120, 16), middle, "share right")
    painter.restore()
    for number, curve in reversed(list(enumerate(curves))):
        colour = ink if number == 0 else back
        _line(painter, [at(x, y) for x, y in curve.points], colour, number == 0)
        if curve.name:
            base = frame.bottom() - 14 - 18 * (len(curves) - 1 - number)
            edge = frame.right() - 150
            _line(painter, [QPointF(edge, base), QPointF(edge + 26, base)], colour, number == 0)
            painter.setPen(ink)
            side = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
            painter.drawText(QRectF(edge + 34, base - 9, 112, 18), side, curve.name)


def _line(painter: QPainter, places: list[QPointF], colour: QColor, full: bool) -> None:
    """A line with a mark at each place: dots on a line, or open squares on dashes."""
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(colour, 1.8, Qt.PenStyle.SolidLine if full else Qt.PenStyle.DashLine))
    painter.drawPolyline(QPolygonF(places))
    painter.setPen(QPen(colour, 1.8))
    painter.setBrush(colour if full else Qt.BrushStyle.NoBrush)
    for place in places:
        if full:
            painter.drawEllipse(place, 3, 3)
        else:
            painter.drawRect(QRectF(place.x() - 3.5, place.y() - 3.5, 7, 7))
