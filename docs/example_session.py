"""A whole review from a script, without a window: what the dock's buttons do is here a function each.

    python docs/example_session.py review      # about a minute on two CPU cores; --help for samples and steps

Everything lies on the grid of the file, (x, y, z). Predictions hold class indices, masks and files label values.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import typer

from napari_pgrd import Bundle, Request, predict, read_volume
from napari_pgrd.engine.locks import Locks
from napari_pgrd.io.samples import sample_cases
from napari_pgrd.session.correction import Correction
from napari_pgrd.session.export import PARTS, REPORT, export
from napari_pgrd.session.folder import ImageMark
from napari_pgrd.session.hypotheses import alternatives, apply
from napari_pgrd.session.neighbourhood import near
from napari_pgrd.session.places import Places
from napari_pgrd.session.regions import find_places
from napari_pgrd.session.review import Review, load, save
from napari_pgrd.session.summary import PlaceRow, ReviewSummary
from napari_pgrd.session.tools import grow


def main(out: Path, samples: int = 4, steps: int = 4) -> None:
    """Sample, settle a place, correct, sample again around that, save, load, export; files go to the folder OUT."""
    case, bundle = sample_cases()[0], Bundle.load("hippocampus-mri")
    volume, labels, values = read_volume(case.image), bundle.spec.labels, bundle.spec.values

    request = Request(samples=samples, steps=steps)
    *_, last = predict(volume, bundle, request)  # an update a step: stop at any, and what was drawn until then is in it
    prediction = last.prediction

    # The places where samples part, the most volume at stake first, and the answers at the first of them.
    places = Places()
    places.show(find_places(prediction, volume, labels))
    places.go(0)
    answers = alternatives(prediction, places.items[0], volume, labels)
    print(f"{places.items[0].name}:", *(answer.text for answer in answers), sep="\n  ")

    # A correction is a copy. Each edit that it is shown is in its log, on disk, before observe() returns.
    start = values[prediction.consensus]
    out.mkdir(parents=True, exist_ok=True)
    correction, mask = Correction.begin(out / "edits.log", start, "consensus"), start.copy()
    where, wanted = apply(max(answers, key=lambda answer: answer.changed), mask)
    mask.reshape(-1)[where] = wanted
    with correction.operation("alternative"):
        correction.observe(mask)
    places.settle(start, mask)
    mask = grow(mask, labels[1].value, 1.0, volume.spacing).applied_to(mask)  # by 1 mm; other labels keep their voxels
    with correction.operation("grow"):
        correction.observe(mask)

    # Lock what changed and draw again within 6 mm of it; a reader looks at what would move before accepting.
    locked = mask != start
    indices = np.searchsorted(values, mask)  # this bundle's label values ascend with the class
    locks = Locks(locked, indices, near(locked, 6.0, volume.spacing), prediction)
    request = replace(request, locks=locks)
    *_, last = predict(volume, bundle, request)
    prediction, proposal = last.prediction, values[last.prediction.consensus]
    print(f"{np.count_nonzero(locked)} voxels locked, {np.count_nonzero(proposal != mask)} others move")
    with correction.operation("accept resampling"):
        correction.observe(proposal)
    places.show(find_places(prediction, volume, labels))

    # A folder that opens to the same screen, in a window too (Export, Open review), and back from it.
    made = (bundle.spec.name, bundle.digest, request, prediction)
    review = Review(ImageMark.of(volume), *made, (correction,), places.record)
    back = load(save(out / "example.pgrd", review), volume)

    rows = [PlaceRow(p.name, places.states[p.id].value, p.stake, p.unit, p.centre) for p in places.items]
    (kept,) = back.corrections
    files = export(
        out / "export",
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
    typer.run(main)
