"""The layer of agreement lines or sample outlines, on the slice that is on screen."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Layer, Vectors
from numpy.typing import NDArray

from napari_pgrd.session.lines import Lines, agreement_lines, sample_outlines

if TYPE_CHECKING:
    from napari_pgrd.engine.aggregate import Prediction
    from napari_pgrd.session.hypotheses import Part
    from napari_pgrd.viewer.layers import LayerDesk

LINE_WIDTH_MM, OUTLINE_WIDTH_MM = 0.2, 0.1
NONE = np.zeros((0, 2, 3), np.float32)


class LineLayer:
    """Draws lines in a coming turn; the contours of many samples take long, so a thread finds them."""

    def __init__(self, desk: LayerDesk) -> None:
        self.desk = desk
        self.all_samples = False

    def show_all_samples(self, on: bool) -> None:
        """Thin outlines of every sample in place of the agreement lines."""
        self.all_samples = on
        self.redraw()

    def redraw(self) -> None:
        """Find and draw the lines of the slice on screen."""
        if (task := self.task()) is not None:
            self.desk.turns.after("lines", *task)

    def task(self, thumbnail: bool = True) -> tuple[Callable[[], Lines], Callable[[Lines], None]] | None:
        """What finds the lines of the slice on screen, in any thread, and what draws them; None before there are any.

        They are not drawn if the reader has gone on meanwhile: whoever changes slice or samples has them redrawn.
        """
        wanted = where, p, every = self._wanted
        display, spec = self.desk.display, self.desk.spec
        if p is None or display is None or spec is None or p.samples == 0:
            return None
        width = (OUTLINE_WIDTH_MM if every else LINE_WIDTH_MM) / float(np.mean(display.scale))
        table = self.desk.rgba()

        def find() -> Lines:
            if where is None:
                return sample_outlines([], 0, 0, 0)
            if every:
                return sample_outlines([display.show(m) for m in p.masks], *where, len(spec.labels))
            return agreement_lines(display.show(p.votes), *where, samples=p.samples)

        def draw(lines: Lines) -> None:
            if self._wanted == wanted:
                self._draw(lines, line_colours(lines, table, every), width, thumbnail)

        return find, draw

    @property
    def _wanted(self) -> tuple[tuple[int, int] | None, Prediction | Part | None, bool]:
        return self.desk.current_slice(), self.desk.heard, self.all_samples

    def draw_thumbnail(self) -> None:
        """Bring the layer's thumbnail up to date."""
        if (layer := self.desk.first("agreement")) is not None:
            layer.refresh(data_displayed=False, highlight=False, extent=False)

    def clear(self) -> None:
        """Show none; the layer stays."""
        if (layer := self.desk.first("agreement")) is not None:
            layer.data = NONE

    def _draw(self, lines: Lines, colours: NDArray[np.float32], width: float, thumbnail: bool) -> None:
        assert self.desk.display is not None
        layer = self.desk.first("agreement")
        if layer is None:  # with what it shows: filling it in another turn would paint the canvas twice
            look = {"vector_style": "line", "edge_width": width, **self.desk.display.layer}
            layer = Vectors(lines.vectors, ndim=3, name="Agreement", **look)
            if len(colours):
                layer.edge_color = colours
            self.desk.insert(layer, "agreement")
            return
        with without_refresh(layer):
            layer.data = lines.vectors
        layer.refresh(thumbnail=thumbnail)
        if layer.edge_width != width:  # setting it draws the thumbnail anew, which takes as long as all the rest
            layer.edge_width = width
        if len(colours):
            layer.edge_color = colours


def without_refresh(layer: Layer) -> AbstractContextManager[None]:
    """Keep napari from drawing a layer anew with its thumbnail when its data are set; refresh it afterwards.

    napari 0.9 has no public way to; where the name changes, the layer is merely drawn twice.
    """
    block: Callable[[], AbstractContextManager[None]] = getattr(layer, "_block_refresh", nullcontext)
    return block()


def line_colours(lines: Lines, table: NDArray[np.float32], every: bool) -> NDArray[np.float32]:
    """``(N, 4)``: a segment has its label's colour, the border of half of the samples at full strength.

    Parameters
    ----------
    table : numpy.ndarray
        ``(K, 4)``: the colour of every class.
    """
    out: NDArray[np.float32] = table[lines.classes]
    out[:, 3] = 0.5 if every else np.where(lines.levels == 0.5, 1.0, 0.55)
    return out
