"""The edit log on napari's real Labels layer: random mixes of everything that changes it, then replayed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.layers import Labels

from napari_pgrd.engine.volume import Volume
from napari_pgrd.session.correction import HISTORY, Correction, replay
from napari_pgrd.session.display import Display

SHAPE = (6, 12, 10)  # (x, y, z)
AFFINE = np.array([[0, 0, -1.0, 0], [1, 0, 0, 0], [0, 1.5, 0, 0], [0, 0, 0, 1]])  # the display turns and flips it
DISPLAY = Display.of(Volume(np.zeros((1, *SHAPE), np.uint8), AFFINE))
LAID = DISPLAY.show(np.zeros(SHAPE)).shape


def start_mask() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3, SHAPE).astype(np.uint8)


def layer_of(mask: np.ndarray) -> Labels:
    return Labels(np.ascontiguousarray(DISPLAY.show(mask)))


def watch(layer: Labels, correction: Correction) -> list[str]:
    """The contract of napari_pgrd.session.correction; returns the kinds as they are logged."""
    kinds = []

    def look(new: bool = False) -> None:
        entry = correction.observe(DISPLAY.hide(np.asarray(layer.data)), new)
        kinds.extend([entry.kind] if entry is not None else [])

    layer.events.paint.connect(lambda event: look(new=True))
    layer.events.labels_update.connect(lambda event: layer._block_history or look())
    layer.events.set_data.connect(lambda event: layer._block_history or look())
    return kinds


point = st.tuples(*(st.integers(0, n - 1) for n in LAID))
label = st.integers(0, 3)
edits = st.one_of(
    st.tuples(st.just("drag"), st.lists(point, min_size=1, max_size=4), label, st.integers(1, 6), st.booleans()),
    st.tuples(st.just("fill"), point, label),
    st.tuples(st.just("polygon"), st.lists(point, min_size=3, max_size=5), label),
    st.tuples(st.just("operation"), st.lists(point, min_size=1, max_size=9), label, st.integers(1, 3)),
    st.tuples(st.just("lone"), st.lists(point, min_size=1, max_size=5), label),
)
others = st.sampled_from(["undo", "undo", "redo", "redo", "scroll", "turn", "hidden undo"]).map(lambda x: (x,))


def apply(layer: Labels, correction: Correction, kind: str, *what) -> None:
    if kind == "drag":
        points, value, size, preserve = what
        layer.selected_label, layer.brush_size, layer.preserve_labels = max(value, 1), size, preserve
        with layer.block_history():  # as napari's own mouse callback does
            for p in points:
                layer.paint(p, value)
    elif kind == "fill":
        layer.fill(*what)
    elif kind == "polygon":
        points, value = what
        layer.paint_polygon(np.array([(points[0][0], *p[1:]) for p in points]), value)
    elif kind == "operation":
        points, value, times = what
        with correction.operation("swap"), layer.block_history():
            for i in range(times):
                layer.data_setitem(tuple(np.array(points).T), (value + i) % 4, refresh=i % 2 == 0)
    elif kind == "lone":
        points, value = what
        layer.data_setitem(tuple(np.array(points).T), value)
    elif kind == "scroll":
        layer.refresh()
    elif kind == "turn":
        layer.visible = not layer.visible
        layer.visible = True
    elif kind == "hidden undo":
        layer.visible = False
        layer.undo()
        layer.undo()
        layer.visible = True
    else:
        getattr(layer, kind)()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(edits, others), max_size=25))
def test_any_mix_through_the_real_layer_replays_to_the_identical_mask(mix):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "edits.log"
        correction = Correction.begin(path, start_mask())
        layer = layer_of(start_mask())
        watch(layer, correction)
        for step in mix:
            apply(layer, correction, *step)
            # After every step, as if the process were killed here.
            np.testing.assert_array_equal(DISPLAY.show(replay(path)), layer.data)
        correction.close()


def test_each_thing_is_logged_once_and_by_its_name(tmp_path):
    correction = Correction.begin(tmp_path / "edits.log", np.zeros(SHAPE, np.uint8))
    layer = layer_of(np.zeros(SHAPE, np.uint8))
    kinds = watch(layer, correction)
    steps = [
        ("drag", [(5, 3, 2), (5, 6, 2), (5, 9, 2)], 1, 3, False),
        ("fill", (2, 0, 0), 2),
        ("polygon", [(4, 1, 1), (4, 9, 1), (4, 9, 4)], 3),
        ("operation", [(1, 1, 1), (2, 2, 2)], 1, 3),
        ("undo",),
        ("undo",),
        ("redo",),
        ("scroll",),
        ("drag", [(5, 3, 2)], 1, 3, True),  # preserve_labels leaves nothing to paint
        ("lone", [(0, 0, 0)], 3),
    ]
    for step in steps:
        apply(layer, correction, *step)
    assert kinds == ["stroke", "stroke", "stroke", "operation", "undo", "undo", "redo", "stroke"]
    assert [e.name for e in correction.log.entries if e.kind == "operation"] == ["swap"]


def test_undo_reaches_back_a_hundred_operations_also_after_a_crash(tmp_path):
    path, rng = tmp_path / "edits.log", np.random.default_rng(0)
    correction = Correction.begin(path, start_mask())
    layer = layer_of(start_mask())
    watch(layer, correction)
    states = [layer.data.copy()]
    for i in range(HISTORY + 5):
        where = tuple(rng.integers(0, n, 6) for n in LAID)
        with correction.operation("change"), layer.block_history():
            layer.data_setitem(where, (layer.data[where] + 1) % 4)
            layer.data_setitem(where, (layer.data[where] + 1 + i % 2) % 4)
        states.append(layer.data.copy())
    layer.undo()
    layer.undo()

    resumed = Correction.open(path)
    masks = resumed.history()
    again = layer_of(next(masks))
    for mask in masks:
        shown = DISPLAY.show(mask)
        where = np.nonzero(shown != again.data)
        again.data_setitem(where, shown[where])
    for _ in resumed.undone:
        again.undo()
    np.testing.assert_array_equal(again.data, states[-3])
    kinds = watch(again, resumed)
    for i in range(HISTORY - 2):
        again.undo()
        np.testing.assert_array_equal(again.data, states[-4 - i])
    np.testing.assert_array_equal(again.data, states[5])  # a hundred before the last
    for i in range(HISTORY):
        again.redo()
        np.testing.assert_array_equal(again.data, states[6 + i])
    assert kinds == ["undo"] * (HISTORY - 2) + ["redo"] * HISTORY
    np.testing.assert_array_equal(DISPLAY.show(replay(path)), states[-1])
