"""How often the window is painted while samples arrive: in software rendering that takes longer than all the rest."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QProgressBar

from napari_pgrd.engine.predict import Update
from napari_pgrd.session.state import Phase
from napari_pgrd.viewer import desk as desk_module
from napari_pgrd.viewer import results as results_module
from napari_pgrd.viewer.widgets import advance
from tests.hands import wait
from tests.viewer.test_sampling import run


class Paints(QObject):
    """Counts what a widget is painted."""

    def __init__(self, widget) -> None:
        super().__init__(widget)
        self.count = 0
        widget.installEventFilter(self)

    def eventFilter(self, watched, event) -> bool:
        self.count += event.type() == QEvent.Type.Paint
        return False


@pytest.fixture
def sampled(review, qtbot):
    """After a run, with nothing left to draw."""
    run(review, qtbot)
    wait(qtbot, lambda: review.dock.places.worker is None)
    qtbot.wait(300)
    review.canvas = Paints(review.viewer.window._qt_viewer.canvas.native)
    return review


def drawn(review, qtbot) -> int:
    """How often the canvas was painted until nothing was left to draw."""
    before = review.canvas.count
    wait(qtbot, lambda: review.desk.layers.turns.waiting == 0)
    qtbot.wait(200)
    return review.canvas.count - before


def another(review, **maps):
    """The same samples as a prediction of its own, with other maps."""
    p = review.desk.prediction
    made = type(p)(**{name: getattr(p, name) for name in p.__dataclass_fields__})
    for name, value in maps.items():
        made.__dict__[name] = value  # where cached_property looks first
    return made


def test_a_sample_its_lines_and_its_maps_are_one_paint(sampled, qtbot):
    p = another(sampled)
    sampled.desk.layers.results.add_sample(0, p.masks[0], p)
    wait(qtbot, lambda: any(x.name == "Arriving sample 01" for x in sampled.viewer.layers))
    drawn(sampled, qtbot)
    for heat in ("off", "entropy"):
        sampled.dock.views.heat(heat)
        drawn(sampled, qtbot)
        p = another(sampled)
        sampled.desk.layers.results.add_sample(1, p.masks[1], p)
        assert drawn(sampled, qtbot) == 1


def test_samples_refined_together_are_drawn_together(sampled, qtbot, monkeypatch):
    monkeypatch.setattr(results_module, "GATHER_MS", 3_600_000)
    results, p = sampled.desk.layers.results, another(sampled)
    results.add_sample(0, p.masks[0], p, more=True)
    assert drawn_names(sampled) == []
    qtbot.wait(200)
    assert drawn_names(sampled) == []
    results.add_sample(1, p.masks[1], p)
    drawn(sampled, qtbot)
    assert drawn_names(sampled) == ["Arriving sample 02"]


def drawn_names(review) -> list[str]:
    return [x.name for x in review.viewer.layers if x.name.startswith("Arriving")]


def test_a_sample_whose_companion_does_not_come_is_drawn_all_the_same(sampled, qtbot):
    results, p = sampled.desk.layers.results, another(sampled)
    results.add_sample(0, p.masks[0], p, more=True)
    wait(qtbot, lambda: drawn_names(sampled) == ["Arriving sample 01"])


def test_the_end_of_a_run_waits_for_no_companion(sampled, qtbot, monkeypatch):
    monkeypatch.setattr(results_module, "GATHER_MS", 3_600_000)
    results, p = sampled.desk.layers.results, another(sampled)
    p.__dict__["entropy"] = np.full_like(p.entropy, 0.25)
    results.add_sample(0, p.masks[0], p, more=True)
    results.settle()
    drawn(sampled, qtbot)
    assert drawn_names(sampled) == []
    assert (sampled.viewer.layers["Entropy"].data == np.float32(0.25)).all()


def test_a_map_that_was_hidden_shows_the_newest_when_it_is_turned_on(sampled, qtbot):
    layer = sampled.viewer.layers["Entropy"]
    sampled.dock.views.heat("entropy")
    sampled.dock.views.heat("off")
    new = np.full_like(sampled.desk.prediction.entropy, 0.5)
    before = sampled.desk.prediction.entropy.copy()
    old = sampled.desk.prediction
    sampled.desk.layers.results.update_maps(another(sampled, entropy=new))
    drawn(sampled, qtbot)
    sampled.dock.views.heat("entropy")
    assert (layer._slice.image.raw == np.float32(0.5)).all()
    np.testing.assert_array_equal(old.entropy, before)  # what is drawn into is the layer's own
    layer.data[...] = 0
    assert (new == np.float32(0.5)).all()


def test_results_cannot_be_painted_on_however_many_samples_have_come(sampled, qtbot):
    p = another(sampled)
    sampled.desk.layers.results.add_sample(0, p.masks[0], p)
    sampled.desk.layers.results.update_maps(another(sampled))
    drawn(sampled, qtbot)
    for name in ("Consensus", "Arriving sample 01", "Sample 01", "Prior"):
        assert not sampled.viewer.layers[name].editable


def test_lines_of_a_slice_that_was_left_are_not_drawn(sampled, qtbot):
    desk, lines = sampled.desk, sampled.viewer.layers["Agreement"]
    axis, index = desk.layers.current_slice()
    find, draw = desk.layers.lines.task()
    found = find()
    sampled.viewer.dims.set_current_step(axis, index + 1)
    drawn(sampled, qtbot)
    draw(found)
    assert set(lines.data[:, 0, axis]) == {index + 1}


def test_a_progress_bar_is_painted_with_the_rest(qtbot):
    bar = QProgressBar()
    qtbot.addWidget(bar)
    bar.setRange(0, 1000)
    with qtbot.waitExposed(bar):
        bar.show()
    qtbot.wait(100)
    paints = Paints(bar)
    advance(bar, 700)
    assert bar.value() == 700
    assert paints.count == 0
    wait(qtbot, lambda: paints.count == 1)


def test_steps_that_follow_each_other_closely_are_not_all_shown(review, monkeypatch):
    desk, state = review.desk, review.state
    monkeypatch.setattr(desk_module, "STEP_S", 3600.0)
    state.phase = Phase.RUNNING
    desk.worker = object()
    desk._told = -7200.0
    for fraction in (0.1, 0.2):
        desk._updated(Update("step", 0, 3, fraction, 5.0))
    desk.worker = None
    assert state.progress == 0.1
