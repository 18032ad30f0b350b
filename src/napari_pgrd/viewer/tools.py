"""The tools of the Correct tab on the correction in hand: each is one step that can be undone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from napari.layers import Labels, Shapes
from numpy.typing import NDArray
from psygnal import Signal

from napari_pgrd.engine.errors import InputError, PgrdError, require
from napari_pgrd.session import tools
from napari_pgrd.session.change import VOLUME, Change, Scope
from napari_pgrd.session.contours import Polygon, outline, redraw
from napari_pgrd.session.interpolation import interpolate
from napari_pgrd.viewer.corrections import Corrections
from napari_pgrd.viewer.places import PlacesDesk

SCOPES = (("volume", "whole label"), ("slice", "this slice"), ("slices", "slice by slice"))
EDGE_MM = 0.25
OUTLINE = "outline"


class Tools:
    """Smooth, fill, keep the largest piece, grow, shrink, outline, interpolate, swap."""

    changed = Signal()

    def __init__(self, corrections: Corrections, places: PlacesDesk) -> None:
        self.corrections, self.places = corrections, places
        self.desk = corrections.desk
        self.mm = 1.0
        self.scope = "volume"
        self.sentence = ""
        self.contour: Contour | None = None
        self._base: tuple[Labels, NDArray[np.uint8]] | None = None  # the correction when slices were last interpolated
        self._tooled = np.zeros(0, np.uint8)  # the same with what tools and alternatives have set since
        corrections.started.connect(self._began)
        corrections.applied.connect(self._applied)
        self.desk.viewer.layers.events.removed.connect(self._removed)

    def close(self) -> None:
        """Let go of the viewer."""
        self.desk.viewer.layers.events.removed.disconnect(self._removed)

    # ---- one click each

    def smooth(self) -> None:
        """Smooth the border, keeping the volume."""
        self._run("smooth", lambda x, k: tools.smooth(x, k, self.mm, self._spacing(), self._scope()))

    def fill(self) -> None:
        """Fill what the label encloses."""
        self._run("fill holes", lambda x, k: tools.fill_holes(x, k, self._scope()))

    def largest(self) -> None:
        """Keep the largest piece."""
        self._run("keep largest", lambda x, k: tools.keep_largest(x, k, self._scope()))

    def grow(self) -> None:
        """Grow by the chosen length."""
        self._run("grow", lambda x, k: tools.grow(x, k, self.mm, self._spacing(), self._scope()))

    def shrink(self) -> None:
        """Shrink by the chosen length."""
        self._run("shrink", lambda x, k: tools.shrink(x, k, self.mm, self._spacing(), self._scope()))

    def interpolate(self) -> None:
        """Redraw the label between the slices that were edited since the last time."""

        def between(data: NDArray[np.uint8], label: int) -> Change:
            axis, _ = self._slice()
            return interpolate(data, label, axis, self.edited_slices(data, label, axis), self._spacing())

        if self._run("interpolate", between) and (layer := self.corrections.layer) is not None:
            self._rest(layer)

    def swap(self) -> None:
        """Exchange the two labels in doubt at the place in hand."""

        def at_place(data: NDArray[np.uint8], label: int) -> Change:
            place, spec, display = self.places.places.current, self.desk.spec, self.desk.layers.display
            require(place is not None, InputError, "Step to a place first, with the keys , and . or in the Review tab.")
            assert place is not None and spec is not None and display is not None
            here = np.zeros(display.hide(data).shape, bool)
            here.reshape(-1)[place.flat(here.shape)] = True
            one, other = (spec.labels[k].value for k in place.classes)
            return tools.swap(data, one, other, display.show(here))

        self._run("swap labels", at_place, any_label=True)

    def edited_slices(self, data: NDArray[np.uint8], label: int, axis: int) -> list[int]:
        """Slices on which the label was painted or redrawn by outline since slices were last interpolated."""
        layer = self.corrections.layer
        if self._base is None or self._base[0] is not layer:
            return []
        now = data == label
        differs = ((self._base[1] == label) != now) & ((self._tooled == label) != now)
        others = tuple(i for i in range(3) if i != axis)
        return [int(i) for i in np.flatnonzero(differs.any(others) & (data == label).any(others))]

    # ---- outline as a polygon, and back

    def draw_outline(self) -> None:
        """The outline of the label on this slice as polygons whose points can be dragged."""
        try:
            layer, label = self._hand()
            axis, index = self._slice()
            data = np.asarray(layer.data)
            polygons = outline(data, label, axis, index, self._spacing())
            require(
                bool(polygons), InputError, f"Label {label} has no voxel on this slice; choose another slice or label."
            )
        except PgrdError as error:
            self._say(str(error))
            return
        self.drop_outline()
        display = self.desk.layers.display
        assert display is not None
        colour = self.desk.layers.colours().color_dict[label]
        self.contour = Contour(layer, label, axis, index, polygons, display.layer, colour, min(display.scale))
        self.desk.viewer.layers.append(self.contour.shapes)
        self.desk.viewer.layers.selection.active = self.contour.shapes
        self.contour.shapes.mode = "direct"
        self.contour.shapes.selected_data = set(range(len(self.contour.shapes.data)))  # only then can points be dragged
        self._say("Drag the points; double-click on a line adds one. Pieces that meet become one. Then: Use outline.")

    def use_outline(self) -> None:
        """Make the label on that slice what the polygons say, as one step."""
        contour = self.contour
        if contour is None:
            return
        try:
            change = contour.change()
        except PgrdError as error:
            self._say(str(error))
            return
        self.drop_outline()
        self.desk.viewer.layers.selection.active = contour.layer
        count = self.corrections.apply(change, OUTLINE)
        self._say(_outcome(count))

    def drop_outline(self) -> None:
        """Take the polygons away; the label stays as it is."""
        contour, self.contour = self.contour, None
        if contour is not None:
            if contour.shapes in self.desk.viewer.layers:
                self.desk.viewer.layers.remove(contour.shapes)
            if contour.layer in self.desk.viewer.layers:
                self.desk.viewer.layers.selection.active = contour.layer
            self.changed.emit()

    # ---- inside

    def _run(self, name: str, tool: Callable[[NDArray[np.uint8], int], Change], any_label: bool = False) -> bool:
        try:
            layer, label = self._hand(any_label)
            change = tool(np.asarray(layer.data), label)
        except PgrdError as error:
            self._say(str(error))
            return False
        self._say(_outcome(self.corrections.apply(change, name)))
        return True

    def _hand(self, any_label: bool = False) -> tuple[Labels, int]:
        layer = self.corrections.layer
        require(layer is not None, InputError, "Start a correction first.")
        assert layer is not None
        require(
            any_label or layer.selected_label > 0, InputError, "Choose the label to work on; the background is none."
        )
        return layer, int(layer.selected_label)

    def _slice(self) -> tuple[int, int]:
        where = self.desk.layers.current_slice()
        require(where is not None, InputError, "No slice of this image is on screen; leave 3D, or scroll to the image.")
        assert where is not None
        return where

    def _scope(self) -> Scope:
        if self.scope == "volume":
            return VOLUME
        axis, index = self._slice()
        return Scope(axis, index if self.scope == "slice" else None)

    def _spacing(self) -> tuple[float, float, float] | None:
        display = self.desk.layers.display
        return display.scale if display is not None and display.unit == "mm" else None

    def _say(self, text: str) -> None:
        self.sentence = text
        self.changed.emit()

    def _began(self, layer: Labels, source: str) -> None:
        self._rest(layer)
        self._say("")

    def _rest(self, layer: Labels) -> None:
        """From here on slices count as edited."""
        self._base, self._tooled = (layer, np.array(layer.data)), np.array(layer.data)

    def _applied(self, change: Change, operation: str) -> None:
        layer = self.corrections.layer
        if operation != OUTLINE and self._base is not None and self._base[0] is layer:
            self._tooled.reshape(-1)[change.indices] = change.values

    def _removed(self, event: Any) -> None:
        if self.contour is not None and event.value in (self.contour.shapes, self.contour.layer):
            self.drop_outline()


class Contour:
    """Polygons on screen, and what they were made from."""

    def __init__(
        self,
        layer: Labels,
        label: int,
        axis: int,
        index: int,
        polygons: list[Polygon],
        grid: dict[str, Any],
        colour: Any,
        voxel: float,
    ) -> None:
        self.layer, self.label, self.axis, self.index, self.before = layer, label, axis, index, polygons
        rings = [(i, hole, ring) for i, p in enumerate(polygons) for hole, ring in _rings(p)]
        self.shapes = Shapes(
            [np.insert(ring, axis, index, axis=1) for _, _, ring in rings],
            shape_type="polygon",
            name="Outline",
            features={"piece": [float(i) for i, _, _ in rings], "hole": [float(hole) for _, hole, _ in rings]},
            edge_color=np.asarray(colour),
            face_color="transparent",
            edge_width=EDGE_MM / voxel,
            **grid,
        )
        self.shapes.feature_defaults = {"piece": -1.0, "hole": 0.0}  # what the reader adds is a piece of its own

    def change(self) -> Change:
        """What the polygons, as they are now, change in the label map."""
        rings = [np.delete(np.asarray(ring, float), self.axis, axis=1) for ring in self.shapes.data]
        pieces, holes = (np.asarray(self.shapes.features[key], float) for key in ("piece", "hole"))
        polygons = []
        for ring, piece, hole in zip(rings, pieces, holes, strict=True):
            if not hole:
                mine = [r for r, p, h in zip(rings, pieces, holes, strict=True) if h and p == piece]
                polygons.append(Polygon(ring, tuple(mine)))
        return redraw(np.asarray(self.layer.data), self.label, self.axis, self.index, polygons, self.before)


def _rings(polygon: Polygon) -> list[tuple[bool, NDArray[np.float64]]]:
    return [(False, polygon.exterior), *((True, hole) for hole in polygon.holes)]


def _outcome(count: int) -> str:
    return f"{count} voxel{'s' * (count != 1)} changed." if count else "Nothing to change."
