"""All traffic with napari's layers: what is drawn and where; the reader's selection, slice and zoom stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.session.display import PLANES, Display, plane_text
from napari_pgrd.viewer import collector
from napari_pgrd.viewer.camera import fit
from napari_pgrd.viewer.lines import LineLayer
from napari_pgrd.viewer.results import ROLES, Results
from napari_pgrd.viewer.turns import Turns

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_pgrd.engine.aggregate import Prediction
    from napari_pgrd.session.hypotheses import Part

ROLE = "pgrd_role"
ORDER = ("image", *ROLES, "agreement", "correction", "threshold", "long axes", "box")  # bottom to top


class LayerDesk:
    """The layers of one review, on the grid of its image or of the box on it."""

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.turns = Turns()
        self.display: Display | None = None
        self.spec: BundleSpec | None = None
        self.prediction: Prediction | None = None
        self.preview: NDArray[np.uint8] | None = None  # (z, y, x) label values of a mask that is only looked at
        self.part: Part | None = None
        self.lines = LineLayer(self)
        self.results = Results(self)
        viewer.dims.events.current_step.connect(self._slice_changed)
        viewer.dims.events.order.connect(self._slice_changed)
        viewer.dims.events.ndisplay.connect(self._slice_changed)

    def close(self) -> None:
        """Let go of the viewer."""
        self.turns.close()
        self.results.stack.close()
        collector.take_back()
        for event in ("current_step", "order", "ndisplay"):
            getattr(self.viewer.dims.events, event).disconnect(self._slice_changed)

    def begin(self, display: Display, spec: BundleSpec) -> None:
        """State whose results come next."""
        self.display, self.spec = display, spec
        self.results.begin()

    @property
    def heard(self) -> Prediction | Part | None:
        """The samples that lines and outlines are drawn from: a part of them while the reader looks at one."""
        part = self.part
        return part if part is not None and part.of is self.prediction else self.prediction

    # ---- the list of layers

    def of(self, role: str) -> list[Layer]:
        """Layers with a role, bottom to top; not the reader's duplicates of them, which are nobody else's to change."""
        return [layer for layer in self.viewer.layers if layer.metadata.get(ROLE) == (role, id(layer))]

    def first(self, role: str) -> Any:
        """The layer with a role, or None."""
        found = self.of(role)
        return found[-1] if found else None

    def mark(self, layer: Layer, role: str) -> None:
        """Give a layer a role."""
        layer.metadata[ROLE] = (role, id(layer))

    def insert(self, layer: Layer, role: str, below: Sequence[Layer] = ()) -> Layer:
        """Put a layer at its role's place, and below some others, without taking the selection from the reader."""
        self.mark(layer, role)
        layers, rank = self.viewer.layers, ORDER.index(role)
        ranks = {i: ORDER.index(r) for i, x in enumerate(layers) if (r := x.metadata.get(ROLE, ("",))[0]) in ORDER}
        at = next((i for i, r in ranks.items() if r > rank), len(layers))
        at = min([at, *(i for i, other in enumerate(layers) if other in below)])
        # napari selects what is inserted. Nobody hears of it, nor of the selection that is put back: telling everyone
        # twice took as long as the rest.
        selected = set(layers.selection)
        with layers.selection.events.blocker_all():
            layers.insert(at, layer)
            layers.selection = selected
        return layer

    # ---- the slice

    def _slice_changed(self) -> None:
        if self.prediction is not None:
            self.lines.redraw()
        self.write_orientation()

    def axes(self) -> tuple[int, int, int] | None:
        """The order of the display axes (z, y, x) on screen: slider, rows, columns.

        Axes before them, of channels or samples, are left out; None where one of those is on screen, or no layer is.
        """
        dims = self.viewer.dims
        lead = dims.ndim - 3  # without layers there are but two axes
        if lead < 0 or any(axis < lead for axis in dims.displayed):
            return None
        a, b, c = (int(axis) - lead for axis in dims.order if axis >= lead)
        return a, b, c

    def current_slice(self) -> tuple[int, int] | None:
        """``(display axis, index)`` of the slice on screen in this grid; None in 3D or outside the grid."""
        axes = self.axes()
        if self.display is None or self.viewer.dims.ndisplay != 2 or axes is None:
            return None
        axis = axes[0]
        world = self.viewer.dims.point[axis + self.viewer.dims.ndim - 3]
        index = round((world - self.display.translate[axis]) / self.display.scale[axis])
        return (axis, index) if 0 <= index < self.display.shape[axis] else None

    # ---- the view

    def set_plane(self, plane: str, image: Layer | None) -> None:
        """Turn to a plane, fitted to an image; asked for by the reader, so the view may be."""
        order = PLANES[plane]
        lead = self.viewer.dims.ndim - 3
        self.viewer.dims.ndisplay = 2
        self.viewer.dims.order = (*range(lead), *(lead + i for i in order))
        fit(self.viewer, image)
        self.write_orientation()

    def plane(self) -> str:
        """The plane on screen, or "" if it is none of the three."""
        axes = self.axes()
        return next((name for name, order in PLANES.items() if order == axes), "")

    def write_orientation(self) -> None:
        """Orientation line and scale bar on the canvas."""
        overlays = self.viewer.canvas.overlays
        shown = self.display is not None and self.viewer.dims.ndisplay == 2 and bool(self.plane())
        overlays.text.text = plane_text(self.plane(), self.display.known) if shown and self.display else ""
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

    def rgba(self) -> NDArray[np.float32]:
        """``(K, 4)``: the bundle's colours by class."""
        assert self.spec is not None
        return np.array([hex_rgba(label.colour) for label in self.spec.labels], np.float32)

    def values(self, indices: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Class indices on the volume's grid to label values on the screen's; a copy that nobody else holds."""
        assert self.display is not None and self.spec is not None
        shown: NDArray[np.uint8] = np.ascontiguousarray(self.spec.values[self.display.show(indices)])
        return shown


def hex_rgba(colour: str) -> tuple[float, float, float, float]:
    """``#19E0FF`` to floats, opaque."""
    r, g, b = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return r, g, b, 1.0
