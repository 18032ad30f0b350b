"""What may be locked, and what settling does to samples and maps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.locks import Locks
from napari_pgrd.engine.prediction import Prediction, entropy_of

SHAPE = (4, 5, 6)
RNG = np.random.default_rng(0)


def _mask(*boxes: tuple[slice, slice, slice]) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    for box in boxes:
        mask[box] = True
    return mask


LOCKED = _mask((slice(0, 2), slice(0, 2), slice(0, 2)))
REGION = _mask((slice(0, 4), slice(0, 4), slice(0, 4)))
LABELS = RNG.integers(0, 3, SHAPE).astype(np.uint8)


def _prediction(samples: int = 3, shape: tuple[int, int, int] = SHAPE) -> Prediction:
    masks = tuple(RNG.integers(0, 3, shape).astype(np.uint8) for _ in range(samples))
    p = RNG.dirichlet((1, 1, 1), shape).astype(np.float32).transpose(3, 0, 1, 2)
    votes = np.stack([sum((m == k).astype(np.uint16) for m in masks) for k in range(3)])
    return Prediction(p, votes, masks, p, samples * p, samples * entropy_of(p))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"mask": np.zeros(SHAPE, bool)}, "No voxel is locked"),
        ({"mask": LOCKED.astype(np.uint8)}, "3 dimensions of uint8; it needs 3 of bool"),
        ({"mask": LOCKED[0]}, "2 dimensions of bool"),
        ({"labels": LABELS[1:]}, r"shape \(4, 5, 6\), their labels \(3, 5, 6\)"),
        ({"labels": LABELS.astype(float)}, "float64, but must be whole"),
        ({"labels": np.full(SHAPE, -1)}, "from -1 to 0; they must be between 0 and 255"),
        ({"labels": np.full(SHAPE, 256)}, "to 256"),
        ({"region": REGION[1:], "earlier": _prediction()}, r"region to draw again has shape \(3, 5, 6\)"),
        ({"region": REGION}, "Give both or neither"),
        ({"earlier": _prediction()}, "Give both or neither"),
    ],
)
def test_locks_that_make_no_sense_are_a_sentence(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Locks(**{"mask": LOCKED, "labels": LABELS, **fields})


def test_locks_are_a_copy_that_cannot_change() -> None:
    mask, labels = LOCKED.copy(), LABELS.copy()
    locks, before = Locks(mask, labels), Locks(mask, labels).digest
    mask[:], labels[:] = True, 2
    assert locks.digest == before
    for array in (locks.mask, locks.labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0, 0] = 1


def test_the_digest_is_of_what_is_kept_and_of_nothing_else() -> None:
    earlier = _prediction()
    base = Locks(LOCKED, LABELS)
    elsewhere = np.where(LOCKED, LABELS, 0)
    assert Locks(LOCKED, elsewhere).digest == base.digest and Locks(LOCKED, elsewhere) == base
    others = [
        Locks(LOCKED, np.where(LOCKED, (LABELS + 1) % 3, 0)),
        Locks(_mask((slice(0, 2), slice(0, 2), slice(0, 3))), elsewhere),
        Locks(LOCKED.reshape(5, 4, 6), elsewhere.reshape(5, 4, 6)),
        Locks(LOCKED, LABELS, REGION, earlier),
        Locks(LOCKED, LABELS, REGION, _prediction()),
        Locks(LOCKED, LABELS, REGION[:, ::-1], earlier),
    ]
    assert len({x.digest for x in [base, *others]}) == 7


def test_a_class_that_the_bundle_lacks_is_a_sentence() -> None:
    labels = np.where(LOCKED, 2, 7)
    Locks(LOCKED, labels).check(3, 9)  # the 7 is not locked
    with pytest.raises(InputError, match="class index 2, but the bundle's classes are 0 to 1"):
        Locks(LOCKED, labels).check(2, 9)


def test_more_samples_than_there_are_to_keep_are_a_sentence() -> None:
    locks = Locks(LOCKED, LABELS, REGION, _prediction(3))
    locks.check(3, 3)
    with pytest.raises(InputError, match="4 samples were asked for, but only 3 earlier ones"):
        locks.check(3, 4)


def test_locks_of_the_source_are_cropped_to_the_box() -> None:
    box = ((1, 4), (0, 5), (1, 6))
    whole = Locks(LOCKED, LABELS)
    assert whole.on(SHAPE, None) is whole
    part = whole.on(SHAPE, box)
    assert np.array_equal(part.mask, LOCKED[1:4, 0:5, 1:6])
    assert np.array_equal(part.labels[part.mask], LABELS[1:4, 0:5, 1:6][part.mask])
    assert part.on(SHAPE, box) is part
    kept = Locks(LOCKED, LABELS, REGION, _prediction(2, (3, 5, 5))).on(SHAPE, box)
    assert kept.region is not None and np.array_equal(kept.region, REGION[1:4, 0:5, 1:6])
    with pytest.raises(InputError, match=r"image has \(9, 9, 9\) and the box \(3, 5, 2\)"):
        whole.on((9, 9, 9), ((0, 3), (0, 5), (0, 2)))
    with pytest.raises(InputError, match="No voxel is locked"):
        whole.on(SHAPE, ((2, 4), (2, 5), (2, 6)))
    with pytest.raises(InputError, match=r"earlier samples have shape \(4, 5, 6\), but \(3, 5, 5\)"):
        Locks(LOCKED, LABELS, REGION, _prediction()).on(SHAPE, box)


@pytest.mark.parametrize("regional", [False, True])
def test_settling_writes_locks_and_keeps_what_is_outside_the_region(regional: bool) -> None:
    earlier, drawn = _prediction(4), _prediction(2)
    locks = Locks(LOCKED, LABELS, *((REGION, earlier) if regional else ()))
    outside = ~REGION & ~LOCKED if regional else np.zeros(SHAPE, bool)
    free = ~LOCKED & ~outside
    for i, mask in enumerate(drawn.masks):
        settled = locks.settle_sample(mask, i)
        assert settled.dtype == np.uint8
        assert np.array_equal(settled[LOCKED], LABELS[LOCKED])
        assert np.array_equal(settled[outside], earlier.masks[i][outside])
        assert np.array_equal(settled[free], mask[free])
    p = locks.settle_probability(drawn.probability)
    assert p.dtype == np.float32
    assert np.array_equal(p[:, LOCKED], np.eye(3, dtype=np.float32)[:, LABELS[LOCKED]])
    assert np.array_equal(p[:, outside], earlier.probability[:, outside])
    assert np.array_equal(p[:, free], drawn.probability[:, free])
    h = locks.settle_entropy(drawn.sample_entropy, 2)
    assert h.dtype == np.float32 and (h[LOCKED] == 0).all()
    np.testing.assert_allclose(h[outside], earlier.sample_entropy[outside] / 2)
    assert np.array_equal(h[free], drawn.sample_entropy[free])


def test_locks_win_over_what_is_kept_outside_the_region() -> None:
    earlier = _prediction(1)
    other = replace(earlier, masks=((LABELS + 1) % 3,))
    beyond = Locks(~REGION, LABELS, REGION, other)
    assert beyond.kept is not None and not beyond.kept.any()
    assert np.array_equal(beyond.settle_sample(other.masks[0], 0)[~REGION], LABELS[~REGION])
