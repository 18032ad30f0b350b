"""Layers of a run: few while it goes, all of them when it is over, none that the reader has to wait for."""

from __future__ import annotations

import gc
import sys
import weakref

import numpy as np

from napari_pgrd.session.display import Display
from napari_pgrd.viewer.worker import load_early
from tests.hands import click, wait
from tests.viewer.test_sampling import run, settled


def samples(review) -> list[str]:
    return [x.name for x in review.viewer.layers if x.name.startswith("Sample ")]


def arriving(review):
    return next((x for x in review.viewer.layers if x.name.startswith("Arriving sample")), None)


def drawing(review, qtbot, drawn: int) -> None:
    """Start a run that nobody waits for the end of, and wait until some samples are there and drawn."""
    review.state.samples = 500
    review.desk.sample()
    wait(qtbot, lambda: review.state.drawn >= drawn and arriving(review) is not None)


def test_samples_that_arrive_share_one_layer_until_the_run_is_over(review, qtbot):
    drawing(review, qtbot, 3)
    layer = arriving(review)
    assert layer.visible
    assert not review.viewer.layers["Prior"].visible
    assert samples(review) == []
    click(review.dock, "cancel")
    settled(review, qtbot)
    assert samples(review) == [f"Sample {i:02d}" for i in range(1, review.state.drawn + 1)]
    assert arriving(review) is None
    assert layer is review.viewer.layers["Sample 01"]  # it became one of them
    assert not any(review.viewer.layers[name].visible for name in samples(review))


def test_a_sample_that_is_asked_for_is_there_at_once_and_stays_in_view(review, qtbot):
    drawing(review, qtbot, 2)
    review.dock.views.step(2)
    display = Display.of(review.desk.volume)
    second = review.viewer.layers["Sample 02"]
    np.testing.assert_array_equal(second.data, display.show(review.desk.prediction.masks[1]))
    drawn = review.state.drawn
    wait(qtbot, lambda: review.state.drawn > drawn + 1)
    wait(qtbot, lambda: arriving(review).name > f"Arriving sample {drawn:02d}")
    assert second.visible
    assert not arriving(review).visible
    click(review.dock, "cancel")
    settled(review, qtbot)
    assert samples(review) == [f"Sample {i:02d}" for i in range(1, review.state.drawn + 1)]
    for i, mask in enumerate(review.desk.prediction.masks, 1):
        np.testing.assert_array_equal(review.viewer.layers[f"Sample {i:02d}"].data, display.show(mask))


def test_a_sample_that_the_reader_removed_comes_back_only_when_asked_for(review, qtbot):
    run(review, qtbot)
    review.viewer.layers.remove("Sample 02")
    review.state.samples = 4
    run(review, qtbot)
    assert samples(review) == ["Sample 01", "Sample 03", "Sample 04"]
    review.dock.views.step(2)
    assert samples(review) == ["Sample 01", "Sample 02", "Sample 03", "Sample 04"]
    assert review.viewer.layers["Sample 02"].visible


def test_what_sampling_again_replaces_is_freed_without_a_collection(review, qtbot):
    run(review, qtbot)
    old = weakref.ref(review.desk.prediction)
    gc.disable()
    try:
        review.state.seed = 5
        run(review, qtbot)
        assert old() is None  # what is set aside from collections must not need one
    finally:
        gc.enable()


def test_collections_look_at_everything_again_when_the_case_is_closed(review, qtbot):
    run(review, qtbot)
    assert gc.get_freeze_count() > 0
    review.viewer.layers.remove("blobs")
    assert gc.get_freeze_count() == 0


def test_an_open_image_loads_what_a_run_needs(review, qtbot):
    load_early().join()
    assert "napari_pgrd.engine.predict" in sys.modules
    assert load_early() is load_early()


def test_a_layer_of_the_readers_on_top_lifts_nothing_above_the_correction(review, qtbot):
    run(review, qtbot)
    review.dock.corrections.start("consensus")
    review.viewer.add_points([[1.0, 1.0, 1.0]], name="My mark")
    review.viewer.layers.remove("Sample 02")
    review.dock.desk.layers.results.sample(2)
    names = [layer.name for layer in review.viewer.layers]
    assert names.index("Sample 01") < names.index("Sample 02") < names.index("Sample 03")
    assert names[-2:] == ["Correction", "My mark"]
