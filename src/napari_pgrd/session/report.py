"""A review on one page: a self-contained HTML file that can be read on a screen, printed and signed.

It holds no script and asks for nothing from outside; pictures are embedded. It names neither patient nor file unless
the reader says so.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.methods import METHODS
from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.engine.volume import Box, Volume
from napari_pgrd.io.provenance import RESEARCH_USE
from napari_pgrd.session.diameter import long_axis
from napari_pgrd.session.phases import PAUSE, PHASES, SAMPLING
from napari_pgrd.session.pictures import FIELD, Scene, before_after, overview
from napari_pgrd.session.summary import PlaceRow, ReviewSummary, counted, progress
from napari_pgrd.session.volumes import (
    LabelVolume,
    label_volumes,
    reliability_sentence,
    unanimous_sentence,
    voxel_volume,
)

if TYPE_CHECKING:
    from napari_pgrd.engine.prediction import Prediction

PAGE = Path(__file__).with_name("report.html")
NONE = "\u2013"


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a report is about.

    Attributes
    ----------
    box : Box, optional
        The part of the volume that the prediction covers; None is all of it.
    correction : numpy.ndarray, optional
        ``(x, y, z)`` label values on the whole grid of the volume.
    """

    prediction: Prediction
    volume: Volume
    spec: BundleSpec
    box: Box | None = None
    correction: NDArray[np.uint8] | None = None

    @cached_property
    def final(self) -> NDArray[np.uint8]:
        """The correction, or the consensus where there is none; label values."""
        return self.spec.values[self.prediction.consensus] if self.correction is None else self.correction


def report_html(outcome: Outcome, review: ReviewSummary, made: Mapping[str, Any]) -> str:
    """The page.

    Parameters
    ----------
    made : mapping
        How the prediction came to be, as :func:`napari_pgrd.session.export.describe` says it.

    Raises
    ------
    InputError
        If a place lies outside the image.
    """
    scene = Scene(outcome.prediction, outcome.volume, outcome.spec, outcome.box, outcome.correction)
    for place in review.places:
        inside = all(-0.5 <= c <= n - 0.5 for c, n in zip(place.centre, outcome.volume.shape, strict=True))
        require(inside, InputError, f"A place has its centre at {place.centre}, outside the image. Give source voxels.")
    volumes = label_volumes(outcome.prediction, outcome.volume, outcome.spec)
    by = f"read by {review.initials}" if review.initials else ""
    subtitle = filter(None, (review.source_name, outcome.spec.title, by, _date(made["date"])))
    return Template(PAGE.read_text(encoding="utf-8")).substitute(
        title="Segmentation report" if outcome.correction is None else "Segmentation review",
        subtitle=escape(" \u00b7 ".join(subtitle)),
        notice=RESEARCH_USE + ".",
        headline=_headline(outcome, review, volumes),
        overview=_overview(scene, review),
        volumes=_volumes(outcome, volumes),
        places=_places(scene, review.places),
        made=_made(outcome, review, made),
    )


def _headline(outcome: Outcome, review: ReviewSummary, volumes: list[LabelVolume]) -> str:
    """One number a label, what it is worth, and how far the reader came."""
    source = f"consensus of {counted(outcome.prediction.samples, 'sample')}, not corrected"
    source = source if outcome.correction is None else "corrected"
    lines = []
    for v in volumes:
        size = _final_size(outcome, v)
        lines.append(
            f'<p>{_label(v)}<br><span class="volume">{_amount(size, v.unit)}</span> {source}<br>'
            f"{escape(_worth(v, outcome.spec, size))}</p>"
        )
    lines.append(f'<p class="notice">{escape(progress(review))}</p>')
    lines.append(f'<p class="faint">{escape(unanimous_sentence(outcome.spec))}</p>')
    return "\n".join(lines)


def _worth(v: LabelVolume, spec: BundleSpec, size: float) -> str:
    """The interval that can be signed, or failing that the samples' range, with its measured honesty."""
    r, fitted = spec.reliability, spec.volume_interval
    if v.interval is None or fitted is None:
        return f"samples\u2019 5\u201395 % range {_span(v.low, v.high, v.unit)} ({reliability_sentence(spec, v.name)})"
    interval = f"{fitted.level * 100:.0f} % interval {_span(*v.interval, v.unit)}"
    if r is None or v.name not in r.interval_coverage:
        text = f"{interval} (not validated: how often it holds the true volume was not measured)"
    else:
        held = f"held the true volume in {r.interval_coverage[v.name]} of {r.cases} validation cases"
        text = f"validated {interval} ({held})"
    return text if v.interval[0] <= size <= v.interval[1] else f"{text}. This volume lies outside it"


def _overview(scene: Scene, review: ReviewSummary) -> str:
    index, png = overview(scene, [place.centre for place in review.places])
    outcome = "the consensus and its agreement lines" if scene.correction is None else "the correction"
    numbers = "; numbers: the places below, at whatever depth" if review.places else ""
    caption = f"{scene.plane.capitalize()} slice {index + 1} of {scene.slices}: {outcome}{numbers}"
    return f"<figure>{_image(png, caption)}<figcaption>{caption}.</figcaption></figure>"


def _volumes(outcome: Outcome, volumes: list[LabelVolume]) -> str:
    fitted, corrected = outcome.spec.volume_interval, outcome.correction is not None
    level = f"{fitted.level * 100:.0f} % interval" if fitted else ""
    heads = ["Correction"] * corrected + ["Consensus", "Samples, 5\u201395 %"] + [level] * bool(level) + ["Long axis"]
    rows = [_row(["Label", *heads], "th")]
    for v in volumes:
        cells = [_amount(_final_size(outcome, v), v.unit)] * corrected
        cells += [_amount(v.consensus, v.unit), _span(v.low, v.high, v.unit)]
        cells += [_span(*v.interval, v.unit) if v.interval else NONE] * bool(level)
        rows.append(_row([_label(v), *cells, _long_axis(outcome, v)], "td"))
    worth = "; ".join(f"{v.name}, {reliability_sentence(outcome.spec, v.name)}" for v in volumes)
    notes = f"Samples\u2019 range: {worth}. {_conditions(outcome)}Long axis: the longest line between two points of "
    notes += f"the surface of the {'correction' if corrected else 'consensus'}, in 3D."
    return f'<table>\n{"".join(rows)}</table>\n<p class="faint">{escape(notes)}</p>'


def _conditions(outcome: Outcome) -> str:
    """How the figures on validation were measured."""
    r = outcome.spec.reliability
    return f"Validation was measured with {r.samples} samples of {r.steps} steps. " if r else ""


def _long_axis(outcome: Outcome, v: LabelVolume) -> str:
    value = _value(outcome.spec, v.name)
    if not (outcome.final == value).any():
        return NONE
    spacing = outcome.volume.spacing if outcome.volume.spacing_known else None
    return f"{long_axis(outcome.final, value, spacing).length:.1f} {'mm' if spacing else 'voxels'}"


def _final_size(outcome: Outcome, v: LabelVolume) -> float:
    """Of the correction, or of the consensus where there is none."""
    count = np.count_nonzero(outcome.final == _value(outcome.spec, v.name))
    return float(count) * voxel_volume(outcome.volume)[0]


def _value(spec: BundleSpec, name: str) -> int:
    return next(label.value for label in spec.labels if label.name == name)


def _places(scene: Scene, places: Iterable[PlaceRow]) -> str:
    cards = [_place(scene, number, place) for number, place in enumerate(places, 1)]
    if not cards:
        return ""
    legend = "Consensus, filled; thick line: half of the samples, thin lines: 25 and 75 %."
    if scene.correction is not None:
        legend = f"Left, before: {legend.lower()} Right, after: correction; white line: the consensus where it differs."
    legend += f" {FIELD:.0f} {'mm' if scene.known else 'voxels'} wide, {scene.plane}."
    grid = '<div class="places">\n' + "\n".join(cards) + "\n</div>"
    return f'<section>\n<h2>Places</h2>\n<p class="faint">{legend}</p>\n{grid}\n</section>'


def _place(scene: Scene, number: int, place: PlaceRow) -> str:
    """One place: what it is, what was decided, how it looked and looks."""
    shown = zip(("before", "after"), before_after(scene, place.centre), strict=True)
    images = [_image(png, f"{place.name}, {when}") for when, png in shown][: 1 if scene.correction is None else 2]
    slice_text = f"slice {scene.where(place.centre)[0] + 1} of {scene.slices}"
    stake = _amount(place.stake, place.unit)
    return (
        f'<article class="place"><h3>{number}. {escape(place.name)}</h3>'
        f'<span class="state {place.state}">{place.state}</span> {escape(stake)} at stake, {slice_text}'
        f'<div class="pair">{"".join(images)}</div></article>'
    )


def _made(outcome: Outcome, review: ReviewSummary, made: Mapping[str, Any]) -> str:
    """Everything needed to make it again."""
    request, volume = made["request"], outcome.volume
    grid = " \u00d7 ".join(map(str, volume.shape)) + " voxels"
    if volume.spacing_known:
        grid += " of " + " \u00d7 ".join(f"{s:.3g}" for s in volume.spacing) + " mm"
    sampling = f"{counted(request['samples'], 'sample')}, {counted(request['steps'], 'step')}, seed {request['seed']}"
    if request["solver"] is not None:  # some methods take no steps
        sampling += f", solver {request['solver']}, eta {request['eta']:g}"
    sampling += f"; on {made['device']} in {made['precision']}"
    locks = request.get("locks")
    lines = {
        "Model": f"{made['bundle']['name']}, SHA-256 {made['bundle']['sha256']}",
        "Method": METHODS[request["method"]].title if request.get("method") in METHODS else "",
        "Sampling": sampling,
        "Locked": f"{locks['voxels']} voxels, by {locks['method']}" if locks else "",
        "Image": grid + (", sampled within a box of it" if outcome.box else ""),
        "Edits": ", ".join(f"{kind} {count}" for kind, count in review.edits.items()),
        "Time": _times(review.seconds),
        "Reader": review.initials,
        "Versions": ", ".join(f"{name} {number}" for name, number in made["versions"].items()),
    }
    return "\n".join(f"<tr><th>{name}</th><td>{escape(text)}</td></tr>" for name, text in lines.items() if text)


def _row(cells: list[str], tag: str) -> str:
    first, *others = cells
    return f"<tr><{tag}>{first}</{tag}>" + "".join(f'<{tag} class="number">{c}</{tag}>' for c in others) + "</tr>\n"


def _label(v: LabelVolume) -> str:
    name = escape(v.name[:1].upper() + v.name[1:])
    return f'<span class="swatch" style="background:{v.colour}"></span> {name}'


def _image(png: bytes, alt: str) -> str:
    return f'<img src="data:image/png;base64,{b64encode(png).decode()}" alt="{escape(alt)}">'


def _amount(size: float, unit: str) -> str:
    return f"{size:.{_digits(size, unit)}f} {unit}"


def _span(low: float, high: float, unit: str) -> str:
    digits = _digits(high, unit)
    return f"{low:.{digits}f}\u2013{high:.{digits}f} {unit}"


def _digits(size: float, unit: str) -> int:
    """Decimals: mL to two, small ones to three, voxels whole."""
    return 0 if unit != "mL" else 2 if size >= 0.1 else 3


def _date(stamp: str) -> str:
    """As "2025-01-02 10:11 UTC"."""
    return datetime.fromisoformat(stamp).strftime("%Y-%m-%d %H:%M UTC")


def _times(seconds: Mapping[str, float]) -> str:
    """As "drawing samples 27 s; reader: Review 3 min 12 s (...)", the rule with the reader's time."""
    machine = [f"drawing samples {_duration(seconds[SAMPLING])}"] if seconds.get(SAMPLING) else []
    reader = ", ".join(f"{name.capitalize()} {_duration(seconds[name])}" for name in PHASES if name in seconds)
    rule = f"tab in sight, window active; pauses of {PAUSE / 60:.0f} min or more left out"
    return "; ".join(machine + [f"reader: {reader} ({rule})"] * bool(reader))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{n} {unit}" for n, unit in parts if n) or "0 s"
