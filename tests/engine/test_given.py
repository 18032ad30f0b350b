"""Another model's probabilities in place of the prior, on the grid that they were given on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.given import GivenPrior
from napari_pgrd.engine.predict import predict, sampling_key
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.volume import Volume
from tests.tiny import blob_volume, make_tiny_bundle


def soft(truth: np.ndarray, classes: int = 3) -> np.ndarray:
    """0.8 for the true class."""
    hot = np.moveaxis(np.eye(classes)[truth], -1, 0)
    return (0.8 * hot + 0.2 / (classes - 1) * (1 - hot)).astype(np.float32)


def run(volume: Volume, bundle: Bundle, given: GivenPrior | None, **more: object) -> object:
    request = Request(samples=2, steps=2, device="cpu", prior=given, **more)  # type: ignore[arg-type]
    *_, last = predict(volume, bundle, request)
    assert last.prediction is not None
    return last.prediction


def test_a_bundle_without_a_prior_draws_around_what_is_given(tmp_path: Path) -> None:
    volume, truth = blob_volume()
    folder = make_tiny_bundle(tmp_path / "whole")
    without = make_tiny_bundle(tmp_path / "without", prior=None)
    (without / "prior.safetensors").unlink()
    whole, bundle = Bundle.load(folder), Bundle.load(without)
    assert set(bundle.spec.weights) == {"denoiser.safetensors"} and bundle.spec.offered == ("pgrd",)
    assert "thresholded" in whole.spec.offered
    with pytest.raises(InputError, match="holds no prior network: give the probabilities"):
        next(predict(volume, bundle, Request(device="cpu")))
    given = GivenPrior(soft(truth))
    drawn = run(volume, bundle, given)
    assert np.allclose(drawn.prior, soft(truth), atol=1e-6)
    assert np.array_equal(np.stack(drawn.masks), np.stack(run(volume, whole, given).masks))
    # The prior's own answer, given back to it, changes no sample.
    own = run(volume, whole, None)
    again = run(volume, bundle, GivenPrior(own.prior))
    assert (np.stack(own.masks) != np.stack(again.masks)).mean() < 1e-3


def test_other_probabilities_are_other_samples_and_axes_change_nothing(tmp_path: Path) -> None:
    volume, truth = blob_volume()
    bundle = Bundle.load(make_tiny_bundle(tmp_path / "tiny"))
    given, other = GivenPrior(soft(truth)), GivenPrior(soft(truth[::-1]))
    keys = {sampling_key(volume, bundle, Request(prior=p)) for p in (None, given, other)}
    assert len(keys) == 3
    flipped = Volume(volume.data[:, ::-1].copy(), np.diag([-1.0, 1, 1, 1]))
    turned = run(flipped, bundle, GivenPrior(soft(truth[::-1])))
    assert np.array_equal(np.stack(turned.masks)[:, ::-1], np.stack(run(volume, bundle, given).masks))
    box = ((2, 18), (3, 23), (1, 17))
    part = run(volume, bundle, given, box=box)
    assert np.allclose(part.prior, soft(truth)[:, 2:18, 3:23, 1:17], atol=1e-6)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (np.zeros((4, 4, 4)), "three axes and one of classes"),
        (np.full((3, 4, 4, 4), np.nan), "NaN or infinite"),
        (np.full((3, 4, 4, 4), 0.5), "sum is up to 0.5 from 1"),
        (np.stack([np.full((4, 4, 4), x) for x in (3.0, -2, 0)]), "goes down to -2"),
    ],
)
def test_what_is_no_probability_is_refused(values: np.ndarray, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        GivenPrior(values)


def test_another_number_of_classes_or_another_grid_is_said_before_anything_runs(tmp_path: Path) -> None:
    volume, truth = blob_volume()
    bundle = Bundle.load(make_tiny_bundle(tmp_path / "tiny"))
    for given, sentence in (
        (soft(np.minimum(truth, 1), 2), "has 2 classes, but the bundle has 3 labels"),
        (soft(truth)[:, 1:], "Give a map on the image's own grid"),
    ):
        with pytest.raises(InputError, match=sentence):
            next(predict(volume, bundle, Request(prior=GivenPrior(given), device="cpu")))
    with pytest.raises(InputError, match="asks the prior's network of changed images"):
        next(predict(volume, bundle, Request(prior=GivenPrior(soft(truth)), method="tta", device="cpu")))
