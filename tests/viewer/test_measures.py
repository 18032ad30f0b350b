"""Long axes beside the volumes: their lengths in mm, their lines in the world, after every edit."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from napari.layers import Vectors
from qtpy.QtCore import Qt
from scipy.spatial.distance import pdist, squareform

from napari_pgrd.io.nifti import write_nifti
from tests.hands import click, click_tab, find, press, wait
from tests.tiny import blob_volume
from tests.viewer.test_sampling import run, settled

OTHER = np.array([[0, 0, 1.25, -9], [1.0, 0, 0, 4], [0, -0.75, 0, 30], [0, 0, 0, 1]])  # axes A, I, R


@pytest.fixture
def other_file(tmp_path):
    """Blobs whose axes run in another order than the screen's."""
    volume, _ = blob_volume(affine=OTHER)
    return write_nifti(tmp_path / "other.nii.gz", volume.data[0], volume)


def longest(mask: np.ndarray, affine: np.ndarray) -> tuple[float, np.ndarray]:
    """Brute force in the patient's mm (R, A, S): length and ends between points half-way out of any voxel."""
    inside = np.argwhere(mask)
    steps = np.concatenate([np.eye(3), -np.eye(3)]) / 2
    half = np.unique((inside[:, None] + steps).reshape(-1, 3), axis=0)
    far = half[np.linalg.norm(half - inside.mean(0), axis=1).argsort()[-4000:]]
    points = far @ affine[:3, :3].T + affine[:3, 3]
    distance = pdist(points)
    i, j = np.unravel_index(squareform(distance).argmax(), (len(points),) * 2)
    return float(distance.max()), points[[i, j]]


def told(review) -> dict[str, str]:
    """What the dock says below each label."""
    text = find(review.dock, "volumes").text()
    return {name: text.split(name)[1].split("<br>")[1] for name in ("Anterior", "Posterior")}


def lines(review) -> Vectors | None:
    return next((x for x in review.viewer.layers if x.name == "Long axes"), None)


def in_patient(layer: Vectors, vectors: np.ndarray) -> np.ndarray:
    """Ends of ``(N, 2, 3)`` vectors as (R, A, S): the screen's axes run to inferior, posterior, left."""
    ends = np.stack([vectors[:, 0], vectors[:, 0] + vectors[:, 1]], 1)
    world = ends * np.asarray(layer.scale) + np.asarray(layer.translate)
    return -world[..., ::-1]


def same_ends(a: np.ndarray, b: np.ndarray) -> bool:
    return np.allclose(a, b, atol=1e-3) or np.allclose(a, b[::-1], atol=1e-3)


@pytest.mark.parametrize("box", [None, ((1, 19), (0, 22), (2, 17))])
@pytest.mark.parametrize("order", ["usual", "other"])
def test_lengths_and_lines_lie_right_in_the_patient(review, other_file, qtbot, order, box):
    file = review.file
    if order == "other":
        review.viewer.layers.remove("blobs")
        review.desk.open(file := other_file)
    review.state.box = box
    run(review, qtbot)
    click_tab(review.dock, "Review")
    affine, p = nib.load(file).affine, review.desk.prediction
    corner = np.array([lo for lo, _ in box]) if box else np.zeros(3)
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ corner
    wanted = [longest(p.consensus == k, moved) for k in (1, 2)]
    wait(qtbot, lambda: "(consensus)" in find(review.dock, "volumes").text())
    for name, (length, _) in zip(("Anterior", "Posterior"), wanted, strict=True):
        assert told(review)[name] == f"long axis {length:.1f} mm (consensus)"
    active = review.viewer.layers.selection.active
    click(review.dock, "show_axes")
    assert lines(review) is not None and find(review.dock, "show_axes").isChecked()
    review.viewer.dims.ndisplay = 3
    wait(qtbot, lambda: len(lines(review).data) == 2)
    for found, (_, ends) in zip(in_patient(lines(review), lines(review).data), wanted, strict=True):
        assert same_ends(found, ends)
    colours = [review.desk.layers.colours().color_dict[k] for k in (1, 2)]
    np.testing.assert_allclose(lines(review).edge_color, colours, atol=1e-6)
    review.viewer.dims.ndisplay = 2
    wait(qtbot, lambda: len(lines(review).data) == 6)  # with ticks at both ends
    axis, index = review.desk.layers.current_slice()
    flat = lines(review).data
    assert np.allclose(flat[:, 0, axis], index) and np.allclose(flat[:, 1, axis], 0)
    shown = [a for a in range(3) if a != axis]
    for found, (_, ends) in zip(in_patient(lines(review), flat[::3]), wanted, strict=True):
        assert same_ends(found[:, [2 - a for a in shown]], ends[:, [2 - a for a in shown]])
    click(review.dock, "show_axes")
    assert lines(review) is None and not find(review.dock, "show_axes").isChecked()
    assert review.viewer.layers.selection.active is active


def test_they_follow_the_correction_in_hand(review, qtbot):
    viewer, dock = review.viewer, review.dock
    run(review, qtbot)
    click_tab(dock, "Review")
    click(dock, "show_axes")
    dock.corrections.start("consensus")
    layer = viewer.layers.selection.active
    wait(qtbot, lambda: told(review)["Anterior"].startswith("correction "))
    before, drawn = told(review), lines(review).data.copy()
    ones = np.nonzero(layer.data == 1)
    half = np.median(ones[1])
    cut = tuple(w[ones[1] > half] for w in ones)
    layer.data_setitem(cut, 0)
    wait(qtbot, lambda: told(review)["Anterior"] != before["Anterior"])
    wait(qtbot, lambda: review.desk.layers.turns.waiting == 0)
    length, _ = longest(dock.corrections.values() == 1, nib.load(review.file).affine)
    size = (layer.data == 1).sum() * 0.0015
    assert told(review)["Anterior"] == f"correction {size:.2f} mL, long axis {length:.1f} mm"
    assert told(review)["Posterior"] == before["Posterior"]
    assert not np.array_equal(lines(review).data, drawn)
    press(viewer, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    wait(qtbot, lambda: told(review) == before)
    wait(qtbot, lambda: np.array_equal(lines(review).data, drawn))
    layer.data_setitem(ones, 0)
    wait(qtbot, lambda: told(review)["Anterior"] == "correction 0.00 mL, no voxel left")
    assert viewer.layers.selection.active is layer and layer.mode == "paint"
    viewer.layers.remove(layer)
    wait(qtbot, lambda: told(review)["Anterior"].endswith("(consensus)"))


def test_lines_fade_beyond_their_ends_and_leave_by_the_readers_hand(review, qtbot):
    viewer, dock = review.viewer, review.dock
    run(review, qtbot)
    click_tab(dock, "Review")
    click(dock, "show_axes")
    wait(qtbot, lambda: lines(review) is not None)
    axis, _ = review.desk.layers.current_slice()
    shown = review.desk.layers.display.show(review.desk.prediction.consensus)
    slices = np.flatnonzero((shown > 0).any(tuple(a for a in range(3) if a != axis)))
    assert slices[0] > 0
    viewer.dims.set_current_step(axis, 0)
    wait(qtbot, lambda: np.allclose(lines(review).data[:, 0, axis], 0))
    np.testing.assert_allclose(lines(review).edge_color[:, 3], 0.35)
    viewer.dims.set_current_step(axis, int(slices[len(slices) // 2]))
    wait(qtbot, lambda: (lines(review).edge_color[:, 3] == 1).any())
    viewer.layers.remove("Long axes")
    assert not find(dock, "show_axes").isChecked()
    click(dock, "show_axes")
    wait(qtbot, lambda: lines(review) is not None)
    review.state.seed = 3
    run(review, qtbot)
    wait(qtbot, lambda: lines(review) is not None)  # of the new samples
    wait(qtbot, lambda: "(consensus)" in find(dock, "volumes").text())
    viewer.layers.remove("blobs")
    assert [x.name for x in viewer.layers] == []
    settled(review, qtbot)
