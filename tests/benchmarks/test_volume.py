"""A whole brain of four channels, at its real size, through windows: the benchmark's own way on a synthetic head."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import volume as benchmark

from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.measure import measure
from napari_pgrd.engine.predict import predict
from napari_pgrd.engine.request import Request
from napari_pgrd.io.images import read_image

SHAPE = (182, 218, 182)


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """FLAIR, T1, T1 after contrast and T2 of an ellipsoid with folds, 0 outside it."""
    monkeypatch.setattr(nib.openers.Opener, "default_compresslevel", 1)
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n, dtype=np.float32) for n in SHAPE], indexing="ij", sparse=True)
    inside = (x / 0.75) ** 2 + (y / 0.69) ** 2 + (z / 0.68) ** 2 < 1
    coarse = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 1, 30, 36, 30))).float()
    folds = torch.nn.functional.interpolate(coarse, SHAPE, mode="trilinear")[:, 0].numpy()
    for i, name in enumerate(benchmark.FILES):
        data = np.where(inside, 400 + 100 * i + 90 * folds[i], 0).astype(np.int16)
        image = nib.Nifti1Image(data, np.diag([-1.0, 1, 1, 1]))
        image.header.set_xyzt_units("mm")
        nib.save(image, tmp_path / f"{name}.nii.gz")
    return tmp_path


def test_a_whole_brain_of_four_channels_goes_through(head: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(benchmark.untrained_bundle(tmp_path / "untrained-four-channel"))
    volume = read_image([head / f"{name}.nii.gz" for name in benchmark.FILES], channels=benchmark.CHANNELS)
    request = Request(samples=2, steps=1, device="cpu")
    cost = measure(volume, bundle, request)
    assert cost.windows == 8 and cost.at_once == 1
    assert cost.seconds(2, 1) > 0 and cost.bytes(2) > volume.data.nbytes
    *_, last = predict(volume, bundle, request)
    done = last.prediction
    assert done is not None and done.samples == 2 and done.probability.shape == (2, *SHAPE)
    np.testing.assert_allclose(done.probability.sum(0), 1, atol=1e-5)
    there = np.nonzero(volume.data.any(0))
    beside = np.ones(SHAPE, bool)
    beside[tuple(slice(axis.min(), axis.max() + 1) for axis in there)] = False
    assert beside.any() and not done.consensus[beside].any(), "beside the head there is background"
    assert max(benchmark.seam(volume, bundle, done).values()) < 1.05


def test_whoever_cancels_a_whole_brain_waits_for_one_window(head: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(benchmark.untrained_bundle(tmp_path / "untrained-four-channel"))
    volume = read_image([head / f"{name}.nii.gz" for name in benchmark.FILES], channels=benchmark.CHANNELS)
    updates = predict(volume, bundle, Request(samples=1, steps=2, device="cpu"))
    assert next(updates).kind == "step", "the first window of the prior, of eight"
    updates.close()
    assert next(updates, None) is None
