"""Pictures of a comparison: what is in them, found in what matplotlib was asked to draw and in the pixels."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from napari_pgrd.engine.spec import BundleSpec, read_spec
from napari_pgrd.engine.volume import Volume
from napari_pgrd.evaluate import plots
from napari_pgrd.evaluate.panel import panel
from napari_pgrd.evaluate.reliability import Reliability
from napari_pgrd.evaluate.slices import picture_of
from tests.test_architecture import modules_after
from tests.tiny import make_tiny_bundle

SHAPE = (12, 14, 10)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> BundleSpec:
    return read_spec(make_tiny_bundle(tmp_path_factory.mktemp("bundle"), scope={"start_plane": "sagittal"}))


def stored(data: np.ndarray, axes: str) -> np.ndarray:
    """An RAS array ``(..., x, y, z)`` in another order of its axes."""
    change = nib.orientations.ornt_transform(nib.io_orientation(np.eye(4)), nib.orientations.axcodes2ornt(tuple(axes)))
    flat = [nib.orientations.apply_orientation(part, change) for part in data.reshape(-1, *SHAPE)]
    return np.stack(flat).reshape(*data.shape[:-3], *flat[0].shape)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "SAL"])
def test_a_slice_is_upright_whatever_the_files_order(spec: BundleSpec, axes: str) -> None:
    rng = np.random.default_rng(0)
    image = rng.random(SHAPE).astype(np.float32)
    truths = np.zeros((2, *SHAPE), np.uint8)
    truths[0, 4, 3:9, 2:6], truths[1, 7, 4, 4] = 1, 2  # most is marked at x = 4
    as_stored = nib.Nifti1Image(image, np.eye(4)).as_reoriented(
        nib.orientations.ornt_transform(nib.io_orientation(np.eye(4)), nib.orientations.axcodes2ornt(tuple(axes)))
    )
    volume = Volume(np.asarray(as_stored.dataobj)[None], as_stored.affine)
    there = stored(truths, axes)
    found = picture_of(volume, there, there[0], there, np.asarray(as_stored.dataobj), spec)
    expected = image[4].T[::-1, ::-1]  # superior above, anterior on the left
    assert np.array_equal(found["image"], expected) and np.array_equal(found["entropy"], expected)
    assert found["truths"].shape == (2, *expected.shape) and found["truths"][0].sum() == 6 * 4
    assert found["truths"][1].sum() == 0 and found["aspect"] == 1


def test_without_geometry_a_slice_is_as_in_the_file(spec: BundleSpec) -> None:
    image = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    truths = np.zeros((1, *SHAPE), np.uint8)
    truths[0, 2:5, 3, 6] = 1
    volume = Volume(image[None], np.eye(4), spacing_known=False)
    found = picture_of(volume, truths, truths[0], truths, image, spec)
    assert np.array_equal(found["image"], image[:, :, 6].T)


def test_a_slice_nobody_marked_is_the_middle_one(spec: BundleSpec) -> None:
    nothing = np.zeros((1, *SHAPE), np.uint8)
    volume = Volume(np.random.default_rng(0).random((1, *SHAPE)).astype(np.float32), np.eye(4))
    found = picture_of(volume, nothing, nothing[0], nothing, nothing[0] * 1.0, spec)
    assert np.array_equal(found["image"], volume.data[0, 6].T[::-1, ::-1])


def test_the_panel_shows_every_label_and_names_an_empty_mask(spec: BundleSpec, tmp_path: Path) -> None:
    grey = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
    truths = np.zeros((2, 20, 20), np.uint8)
    truths[0, 5:10, 5:10], truths[0, 10:14, 5:10] = 1, 2
    arrays = {"image": grey, "truths": truths, "consensus": truths[0], "samples": truths, "entropy": grey * 0,
              "aspect": np.array(1.0)}  # fmt: skip
    panel({"one": arrays, "two": {**arrays, "samples": truths[:1]}}, spec, "a case", tmp_path / "panel.png")
    rgb = imread(tmp_path / "panel.png")[..., :3]
    for colour in ((0x19, 0xE0, 0xFF), (0xFF, 0xE1, 0x4D)):
        near = np.abs(rgb - np.array(colour) / 255).max(-1) < 0.15
        assert near.sum() > 200
    assert rgb.shape[1] > 1000


def test_bins_with_few_voxels_are_not_drawn() -> None:
    confidence = np.concatenate([np.full(500, 0.95), np.full(500, 0.75), np.full(9, 0.55)])
    bins = Reliability.of(confidence, np.arange(confidence.size) % 2 == 0)
    axes = Figure().subplots()
    plots.draw_reliability(axes, {"one": bins})
    drawn = next(line for line in axes.get_lines() if line.get_label() == "one")
    assert np.allclose(drawn.get_xdata(), [0.75, 0.95]) and np.allclose(drawn.get_ydata(), 0.5, atol=0.01)
    plots.draw_gap(axes, {"one": bins}, least=1)
    assert len(axes.get_lines()[-1].get_xdata()) == 3


def test_systems_differ_in_more_than_colour() -> None:
    looks = [plots.style(i) for i in range(24)]
    assert len({(look["color"], look["linestyle"]) for look in looks}) == 24
    assert len({look["marker"] for look in looks[:8]}) == 8


def test_an_axis_does_not_magnify_what_is_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Figure] = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: kept.append(figure))
    points = [{"steps": s, "dice": 0.9 + s / 1e5, "ged2": 0.3, "nll": 0.1 * s} for s in (1, 2, 5)]
    made = {"systems": {"one": {"request": {"solver": "ddim"}}}, "curve": {"one": points}, "table": {}}
    plots.curve(made, tmp_path / "x.png")
    spans = [np.ptp(axes.get_ylim()) for axes in kept[0].axes]
    assert spans[0] == pytest.approx(0.02) and spans[1] == pytest.approx(0.05) and spans[2] > 0.4


def test_matplotlib_is_loaded_only_to_draw() -> None:
    assert not modules_after("import napari_pgrd.evaluate.plots, napari_pgrd.evaluate.panel") & {"matplotlib", "torch"}
