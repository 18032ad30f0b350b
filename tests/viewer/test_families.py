"""Families of answers: offered where there are any, and then lines, outlines and samples of one of them."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from skimage.measure import find_contours

from napari_pgrd.engine.request import Request
from tests.hands import click, click_tab, find, pick, press, wait
from tests.session.drawn import prediction
from tests.tiny import blob_volume
from tests.viewer.test_sampling import run, settled

Key = Qt.Key
LARGE, SMALL = (0, 2, 4, 5), (1, 3, 6)  # samples with and without the posterior ball
SIZE = 0.0015  # mL of a voxel


def two_families():
    """Seven samples of the blobs that differ in a voxel each; three have no posterior part but a small rest."""
    _, truth = blob_volume()
    masks = []
    for i in range(7):
        mask = truth.copy()
        if i in SMALL:
            mask[(truth == 2) & (np.arange(24)[None, :, None] > 15)] = 0
        mask[0, 0, i] = 1
        masks.append(mask)
    return prediction(masks, 3)


@pytest.fixture
def answers(review, qtbot):
    """Their prediction in the window, as a review that was opened again."""
    p = two_families()
    review.desk.take(p, Request(samples=7, steps=2))
    wait(qtbot, lambda: review.dock.places.families is not None)
    settled(review, qtbot)
    click_tab(review.dock, "Review")
    return p


def shown_length(review) -> float:
    """Of the strong lines on the slice, in voxels."""
    layer = review.viewer.layers["Agreement"]
    strong = layer.edge_color[:, 3] == 1
    return float(np.linalg.norm(layer.data[strong, 1], axis=1).sum())


def length_by_hand(review, masks) -> float:
    axis, index = review.desk.layers.current_slice()
    total = 0.0
    for k in (1, 2):
        share = np.mean([review.desk.layers.display.show(m) == k for m in masks], axis=0)
        plane = np.pad(np.take(share, index, axis), 1)
        total += sum(np.linalg.norm(np.diff(path, axis=0), axis=1).sum() for path in find_contours(plane, 0.5))
    return float(total)


def walked(review) -> list[int]:
    """The samples that H steps through, until none is shown."""
    out = []
    press(review.viewer, Key.Key_H)
    while review.dock.views.sample:
        out.append(review.dock.views.sample)
        assert review.viewer.layers[f"Sample {out[-1]:02d}"].visible
        press(review.viewer, Key.Key_H)
    return out


def test_one_family_is_chosen_and_lines_and_samples_are_its_own(review, answers, qtbot):
    dock, viewer = review.dock, review.viewer
    assert find(dock, "families").text() == "2 families of answers: 4 and 3 of 7 samples."
    box = find(dock, "family")
    assert [box.itemText(i) for i in range(box.count())] == ["all samples", "family 1 (4)", "family 2 (3)"]
    assert box.currentText() == "all samples" and not find(dock, "family_sentence").isVisible()
    assert walked(review) == [1, 2, 3, 4, 5, 6, 7]
    axis, _ = review.desk.layers.current_slice()
    everyone = shown_length(review)
    assert everyone == pytest.approx(length_by_hand(review, answers.masks), rel=1e-3)
    sources, consensus = dock.corrections.sources(), viewer.layers["Consensus"].data.copy()
    volumes, active = find(dock, "volumes").text(), viewer.layers.selection.active

    pick(dock, "family", "family 2 (3)")
    small = [answers.masks[i] for i in SMALL]
    wanted = length_by_hand(review, small)
    assert abs(wanted - everyone) > 3
    wait(qtbot, lambda: shown_length(review) == pytest.approx(wanted, rel=1e-3))
    means = [np.mean([(m == k).sum() for m in small]) * SIZE for k in (1, 2)]
    told = find(dock, "family_sentence").text()
    assert told.startswith(
        f"Family 2 of 2: 3 of 7 samples; on average anterior {means[0]:.2f} mL, posterior {means[1]:.2f} mL. Sample "
    )
    assert int(told.split()[-5]) - 1 in SMALL
    assert "family's samples" in " ".join(x.text() for x in dock.findChildren(type(find(dock, "families"))))
    assert walked(review) == [2, 4, 7]
    press(viewer, Key.Key_G)
    assert find(dock, "next_sample").isEnabled() and "sample 7 of 7 (3 of 3)" in dock.views.sample_text()
    press(viewer, Key.Key_H)
    viewer.dims.set_current_step(axis, viewer.dims.current_step[axis] + 1)
    wanted = length_by_hand(review, small)
    wait(qtbot, lambda: shown_length(review) == pytest.approx(wanted, rel=1e-3))
    viewer.dims.set_current_step(axis, viewer.dims.current_step[axis] - 1)
    settled(review, qtbot)

    # All outlines are of the family alone, and nothing else followed.
    click(dock, "show_outlines")
    outlines = sum(length_by_hand(review, [m]) for m in small)
    lines = viewer.layers["Agreement"]
    wait(qtbot, lambda: np.linalg.norm(lines.data[:, 1], axis=1).sum() == pytest.approx(outlines, rel=1e-3))
    click(dock, "show_lines")
    assert dock.corrections.sources() == sources and find(dock, "volumes").text() == volumes
    np.testing.assert_array_equal(viewer.layers["Consensus"].data, consensus)
    assert viewer.layers.selection.active is active

    pick(dock, "family", "all samples")
    wait(qtbot, lambda: shown_length(review) == pytest.approx(everyone, rel=1e-3))
    assert walked(review) == [1, 2, 3, 4, 5, 6, 7]
    assert not find(dock, "family_sentence").isVisible()


def test_a_sample_of_another_family_leaves_the_screen(review, answers, qtbot):
    press(review.viewer, Key.Key_H)
    assert review.viewer.layers["Sample 01"].visible
    pick(review.dock, "family", "family 2 (3)")
    wait(qtbot, lambda: not review.viewer.layers["Sample 01"].visible)
    assert review.dock.views.sample == 0
    press(review.viewer, Key.Key_H)
    assert review.dock.views.sample == 2
    pick(review.dock, "family", "all samples")
    assert review.dock.views.sample == 2 and review.viewer.layers["Sample 02"].visible


def test_the_small_planes_show_the_familys_lines(review, answers, qtbot):
    click(review.dock, "show_planes")
    view = next(v for v in review.dock.planes.views.values() if v.isVisible())

    wait(qtbot, lambda: len(view._outlines) > 0)
    before = [path.elementCount() for _, path in view._outlines]
    pick(review.dock, "family", "family 2 (3)")
    wait(qtbot, lambda: [path.elementCount() for _, path in view._outlines] != before)


def test_a_family_goes_with_its_samples(review, answers, qtbot):
    pick(review.dock, "family", "family 2 (3)")
    wait(qtbot, lambda: find(review.dock, "family_sentence").isVisible())
    review.state.samples = 3
    review.state.seed = 2
    run(review, qtbot)
    wait(qtbot, lambda: review.dock.places.families is not None)
    click_tab(review.dock, "Review")
    assert find(review.dock, "families").text() == "Too few samples to tell families of answers; draw at least 4."
    assert not find(review.dock, "family").isVisible() and not find(review.dock, "family_sentence").isVisible()
    assert walked(review) == [1, 2, 3]
    assert shown_length(review) == pytest.approx(length_by_hand(review, review.desk.prediction.masks), rel=1e-3)
    review.viewer.layers.remove("blobs")
    assert not find(review.dock, "families").isVisible()
