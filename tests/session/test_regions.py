"""The places to settle, on shapes whose disagreement can be counted by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.predict import predict
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.volume import Reorder, Volume
from napari_pgrd.session.regions import Place, find_places, stake_sentence, total_stake
from tests.session.drawn import ball, labels, prediction, tailed, volume
from tests.tiny import blob_volume, make_tiny_bundle

SHAPE = (24, 40, 24)
LEFT, RIGHT = (12, 9, 12), (12, 30, 12)


def two_balls(spacing=(1, 1, 1), shape=SHAPE, samples=6):
    """Two balls, apart, that every second sample draws; the first is the larger one."""
    centres = [np.array(c) / spacing for c in (LEFT, RIGHT)]
    drawn = np.any([ball(shape, c, r, spacing) for c, r in zip(centres, (5, 4), strict=True)], 0)
    return [drawn if i % 2 else np.zeros(shape, bool) for i in range(samples)]


def full(place, shape):
    out = np.zeros(shape, bool)
    out.reshape(-1)[place.flat(shape)] = True
    return out


def test_two_balls_that_half_of_the_samples_draw_are_two_places():
    large, small = find_places(prediction(two_balls()), volume(SHAPE), labels(2))
    assert (large.centre, small.centre) == (LEFT, RIGHT)
    np.testing.assert_array_equal(full(large, SHAPE), ball(SHAPE, LEFT, 5))
    np.testing.assert_array_equal(full(small, SHAPE), ball(SHAPE, RIGHT, 4))
    assert large.stake == pytest.approx(ball(SHAPE, LEFT, 5).sum() / 2 / 1000)


def test_the_shell_of_one_structure_is_split():
    masks = [ball((30, 30, 30), (14.5, 14.5, 14.5), r) for r in (7, 8, 9, 10, 11)]
    places = find_places(prediction(masks), volume((30, 30, 30)), labels(2))
    assert len(places) > 3
    assert len({q.name.partition(",")[0] for q in places}) > 3


@pytest.mark.parametrize(("known", "unit", "size"), [(True, "mL", 0.006), (False, "voxels", 1.0)])
def test_what_is_at_stake_is_the_mean_difference_from_the_consensus(known, unit, size):
    rng = np.random.default_rng(0)
    masks = [np.where(rng.random(SHAPE) < 0.05, rng.integers(0, 3, SHAPE), two_balls()[1]) for _ in range(5)]
    p = prediction(masks, 3)
    places = find_places(p, volume(SHAPE, (1, 2, 3), known), labels(3))
    assert len(places) == 10
    assert [q.stake for q in places] == sorted((q.stake for q in places), reverse=True)
    for place in places:
        where = full(place, SHAPE)
        by_hand = np.mean([np.count_nonzero(m[where] != p.consensus[where]) for m in masks]) * size
        assert place.stake == pytest.approx(by_hand, rel=1e-5)
        assert place.unit == unit


def test_the_places_share_the_whole():
    masks = two_balls()
    p = prediction(masks)
    total = np.mean([np.count_nonzero(m != p.consensus) for m in masks]) / 1000
    assert total_stake(p, volume(SHAPE)) == pytest.approx(total)
    assert sum(q.stake for q in find_places(p, volume(SHAPE), labels(2))) == pytest.approx(total)
    assert total_stake(prediction(masks[:1]), volume(SHAPE)) == 0


def test_what_is_at_stake_in_one_sentence():
    def places(*stakes: float, unit: str = "mL") -> list[Place]:
        nothing = np.zeros((1, 1, 1), bool)
        return [Place(str(i), "", (1, 0), ((0, 1),) * 3, nothing, (0, 0, 0), s, unit) for i, s in enumerate(stakes)]

    both = places(0.15, 0.058)
    assert stake_sentence(both, 0.21) == "0.21 mL at stake in 2 places"
    assert stake_sentence(both, 0.25) == "0.25 mL at stake, 0.21 of it in 2 places"
    assert stake_sentence(both, 0.21, both) == "0.21 mL at stake in 2 places"
    assert stake_sentence(both, 0.21, both[1:]) == "0.21 mL at stake in 2 places; 0.06 mL still open"
    assert stake_sentence(both, 0.21, []) == "0.21 mL at stake in 2 places; 0.00 mL still open"
    assert stake_sentence(places(12.4, unit="voxels"), 12.4) == "12 voxels at stake in 1 place"
    assert stake_sentence([], 0.3) == ""


def test_a_tail_that_half_of_the_samples_have_is_one_place():
    masks, tail = tailed()
    p = prediction(masks)
    (place,) = find_places(p, volume(tail.shape), labels(2))
    np.testing.assert_array_equal(full(place, tail.shape), tail)
    assert place.stake == pytest.approx(tail.sum() / 2 / 1000)
    assert place.name == "posterior end, anterior | background"
    assert place.classes == (1, 0)
    assert place.box == ((8, 12), (6, 14), (8, 12))
    assert tail[place.centre]
    assert np.abs(np.array(place.centre) - (9.5, 9.5, 9.5)).max() <= 0.5
    np.testing.assert_array_equal(place.within(np.stack(masks))[:, 0], [0, 0, 0, 0, 1, 1, 1, 1])


@pytest.mark.parametrize(("spacing", "places"), [(1.0, 2), (0.75, 1)])
def test_peaks_are_at_least_four_millimetres_apart(spacing, places):
    masks = np.zeros((2, 20, 20, 20), bool)
    masks[1, 9:11, 7:9, 9:11] = masks[1, 9:11, 12:14, 9:11] = True  # five voxels from middle to middle
    assert len(find_places(prediction(masks), volume((20, 20, 20), (spacing,) * 3), labels(2))) == places
    assert len(find_places(prediction(masks), volume((20, 20, 20), (spacing,) * 3, False), labels(2))) == 2  # in voxels


def test_thick_slices_hold_the_same_places():
    spacing, shape = (1, 1, 3), (24, 40, 8)
    thick = find_places(prediction(two_balls(spacing, shape)), volume(shape, spacing), labels(2))
    assert [q.centre for q in thick] == [(12, 9, 4), (12, 30, 4)]
    assert thick[0].stake == pytest.approx(4 / 3 * np.pi * 5**3 / 2 / 1000, rel=0.1)
    pair = np.zeros((2, 20, 20, 9), bool)
    pair[1, 8:10, 8:10, 4] = pair[1, 8:10, 8:10, 6] = True  # two slices apart
    assert len(find_places(prediction(pair), volume(pair.shape[1:], (1, 1, 5)), labels(2))) == 2
    assert len(find_places(prediction(pair), volume(pair.shape[1:], (1, 1, 1)), labels(2))) == 1


def test_at_most_ten_and_none_without_something_at_stake():
    masks = np.zeros((4, 14 * 14, 12, 12), bool)
    sizes = [5, 4, 3, 5, 4, 3, 5, 4, 3, 5, 4, 3, 5, 1]
    for i, n in enumerate(sizes):
        masks[2:, 14 * i + 2 : 14 * i + 2 + n, 3 : 3 + n, 3 : 3 + n] = True
    places = find_places(prediction(masks), volume(masks.shape[1:]), labels(2))
    counted = sorted((int(q.mask.sum()) for q in places), reverse=True)
    assert counted == sorted((n**3 for n in sizes), reverse=True)[:10]
    beside = np.zeros((2, 28, 12, 12), bool)
    beside[1, 2:7, 3:8, 3:8] = beside[1, 20:22, 3:5, 3] = True  # the second has less than a twentieth of the first
    assert [q.mask.sum() for q in find_places(prediction(beside), volume(beside.shape[1:]), labels(2))] == [125]
    one = np.zeros((2, 8, 8, 8), bool)
    one[1, 4, 4, 4] = True  # half a voxel is at stake
    assert find_places(prediction(one), volume(one.shape[1:]), labels(2)) == ()


def test_what_is_between_names_a_third_class_only_where_it_has_votes():
    base = np.zeros((16, 16, 16), np.uint8)
    first, second = base.copy(), base.copy()
    first[4:12, 4:12, 4:12] = 1
    second[4:12, 4:12, 4:12] = 2
    assert find_places(prediction([first, second] * 2, 4), volume(base.shape), labels(4))[0].classes == (1, 2)
    three = find_places(prediction([base, first, second], 4), volume(base.shape), labels(4))[0]
    assert three.classes == (1, 2, 0)
    assert three.name.endswith("anterior | posterior | background")


def test_without_disagreement_there_is_nothing_to_settle():
    mask = ball(SHAPE, LEFT, 5)
    assert find_places(prediction([mask]), volume(SHAPE), labels(2)) == ()
    assert find_places(prediction([mask] * 3), volume(SHAPE), labels(2)) == ()
    assert find_places(prediction([mask & False] * 3), volume(SHAPE), labels(2)) == ()


def test_samples_that_agree_against_the_map_are_a_place():
    mask = ball(SHAPE, LEFT, 5)
    p = prediction([mask] * 3, 3)
    other = p.probability.copy()
    other[:, mask] = np.array([0.1, 0.4, 0.5])[:, None]
    places = find_places(replace(p, probability=other), volume(SHAPE), labels(3))
    assert sum(q.mask.sum() for q in places) == mask.sum()
    assert {q.classes for q in places} == {(1, 2)}  # nobody voted for 0 or 2, but 2 is the consensus


def test_a_single_slice_works():
    masks = [m[:, :, 12:13] for m in two_balls()]
    places = find_places(prediction(masks), volume((24, 40, 1), known=False), labels(2))
    assert {q.unit for q in places} == {"voxels"}
    assert all(q.centre[2] == 0 for q in places)
    assert {"lower", "upper"} <= {q.name.split()[0] for q in places}


def test_in_a_box_centres_are_on_the_source():
    masks, tail = tailed()
    whole = find_places(prediction(masks), volume(tail.shape), labels(2))[0]
    box = ((4, 18), (2, 48), (5, 19))
    cut = tuple(slice(lo, hi) for lo, hi in box)
    (part,) = find_places(prediction([m[cut] for m in masks]), volume(tail.shape), labels(2), box)
    assert (part.id, part.name, part.centre, part.stake) == (whole.id, whole.name, whole.centre, whole.stake)
    np.testing.assert_array_equal(full(part, masks[0][cut].shape), tail[cut])


@pytest.mark.parametrize("target", ["LPI", "SAR", "ARS"])
def test_another_axis_order_gives_the_same_places(target):
    rng = np.random.default_rng(1)
    masks = [ball(SHAPE, (12, 20, 12), 8 + g, (1, 0.6, 1)) for g in rng.normal(0, 1, 8)]
    masks += [m | ball(SHAPE, (12, 36, 14), 3) for m in masks[:4]]
    v = volume(SHAPE, (1, 1, 2))
    order = Reorder.between(v.affine, target)
    moved = Volume(order.apply(v.data), order.affine(v.affine, v.shape))
    here = find_places(prediction(masks), v, labels(2))
    there = find_places(prediction([order.apply(m) for m in masks]), moved, labels(2))
    assert here[0].name == there[0].name
    np.testing.assert_array_equal(order.apply(full(here[0], v.shape)), full(there[0], moved.shape))


def test_a_real_run_gives_places_that_can_be_used(tmp_path):
    bundle = Bundle.load(make_tiny_bundle(tmp_path / "tiny"))
    case, _ = blob_volume()
    *_, last = predict(case, bundle, Request(samples=5, steps=2))
    p = last.prediction
    places = find_places(p, case, bundle.spec.labels)
    assert 0 < len(places) <= 10
    assert len({q.id for q in places}) == len({q.name for q in places}) == len(places)
    taken = sum(full(q, case.shape).astype(int) for q in places)
    assert taken.max() == 1
    differ = (np.stack(p.masks) != p.consensus).any(0)
    assert not (taken > 0)[~differ].any()
    again = find_places(p, case, bundle.spec.labels)
    assert [(q.id, q.name, q.stake) for q in again] == [(q.id, q.name, q.stake) for q in places]
