"""All traffic with napari's layers: what is drawn and where; the reader's selection, slice and zoom stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer, Vectors
from napari.utils.colormaps import Colormap, DirectLabelColormap
from numpy.typing import NDArray
from qtpy.QtCore import QTimer

from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.session.display import PLANE_TEXT, PLANES, Display
from napari_pgrd.session.lines import Lines, agreement_lines, sample_outlines
from napari_pgrd.viewer.turns import Turns

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_pgrd.engine.aggregate import Prediction

ROLE = "pgrd_role"
ORDER = (
    "image",
    "spare",
    "sample",
    "prior",
    "variance",
    "entropy",
    "consensus",
    "agreement",
    "correction",
    "box",
)  # bottom to top
MAPS = ("prior", "variance", "entropy", "consensus")
MAGENTA = Colormap([[1, 0, 1, 0], [1, 0, 1, 0.8]], name="pgrd magenta")
HEAT_LIMITS = (0.1, float(np.log(2)))
LINE_WIDTH_MM, OUTLINE_WIDTH_MM = 0.2, 0.1
LINES_PAUSE_MS = 60  # redrawing lines took up to 68 ms on two busy cores


class LayerDesk:
    """The layers of one review, on the grid of its image or of the box on it."""

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.turns = Turns()
        self.display: Display | None = None
        self.spec: BundleSpec | None = None
        self.prediction: Prediction | None = None
        self.all_samples = False
        self._lines_timer = QTimer(self.turns)
        self._lines_timer.setSingleShot(True)
        self._lines_timer.setInterval(LINES_PAUSE_MS)
        self._lines_timer.timeout.connect(self._draw_lines)
        viewer.dims.events.current_step.connect(self._slice_changed)
        viewer.dims.events.order.connect(self._slice_changed)
        viewer.dims.events.ndisplay.connect(self._slice_changed)

    def close(self) -> None:
        """Let go of the viewer."""
        self.turns.clear()
        self._lines_timer.stop()
        for event in ("current_step", "order", "ndisplay"):
            getattr(self.viewer.dims.events, event).disconnect(self._slice_changed)

    # ---- the list of layers

    def of(self, role: str) -> list[Layer]:
        """Layers with a role, bottom to top; not the reader's duplicates of them, which are nobody else's to change."""
        return [layer for layer in self.viewer.layers if layer.metadata.get(ROLE) == (role, id(layer))]

    def first(self, role: str) -> Any:
        """The layer with a role, or None."""
        found = self.of(role)
        return found[-1] if found else None

    def insert(self, layer: Layer, role: str) -> Layer:
        """Put a layer at its role's place without taking the selection from the reader."""
        layer.metadata[ROLE] = (role, id(layer))
        rank = ORDER.index(role)
        at = len(self.viewer.layers)
        while at > 0:
            below, _ = self.viewer.layers[at - 1].metadata.get(ROLE, ("", 0))
            if below not in ORDER or ORDER.index(below) <= rank:
                break
            at -= 1
        selected = set(self.viewer.layers.selection)
        self.viewer.layers.insert(at, layer)
        self.viewer.layers.selection = selected
        return layer

    def clear_results(self) -> None:
        """Remove every layer this plugin drew; never a correction."""
        self.turns.clear()
        self._lines_timer.stop()
        self.prediction = None
        for role in ("spare", "sample", *MAPS, "agreement"):
            for layer in self.of(role):
                self.viewer.layers.remove(layer)

    def recycle_results(self) -> None:
        """Hide every result, for the next run on this grid to draw into: napari takes 0.3 s to remove one layer."""
        self.turns.clear()
        self._lines_timer.stop()
        self.prediction = None
        for role in ("sample", *MAPS):
            for layer in self.of(role):
                layer.visible = False
        for layer in self.of("sample"):
            layer.metadata[ROLE] = ("spare", id(layer))
        if (lines := self.first("agreement")) is not None:
            lines.data = np.zeros((0, 2, 3), np.float32)

    # ---- what a run brings

    def begin(self, display: Display, spec: BundleSpec) -> None:
        """State whose results come next."""
        self.display, self.spec = display, spec

    def show_prior(self, prediction: Prediction) -> None:
        """The prior at once, as labels."""
        values = self._values(prediction.prior.argmax(0).astype(np.uint8))
        self.turns.later("prior", lambda: self._labels("prior", "Prior", values, visible=True))

    def add_sample(self, index: int, mask: NDArray[np.uint8], prediction: Prediction) -> None:
        """One more sample; it is shown until the next arrives, the maps follow."""
        values = self._values(mask)
        self.turns.later(f"sample {index}", lambda: self._add_sample(f"Sample {index + 1:02d}", values))
        self.update_maps(prediction)

    def update_maps(self, prediction: Prediction) -> None:
        """Consensus, heat maps and lines of the present state."""
        self.prediction = prediction
        self.turns.later("consensus", self._draw_consensus)
        self.turns.later("entropy", lambda: self._heat("entropy", "Entropy", prediction.entropy))
        self.turns.later("variance", lambda: self._heat("variance", "Variance", prediction.variance))
        self.turns.later("lines", self._lines_timer.start)

    def settle(self) -> None:
        """After a run: the lines alone on the image."""
        self.turns.later("settle", self._settle)

    def _settle(self) -> None:
        for role in ("prior", "sample"):
            for layer in self.of(role):
                layer.visible = False
        for layer in self.of("spare"):
            self.turns.later(f"remove {layer.name}", lambda spare=layer: self._remove(spare))  # type: ignore[misc]
        if (lines := self.first("agreement")) is not None:
            lines.visible = True

    def _remove(self, layer: Layer) -> None:
        if layer in self.viewer.layers:
            self.viewer.layers.remove(layer)

    def _add_sample(self, name: str, values: NDArray[np.uint8]) -> None:
        prior = self.first("prior")
        if prior is not None and prior.visible:
            prior.visible = False
        for other in self.of("sample"):
            if other.visible:
                other.visible = False
        flat = self.viewer.dims.ndisplay == 2  # in 3D a new label volume takes seconds to draw
        if spares := self.of("spare"):
            spares[0].data, spares[0].name, spares[0].visible = values, name, flat
            spares[0].metadata[ROLE] = ("sample", id(spares[0]))
            spares[0].editable = False
            return
        layer = Labels(values, name=name, opacity=0.45, colormap=self.colours(), visible=flat, **self._grid())
        layer.editable = False  # a stroke here would reach no export; corrections are copies
        self.insert(layer, "sample")

    def _draw_consensus(self) -> None:
        if self.prediction is not None:
            self._labels("consensus", "Consensus", self._values(self.prediction.consensus), visible=False)

    def _labels(self, role: str, name: str, values: NDArray[np.uint8], visible: bool) -> None:
        layer = self.first(role)
        if layer is None:
            layer = Labels(values, name=name, opacity=0.45, colormap=self.colours(), visible=visible, **self._grid())
            self.insert(layer, role)
        else:
            layer.data = values
            layer.visible = visible or layer.visible
        layer.editable = False  # napari allows it again with new data; the next sample would wipe a stroke out

    def _heat(self, role: str, name: str, values: NDArray[np.float32]) -> None:
        assert self.display is not None
        shown = self.display.show(values)
        layer = self.first(role)
        if layer is not None:
            layer.data = shown
            return
        limits = HEAT_LIMITS if role == "entropy" else (0.02, 0.5)  # two classes in doubt have variance 0.5
        image = Image(
            shown,
            name=name,
            colormap=MAGENTA,
            contrast_limits=limits,
            blending="translucent_no_depth",
            interpolation2d="linear",
            visible=False,
            **self._grid(),
        )
        self.insert(image, role)

    # ---- lines

    def show_all_samples(self, on: bool) -> None:
        """Thin outlines of every sample in place of the agreement lines."""
        self.all_samples = on
        self._lines_timer.start()

    def _slice_changed(self) -> None:
        if self.prediction is not None:
            self._lines_timer.start()
        self.write_orientation()

    def current_slice(self) -> tuple[int, int] | None:
        """``(display axis, index)`` of the slice on screen in this grid; None in 3D or outside the grid."""
        dims = self.viewer.dims  # without layers there are but two of them
        if self.display is None or self.prediction is None or dims.ndisplay != 2 or dims.ndim < 3:
            return None
        axis = int(self.viewer.dims.not_displayed[-1]) - (self.viewer.dims.ndim - 3)
        world = self.viewer.dims.point[self.viewer.dims.not_displayed[-1]]
        index = round((world - self.display.translate[axis]) / self.display.scale[axis])
        size = self.display.show(self.prediction.consensus).shape[axis]
        return (axis, index) if 0 <= index < size else None

    def _draw_lines(self) -> None:
        where, p = self.current_slice(), self.prediction
        if p is None or self.display is None or self.spec is None or p.samples == 0:
            return
        if where is None:
            lines = sample_outlines([], 0, 0, 0)
        elif self.all_samples:
            lines = sample_outlines([self.display.show(m) for m in p.masks], *where, len(self.spec.labels))
        else:
            lines = agreement_lines(self.display.show(p.votes), *where, samples=p.samples)
        self._vectors(lines)

    def _vectors(self, lines: Lines) -> None:
        assert self.display is not None
        colours = self._line_colours(lines)
        width = (OUTLINE_WIDTH_MM if self.all_samples else LINE_WIDTH_MM) / float(np.mean(self.display.scale))
        layer = self.first("agreement")
        if layer is None:
            layer = Vectors(
                lines.vectors,
                ndim=3,
                name="Agreement",
                vector_style="line",
                edge_width=width,
                edge_color=colours if len(colours) else "white",
                **self._grid(),
            )
            self.insert(layer, "agreement")
            return
        layer.data = lines.vectors
        layer.edge_width = width
        if len(colours):
            layer.edge_color = colours

    def _line_colours(self, lines: Lines) -> NDArray[np.float32]:
        assert self.spec is not None
        out = np.array([hex_rgba(self.spec.labels[k].colour) for k in lines.classes], np.float32).reshape(-1, 4)
        out[:, 3] = 0.5 if self.all_samples else np.where(lines.levels == 0.5, 1.0, 0.55)
        return out

    # ---- the view

    def set_plane(self, plane: str) -> None:
        """Turn to a plane; asked for by the reader, so the view may be fitted."""
        order = PLANES[plane]
        lead = self.viewer.dims.ndim - 3
        self.viewer.dims.ndisplay = 2
        self.viewer.dims.order = (*range(lead), *(lead + i for i in order))
        self.viewer.reset_view()
        self.write_orientation()

    def plane(self) -> str:
        """The plane on screen, or "" if it is none of the three."""
        tail = tuple(i - (self.viewer.dims.ndim - 3) for i in self.viewer.dims.order[-3:])
        return next((name for name, order in PLANES.items() if order == tail), "")

    def write_orientation(self) -> None:
        """Orientation line and scale bar on the canvas."""
        overlays = self.viewer.canvas.overlays
        shown = self.display is not None and self.viewer.dims.ndisplay == 2 and bool(self.plane())
        overlays.text.text = PLANE_TEXT[self.plane()] if shown else ""
        overlays.text.position = "bottom_left"
        overlays.text.font_size = 12
        overlays.text.visible = shown
        overlays.scale_bar.visible = self.display is not None
        overlays.scale_bar.position = "bottom_right"

    # ---- helpers

    def colours(self) -> DirectLabelColormap:
        """The bundle's colours by label value."""
        assert self.spec is not None
        table: dict[int | None, Any] = {label.value: hex_rgba(label.colour) for label in self.spec.labels[1:]}
        return DirectLabelColormap(color_dict={**table, 0: (0, 0, 0, 0), None: (0, 0, 0, 0)})

    def _values(self, indices: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Class indices on the volume's grid to label values on the screen's; a copy that nobody else holds."""
        assert self.display is not None and self.spec is not None
        shown: NDArray[np.uint8] = np.ascontiguousarray(self.spec.values[self.display.show(indices)])
        return shown

    def _grid(self) -> dict[str, Any]:
        assert self.display is not None
        return self.display.layer


def hex_rgba(colour: str) -> tuple[float, float, float, float]:
    """``#19E0FF`` to floats, opaque."""
    r, g, b = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return r, g, b, 1.0
