"""Window and level."""

from __future__ import annotations

import numpy as np
import pytest

from napari_pgrd.session.window import CT, MRI, dragged, preset_limits, presets


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).gamma(2, 100, (20, 30, 25))


def test_ct_bundles_get_hounsfield_windows_and_others_do_not():
    assert presets("ct") == CT
    assert presets("mri") == presets("any") == MRI
    assert not {"soft", "lung", "bone"} & {value for value, _ in MRI}


@pytest.mark.parametrize(("preset", "limits"), [("soft", (-160, 240)), ("lung", (-1350, 150)), ("bone", (-500, 1300))])
def test_hounsfield_windows_are_centre_and_width_whatever_the_image(image, preset, limits):
    assert preset_limits(image, preset) == limits


def test_percentiles(image):
    assert preset_limits(image, "usual") == pytest.approx(tuple(np.percentile(image, (1, 99.5))))
    assert preset_limits(image, "full") == (image.min(), image.max())
    dark, bright = preset_limits(image, "dark"), preset_limits(image, "bright")
    assert dark[1] < bright[1]
    assert dark[0] < bright[0]
    assert (image < dark[1]).mean() == pytest.approx(0.6, abs=0.01)


def test_padding_does_not_move_the_dark_and_bright_windows(image):
    padded = np.pad(image, 10, constant_values=-5)
    for preset in ("dark", "bright"):
        assert preset_limits(padded, preset) == pytest.approx(preset_limits(image, preset), rel=0.01)


@pytest.mark.parametrize("preset", ["usual", "full", "bright", "dark"])
def test_an_even_image_still_has_a_window(preset):
    low, high = preset_limits(np.full((4, 4, 4), 7.0), preset)
    assert high > low


def test_a_large_image_is_thinned_without_moving_the_window():
    large = np.random.default_rng(0).normal(size=(130, 130, 130))
    assert preset_limits(large, "usual") == pytest.approx(tuple(np.percentile(large, (1, 99.5))), abs=0.02)


def test_dragging_right_widens_up_brightens_and_back_again():
    start = (100.0, 300.0)
    low, high = dragged(start, right=150, up=0)
    assert (low, high) == pytest.approx((0, 400))  # twice as wide, about the same centre
    low, high = dragged(start, right=0, up=150)
    assert (low, high) == pytest.approx((0, 200))  # everything looks brighter
    assert dragged(start, 0, 0) == pytest.approx(start)
    assert dragged(dragged(start, 80, 0), -80, 0) == pytest.approx(start)


def test_no_drag_turns_a_window_over():
    for right in (-1e6, -500, 500, 1e6):
        low, high = dragged((0.0, 1.0), right, 0)
        assert np.isfinite([low, high]).all()
        assert high > low
