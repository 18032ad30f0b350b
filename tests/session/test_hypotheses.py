"""Alternatives at a place and families of answers, where the answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_pgrd.session import hypotheses
from napari_pgrd.session.clusters import iou_distance
from napari_pgrd.session.hypotheses import alternatives, apply, families, families_sentence
from napari_pgrd.session.regions import find_places
from tests.session.drawn import ball, labels, prediction, tailed, volume

SHAPE = (16, 18, 14)


def test_a_tail_that_half_have_is_two_alternatives():
    masks, tail = tailed()
    p, v = prediction(masks[1:]), volume(tail.shape, (1, 1, 2))  # 3 without, 4 with
    (place,) = find_places(p, v, labels(2))
    with_it, without = alternatives(p, place, v, labels(2))
    assert (with_it.votes, without.votes, with_it.samples) == (4, 3, 7)
    assert with_it.share == pytest.approx(4 / 7)
    assert with_it.changes == {"anterior": 0} and with_it.changed == 0
    assert without.changes == {"anterior": pytest.approx(-tail.sum() * 0.002)}
    assert without.changed == pytest.approx(tail.sum() * 0.002)
    assert with_it.text == "as it is; 4 of 7 samples"
    assert without.text == "anterior -0.26 mL; 3 of 7 samples"
    assert set(without.values) == {0} and set(with_it.values) == {10}  # label values, not indices


def test_changes_are_told_against_the_present_correction():
    masks, tail = tailed()
    p, v = prediction(masks), volume(tail.shape, known=False)
    (place,) = find_places(p, v, labels(2))
    correction = np.where(tail, 10, 0).astype(np.uint8)  # the body erased, the tail painted
    texts = [a.text for a in alternatives(p, place, v, labels(2), correction)]
    assert texts == ["anterior -128 voxels; 4 of 8 samples", "as it is; 4 of 8 samples"]


def test_applying_sets_the_voxels_that_change_and_no_others():
    masks, tail = tailed()
    p, v = prediction(masks), volume(tail.shape)
    (place,) = find_places(p, v, labels(2))
    first = alternatives(p, place, v, labels(2))[1]
    present = np.where(masks[0], 10, 0).astype(np.uint8)
    present[9, 9, 9] = 10  # one voxel of the tail is there already
    kept = present.copy()
    flat, values = apply(first, present)
    np.testing.assert_array_equal(present, kept)
    assert len(flat) == tail.sum() - 1
    present.reshape(-1)[flat] = values
    np.testing.assert_array_equal(present, np.where(masks[-1], 10, 0))


def test_near_variants_of_an_answer_are_no_alternatives():
    masks, tail = tailed()
    jitter = [m.copy() for m in masks]
    for i, m in enumerate(jitter[4:]):
        m[8, 6 : 6 + 2 * i, 8] = False  # the tails are not quite equally long
    p, v = prediction(jitter), volume(tail.shape)
    (place,) = find_places(p, v, labels(2))
    assert sorted(a.votes for a in alternatives(p, place, v, labels(2))) == [4, 4]


def test_three_answers_are_three_alternatives_and_never_more():
    base = np.zeros(SHAPE, np.uint8)
    drawn = []
    for k in range(5):
        mask = base.copy()
        mask[4:10, 4:10, 4:10] = k
        drawn += [mask] * (k + 1)
    for classes, votes in ((2, [2, 1]), (3, [3, 2, 1])):
        p = prediction(drawn[: sum(range(classes + 1))], classes)
        (place,) = find_places(p, volume(SHAPE), labels(classes))
        assert [a.votes for a in alternatives(p, place, volume(SHAPE), labels(classes))] == votes
    p = prediction(drawn, 5)
    (place,) = find_places(p, volume(SHAPE), labels(5))
    found = alternatives(p, place, volume(SHAPE), labels(5))
    assert len(found) == 3 and sum(a.votes for a in found) == 15


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(1, 7), st.booleans())
def test_an_alternative_is_a_sample_as_it_was_drawn(seed, classes, samples, flat):
    rng = np.random.default_rng(seed)
    shape = (9, 10, 1) if flat else (7, 8, 6)
    masks = [rng.integers(0, classes, shape) * (rng.random(shape) < 0.4) for _ in range(samples)]
    p, v = prediction(masks, classes), volume(shape, (1, 2, 3), bool(seed % 2))
    values = np.array([label.value for label in labels(classes)], np.uint8)
    for place in find_places(p, v, labels(classes)):
        found = alternatives(p, place, v, labels(classes))
        assert 1 <= len(found) <= 3
        assert sum(a.votes for a in found) == samples
        assert [a.votes for a in found] == sorted((a.votes for a in found), reverse=True)
        inside = np.zeros(shape, bool)
        inside.reshape(-1)[place.flat(shape)] = True
        for a in found:
            mask = rng.choice(values, shape)
            after = mask.copy()
            index, new = apply(a, mask)
            after.reshape(-1)[index] = new
            np.testing.assert_array_equal(after, np.where(inside, values[p.masks[a.sample]], mask))


def test_one_sample_is_its_own_only_alternative():
    masks, tail = tailed()
    (place,) = find_places(prediction(masks), volume(tail.shape), labels(2))
    (only,) = alternatives(prediction(masks[-1:]), place, volume(tail.shape), labels(2))
    assert (only.votes, only.share) == (1, 1.0)


def spread(radii, seed=0):
    """Balls of the given radii, each with its own few stray voxels."""
    rng = np.random.default_rng(seed)
    return [ball(SHAPE, (8, 9, 7), r) ^ ((rng.random(SHAPE) < 0.02) & ball(SHAPE, (8, 9, 7), 6)) for r in radii]


def test_two_families_are_found_with_their_members():
    p = prediction(spread([3, 5, 3, 5, 5, 3, 5]))
    large, small = families(p)
    assert large.members == (1, 3, 4, 6) and small.members == (0, 2, 5)
    assert large.medoid in large.members and small.medoid in small.members
    assert families_sentence((large, small), 7) == "2 families of answers: 4 and 3 of 7 samples"


def test_families_of_labels_are_told_apart_where_the_outline_is_one():
    outline = ball(SHAPE, (8, 9, 7), 5)
    front = np.where(np.arange(SHAPE[1])[None, :, None] < 7, 1, 2) * outline
    back = np.where(np.arange(SHAPE[1])[None, :, None] < 11, 1, 2) * outline
    assert [f.members for f in families(prediction([front, front, back, back, back], 3))] == [(2, 3, 4), (0, 1)]
    assert families(prediction([outline] * 5, 3)) == ()


def test_whole_masks_are_compared_though_only_their_differences_are_read():
    rng = np.random.default_rng(3)
    masks = [
        np.where(rng.random(SHAPE) < 0.1, rng.integers(0, 3, SHAPE), 2 * ball(SHAPE, (8, 9, 7), 5)) for _ in "1234"
    ]
    whole = iou_distance(np.stack(masks).reshape(4, -1).astype(np.uint8))
    np.testing.assert_allclose(hypotheses._distance(prediction(masks, 3), None), whole, atol=1e-12)


def test_groups_that_are_not_clear_are_no_families():
    rng = np.random.default_rng(0)
    for _ in range(20):
        masks = np.zeros((12, *SHAPE), bool)
        masks[:, 4:8, 4:8, 4:8] = rng.random((12, 4, 4, 4)) < 0.5  # chance alone
        assert families(prediction(masks)) == ()


def test_noise_and_single_outliers_are_no_families():
    p = prediction(spread([4] * 8))
    assert families(p) == ()
    assert families_sentence((), 8) == "one family of answers"
    assert families(prediction(spread([4] * 7 + [6]))) == ()  # one sample alone is none


def test_too_few_samples_say_so():
    masks = spread([3, 5, 5])
    assert families(prediction(masks)) == ()
    assert "at least 4" in families_sentence((), 3)


def test_families_at_a_place_look_there_only():
    masks, tail = tailed()
    p = prediction(masks)
    (place,) = find_places(p, volume(tail.shape), labels(2))
    assert {f.members for f in families(p, place)} == {(0, 1, 2, 3), (4, 5, 6, 7)}
    far = ball(tail.shape, (10, 40, 10), 3)
    mixed = prediction([m ^ far if i % 2 else m for i, m in enumerate(masks)])
    places = [q for q in find_places(mixed, volume(tail.shape), labels(2)) if q.name.startswith("posterior")]
    assert {f.members for f in families(mixed, places[0])} == {(0, 1, 2, 3), (4, 5, 6, 7)}
