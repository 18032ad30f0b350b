"""One small plane: paints what it is given and says where it was clicked; it knows no viewer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtCore import QLineF, QPointF, QRect, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPainter, QPainterPath, QPaintEvent, QPen, QTransform, QWheelEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_pgrd.session.planes import EDGES, Rect, bar_length

WHITE, CROSS, SHADE = QColor("#FFFFFF"), QColor(255, 255, 255, 130), QColor(0, 0, 0, 150)
MARGIN = 14  # px around the image, for the letters
CROSS_GAP = 6  # px left free around the point itself
WHEEL_NOTCH = 120  # eighths of a degree, as Qt counts


@dataclass(frozen=True, eq=False)
class Outline:
    """Line segments in the world, in one colour."""

    segments: NDArray[np.float64]  # (N, 4) x1, y1, x2, y2
    colour: QColor
    width: float = 1.5  # px

    def path(self) -> QPainterPath:
        """As Qt draws them: segment by segment, which it paints ten times quicker than joined ones."""
        out = QPainterPath()
        for x1, y1, x2, y2 in self.segments.tolist():
            out.moveTo(x1, y1)
            out.lineTo(x2, y2)
        return out


class PlaneView(QWidget):
    """A slice with outlines, crosshair, orientation letters and a scale bar; on black in every theme, as images are."""

    moved = Signal(str, float, float)  # plane, x, y in the world: the reader clicked or dragged
    scrolled = Signal(str, int)  # plane, slices

    def __init__(self, plane: str) -> None:
        super().__init__()
        self.plane = plane
        self.setObjectName(f"small_{plane}")
        self.setToolTip(f"{plane.capitalize()} plane: click or drag to go to a point, wheel for its slices")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(120, 120)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.unit = ""
        self._field: Rect = (0, 0, 1, 1)
        self._cross = (0.0, 0.0)
        self._image: QImage | None = None
        self._image_rect: Rect = (0, 0, 1, 1)
        self._outlines: list[tuple[QPen, QPainterPath]] = []
        self._wheel = 0

    # ---- what is shown

    def show_image(self, pixels: NDArray[np.uint8] | None, rect: Rect) -> None:
        """A slice as greys, and what it covers in the world; None where the point lies beyond the image."""
        self._image_rect = rect
        if pixels is None:
            self._image = None
        else:
            rows, columns = pixels.shape
            # A copy of Qt's own: it would otherwise read memory that Python frees.
            self._image = QImage(pixels.tobytes(), columns, rows, columns, QImage.Format.Format_Grayscale8).copy()
        self.update()

    def show_outlines(self, outlines: list[Outline]) -> None:
        """The borders on this slice."""
        self._outlines = []
        for outline in outlines:
            pen = QPen(outline.colour, outline.width)
            pen.setCosmetic(True)
            self._outlines.append((pen, outline.path()))
        self.update()

    def clear(self) -> None:
        """Show nothing."""
        self.show_image(None, self._image_rect)
        self.show_outlines([])

    def show_point(self, x: float, y: float, field: Rect, unit: str) -> None:
        """Crosshair and the part of the world to show."""
        if (self._cross, self._field, self.unit) != ((x, y), field, unit):
            self._cross, self._field, self.unit = (x, y), field, unit
            self.update()

    @property
    def point(self) -> tuple[float, float]:
        """Where the crosshair stands, x and y in the world."""
        return self._cross

    # ---- painting

    def to_screen(self) -> QTransform:
        """World to widget: the field fitted into it, its aspect kept."""
        left, top, width, height = self._field
        room = QRectF(self.rect()).adjusted(MARGIN, MARGIN, -MARGIN, -MARGIN)
        scale = max(min(room.width() / width, room.height() / height), 1e-6)
        out = QTransform()
        out.translate(room.center().x(), room.center().y())
        out.scale(scale, scale)
        out.translate(-(left + width / 2), -(top + height / 2))
        return out

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802  # Qt's name
        """Draw everything."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), Qt.GlobalColor.black)
        painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
        world = self.to_screen()
        painter.setTransform(world)
        if self._image is not None:
            painter.drawImage(QRectF(*self._image_rect), self._image)
        for pen, path in self._outlines:
            painter.setPen(pen)
            painter.drawPath(path)
        painter.resetTransform()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        self._draw_cross(painter, world.map(QPointF(*self._cross)))
        self._draw_letters(painter)
        self._draw_bar(painter, world.m11())
        painter.end()

    def _draw_cross(self, painter: QPainter, at: QPointF) -> None:
        painter.setPen(QPen(CROSS, 1))
        x, y, g = at.x(), at.y(), CROSS_GAP
        w, h = self.width(), self.height()
        for line in ((x, 0, x, y - g), (x, y + g, x, h), (0, y, x - g, y), (x + g, y, w, y)):
            painter.drawLine(QLineF(*line))

    def _draw_letters(self, painter: QPainter) -> None:
        middle, flags = self.rect(), Qt.AlignmentFlag
        # Without a voxel size the directions are not known either.
        left, right, top, bottom = tuple(EDGES[self.plane]) if self.unit == "mm" else ("",) * 4
        where = (
            (left, flags.AlignLeft | flags.AlignVCenter),
            (right, flags.AlignRight | flags.AlignVCenter),
            (top, flags.AlignTop | flags.AlignHCenter),
            (bottom, flags.AlignBottom | flags.AlignHCenter),
            (self.plane, flags.AlignTop | flags.AlignLeft),
        )
        for text, align in where:
            _write(painter, middle.adjusted(2, 0, -2, 0), align.value, text)

    def _draw_bar(self, painter: QPainter, scale: float) -> None:
        length = bar_length(self._field[2])
        px = length * scale
        right, base = self.width() - 6, self.height() - 5
        painter.setPen(QPen(WHITE, 2))
        painter.drawLine(QLineF(right - px, base, right, base))
        box = self.rect().adjusted(0, 0, -6, -7)
        align = Qt.AlignmentFlag.AlignBottom | Qt.AlignmentFlag.AlignRight
        _write(painter, box, align.value, f"{length:g} {self.unit}")

    # ---- the reader's hand

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Go to the point."""
        self._point(event)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Keep going while the button is down."""
        self._point(event)

    def _point(self, event: QMouseEvent | None) -> None:
        if event is None or not event.buttons() & Qt.MouseButton.LeftButton:
            return
        back, _ = self.to_screen().inverted()
        at = back.map(QPointF(event.position()))
        left, top, width, height = self._field
        x, y = min(max(at.x(), left), left + width), min(max(at.y(), top), top + height)
        self.show_point(x, y, self._field, self.unit)
        self.moved.emit(self.plane, x, y)

    def wheelEvent(self, event: QWheelEvent | None) -> None:  # noqa: N802
        """One slice a notch; towards the reader goes on through the slices."""
        if event is None:
            return
        self._wheel -= event.angleDelta().y()
        notches = int(self._wheel / WHEEL_NOTCH)
        if notches:
            self._wheel -= notches * WHEEL_NOTCH
            self.scrolled.emit(self.plane, notches)
        event.accept()

    def sizeHint(self) -> QSize:  # noqa: N802
        """Small."""
        return QSize(220, 190)


def _write(painter: QPainter, box: QRect, align: int, text: str) -> None:
    """White on a shadow, to be read on any image."""
    painter.setPen(SHADE)
    painter.drawText(box.adjusted(1, 1, 1, 1), align, text)
    painter.setPen(WHITE)
    painter.drawText(box, align, text)
