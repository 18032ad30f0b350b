"""Text that can be read on both of napari's themes, and colours that the colour-blind can tell apart."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pytest
from napari.utils.theme import get_theme
from qtpy.QtGui import QPalette
from qtpy.QtWidgets import QApplication, QLabel
from skimage.color import deltaE_ciede2000, rgb2lab

from napari_pgrd.engine.spec import embedded, read_spec
from napari_pgrd.viewer.layers import hex_rgba
from napari_pgrd.viewer.results import MAGENTA
from napari_pgrd.viewer.theme import READABLE, contrast, inks, readable
from napari_pgrd.viewer.widgets import faint, note, rich
from tests.hands import find
from tests.viewer.test_sampling import run

THEMES = ("dark", "light")


def rgb(text: str) -> tuple[float, float, float]:
    red, green, blue = (255 * v for v in hex_rgba(text)[:3])
    return red, green, blue


def grounds(theme: str) -> list[tuple[float, ...]]:
    colours = get_theme(theme)
    return [tuple(255 * v for v in c.as_rgb_tuple()) if max(c.as_rgb_tuple()) <= 1 else c.as_rgb_tuple()
            for c in (colours.background, colours.foreground)]  # fmt: skip


def test_contrast_is_that_of_the_standard():
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast(rgb("#767676"), rgb("#FFFFFF")) == pytest.approx(4.54, abs=0.01)  # the known lightest grey on white
    assert contrast(rgb("#FF0000"), rgb("#FFFFFF")) == pytest.approx(4.00, abs=0.01)


def test_a_colour_that_can_be_read_stays_and_another_moves_no_further_than_needed():
    white, black = (255.0, 255.0, 255.0), (0.0, 0.0, 0.0)
    assert readable(rgb("#767676"), black, [white]) == rgb("#767676")
    moved = readable(rgb("#AAAAAA"), black, [white])
    assert READABLE <= contrast(moved, white) < 6
    assert readable(white, white, [white]) == white  # nothing can be done


@pytest.mark.parametrize("theme", THEMES)
def test_every_ink_can_be_read(theme):
    colours = inks(theme)
    for ink in (colours.text, colours.faint, colours.warning):
        for ground in grounds(theme):
            assert contrast(rgb(ink), ground) >= READABLE
    assert colours.faint != colours.text


def test_labels_of_the_dock_follow_the_theme(review, qtbot):
    review.state.sentence = "Something to know."
    run(review, qtbot)
    review.state.sentence = "Something to know."
    for theme in ("light", "dark", "light"):
        review.viewer.theme = theme
        QApplication.processEvents()
        for label in review.dock.findChildren(QLabel):
            if label.isVisible() and label.text() and label.isEnabled():
                ink = label.palette().color(QPalette.ColorRole.WindowText).getRgb()[:3]
                assert min(contrast(ink, ground) for ground in grounds(theme)) >= READABLE, label.text()
        volumes = find(review.dock, "volumes").text()
        spans = re.findall(r'<span style="color:(#\w{6})"', volumes)
        assert spans
        for colour in spans:
            assert min(contrast(rgb(colour), ground) for ground in grounds(theme)) >= READABLE


def test_inks_differ_and_are_what_the_labels_have(review, qtbot):
    review.state.sentence = "Something to know."
    sentence = find(review.dock, "sentence")
    sentence.ensurePolished()
    warning = sentence.palette().color(QPalette.ColorRole.WindowText).name()
    assert warning == inks(review.viewer.theme).warning


def test_no_text_in_the_dock_has_a_colour_of_its_own(review):
    assert not note().styleSheet()
    assert not faint("x").styleSheet()
    label = rich()
    label.setText('<span style="color:var(--faint)">a</span>')
    assert inks("dark").faint in label.text()
    label.dress(inks("light"))
    assert inks("light").faint in label.text()
    assert "var(" not in label.text()


# Machado, Oliveira and Fernandes (2009), A physiologically-based model for simulation of color vision deficiency,
# IEEE Transactions on Visualization and Computer Graphics 15(6), severity 1.0; they act on linear RGB.
SEEN = {
    "full colour vision": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
TELLING = 10.0  # CIEDE2000: side by side anybody sees 2; 10 is seen at a glance, and apart


def lab_as_seen(colour, matrix) -> np.ndarray:
    c = np.asarray(colour, float)[:3]
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    seen = np.clip(matrix @ linear, 0, 1)
    return rgb2lab(np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("who", SEEN)
@pytest.mark.parametrize("bundle", embedded())
def test_labels_heat_and_image_are_told_apart_by_everybody(who, bundle):
    def apart(a, b) -> float:
        return float(deltaE_ciede2000(lab_as_seen(a, SEEN[who]), lab_as_seen(b, SEEN[who])))

    labels = [hex_rgba(label.colour) for label in read_spec(bundle).labels[1:]]
    greys = [np.full(3, v) for v in np.linspace(0, 1, 21)]
    for a, b in combinations(labels, 2):
        assert apart(a, b) > 2 * TELLING  # they lie side by side
    for label in labels:
        assert min(apart(label, grey) for grey in greys) > TELLING
    # The heat map over the image. To a deuteranope half of its strength on the brightest tissue has the hue of the
    # first label: there only the shape tells them apart, a line or a flat mask against a cloud.
    for strength, under in ((0.5, greys[4:15]), (1.0, greys[4:17])):
        magenta = MAGENTA.map(strength).ravel()
        for grey in under:
            heat = magenta[3] * magenta[:3] + (1 - magenta[3]) * grey
            assert apart(heat, grey) > TELLING
            assert min(apart(heat, label) for label in labels) > TELLING
