"""States of the places, the slices seen, and the sentence about both."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_pgrd.engine.spec import read_spec
from napari_pgrd.session.display import Display
from napari_pgrd.session.places import Places, SlicesSeen, State, progress_sentence, worth_seeing
from napari_pgrd.session.regions import find_places
from napari_pgrd.session.review import ImageMark, Review, load, save
from tests.session.drawn import ball, labels, prediction, tailed, volume
from tests.tiny import make_tiny_bundle

SHAPE = (16, 60, 16)
CENTRES = [(8, y, 8) for y in (8, 30, 52)]


def three(grow=(3, 2, 1), samples=4):
    """Three balls that half of the samples do not draw, the first the largest."""
    balls = [ball(SHAPE, c, 2 + g) for c, g in zip(CENTRES, grow, strict=True)]
    return prediction([np.any(balls, 0) if i % 2 else np.zeros(SHAPE, bool) for i in range(samples)])


def listed(p=None):
    places = Places()
    places.show(find_places(p or three(), volume(SHAPE), labels(2)))
    assert len(places.items) == 3
    return places


def test_stepping_goes_round():
    places = listed()
    assert places.current is None
    order = []
    for _ in range(4):
        places.next()
        order.append(places.index)
    assert order == [0, 1, 2, 0]
    places.previous()
    assert places.index == 2
    assert places.current is places.items[2]
    fresh = listed()
    fresh.previous()
    assert fresh.index == 2


def test_an_empty_list_takes_every_step():
    places, consensus = Places(), np.zeros(SHAPE)
    for step in (
        places.next,
        places.previous,
        places.defer,
        places.reopen,
        lambda: places.settle(consensus, consensus),
    ):
        step()
    assert places.current is None and places.settled == 0


def test_settling_tells_changed_from_accepted_and_leads_on():
    places = listed()
    started = np.zeros(SHAPE, np.uint8)
    present = started.copy()
    places.next()
    present[places.items[1].centre] = 1  # elsewhere
    places.settle(started, present)
    assert places.states[places.items[0].id] is State.ACCEPTED
    assert places.index == 1
    places.settle(started, present)
    assert places.states[places.items[1].id] is State.CHANGED
    places.defer()
    assert places.states[places.items[2].id] is State.DEFERRED
    assert places.index == 2  # none is open any more
    assert places.settled == 2
    assert [places.count(s) for s in State] == [0, 1, 1, 1]


def test_leading_on_skips_what_is_settled():
    places = listed()
    same = np.zeros(SHAPE)
    places.go(1)
    places.settle(same, same)
    assert places.index == 2
    places.settle(same, same)
    assert places.index == 0  # round, past the one settled first


def test_a_stroke_or_its_undo_later_is_noticed():
    places = listed()
    started = np.zeros(SHAPE)
    places.next()
    places.settle(started, started)
    places.defer()
    heard = []
    places.changed.connect(lambda: heard.append(1))
    painted = started.copy()
    for item in places.items:
        painted[item.centre] = 1
    places.recheck(started, painted)
    assert [places.states[i.id] for i in places.items] == [State.CHANGED, State.DEFERRED, State.OPEN]
    places.recheck(started, painted)
    places.recheck(started, started)
    assert places.states[places.items[0].id] is State.ACCEPTED
    assert len(heard) == 2


def test_every_step_is_heard():
    places, heard = listed(), []
    places.changed.connect(lambda: heard.append((places.index, places.settled)))
    same = np.zeros(SHAPE)
    places.next()
    places.settle(same, same)
    places.reopen()
    places.previous()
    assert heard == [(0, 0), (1, 1), (1, 1), (0, 1)]


def test_further_samples_keep_what_was_settled():
    places, same = listed(), np.zeros(SHAPE)
    places.next()
    places.settle(same, same)  # the largest
    more = find_places(three((2, 3.5, 1), 6), volume(SHAPE), labels(2))
    assert {q.id for q in more} != {q.id for q in places.items} or more[0].id != places.items[0].id
    places.show(more)
    at = {q.centre[1] // 20: places.states[q.id] for q in more}
    assert at == {0: State.ACCEPTED, 1: State.OPEN, 2: State.OPEN}
    assert places.current.centre[1] // 20 == 1  # the one in hand, though now the first
    assert places.index == 0


def elsewhere():
    """Places of samples that agree where those of ``three`` did not."""
    shifted = prediction([np.zeros(SHAPE, bool), ball(SHAPE, (8, 11, 8), 4)] * 2)
    return find_places(shifted, volume(SHAPE), labels(2))


def test_a_place_that_moved_away_is_a_new_one():
    places = listed()
    places.next()
    places.show(elsewhere())
    assert set(places.states.values()) == {State.OPEN} and len(places.items) == len(elsewhere())
    assert places.current is None


def test_what_was_decided_stays_on_the_list_where_new_samples_agree():
    places, same = listed(), np.zeros(SHAPE)
    painted = same.copy()
    painted[8, 8, 8] = 1
    places.go(0)
    places.settle(same, painted)
    places.go(1)
    places.defer()
    first, second, _ = places.items
    n = len(elsewhere())
    for _ in range(2):  # and once more
        places.show(elsewhere())
        assert len(places.items) == n + 2 and places.items[n:] == (first, second)
        assert places.present == places.items[:n]  # nothing is at stake any more in what was kept
        assert [places.states[p.id] for p in places.items[n:]] == [State.CHANGED, State.DEFERRED]
    places.recheck(same, same)  # the correction was taken back there
    assert places.states[first.id] is State.ACCEPTED
    places.show(three_again := find_places(three(), volume(SHAPE), labels(2)))
    assert len(places.items) == 3 and places.states[three_again[0].id] is State.ACCEPTED
    places.clear()
    assert places.items == () and places.states == {} and places.current is None


def test_the_record_brings_back_what_samples_cannot_tell():
    places, same = listed(), np.zeros(SHAPE)
    places.go(0)
    places.settle(same, same)
    assert places.record == {places.items[0].id: "accepted"}
    places.show(elsewhere())
    places.go(0)
    places.defer()
    record = json.loads(json.dumps(places.record))
    again = Places()
    again.show(elsewhere())
    again.restore({**record, "gone": "changed"})
    assert again.states == places.states and again.record == places.record
    for a, b in zip(again.items, places.items, strict=True):
        assert (a.id, a.name, a.box, a.centre, a.stake, a.classes) == (
            b.id,
            b.name,
            b.box,
            b.centre,
            b.stake,
            b.classes,
        )
        np.testing.assert_array_equal(a.mask, b.mask)
    none = Places()
    none.show(())
    none.restore(record)
    assert list(none.states.values()) == [State.ACCEPTED]  # the samples agree everywhere; the record stands


def test_the_record_is_the_same_after_a_folder_was_read_back(tmp_path):
    places, same = listed(), np.zeros(SHAPE)
    places.go(0)
    places.settle(same, same)
    places.show(())
    review = Review(ImageMark.of(volume(SHAPE)), "b", "0" * 64, places=places.record)
    again = Places()
    again.restore(load(save(tmp_path / "a.pgrd", review)).places)
    assert again.record == places.record and again.states == places.states
    np.testing.assert_array_equal(again.items[0].mask, places.items[0].mask)


def test_slices_are_counted_where_there_is_something_to_see():
    masks, tail = tailed()
    p, v = prediction(masks), volume(tail.shape)
    seen = SlicesSeen()
    seen.expect(Display.of(v).show(worth_seeing(p)))
    assert seen.count("sagittal") == (0, 8)
    assert seen.count("coronal") == (0, 38)  # body 30 and tail 8
    assert seen.count("axial") == (0, 8)
    for index in (0, 3, 3, 33, 34):
        seen.see("coronal", index)  # display rows run from the front: slice 3 is nothing, 33 and 34 are 14 and 13
    assert seen.count("coronal") == (2, 38)
    bar = seen.bar("coronal")
    assert bar.shape == (48,) and bar[[3, 4, 33, 34, 35]].tolist() == [0, 1, 2, 2, 1]
    assert seen.fullest == "coronal"
    for index in range(5, 9):
        seen.see("sagittal", index)
    assert seen.fullest == "sagittal"
    assert dict(seen.seen) == {"sagittal": [5, 6, 7, 8], "coronal": [0, 3, 33, 34], "axial": []}
    again = SlicesSeen()
    again.restore(seen.seen)
    again.expect(Display.of(v).show(worth_seeing(p)))
    assert again.count("coronal") == (2, 38)


def test_what_must_be_seen_is_the_structure_of_any_sample():
    masks, tail = tailed(half=2)
    np.testing.assert_array_equal(worth_seeing(prediction([*masks, masks[0]])), masks[0] | tail)


def test_the_sentence_is_honest(tmp_path):
    figures = {
        "cases": 6, "steps": 8, "samples": 16, "volume_coverage": {}, "unanimous_error_share": 0.1862, "dice": 0.8
    }  # fmt: skip
    spec = read_spec(make_tiny_bundle(tmp_path / "a", reliability=figures))
    unmeasured = read_spec(make_tiny_bundle(tmp_path / "b"))
    places, seen, same = listed(), SlicesSeen(), np.zeros(SHAPE)
    wanted = np.zeros((5, 40, 6), bool)
    wanted[1, 2:37, 1] = True
    seen.expect(wanted)
    for i in range(2, 14):
        seen.see("coronal", i)
    places.next()
    places.settle(same, same)
    assert progress_sentence(places, seen, spec, 4) == (
        "1 of 3 places settled; where all samples agree 19 % of errors remain on validation; slices seen 12 of 35"
    )
    places.defer()
    assert progress_sentence(places, seen, unmeasured, 4) == (
        "1 of 3 places settled, 1 deferred; how many errors remain where all samples agree was not measured; "
        "slices seen 12 of 35"
    )
    assert progress_sentence(Places(), seen, spec, 4).startswith("no places to settle, as the samples agree;")
    assert progress_sentence(Places(), seen, spec, 1).startswith("places to settle need at least two samples;")


@pytest.mark.parametrize("plane", ["sagittal", "coronal", "axial"])
def test_seeing_again_is_no_news(plane):
    seen, heard = SlicesSeen(), []
    seen.changed.connect(lambda: heard.append(1))
    seen.see(plane, 3)
    seen.see(plane, 3)
    assert heard == [1]
