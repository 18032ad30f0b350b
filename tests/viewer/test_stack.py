"""Past sixteen samples: one layer with a slider for all of them, and all else as with three axes."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_pgrd.engine.request import Request
from tests.hands import Left, click, click_tab, find, press, stroke, wait
from tests.session.drawn import prediction
from tests.tiny import blob_volume
from tests.viewer.test_sampling import run, settled

Key = Qt.Key
GRID = (18, 24, 20)  # (z, y, x)


def rolled(count: int):
    """Samples of the blobs, each a little further along y than the last."""
    _, truth = blob_volume()
    return prediction([np.roll(truth, i % 5 - 2, 1) for i in range(count)], 3)


def take(review, qtbot, count: int):
    p = rolled(count)
    review.desk.take(p, Request(samples=count, steps=2))
    wait(qtbot, lambda: review.dock.places.worker is None)
    settled(review, qtbot)
    click_tab(review.dock, "Review")
    return p


def shared(review, qtbot) -> None:
    """Press the button, and wait until the other layers are gone."""
    click(review.dock, "one_layer")
    settled(review, qtbot)


def names(review) -> list[str]:
    return [x.name for x in review.viewer.layers]


def slide(review, part: float) -> None:
    """Click on the slider of the samples at a part of its length; at its very ends are arrows, for one step."""
    bar = review.viewer.window._qt_viewer.dims.slider_widgets[0].slider
    assert bar.isVisible()
    QTest.mouseClick(bar, Left, pos=QPoint(round(1 + part * (bar.width() - 3)), bar.height() // 2))


def on_screen(layer) -> np.ndarray:
    """The slice that napari draws of a layer."""
    return np.asarray(layer._slice.image.raw)


@pytest.fixture
def many(review, qtbot):
    return take(review, qtbot, 18)


@pytest.fixture
def together(review, qtbot):
    """The same in one layer from the start, as after the button was pressed for samples before; none is shown yet."""
    review.desk.layers.results.stack.wanted = True
    return take(review, qtbot, 18)


def expected(review, p, number: int) -> np.ndarray:
    """The slice on screen of a sample, by hand."""
    axis, index = review.desk.layers.current_slice()
    return np.take(review.desk.layers.display.show(p.masks[number - 1]), index, axis)


def test_sixteen_samples_have_a_layer_each_and_no_choice(review, qtbot):
    take(review, qtbot, 16)
    assert not find(review.dock, "one_layer").isVisible()
    assert sum(name.startswith("Sample ") for name in names(review)) == 16


def test_one_layer_for_all_and_back_again(review, qtbot, many):
    viewer, dims = review.viewer, review.viewer.dims
    dims.set_current_step(dims.order[0], 9)
    viewer.scene.camera.zoom = 9.5
    active = viewer.layers.selection.active
    before = (names(review), dims.order, dims.point, review.desk.layers.current_slice(), review.desk.layers.plane())
    drawn = {x.name: np.array(x.data) for x in viewer.layers if x.name.startswith("Sample ")}
    assert len(drawn) == 18

    shared(review, qtbot)
    assert find(review.dock, "one_layer").isChecked()
    assert [name for name in before[0] if not name.startswith("Sample ")] == [
        n for n in names(review) if n != "Samples"
    ]
    layer = viewer.layers["Samples"]
    assert layer.data.shape == (19, *GRID) and not layer.editable
    np.testing.assert_array_equal(np.asarray(layer.data)[7], drawn["Sample 07"])
    np.testing.assert_allclose(layer.scale[1:], viewer.layers["blobs"].scale)
    np.testing.assert_allclose(layer.translate[1:], viewer.layers["blobs"].translate)
    assert dims.ndim == 4 and dims.point[1:] == pytest.approx(before[2])
    assert review.desk.layers.current_slice() == before[3] and review.desk.layers.plane() == before[4] != ""
    assert viewer.scene.camera.zoom == 9.5 and viewer.layers.selection.active is active
    assert review.dock.views.sample == 1 and layer.visible  # at once something to look at

    shared(review, qtbot)
    assert (names(review), dims.order) == before[:2] and dims.point == pytest.approx(before[2])
    assert dims.ndim == 3 and viewer.scene.camera.zoom == 9.5 and viewer.layers.selection.active is active
    assert not find(review.dock, "one_layer").isChecked()
    for name, data in drawn.items():
        np.testing.assert_array_equal(viewer.layers[name].data, data)
    assert [x.name for x in viewer.layers if x.visible and x.name.startswith("Sample ")] == ["Sample 01"]


def test_keys_and_slider_move_each_other(review, qtbot, together):
    viewer = review.viewer
    press(review.viewer, Key.Key_H)
    layer, which = viewer.layers["Samples"], review.dock.views
    np.testing.assert_array_equal(on_screen(layer), expected(review, together, 1))
    press(viewer, Key.Key_H)
    assert viewer.dims.current_step[0] == 2 and which.sample_text() == "sample 2 of 18"
    np.testing.assert_array_equal(on_screen(layer), expected(review, together, 2))
    slide(review, 0.5)
    wait(qtbot, lambda: 5 < which.sample < 13)
    at = which.sample
    assert which.sample_text() == f"sample {at} of 18" and viewer.dims.current_step[0] == at
    assert not np.array_equal(expected(review, together, at), expected(review, together, 2))
    np.testing.assert_array_equal(on_screen(layer), expected(review, together, at))
    for _ in range(at):
        press(viewer, Key.Key_G)
    assert which.sample == 0 and viewer.dims.current_step[0] == 0 and not layer.visible
    press(viewer, Key.Key_G)  # round to the last
    assert which.sample == 18 == viewer.dims.current_step[0] and layer.visible
    press(viewer, Key.Key_H)
    press(viewer, Key.Key_H)
    assert which.sample == 1
    slide(review, 0.0)
    wait(qtbot, lambda: which.sample == 0)
    assert not layer.visible
    slide(review, 1.0)
    wait(qtbot, lambda: which.sample == 1 and layer.visible)
    click(review.dock, "show_lines")
    assert which.sample == 0 and not layer.visible


def test_everything_else_works_beside_the_fourth_axis(review, qtbot, together):
    viewer, dock = review.viewer, review.dock
    press(review.viewer, Key.Key_H)
    press(viewer, Key.Key_H)
    display, places = review.desk.layers.display, dock.places.places
    # Planes, and what follows the slice.
    for plane, axis in (("axial", 0), ("coronal", 1), ("sagittal", 2)):
        click(dock, f"plane_{plane}")
        settled(review, qtbot)
        assert review.desk.layers.plane() == plane
        viewer.dims.set_current_step(1 + axis, 8)
        settled(review, qtbot)
        assert review.desk.layers.current_slice() == (axis, 8)
        lines = viewer.layers["Agreement"].data
        assert len(lines) and (lines[:, 0, axis] == 8).all()
        assert f"{plane}" in viewer.canvas.overlays.text.text
        np.testing.assert_array_equal(on_screen(viewer.layers["Samples"]), expected(review, together, 2))
    assert dock.places.seen.count("coronal")[0] >= 1
    # Places.
    press(viewer, Key.Key_Period)
    world = display.world(display.index(places.current.centre, together.consensus.shape))
    assert np.allclose(viewer.dims.point[-3:], world)
    rows, columns = (viewer.dims.displayed[i] - 1 for i in (-2, -1))
    assert np.allclose(viewer.scene.camera.center[-2:], (world[rows], world[columns]))
    # Outline of a threshold, long axes.
    find(dock, "threshold_slider").setFocus()
    QTest.keyClick(find(dock, "threshold_slider"), Key.Key_Left)
    click(dock, "show_axes")
    wait(qtbot, lambda: "Threshold" in viewer.layers and "Long axes" in viewer.layers)
    axis, index = review.desk.layers.current_slice()
    for name in ("Threshold", "Long axes"):
        assert np.allclose(viewer.layers[name].data[:, 0, axis], index)
    click(dock, "threshold_off")
    # Small planes.
    click(dock, "show_planes")
    view = next(v for v in dock.planes.views.values() if v.isVisible())
    count = len(view._outlines)
    press(viewer, Key.Key_G)
    press(viewer, Key.Key_G)  # none
    wait(qtbot, lambda: len(view._outlines) < count)
    click(dock, "show_planes")
    # A correction by hand: the stroke lands on the slice on screen, undo takes it back.
    press(viewer, Key.Key_H)
    viewer.reset_view()
    dock.corrections.start("consensus")
    layer = viewer.layers.selection.active
    assert not viewer.layers["Samples"].visible
    held = layer.data.copy()
    dock.corrections.choose_label(0)
    stroke(viewer, (0.45, 0.45), (0.55, 0.5))
    changed = np.argwhere(layer.data != held)
    assert len(changed) and (changed[:, axis] == review.desk.layers.current_slice()[1]).all()
    press(viewer, Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    np.testing.assert_array_equal(layer.data, held)
    dock.corrections.choose_label(1)
    click_tab(dock, "Correct")
    click(dock, "draw_outline")
    click(dock, "use_outline")
    np.testing.assert_array_equal(layer.data, held)
    click_tab(dock, "Review")
    press(viewer, Key.Key_K)
    assert (layer.data != held).any() or len(dock.places.options) < 2
    assert len(dock.saving._view()["point"]) == 3


def test_samples_as_rows_of_the_picture_are_no_plane(review, qtbot, together):
    viewer = review.viewer
    press(review.viewer, Key.Key_H)
    viewer.dims.order = (1, 2, 0, 3)
    assert review.desk.layers.plane() == "" and review.desk.layers.current_slice() is None
    settled(review, qtbot)
    press(viewer, Key.Key_Period)
    press(viewer, Key.Key_H)
    settled(review, qtbot)
    assert not len(viewer.layers["Agreement"].data)
    viewer.dims.order = (2, 0, 1, 3)  # the slider of the samples comes second: still the plane that is seen
    assert review.desk.layers.plane() == "coronal"
    assert review.desk.layers.current_slice() == (1, viewer.dims.current_step[2])
    click(review.dock, "plane_sagittal")
    assert viewer.dims.order == (0, 3, 1, 2) and review.desk.layers.plane() == "sagittal"
    viewer.dims.ndisplay = 3
    settled(review, qtbot)
    assert review.desk.layers.current_slice() is None
    viewer.dims.ndisplay = 2


def test_further_samples_join_and_fewer_have_their_layers_again(review, qtbot):
    viewer = review.viewer
    review.state.samples, review.state.steps = 17, 1
    run(review, qtbot)
    click_tab(review.dock, "Review")
    shared(review, qtbot)
    assert viewer.layers["Samples"].data.shape[0] == 18
    review.state.samples = 19
    run(review, qtbot)
    assert viewer.layers["Samples"].data.shape[0] == 20 and not viewer.layers["Samples"].editable
    assert not any(name.startswith("Sample ") for name in names(review))
    assert not viewer.layers["Samples"].visible and viewer.dims.current_step[0] == 0
    click_tab(review.dock, "Review")
    press(viewer, Key.Key_G)
    np.testing.assert_array_equal(on_screen(viewer.layers["Samples"]), expected(review, review.desk.prediction, 19))
    review.state.samples, review.state.seed = 3, 5
    run(review, qtbot)
    assert viewer.dims.ndim == 3 and not find(review.dock, "one_layer").isVisible()
    assert [n for n in names(review) if n.startswith("Sample")] == ["Sample 01", "Sample 02", "Sample 03"]
    viewer.layers.remove("blobs")
    assert names(review) == []


def test_what_the_reader_removes_comes_back_when_asked_for(review, qtbot, together):
    press(review.viewer, Key.Key_H)
    review.viewer.layers.remove("Samples")
    assert review.viewer.dims.ndim == 3
    press(review.viewer, Key.Key_H)
    assert review.viewer.layers["Samples"].visible and review.viewer.dims.current_step[0] == 2
    review.viewer.layers.remove("blobs")
    assert names(review) == [] and not find(review.dock, "one_layer").isVisible()


def test_the_channels_of_an_image_keep_a_slider_of_their_own(review, qtbot, together):
    viewer = review.viewer
    grid = review.desk.layers.display.layer
    grid = {
        k: ({"scale": 1.0, "translate": 0.0, "units": "pixel", "axis_labels": "channel"}[k], *v)
        for k, v in grid.items()
    }
    viewer.add_image(np.random.default_rng(0).random((2, *GRID)), name="two channels", **grid)
    review.desk.choose_source("blobs")
    press(review.viewer, Key.Key_H)
    layer = viewer.layers["Samples"]
    assert viewer.dims.ndim == 5 and layer.data.shape == (19, 2, *GRID)
    press(viewer, Key.Key_H)
    assert viewer.dims.current_step[:2] == (2, 0)
    viewer.dims.set_current_step(1, 1)
    assert review.dock.views.sample == 2
    np.testing.assert_array_equal(on_screen(layer), expected(review, together, 2))
    shared(review, qtbot)
    assert viewer.dims.ndim == 4 and review.desk.layers.current_slice() is not None
