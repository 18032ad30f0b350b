"""The draws that tau is fitted on are the samples a reader gets."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.predict import predict
from napari_pgrd.engine.request import Request
from napari_pgrd.io.cases import CaseFiles
from napari_pgrd.io.nifti import read_volume
from napari_pgrd.train.pack import WIDEST, draws, fit_interval, read_meta
from tests.tiny import blob_volume, make_tiny_bundle


def test_draws_are_the_samples_of_predict(tmp_path: Path) -> None:
    volume, truth = blob_volume()
    affine = np.diag([-1.0, 1, 1, 1])
    for name, data in (("image", volume.data[0]), ("label", truth)):
        nib.save(nib.Nifti1Image(data, affine), tmp_path / f"{name}.nii.gz")
    case = CaseFiles("a", (tmp_path / "image.nii.gz",), (tmp_path / "label.nii.gz",))
    bundle = Bundle.load(make_tiny_bundle(tmp_path / "bundle", mean_weight=0.4))
    ((yhat, first, labels),) = draws(bundle, [case], "cpu")
    assert np.array_equal(labels, truth.reshape(1, -1))
    *_, last = predict(read_volume(case.images), bundle, Request(device="cpu"))
    assert last.prediction is not None
    assert yhat.shape == (last.prediction.samples, 3, truth.size)
    assert all(np.array_equal(y.argmax(0), mask.ravel()) for y, mask in zip(yhat, last.prediction.masks, strict=True))
    soft = np.exp(yhat / bundle.spec.tau)
    p = 0.6 * (soft / soft.sum(1, keepdims=True)).mean(0) + 0.4 * first.mean(0)
    assert np.allclose(p, last.prediction.probability.reshape(3, -1), atol=1e-5)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name = ", "is no readable TOML file"),
        ('name = "x"', "title: Field required"),
        ('name = "x"\ncolour = "red"\n', "colour: Extra inputs are not permitted"),
    ],
)
def test_a_faulty_description_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "meta.toml"
    path.write_text(text, encoding="utf-8")
    if "Extra" in sentence:
        text = path.read_text(encoding="utf-8")
        path.write_text(text + 'title = "t"\nmodality = "m"\nchannels = ["c"]\nlabels = []\nscope = {sentence = "s"}\n')
    with pytest.raises(InputError, match=f"meta.toml.*{sentence}"):
        read_meta(path)


def test_the_committed_description_is_read() -> None:
    meta = read_meta(Path(__file__).parents[2] / "benchmarks" / "configs" / "hippocampus-bundle.toml")
    assert [label.value for label in meta.labels] == [0, 1, 2]
    assert (meta.sampling.samples, meta.sampling.steps, meta.scope.start_plane) == (16, 8, "sagittal")
    lung = read_meta(Path(__file__).parents[2] / "benchmarks" / "configs" / "lung-bundle.toml")
    assert [label.name for label in lung.labels] == ["background", "nodule"]
    assert (lung.sampling.eta, lung.scope.intensity, lung.scope.box_text) == (0.0, "ct", "64 x 64 x 64 voxel")
    assert "critical role in the creation" in lung.data["acknowledgement"]


@pytest.mark.parametrize(("away", "kept"), [(0.5 * WIDEST, True), (1.5 * WIDEST, False)])
def test_an_interval_too_wide_to_say_anything_is_none(away: float, kept: bool) -> None:
    meta = read_meta(Path(__file__).parents[2] / "benchmarks" / "configs" / "lung-bundle.toml")
    samples = np.array([[900, 100]] * 16)
    truth = np.array([[900, round(100 * (1 + away))]] * 4)
    said: list[str] = []
    found = fit_interval([(samples, truth)] * 30, meta, said.append)
    assert (found is not None) == kept
    if found:
        assert found["cases"] == 30 and found["widening"] == {"nodule": pytest.approx(away, abs=0.01)}
    assert said[0].startswith("volume interval at 90%" if kept else "no volume interval: to hold the truth it would")
