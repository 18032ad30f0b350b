"""Pictures of a review for its report: PNG files drawn without a window, oriented as on the screen."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.engine.volume import Box, Volume, embed
from napari_pgrd.session.display import PLANES, Display, contrast_limits, first_plane
from napari_pgrd.session.lines import LEVELS, Lines, agreement_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from napari_pgrd.engine.prediction import Prediction

FIELD = 20.0  # mm (voxels where the spacing is unknown) around a place
NEAR = 2.5  # between two places, less than which their numbers would cover each other, same unit
MARGIN = 4.0  # around the structure in the overview, same unit
PIXELS = 440  # height of a picture
INCHES, THICK, THIN = 2.2, 2.0, 0.8  # height; line widths in points
FILL = 0.1  # opacity of a label over the anatomy
LETTERS = {"sagittal": "APSI", "coronal": "RLSI", "axial": "RLAP"}  # left, right, top, bottom
BARS = (200, 100, 50, 20, 10, 5, 2, 1)

Point = tuple[float, float]  # row, column from the first pixel, mm or voxels
Voxel = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Cut:
    """One slice as the screen shows it, rows downwards.

    Attributes
    ----------
    image, consensus, correction : numpy.ndarray
        ``(rows, columns)``; the masks hold label values, and the correction may be missing.
    agreement : numpy.ndarray
        ``(K, rows, columns)`` fraction of the samples that chose each class.
    """

    image: NDArray[Any]
    agreement: NDArray[np.floating]
    consensus: NDArray[np.uint8]
    correction: NDArray[np.uint8] | None


class Scene:
    """An image with all that was found and corrected on it, ready to be cut into slices of one plane.

    Parameters
    ----------
    box : Box, optional
        The part of the volume that the prediction covers; None is all of it.
    correction : numpy.ndarray, optional
        ``(x, y, z)`` label values on the grid of the volume.
    """

    def __init__(
        self,
        prediction: Prediction,
        volume: Volume,
        spec: BundleSpec,
        box: Box | None = None,
        correction: NDArray[np.uint8] | None = None,
    ) -> None:
        self.spec, self.known = spec, volume.spacing_known
        self._display, self._shape = Display.of(volume), volume.shape
        show = self._display.show
        self.image = show(volume.data[0])
        self.votes = show(embed(prediction.votes, box, volume.shape))
        self.samples = max(prediction.samples, 1)
        self.consensus = show(embed(spec.values[prediction.consensus], box, volume.shape))
        self.correction = None if correction is None else show(correction)
        self.final: NDArray[np.uint8] = self.consensus if self.correction is None else self.correction
        self.limits = contrast_limits(volume.data[0])
        # A single slice is shown as what it is, whatever plane the bundle likes best.
        flat, first = [n for n, o in PLANES.items() if self.image.shape[o[0]] == 1], spec.scope.start_plane
        self.plane = flat[0] if flat and first not in flat else first_plane(volume, first)
        self.axis, self.rows, self.columns = PLANES[self.plane]

    @property
    def slices(self) -> int:
        """How many slices the plane has."""
        return int(self.image.shape[self.axis])

    @property
    def steps(self) -> Point:
        """Height and width of a pixel, mm or voxels."""
        return self._display.scale[self.rows], self._display.scale[self.columns]

    def where(self, voxel: Voxel) -> tuple[int, Point]:
        """The slice that a voxel of the source lies on, and the point on it."""
        order = self._display.reorder
        moves = zip(order.axes, order.flips, strict=True)
        zyx = [self._shape[a] - 1 - voxel[a] if flip else voxel[a] for a, flip in moves][::-1]
        return round(zyx[self.axis]), (zyx[self.rows] * self.steps[0], zyx[self.columns] * self.steps[1])

    def cut(self, index: int) -> Cut:
        """The slice of that index."""

        def take(data: NDArray[Any]) -> NDArray[Any]:
            return np.take(data, index, axis=self.axis - 3)

        agreement = take(self.votes) / self.samples
        correction = None if self.correction is None else take(self.correction)
        return Cut(take(self.image), agreement, take(self.consensus), correction)

    def fullest(self) -> int:
        """The slice with most of the structure."""
        others = tuple(a for a in range(3) if a != self.axis)
        return int(np.count_nonzero(self.final, axis=others).argmax())


def before_after(scene: Scene, centre: Voxel) -> tuple[bytes, bytes]:
    """Two PNG files of a place.

    First the consensus, and where 25, 50 and 75 % of the samples draw the border; then the correction, with what it
    replaced as a thin white line. Without a correction both outcomes are the consensus.
    """
    index, point = scene.where(centre)
    cut, window = scene.cut(index), _around(point)
    pictures = []
    for draw in (_consensus, _final):
        figure, panel = _canvas()
        draw(panel, scene, cut)
        _frame(panel, scene, window)
        pictures.append(_png(figure))
    return pictures[0], pictures[1]


def overview(scene: Scene, places: Sequence[Voxel] = ()) -> tuple[int, bytes]:
    """The fullest slice and its PNG: the outcome, and the places by number wherever in depth they lie."""
    index = scene.fullest()
    low, high = _extent(scene)
    figure, panel = _canvas((high[1] - low[1]) / (high[0] - low[0]))
    cut = scene.cut(index)
    (_consensus if cut.correction is None else _final)(panel, scene, cut)
    for numbers, (row, column) in _grouped([scene.where(voxel)[1] for voxel in places]):
        _text(panel, column, row, numbers, size=8, transform=panel.transData)
    _frame(panel, scene, (low, high))
    return index, _png(figure)


def _consensus(panel: Axes, scene: Scene, cut: Cut) -> None:
    _anatomy(panel, scene, cut.image)
    _fill(panel, scene, cut.consensus)
    lines = agreement_lines(cut.agreement[:, None], 0, 0, LEVELS)
    thick = lines.levels == LEVELS[1]
    _draw(panel, scene, lines, ~thick, THIN, 0.7)
    _draw(panel, scene, lines, thick, THICK)


def _final(panel: Axes, scene: Scene, cut: Cut) -> None:
    _anatomy(panel, scene, cut.image)
    if cut.correction is None:
        final = cut.consensus
    else:
        final = cut.correction
        old = _outline(cut.consensus, scene)
        _draw(panel, scene, old, np.ones(len(old.levels), bool), THIN, colour="white")
    _fill(panel, scene, final)
    new = _outline(final, scene)
    _draw(panel, scene, new, np.ones(len(new.levels), bool), THICK)


def _outline(mask: NDArray[np.uint8], scene: Scene) -> Lines:
    hot = np.stack([mask == value for value in scene.spec.values]).astype(np.float32)
    return agreement_lines(hot[:, None], 0, 0, (0.5,))


def _canvas(aspect: float = 1.0) -> tuple[Any, Axes]:
    """A black figure of the height of a picture, one panel filling it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(INCHES * aspect, INCHES), facecolor="black")
    FigureCanvasAgg(figure)
    panel = figure.add_axes((0, 0, 1, 1))
    panel.set_axis_off()
    return figure, panel


def _png(figure: Any) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=PIXELS / INCHES, metadata={"Software": None})
    return stream.getvalue()


def _edges(scene: Scene, shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    """Left, right, bottom and top edge of a slice, whose first pixel has its middle at 0."""
    (height, width), (rows, columns) = scene.steps, shape
    return -width / 2, (columns - 0.5) * width, (rows - 0.5) * height, -height / 2


def _anatomy(panel: Axes, scene: Scene, image: NDArray[Any]) -> None:
    low, high = scene.limits
    style: dict[str, Any] = {"cmap": "gray", "vmin": low, "vmax": high, "interpolation": "bicubic"}
    panel.imshow(image, extent=_edges(scene, image.shape), **style)


def _fill(panel: Axes, scene: Scene, mask: NDArray[np.uint8]) -> None:
    from matplotlib.colors import to_rgba

    colours = np.zeros((*mask.shape, 4))
    for label in scene.spec.labels[1:]:
        colours[mask == label.value] = to_rgba(label.colour, FILL)
    panel.imshow(colours, extent=_edges(scene, mask.shape), interpolation="nearest")


def _draw(
    panel: Axes,
    scene: Scene,
    lines: Lines,
    chosen: NDArray[np.bool_],
    width: float,
    opacity: float = 1.0,
    colour: str | None = None,
) -> None:
    from matplotlib.collections import LineCollection

    starts, ways = lines.vectors[chosen, 0, 1:], lines.vectors[chosen, 1, 1:]
    points = np.stack([starts, starts + ways], axis=1) * scene.steps
    colours = [colour or scene.spec.labels[k].colour for k in lines.classes[chosen]]
    # Round ends close the corners of a thick line; where lines are translucent they would add up to dots.
    style: dict[str, Any] = {"linewidths": width, "alpha": opacity, "capstyle": "round" if opacity == 1 else "butt"}
    panel.add_collection(LineCollection(list(points[..., ::-1]), colors=colours, **style), autolim=False)


def _around(point: Point) -> tuple[Point, Point]:
    (row, column), half = point, FIELD / 2
    return (row - half, column - half), (row + half, column + half)


def _extent(scene: Scene) -> tuple[Point, Point]:
    """Around the structure in every slice, or the whole slice if there is none."""
    seen = scene.final.any(axis=scene.axis)
    left, right, bottom, top = _edges(scene, seen.shape)
    if not seen.any():
        return (top, left), (bottom, right)
    (height, width), (rows, columns) = scene.steps, np.nonzero(seen)
    return (
        (max(top, float(rows.min()) * height - MARGIN), max(left, float(columns.min()) * width - MARGIN)),
        (min(bottom, float(rows.max()) * height + MARGIN), min(right, float(columns.max()) * width + MARGIN)),
    )


def _grouped(points: Sequence[Point]) -> list[tuple[str, Point]]:
    """Numbers to write, those that would cover each other as one: ``"3, 6"``."""
    groups: list[tuple[list[str], Point]] = []
    for number, point in enumerate(points, 1):
        near = (numbers for numbers, other in groups if np.hypot(*np.subtract(point, other)) < NEAR)
        numbers = next(near, None)
        if numbers is None:
            groups.append(([str(number)], point))
        else:
            numbers.append(str(number))
    return [(", ".join(numbers), point) for numbers, point in groups]


def _frame(panel: Axes, scene: Scene, window: tuple[Point, Point]) -> None:
    """The window, a scale bar and the directions."""
    (top, left), (bottom, right) = window
    panel.set_xlim(left, right)
    panel.set_ylim(bottom, top)
    panel.set_aspect("equal")
    width = right - left
    length = next((n for n in BARS if n <= width / 3), BARS[-1])
    share = length / width
    panel.plot((0.95 - share, 0.95), (0.04, 0.04), color="white", linewidth=2, transform=panel.transAxes, clip_on=False)
    _text(panel, 0.95 - share / 2, 0.095, f"{length} {'mm' if scene.known else 'voxels'}", size=7)
    if scene.known:  # else the directions are not known either
        places = ((0.035, 0.5), (0.965, 0.5), (0.5, 0.955), (0.5, 0.045))
        for letter, (x, y) in zip(LETTERS[scene.plane], places, strict=True):
            _text(panel, x, y, letter, size=8)


def _text(panel: Axes, x: float, y: float, text: str, size: float, transform: Any = None) -> None:
    from matplotlib.patheffects import withStroke

    panel.text(
        x,
        y,
        text,
        size=size,
        color="white",
        ha="center",
        va="center",
        weight="bold",
        clip_on=True,
        transform=transform or panel.transAxes,
        path_effects=[withStroke(linewidth=2, foreground="black")],
    )
