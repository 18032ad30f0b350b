"""The list of places to settle, the alternatives at the one in hand, and the slices seen."""

from __future__ import annotations

from functools import partial

import numpy as np
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPaintEvent
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QToolButton, QVBoxLayout, QWidget

from napari_pgrd.session.places import State
from napari_pgrd.session.regions import Place
from napari_pgrd.session.state import Phase
from napari_pgrd.viewer.layers import hex_rgba
from napari_pgrd.viewer.places import VIEW_MM, PlacesDesk
from napari_pgrd.viewer.thumbnails import picture, pixmap, window
from napari_pgrd.viewer.widgets import button, faint, note, row

MARKS = {State.OPEN: "\u25cb", State.ACCEPTED: "\u2713", State.CHANGED: "\u270e", State.DEFERRED: "\u2026"}
THUMBNAIL = 56  # pixels high
LIST_PX = 176  # six places of two lines each
OPTIONS = 4  # as it is, and at most three others


class PlacesPanel(QWidget):
    """Walk through the places; choose an answer; settle."""

    def __init__(self, places: PlacesDesk) -> None:
        super().__init__()
        self.places = places
        self.sentence = note()
        self.sentence.setObjectName("places_sentence")
        self.bar = SeenBar(places)
        self.stake = faint()
        self.stake.setObjectName("stake")
        self.stake.setToolTip("The volume by which a sample differs from the consensus there, on average")
        self.list = QListWidget()
        self.list.setObjectName("places")
        self.list.setToolTip("Where the samples part, the most volume at stake first; click to go there")
        self.list.setMaximumHeight(LIST_PX)
        self.list.setWordWrap(True)
        self.list.setTextElideMode(Qt.TextElideMode.ElideNone)
        self.list.setResizeMode(QListWidget.ResizeMode.Adjust)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.itemClicked.connect(lambda item: places.go(self.list.row(item)))
        self.previous = button("\u25c0  ,", "Previous place  (key ,)", "previous_place", places.previous)
        self.next = button(".  \u25b6", "Next place  (key .)", "next_place", places.next)
        self.settle = button(
            "Settle  N", "This place is right now; on to the next open one  (key N)", "settle", places.settle
        )
        self.defer = button("Later", "Leave this place open; the export will say so", "defer", places.defer)
        self.choices = [self._choice(i) for i in range(OPTIONS)]
        self.answers = row(*self.choices)
        self.hint = faint("J and K go through the answers; each is one step that Ctrl+Z takes back.")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        walk = row(self.previous, self.next, self.settle, self.defer)
        for part in (self.sentence, self.bar, self.stake, self.list, walk, self.answers, self.hint):
            layout.addWidget(part)
        self._drawn: tuple[object, ...] = ()
        places.changed.connect(self.refresh)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the state as it is."""
        p = self.places
        reviewing = p.desk.state.phase is Phase.REVIEWING and p.desk.prediction is not None
        self.sentence.setText(_capital(p.sentence()))
        self.bar.setVisible(reviewing)
        self.bar.update()
        stake = p.stake() if reviewing else ""
        self.stake.setText(_capital(stake))
        self.stake.setVisible(bool(stake))
        items = [_line(place, p.places.states[place.id]) for place in p.places.items]
        self.list.setVisible(reviewing and bool(items))
        if items != [x.text() for i in range(self.list.count()) if (x := self.list.item(i)) is not None]:
            self.list.clear()
            for text, place in zip(items, p.places.items, strict=True):
                item = QListWidgetItem(text)
                item.setToolTip(f"{place.name}: {p.places.states[place.id].value}")
                self.list.addItem(item)
        self.list.setCurrentRow(p.places.index)
        for widget in (self.previous, self.next):
            widget.setEnabled(reviewing and bool(items))
        for widget in (self.settle, self.defer):
            widget.setEnabled(reviewing and p.places.current is not None)
        self._show_answers()

    def _choice(self, option: int) -> QToolButton:
        out = QToolButton()
        out.setObjectName(f"answer_{option}")
        out.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonIconOnly)
        out.setCheckable(True)
        out.clicked.connect(partial(self.places.choose, option))
        return out

    def _show_answers(self) -> None:
        p = self.places
        there = len(p.options) > 1
        self.answers.setVisible(bool(p.options))
        self.hint.setVisible(bool(p.options))
        self.hint.setText(
            "J and K go through the answers; each is one step that Ctrl+Z takes back."
            if there
            else "The samples give no distinct other answer here: paint, or settle it as it is."
        )
        for i, choice in enumerate(self.choices):
            choice.setVisible(i < len(p.options))
            choice.setChecked(i == p.option)
            if i < len(p.options):
                choice.setToolTip(f"{p.texts[i]}" + ("" if i else " (what was here)"))
        key = (p.places.current, id(p.options), p.desk.layers.plane())
        if key != self._drawn:
            self._drawn = key
            for i in range(len(p.options)):
                self._draw(i)

    def _draw(self, option: int) -> None:
        """The slice through the place's middle as it would be, in the plane on screen."""
        desk, place, mask = self.places.desk, self.places.places.current, self.places.preview(option)
        volume, spec, display = desk.volume, desk.spec, desk.layers.display
        if place is None or mask is None or volume is None or spec is None or display is None:
            return
        box = desk.request.box if desk.request else None
        starts = [lo for lo, _ in box] if box else [0, 0, 0]
        at = display.index(tuple(c - s for c, s in zip(place.centre, starts, strict=True)), mask.shape)  # type: ignore[arg-type]
        part = volume.data[0][tuple(slice(s, s + n) for s, n in zip(starts, mask.shape, strict=True))]
        axis = {"axial": 0, "coronal": 1, "sagittal": 2}.get(desk.layers.plane(), 0)
        rows, columns = (i for i in range(3) if i != axis)
        grey = np.take(display.show(part), at[axis], axis)
        labels = np.take(display.show(mask), at[axis], axis)
        scale = display.scale
        size = (max(3, round(VIEW_MM / scale[rows])), max(3, round(VIEW_MM / scale[columns])))
        cut = window(grey.shape, (at[rows], at[columns]), size)
        colours = {label.value: hex_rgba(label.colour)[:3] for label in spec.labels[1:]}
        limits = getattr(desk.image, "contrast_limits", (float(grey.min()), float(grey.max())))
        drawn = pixmap(picture(grey[cut], labels[cut], colours, tuple(limits)), scale[rows] / scale[columns], THUMBNAIL)
        self.choices[option].setIcon(QIcon(drawn))
        self.choices[option].setIconSize(QSize(drawn.width(), drawn.height()))


class SeenBar(QWidget):
    """One stripe a slice of the plane on screen: to be seen, seen, or nothing there."""

    def __init__(self, places: PlacesDesk) -> None:
        super().__init__()
        self.places = places
        self.setObjectName("slices_seen")
        self.setFixedHeight(8)
        self.setToolTip("Slices of this plane with the structure or disagreement: bright ones were on screen")

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802  # Qt's name
        """Draw the stripes."""
        plane = self.places.desk.layers.plane()
        bar = self.places.seen.bar(plane) if plane else np.zeros(0, np.uint8)
        painter = QPainter(self)
        colours = {0: QColor(128, 128, 128, 40), 1: QColor(128, 128, 128, 140), 2: QColor("#3FA7FF")}
        for i, kind in enumerate(bar):
            left, right = round(self.width() * i / len(bar)), round(self.width() * (i + 1) / len(bar))
            painter.fillRect(left, 0, max(1, right - left - 1), self.height(), colours[int(kind)])
        painter.end()


def _line(place: Place, state: State) -> str:
    """A place in two lines: how much is at stake and where; between which labels."""
    where, _, between = place.name.partition(", ")
    digits = 0 if place.unit != "mL" else 2 if place.stake >= 0.01 else 3  # never "0.00" for a few voxels
    return f"{MARKS[state]}  {place.stake:.{digits}f} {place.unit}  {where}\n      {between}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] + ("." if text and text[-1] not in ".…" and not text.endswith("...") else "")
