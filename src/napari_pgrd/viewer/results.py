"""The layers a run fills: prior, samples, consensus, heat maps.

Adding a layer holds the window for longer than anything else here, so a run adds few: the samples that arrive share one
layer, and get their own when the run is over or when the reader asks for one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import Colormap, DirectLabelColormap
from numpy.typing import NDArray

from napari_pgrd.viewer.stack import StackLayer

if TYPE_CHECKING:
    from napari_pgrd.engine.aggregate import Prediction
    from napari_pgrd.viewer.layers import LayerDesk

Task = tuple[str, Callable[[], Any], Callable[[Any], None]]  # name, what finds it in a thread, what draws it

ROLES = ("spare", "sample", "arriving", "prior", "variance", "entropy", "consensus")
AT_ONCE = 3  # layers removed in one turn: each holds the window for about 30 ms
MAGENTA = Colormap([[1, 0, 1, 0], [1, 0, 1, 0.8]], name="pgrd magenta")
GATHER_MS = 400  # samples refined together are drawn together, unless the last takes longer than this to arrive
# In nats; and two classes in doubt have variance 0.5.
LIMITS = {"entropy": (0.1, float(np.log(2))), "variance": (0.02, 0.5)}


class Results:
    """Draws what a run brings, one layer a turn."""

    def __init__(self, desk: LayerDesk) -> None:
        self.desk, self.turns = desk, desk.turns
        self.stack = StackLayer(desk, partial(labels_layer, visible=False))
        self._samples: dict[int, Layer] = {}  # by number, 1 the first; also what the reader has removed since

    # ---- before and after

    def begin(self) -> None:
        """Make room for the samples to come; they are not shown while the reader looks at another."""
        self._hide("sample")

    def clear(self) -> None:
        """Remove every result, never a correction."""
        self._forget()
        self._remove([layer for role in (*ROLES, "agreement") for layer in self.desk.of(role)])

    def recycle(self) -> None:
        """Hide every result, for the next run on this grid to draw into: napari takes 0.3 s to remove one layer."""
        self._forget()
        self._hide(*ROLES)
        for role in ("sample", "arriving"):
            for layer in self.desk.of(role):
                self.desk.mark(layer, "spare")
        self.desk.lines.clear()

    def _forget(self) -> None:
        self.turns.clear()
        self.stack.drop()
        self.desk.prediction = None
        self._samples.clear()

    def settle(self) -> None:
        """After a run: the lines alone on the image, and a layer for every sample."""
        self.turns.hurry()
        self.turns.later("settle", self._settle)
        self._layers_of_samples()
        self.turns.later("spares", self._remove_spares)

    def share(self, on: bool) -> None:
        """One layer for all samples, or a layer for each; the latter come in turns."""
        self.stack.wanted = on
        for number in range(1, (self.desk.prediction.samples if self.desk.prediction else 0) + 1):
            self.turns.drop(f"sample {number}")
        if self.stack.on:
            self._hide("sample")
            for layer in self.desk.of("sample"):
                self.desk.mark(layer, "spare")
            self._samples.clear()
            self.stack.show()
        else:
            self.stack.drop()
            self._layers_of_samples()
        self.turns.later("spares", self._remove_spares)

    def _layers_of_samples(self) -> None:
        prediction = self.desk.prediction
        if self.stack.on:
            self.turns.later("stack", partial(self.stack.go, 0))
            return
        for number, mask in enumerate(prediction.masks if prediction else (), 1):
            if number not in self._samples:
                self.turns.after(f"sample {number}", partial(self.desk.values, mask), partial(self._place, number))

    def _settle(self) -> None:
        self._hide("prior", "sample", "arriving")
        for layer in self.desk.of("arriving"):
            self.desk.mark(layer, "spare")
        if (lines := self.desk.first("agreement")) is not None and not lines.visible:
            lines.visible = True
        self.desk.lines.draw_thumbnail()

    def _remove_spares(self) -> None:
        spares = self.desk.of("spare")
        self._remove(spares[:AT_ONCE])
        if len(spares) > AT_ONCE:
            self.turns.later("spares", self._remove_spares)

    def _remove(self, layers: list[Layer]) -> None:
        if layers:
            with self.desk.viewer.layers.batched_update():  # else napari collects garbage after each
                for layer in layers:
                    if layer in self.desk.viewer.layers:  # who hears of one removal may have cleared the rest
                        self.desk.viewer.layers.remove(layer)

    # ---- what a run brings

    def show_prior(self, prediction: Prediction) -> None:
        """The prior at once, as labels."""
        self.turns.after(
            "prior",
            lambda: self.desk.values(prediction.prior.argmax(0).astype(np.uint8)),
            lambda values: self._labels("prior", "Prior", values, visible=True),
        )

    def add_sample(self, index: int, mask: NDArray[np.uint8], prediction: Prediction, more: bool = False) -> None:
        """One more sample; it is shown until the next arrives, the maps follow.

        With ``more`` to come at once, drawing waits for them a little.
        """
        name = f"Arriving sample {index + 1:02d}"
        arriving = "arriving", partial(self.desk.values, mask), partial(self._show_arriving, name)
        self._draw(prediction, [arriving], GATHER_MS if more else 0)

    def update_maps(self, prediction: Prediction) -> None:
        """Consensus, heat maps and lines of the present state."""
        self._draw(prediction, [], 0)

    def _draw(self, prediction: Prediction, shown: list[Task], wait_ms: int) -> None:
        """What can be seen in one turn, as the canvas is painted whole however little changed; the rest one by one.

        Adding a layer is enough for one turn.
        """
        assert self.desk.display is not None
        self.desk.prediction, heat = prediction, self.desk.display.show
        maps: list[Task] = [
            (
                "consensus",
                lambda: self.desk.values(prediction.consensus),
                lambda values: self._labels("consensus", "Consensus", values, visible=False),
            ),
            ("entropy", lambda: np.array(heat(prediction.entropy)), partial(self._heat, "entropy", "Entropy")),
            ("variance", lambda: np.array(heat(prediction.variance)), partial(self._heat, "variance", "Variance")),
        ]
        lines = self.desk.lines.task(thumbnail=False)
        tasks = [*shown, *([("lines", *lines)] if lines is not None else []), *maps]
        together = [task for task in tasks if self._on_screen(task[0])]
        if together:

            def work() -> list[Any]:
                return [find() for _, find, _ in together]

            def draw(found: list[Any]) -> None:
                for (_, _, one), result in zip(together, found, strict=True):
                    one(result)

            for name, _, _ in together:
                self.turns.drop(name)
            self.turns.after("picture", work, draw, wait_ms)
        for name, find, one in tasks:
            if not self._on_screen(name):
                self.turns.after(name, find, one, wait_ms)

    def _on_screen(self, name: str) -> bool:
        """Whether a job draws what can be seen, in a layer that is there."""
        if name == "arriving":
            return bool(self.desk.of("arriving") or self.desk.of("spare"))
        layer = self.desk.first("agreement" if name == "lines" else name)
        return layer is not None and (layer.visible or name == "lines")

    def _show_arriving(self, name: str, values: NDArray[np.uint8]) -> None:
        self._hide("prior")
        flat = self.desk.viewer.dims.ndisplay == 2  # in 3D a new label volume takes seconds to draw
        shown = flat and not any(layer.visible for layer in self.desk.of("sample"))
        layer = self.desk.first("arriving") or self._spare("arriving")
        if layer is None:
            self._add_labels("arriving", name, values, shown)
            return
        self._fill(layer, values)
        layer.name = name
        if layer.visible != shown:
            layer.visible = shown

    # ---- samples

    def sample(self, number: int) -> Layer | None:
        """The layer of a sample, 1 the first; None where there is no such sample."""
        if self.stack.on:
            layer = self.stack.go(number)
            return layer if number else None
        layer, prediction = self._samples.get(number), self.desk.prediction
        if layer is not None and layer in self.desk.viewer.layers:
            return layer
        if prediction is None or not 1 <= number <= prediction.samples:
            return None
        self.turns.drop(f"sample {number}")
        return self._place(number, self.desk.values(prediction.masks[number - 1]))

    def _place(self, number: int, values: NDArray[np.uint8]) -> Layer:
        name = f"Sample {number:02d}"
        above = [layer for n, layer in self._samples.items() if n > number]
        layer = None if above else self._spare("sample")
        if layer is None:
            layer = self._add_labels("sample", name, values, visible=False, below=above)
        else:
            self._fill(layer, values)
            layer.name = name
        self._samples[number] = layer
        return layer

    # ---- layers

    def _hide(self, *roles: str) -> None:
        for role in roles:
            for layer in self.desk.of(role):
                if layer.visible:  # setting it draws the whole scene anew, even where nothing changes
                    layer.visible = False

    def _fill(self, layer: Any, values: NDArray[Any]) -> None:
        """New values in a layer's own array.

        With another array napari takes up the colours anew and paints the canvas even if the layer is hidden.
        """
        if layer.data.shape == values.shape and layer.data.dtype == values.dtype:
            layer.data[...] = values
            layer.refresh(extent=False)
            return
        layer.data = values
        if isinstance(layer, Labels):
            layer.editable = False  # napari allows it again with new data; the next sample would wipe a stroke out

    def _spare(self, role: str) -> Layer | None:
        """A layer that an earlier run left, the lowest, for another role."""
        layer = next(iter(self.desk.of("spare")), None)
        if layer is not None:
            self.desk.mark(layer, role)
        return layer

    def _labels(self, role: str, name: str, values: NDArray[np.uint8], visible: bool) -> None:
        layer = self.desk.first(role)
        if layer is None:
            self._add_labels(role, name, values, visible)
            return
        self._fill(layer, values)
        if visible and not layer.visible:
            layer.visible = True

    def _add_labels(
        self, role: str, name: str, values: NDArray[np.uint8], visible: bool, below: list[Layer] | None = None
    ) -> Layer:
        assert self.desk.display is not None
        layer = labels_layer(name, values, self.desk.colours(), self.desk.display.layer, visible)
        return self.desk.insert(layer, role, below or [])

    def _heat(self, role: str, name: str, values: NDArray[np.float32]) -> None:
        assert self.desk.display is not None
        layer = self.desk.first(role)
        if layer is not None:
            self._fill(layer, values)
            return
        image = Image(
            values,
            name=name,
            colormap=MAGENTA,
            contrast_limits=LIMITS[role],
            blending="translucent_no_depth",
            interpolation2d="linear",
            visible=False,
            **self.desk.display.layer,
        )
        self.desk.insert(image, role)


def labels_layer(name: str, values: Any, colours: DirectLabelColormap, grid: dict[str, Any], visible: bool) -> Labels:
    """A mask to look at."""
    layer = Labels(values, name=name, opacity=0.45, colormap=colours, visible=visible, multiscale=False, **grid)
    layer.editable = False  # a stroke here would reach no export; corrections are copies
    without_tools(layer)
    return layer


def without_tools(layer: Labels) -> None:
    """Keep napari from building the polygon and the brush of a layer that takes no strokes: half the cost of adding it.

    napari 0.9 has no public way to leave them out; where their names change, adding a layer is merely slower.
    """
    for name in ("polygon", "brush_stroke"):
        tool = getattr(layer, "_overlays", {}).get(name)
        if tool is not None:
            tool.visible = False
