"""Small pictures of one slice side by side: what each reader marked, and each sample. Paints and says what is clicked.

On black in every theme, as images are; an opinion is told from a sample by its place and heading, not by colour alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen, QTransform
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_pgrd.session.planes import Rect
from napari_pgrd.session.tiles import Block, blocks
from napari_pgrd.viewer.plane_view import SHADE, WHITE, Outline

HEAD, GAP, EDGE = 20, 14, 1.5  # px: heading, between the blocks, around a tile
FAINT = QColor("#A0A0A0")


@dataclass(frozen=True, eq=False)
class Tile:
    """One opinion or sample on the slice."""

    caption: str
    outlines: list[Outline]
    colour: str = ""  # of a square before the caption
    number: int = 0  # of a sample, 1 the first


@dataclass(frozen=True, eq=False)
class Sheet:
    """All of them."""

    opinions: list[Tile] = field(default_factory=list)
    samples: list[Tile] = field(default_factory=list)
    legend: list[tuple[str, str]] = field(default_factory=list)  # colour and name of every label
    chosen: int = 0  # the sample on the image, 0 none
    note: str = ""  # in place of tiles


class Tiles(QWidget):
    """The sheet."""

    clicked = Signal(int)  # the number of a sample

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("tiles")
        self.setToolTip(
            "This slice, as each reader marked it and as each sample has it; click a sample to see it large"
        )
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(240, 150)
        self.sheet = Sheet()
        self._image: QImage | None = None
        self._image_rect: Rect = (0, 0, 1, 1)
        self._field: Rect = (0, 0, 1, 1)

    def sizeHint(self) -> QSize:  # noqa: N802  # Qt's name
        """Room for twenty."""
        return QSize(600, 320)

    def show_image(self, pixels: NDArray[np.uint8] | None, rect: Rect, part: Rect) -> None:
        """A slice as greys, what it covers in the world, and the part of it to show."""
        self._image_rect, self._field, self._image = rect, part, None
        if pixels is not None:
            rows, columns = pixels.shape
            self._image = QImage(pixels.tobytes(), columns, rows, columns, QImage.Format.Format_Grayscale8).copy()
        self.update()

    def show_sheet(self, sheet: Sheet) -> None:
        """Outlines, captions and legend."""
        self.sheet = sheet
        self.update()

    # ---- where things are

    def _blocks(self) -> tuple[Block, Block]:
        s, (_, _, w, h) = self.sheet, self._field
        return blocks(len(s.opinions), len(s.samples), self.width(), self.height() - HEAD, h / w, GAP)

    def places(self) -> list[tuple[Tile, QRectF]]:
        """Every tile and where it lies."""
        left, right = self._blocks()
        pairs = ((self.sheet.opinions, left), (self.sheet.samples, right))
        return [(tile, QRectF(*b.place(i, HEAD))) for tiles, b in pairs for i, tile in enumerate(tiles)]

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802  # Qt's name
        """A sample was clicked."""
        if event is None or event.button() != Qt.MouseButton.LeftButton:
            return
        at = QPointF(event.position())
        number = next((tile.number for tile, place in self.places() if tile.number and place.contains(at)), 0)
        if number:
            self.clicked.emit(number)

    # ---- painting

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802  # Qt's name
        """Headings, then tiles."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), Qt.GlobalColor.black)
        s = self.sheet
        if s.note:
            painter.setPen(WHITE)
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, s.note)
            painter.end()
            return
        painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
        _, right = self._blocks()
        if s.opinions:
            self._heading(painter, 0, right.left - GAP, _many(len(s.opinions), "reader"), [])
        if s.samples:
            self._heading(painter, right.left, self.width() - right.left, _many(len(s.samples), "sample"), s.legend)
        for tile, place in self.places():
            self._tile(painter, tile, place.adjusted(EDGE, EDGE, -EDGE, -EDGE))
        painter.end()

    def _heading(self, painter: QPainter, x: float, room: float, text: str, legend: list[tuple[str, str]]) -> None:
        side = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        metrics, end = painter.fontMetrics(), x + room
        for colour, words in [("", text), *legend]:
            x += 4
            if colour:
                painter.fillRect(QRectF(x, HEAD / 2 - 4, 9, 9), QColor(colour))
                x += 13
            width = min(float(metrics.horizontalAdvance(words)), max(end - x, 0.0))
            painter.setPen(WHITE)
            painter.drawText(QRectF(x, 0, width, HEAD), side, words)
            x += width + 8

    def _tile(self, painter: QPainter, tile: Tile, place: QRectF) -> None:
        left, top, width, height = self._field
        world = QTransform()
        world.translate(place.left(), place.top())
        world.scale(place.width() / width, place.height() / height)
        world.translate(-left, -top)
        painter.save()
        painter.setClipRect(place)
        painter.setTransform(world)
        if self._image is not None:
            painter.drawImage(QRectF(*self._image_rect), self._image)
        for outline in tile.outlines:
            for colour, more in ((SHADE, 1.6), (outline.colour, 0.0)):  # dark beneath, to be seen on bright ground
                pen = QPen(colour, outline.width + more)
                pen.setCosmetic(True)
                painter.setPen(pen)
                painter.drawPath(outline.path())
        painter.resetTransform()
        self._caption(painter, tile, place)
        painter.restore()
        shown = tile.number and tile.number == self.sheet.chosen
        painter.setPen(QPen(WHITE if shown else FAINT, 2.0 if shown else 0.6))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(place)

    def _caption(self, painter: QPainter, tile: Tile, place: QRectF) -> None:
        box, side = place.adjusted(3, 1, -2, 0), Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft
        if tile.colour:
            painter.fillRect(QRectF(box.left(), box.top() + 4, 8, 8), QColor(tile.colour))
            box = box.adjusted(12, 0, 0, 0)
        text = painter.fontMetrics().elidedText(tile.caption, Qt.TextElideMode.ElideMiddle, int(box.width()))
        for pen, by in ((SHADE, 1), (WHITE, 0)):
            painter.setPen(pen)
            painter.drawText(box.translated(by, by), side, text)


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
