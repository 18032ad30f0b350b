"""Watching a mask: against numpy's own comparison, and an undo history kept as whole copies."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.volume import Volume
from napari_pgrd.session.correction import Correction, differing, replay
from napari_pgrd.session.display import Display

SHAPE = (5, 7, 6)
AFFINES = {
    "RAS": np.eye(4),
    "LAS": np.diag([-1.0, 1, 1, 1]),
    "PSR": np.array([[0, 0, 1.0, 0], [-1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 1]]),
}

index = st.tuples(*(st.integers(0, n - 1) for n in SHAPE))
stroke = st.tuples(st.just("stroke"), index, index, st.integers(0, 3))
operation = st.tuples(st.just("operation"), st.sampled_from(["grow", "clear", "smooth"]), st.integers(1, 3))
steps = st.lists(st.one_of(stroke, operation, st.just(("undo",)), st.just(("redo",)), st.just(("look",))), max_size=25)


class Reader:
    """The oracle: a mask, and an undo history of whole copies."""

    def __init__(self, mask: np.ndarray) -> None:
        self.mask, self.past, self.future = mask, [], []

    def put(self, new: np.ndarray) -> bool:
        if np.array_equal(new, self.mask):
            return False
        self.past.append(self.mask.copy())
        self.future.clear()
        self.mask[...] = new
        return True

    def step(self, back: bool) -> bool:
        source, target = (self.past, self.future) if back else (self.future, self.past)
        if not source:
            return False
        target.append(self.mask.copy())
        self.mask[...] = source.pop()
        return True


def painted(mask: np.ndarray, a: tuple[int, ...], b: tuple[int, ...], label: int) -> np.ndarray:
    out = mask.copy()
    out[tuple(slice(min(i, j), max(i, j) + 1) for i, j in zip(a, b, strict=True))] = label
    return out


def operated(mask: np.ndarray, name: str, label: int) -> np.ndarray:
    here = mask == label
    if name == "grow":
        return np.where(ndimage.binary_dilation(here) & (mask == 0), label, mask).astype(np.uint8)
    if name == "clear":
        return np.where(here, 0, mask).astype(np.uint8)
    return ndimage.median_filter(mask, 3)


@settings(max_examples=30, deadline=None)
@given(steps, st.sampled_from(sorted(AFFINES)), st.booleans())
def test_any_mix_of_edits_replays_to_the_identical_mask(mix, orientation, told):
    """``told``: whether the viewer says what each edit was; if not, it is guessed from the data."""
    display = Display.of(Volume(np.zeros((1, *SHAPE), np.uint8), AFFINES[orientation]))
    start = np.random.default_rng(0).integers(0, 3, SHAPE).astype(np.uint8)
    shown = np.ascontiguousarray(display.show(start))  # as a layer holds it
    reader, kinds = Reader(display.hide(shown)), []
    with tempfile.TemporaryDirectory() as folder:
        correction = Correction.begin(Path(folder) / "edits.log", start)
        for kind, *what in mix:
            changed = False
            if kind == "stroke":
                changed = reader.put(painted(reader.mask, *what))
                entry = correction.observe(display.hide(shown), new=told and changed)
            elif kind == "operation":
                changed = reader.put(operated(reader.mask, *what))
                with correction.operation(what[0]):
                    entry = correction.observe(display.hide(shown), new=told and changed)
            else:
                changed = kind != "look" and reader.step(back=kind == "undo")
                with correction.operation("", kind) if told and changed else nullcontext():
                    entry = correction.observe(display.hide(shown))
            assert (entry is not None) == changed
            if entry is not None:
                kinds.append((kind, entry.kind))
            np.testing.assert_array_equal(correction.mask, reader.mask)
        np.testing.assert_array_equal(replay(correction.log), reader.mask)
        again = Correction.open(correction.log.path)
        np.testing.assert_array_equal(again.mask, reader.mask)
        if told:
            assert all(done == logged for done, logged in kinds)
            assert [len(again.done), len(again.undone)] == [len(reader.past), len(reader.future)]
            expected = [*reader.past, reader.mask, *reversed(reader.future)]
            for mask, wanted in zip(again.history(), expected, strict=True):
                np.testing.assert_array_equal(mask, wanted)
        correction.close()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.integers(0, 2**32 - 1),
    st.floats(0, 1),
)
def test_differences_are_those_that_numpy_finds_however_the_arrays_lie(shape, seed, share):
    rng = np.random.default_rng(seed)

    def lying(values: np.ndarray) -> np.ndarray:
        """The same values in another order of memory, with gaps now and then."""
        axes = rng.permutation(values.ndim)
        flips = tuple(slice(None, None, rng.choice([-1, 1])) for _ in axes)
        gaps = tuple(slice(None, None, rng.integers(1, 3)) for _ in axes)
        base = np.zeros([(n - 1) * g.step + 1 for n, g in zip(np.array(shape)[axes], gaps, strict=True)], np.uint8)
        view = base[gaps].transpose(np.argsort(axes))[flips]
        view[...] = values
        return view

    before = rng.integers(0, 4, shape).astype(np.uint8)
    after = np.where(rng.random(shape) < share, rng.integers(0, 4, shape), before).astype(np.uint8)
    np.testing.assert_array_equal(differing(lying(before), lying(after)), np.flatnonzero(before != after))


def test_undo_and_redo_are_known_by_the_voxels_they_bring_back(tmp_path):
    mask = np.zeros(SHAPE, np.uint8)
    correction = Correction.begin(tmp_path / "edits.log", mask)
    states = [mask.copy()]
    for i in range(3):
        mask[i] = i + 1
        correction.observe(mask, new=True)
        states.append(mask.copy())
    walk = [2, 1, 0, 1, 2, 1, 2, 3]
    kinds = [correction.observe(states[i]).kind for i in walk]
    assert kinds == ["undo", "undo", "undo", "redo", "redo", "undo", "redo", "redo"]


def test_a_stroke_that_napari_tells_of_before_it_writes_it_is_still_a_stroke(tmp_path):
    mask = np.zeros(SHAPE, np.uint8)
    correction = Correction.begin(tmp_path / "edits.log", mask)
    mask[1] = 1
    correction.observe(mask, new=True)
    assert correction.observe(mask, new=True) is None  # told of
    mask[1] = 0  # and written: a reader who erases exactly what was painted has not undone it
    assert correction.observe(mask).kind == "stroke"
    assert (len(correction.done), len(correction.undone)) == (2, 0)


def test_what_nothing_explains_is_logged_as_an_edit(tmp_path):
    mask = np.zeros(SHAPE, np.uint8)
    correction = Correction.begin(tmp_path / "edits.log", mask)
    mask[1] = 1
    assert correction.observe(mask).kind == "edit"
    np.testing.assert_array_equal(replay(tmp_path / "edits.log"), mask)


def test_accepting_a_new_sampling_is_said_by_its_name(tmp_path):
    mask = np.zeros(SHAPE, np.uint8)
    correction = Correction.begin(tmp_path / "edits.log", mask)
    mask[1] = 1
    with correction.operation("sampled again", "accept"):
        entry = correction.observe(mask, new=True)
    assert (entry.kind, entry.name) == ("accept", "sampled again")
    mask[2] = 1
    assert correction.observe(mask, new=True).kind == "stroke"  # what comes after is not


def test_nothing_that_happens_to_the_array_given_reaches_the_correction(tmp_path):
    mask = np.zeros(SHAPE, np.uint8)
    correction = Correction.begin(tmp_path / "edits.log", mask)
    mask[0] = 5
    assert not correction.mask.any()
    correction.mask[...] = 7
    assert not correction.mask.any()


def test_whole_numbers_of_any_type_can_be_started_from(tmp_path):
    mask = np.random.default_rng(0).integers(0, 256, SHAPE)
    np.testing.assert_array_equal(Correction.begin(tmp_path / "edits.log", mask).mask, mask)


@pytest.mark.parametrize("mask", [np.full(SHAPE, 256), np.full(SHAPE, -1), np.zeros(SHAPE), np.zeros((0, 3), np.uint8)])
def test_what_is_no_mask_is_refused(tmp_path, mask):
    with pytest.raises(InputError, match="from 0 to 255"):
        Correction.begin(tmp_path / "edits.log", mask)


@pytest.mark.parametrize("array", [np.zeros(SHAPE, np.int32), np.zeros((*SHAPE, 1), np.uint8)])
def test_data_of_another_kind_are_refused(tmp_path, array):
    correction = Correction.begin(tmp_path / "edits.log", np.zeros(SHAPE, np.uint8))
    with pytest.raises(InputError, match="Start a new correction"):
        correction.observe(array)
