"""The threshold that does not tear."""

from __future__ import annotations

import numpy as np
import pytest

from napari_pgrd.engine.errors import InputError
from napari_pgrd.session.threshold import change_sentence, thresholded
from tests.session.drawn import labels


def border():
    """Two labels side by side along y, surely no background there, with a soft border between them."""
    second = np.broadcast_to(np.linspace(0.02, 0.96, 20)[None, :, None], (4, 20, 4))
    return np.stack([np.full(second.shape, 0.02), 0.98 - second, second])


def test_the_border_between_labels_never_tears():
    p = border()
    assert not (p[1:] >= 0.55).any(0).all(), "a threshold for each label would tear a gap here"
    out = thresholded(p, 0.55)
    assert (out > 0).all()
    np.testing.assert_array_equal(out, np.where(p[1] >= p[2], 1, 2))


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_against_each_voxel_by_hand(classes, level):
    p = np.random.default_rng(classes).dirichlet(np.full(classes, 0.5), (4, 5, 1))
    p = np.moveaxis(p, -1, 0)
    out = thresholded(p, level)
    assert out.dtype == np.uint8
    for index in np.ndindex(out.shape):
        foreground = sum(p[(k, *index)] for k in range(1, classes))
        wanted = max(range(1, classes), key=lambda k, i=index: p[(k, *i)]) if foreground >= level else 0
        assert out[index] == wanted


def test_a_lower_threshold_only_adds():
    p = np.moveaxis(np.random.default_rng(0).dirichlet([1, 1, 1], (6, 6, 6)), -1, 0)
    low, high = thresholded(p, 0.3), thresholded(p, 0.7)
    assert (high > 0).sum() < (low > 0).sum()
    np.testing.assert_array_equal(low[high > 0], high[high > 0])


@pytest.mark.parametrize("level", [0, 1, -1, 1.5])
def test_a_level_that_means_nothing_is_refused(level):
    with pytest.raises(InputError, match="above 0 and below 1"):
        thresholded(border(), level)


def test_a_change_is_told_of_each_label_and_in_all():
    before, after = np.zeros((2, 2, 10), np.uint8), np.zeros((2, 2, 10), np.uint8)
    before[0, 0], before[1, 0, :5] = 10, 20
    after[0, 0, :8], after[1, 0, :7], after[0, 0, 8:] = 10, 20, 20
    # First: 10 -> 8. Second: 5 -> 7 + 2. Two voxels changed sides, two joined.
    told = change_sentence(before, after, labels(3), (0.5, "mL"), "correction")
    assert told == "anterior -1.00 mL, posterior +2.00 mL; 2.00 mL of the correction would change."
    told = change_sentence(before, after, labels(3), (1.0, "voxels"), "consensus")
    assert told == "anterior -2 voxels, posterior +4 voxels; 4 voxels of the consensus would change."
    assert change_sentence(before, before, labels(3), (1.0, "voxels"), "consensus") == "The same as the consensus."


def test_what_rounds_to_nothing_has_no_minus():
    before = np.full((2, 2, 2), 10, np.uint8)
    after = before.copy()
    after[0, 0, 0] = 0
    told = change_sentence(before, after, labels(2), (0.001, "mL"), "correction")
    assert told == "anterior +0.00 mL; 0.00 mL of the correction would change."
