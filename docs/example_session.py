"""A whole review from a script, without a window: what the dock's buttons do is here a function each.

    python docs/example_session.py --out review --steps 4 --samples 4      # about a minute on two CPU cores

Sample the example case, settle a place by an alternative, correct a stretch by outlines and interpolation, lock that,
sample again around it, save the review, load it back, export everything.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_pgrd import Bundle, Prediction, Request, Volume, predict, read_volume
from napari_pgrd.engine.locks import Locks
from napari_pgrd.io.samples import sample_cases
from napari_pgrd.session.contours import Polygon, outline, redraw
from napari_pgrd.session.correction import Correction
from napari_pgrd.session.display import PLANES, Display
from napari_pgrd.session.export import PARTS, REPORT, export
from napari_pgrd.session.folder import ImageMark
from napari_pgrd.session.hypotheses import alternatives, apply
from napari_pgrd.session.interpolation import interpolate
from napari_pgrd.session.neighbourhood import near
from napari_pgrd.session.places import Places
from napari_pgrd.session.regions import find_places
from napari_pgrd.session.review import Review, load, save
from napari_pgrd.session.summary import PlaceRow, ReviewSummary


def draw(volume: Volume, bundle: Bundle, request: Request) -> Prediction:
    """Draw every sample of a request; whoever stops at an update keeps what was drawn until then."""
    for update in predict(volume, bundle, request):
        if update.kind == "sample":
            print(f"  sample {update.drawn} of {update.samples}")
    assert update.prediction is not None
    return update.prediction


def main() -> None:
    """The session, from top to bottom."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the review and the exported files")
    parser.add_argument("--steps", type=int, default=4, help="network calls a sample")
    parser.add_argument("--samples", type=int, default=4, help="two or more, or there is nothing to disagree")
    args = parser.parse_args()
    case, bundle = sample_cases()[0], Bundle.load("hippocampus-mri")
    volume, labels, values = read_volume(case.image), bundle.spec.labels, bundle.spec.values
    log = Path(tempfile.mkdtemp(prefix="pgrd-example-")) / "edits.log"

    # Sample. Everything lies on the grid of the file, (x, y, z); predictions hold class indices, files label values.
    print(f"Sampling {case.title} ...")
    request = Request(samples=args.samples, steps=args.steps)
    began = time.monotonic()
    prediction = draw(volume, bundle, request)
    phases = {"sampling": time.monotonic() - began}

    # The places where samples part, the most volume at stake first, and the answers at the first of them.
    places = Places()
    places.show(find_places(prediction, volume, labels))
    print("Places to settle:", *(f"{p.stake:.3f} {p.unit}  {p.name}" for p in places.items), sep="\n  ")
    places.go(0)
    answers = alternatives(prediction, places.items[0], volume, labels)
    print("Answers at the first:", *(answer.text for answer in answers), sep="\n  ")

    # A correction is a copy. Each edit that it is shown is in its log, on disk, before observe() returns.
    start = values[prediction.consensus]
    correction, mask = Correction.begin(log, start, "consensus"), start.copy()
    flat, wanted = apply(max(answers, key=lambda answer: answer.changed), mask)
    mask.reshape(-1)[flat] = wanted
    with correction.operation("alternative"):
        correction.observe(mask)
    places.settle(start, mask)

    # The anterior part's outline on two sagittal slices, dragged outwards by half a voxel, and the slices between them.
    # Tools work on the array as the screen shows it: (z, y, x), upright.
    display, axis, label = Display.of(volume), PLANES["sagittal"][0], labels[1].value
    shown = np.ascontiguousarray(display.show(mask))
    middle = int(np.median(np.nonzero(shown == label)[axis]))
    for index in (middle - 2, middle + 2):
        before = outline(shown, label, axis, index, display.scale)
        ways = [polygon.exterior - polygon.exterior.mean(0) for polygon in before]
        dragged = [
            Polygon(polygon.exterior + 0.5 * way / np.linalg.norm(way, axis=1, keepdims=True), polygon.holes)
            for polygon, way in zip(before, ways, strict=True)
        ]
        shown = redraw(shown, label, axis, index, dragged, before).applied_to(shown)
        with correction.operation("outline"):
            correction.observe(display.hide(shown))
    shown = interpolate(shown, label, axis, (middle - 2, middle + 2), display.scale).applied_to(shown)
    with correction.operation("interpolate"):
        correction.observe(display.hide(shown))

    # Lock what changed and draw again within 6 mm of it; a reader looks at what would move before accepting.
    mask = correction.mask
    locked = mask != start
    index_of = np.zeros(256, np.uint8)
    index_of[values] = np.arange(len(values))
    locks = Locks(locked, index_of[mask], near(locked, 6.0, volume.spacing), prediction)
    print(f"Sampling again around {np.count_nonzero(locked)} locked voxels ...")
    request = replace(request, locks=locks)
    prediction = draw(volume, bundle, request)
    proposal = values[prediction.consensus]
    print(f"  {np.count_nonzero(proposal != mask)} other voxels move")
    with correction.operation("accept resampling"):
        correction.observe(proposal)
    places.show(find_places(prediction, volume, labels))

    # A folder that opens to the same screen, in a window too (Export, Open review), and back from it.
    made = (bundle.spec.name, bundle.digest, request, prediction)
    review = Review(ImageMark.of(volume), *made, (correction,), places.record, phases=phases)
    back = load(save(args.out / "example.pgrd", review), volume)
    (kept,) = back.corrections
    assert back.prediction is not None and np.array_equal(kept.mask, proposal)

    # Everything as files, in the exact geometry of the image.
    rows = (PlaceRow(p.name, places.states[p.id].value, p.stake, p.unit, p.centre) for p in places.items)
    files = export(
        args.out / "export",
        back.prediction,
        volume,
        bundle,
        back.request,
        what=(*PARTS, REPORT),
        correction=kept.mask,
        source=[case.image],
        review=ReviewSummary(tuple(rows), edits=Counter(entry.kind for entry in kept.log.entries if entry.voxels)),
        edit_log=kept.log.content(),
    )
    print("Written:", *files, sep="\n  ")


if __name__ == "__main__":
    main()
