"""What a reader did, in figures and in one line."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from napari_pgrd.engine.errors import InputError
from napari_pgrd.session.summary import STATES, PlaceRow, ReviewSummary, progress

PLACES = tuple(PlaceRow(f"place {i}", state, 0.1, "mL", (1, 2, 3)) for i, state in enumerate(STATES))


def test_progress_in_words() -> None:
    assert progress(ReviewSummary()) == ""
    assert progress(ReviewSummary(slices_seen=(3, 9))) == "3 of 9 slices seen"
    assert progress(ReviewSummary(PLACES[:1])) == "1 of 1 place settled, 0 changed"
    assert progress(ReviewSummary((*PLACES, PLACES[1]), (12, 35))) == (
        "3 of 5 places settled, 2 changed, 1 deferred, 1 open, 12 of 35 slices seen"
    )


def test_the_record_is_plain_and_does_not_name_the_image() -> None:
    review = ReviewSummary(
        PLACES, (1, 2), "A.B.", {"review": 3.5}, Counter(["stroke", "undo", "stroke"]), source_name="DOE_JANE"
    )
    record = json.loads(json.dumps(review.record()))
    assert record.keys() == {"places", "slices_seen", "initials", "seconds", "seconds_rule", "edits"}
    assert "3 minutes or more" in record["seconds_rule"]
    assert record["edits"] == {"stroke": 2, "undo": 1} and record["seconds"] == {"review": 3.5}
    assert [place["state"] for place in record["places"]] == list(STATES)
    assert record["places"][0]["centre"] == [1, 2, 3]


def test_a_state_that_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="'done'; give one of accepted, changed, deferred, open"):
        PlaceRow("tip", "done", 0.1, "mL", (1, 2, 3))
