"""Side by side: what readers marked and what samples have, on the slice that is on screen."""

from __future__ import annotations

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from tests.hands import click, click_tab, find, wait
from tests.viewer.test_sampling import run


def add(review, name: str, values: np.ndarray) -> Labels:
    display = review.desk.layers.display
    return review.viewer.add_layer(Labels(np.array(display.show(values)), name=name, **display.layer))


def area(tile) -> float:
    """What the outlines of a tile enclose in the world, by the shoelace formula."""
    ends = [outline.segments for outline in tile.outlines]
    return sum(abs(float((s[:, 0] * s[:, 3] - s[:, 2] * s[:, 1]).sum())) / 2 for s in ends)


def test_readers_and_samples_of_this_slice_stand_side_by_side(review, qtbot):
    run(review, qtbot)
    shape = review.desk.volume.shape
    one, two = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    one[5:11, 6:12, 4:8] = 1  # 6 x 6 voxels on four slices
    add(review, "Ann", one)
    add(review, "Bob", two)
    click_tab(review.dock, "Review")
    button = find(review.dock, "show_tiles")
    review.dock.tabs.currentWidget().ensureWidgetVisible(button)
    QApplication.processEvents()
    click(review.dock, "show_tiles")
    tiles = review.dock.tiles.tiles
    wait(qtbot, lambda: review.dock.tiles.on and len(tiles.sheet.samples) == 3)
    assert button.isChecked() and tiles.isVisible()

    viewer, display = review.viewer, review.desk.layers.display
    review.desk.layers.set_plane("axial", review.desk.image)
    for z, drawn in ((5, True), (12, False)):
        at = display.index((0, 0, z), shape)[0]
        viewer.dims.set_point(0, display.world((at, 0, 0))[0])
        wait(qtbot, lambda drawn=drawn: bool(tiles.sheet.opinions[0].outlines) == drawn)
        ann, bob = tiles.sheet.opinions
        assert ann.caption == ("Ann" if drawn else "Ann: none") and bob.caption == "Bob: none"
        if drawn:  # half-way between voxels: half a voxel in each corner is cut off at 45 degrees
            assert area(ann) == (36 - 4 / 8) * display.scale[1] * display.scale[2]
        for tile, mask in zip(tiles.sheet.samples, review.desk.prediction.masks, strict=True):
            voxels = np.array(display.show(mask))[at] > 0
            assert bool(tile.outlines) == voxels.any()

    # A click shows a sample on the image; another puts it away.
    tile, place = next((t, p) for t, p in tiles.places() if t.number == 2)
    for shown in (2, 0):
        centre = place.center()
        QTest.mouseClick(tiles, Qt.MouseButton.LeftButton, pos=QPoint(round(centre.x()), round(centre.y())))
        assert review.dock.views.sample == shown and viewer.layers["Sample 02"].visible == bool(shown)
        wait(qtbot, lambda shown=shown: tiles.sheet.chosen == shown)

    # Ticked under Compare with truth, only those are opinions.
    value = next(v for v, name in review.dock.truths.sources() if name == "Bob")
    review.dock.truths.tick(value, True)
    wait(qtbot, lambda: [t.caption for t in tiles.sheet.opinions] == ["Bob: none"])

    picture = tiles.grab().toImage()
    inks = {picture.pixelColor(x, y).name() for x in range(0, picture.width(), 2) for y in range(picture.height())}
    assert len(inks) > 20
    click(review.dock, "show_tiles")
    wait(qtbot, lambda: not review.dock.tiles.on)
    assert not button.isChecked()


def test_opinions_alone_are_shown_before_anything_is_drawn(review, qtbot):
    review.desk.lie_on(None)
    add(review, "Ann", np.ones(review.desk.volume.shape, np.uint8))
    review.dock.tiles.toggle()
    tiles = review.dock.tiles.tiles
    wait(qtbot, lambda: [t.caption for t in tiles.sheet.opinions] == ["Ann"])
    assert not tiles.sheet.samples and [tile.caption for tile, _ in tiles.places()] == ["Ann"]
    assert not tiles.grab().isNull()  # painted
    review.dock.tiles.toggle()
    wait(qtbot, lambda: not review.dock.tiles.on)


def test_without_anything_to_compare_it_says_what_it_is_for(review, qtbot):
    review.dock.tiles.toggle()
    wait(qtbot, lambda: "Draw samples" in review.dock.tiles.tiles.sheet.note)
    review.dock.tiles.toggle()
    wait(qtbot, lambda: not review.dock.tiles.on)
