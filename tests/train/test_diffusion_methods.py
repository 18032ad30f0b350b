"""DDPM and the ablations: what they learn in closed form, and trainings around a prior that survive being stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor

from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.entries import Diffusion
from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.methods import METHODS
from napari_pgrd.engine.nets import Denoiser
from napari_pgrd.engine.netspec import DenoiserConfig
from napari_pgrd.engine.predict import predict
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.schedule import linear_rhobar
from napari_pgrd.io.cases import choose, find_cases
from napari_pgrd.io.nifti import read_volume
from napari_pgrd.train.add import add
from napari_pgrd.train.config import DenoiserTraining
from napari_pgrd.train.denoiser import NOISE, NoiseObjective
from napari_pgrd.train.methods import TRAININGS, Job, train_method
from tests.cli.conftest import dataset  # noqa: F401  # a fixture
from tests.tiny import make_tiny_bundle
from tests.train.test_segmenters import CPU, Interruption

CONFIG = """
T = 50
dds_weight = 0.1
residual_std = 0.2
[network]
widths = [8, 8]
attention = [false, false]
supervised = [1]
[optimisation]
steps = 4
validate_every = 2
validate_cases = 1
warmup = 1
precision = "float32"
checkpoint_seconds = 0.0001
"""
AROUND = [name for name, row in METHODS.items() if row.stepwise and row.entry is not None]


def _job(name: str, data: Path, prior: Path | None, out: Path, say: Callable[[str], None] = lambda text: None) -> Job:
    config = out.parent / "denoiser.toml"
    config.write_text(CONFIG, encoding="utf-8")
    cases = find_cases(data)
    names = [case.name for case in cases]
    return Job(name, choose(cases, names[:3]), choose(cases, names[3:5]), data, out, CPU, say, config, prior)


@pytest.mark.parametrize("name", AROUND)
def test_a_training_that_was_stopped_ends_in_the_same_weights_and_is_added_to_a_bundle(
    name: str,
    dataset: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    folder = make_tiny_bundle(tmp_path / "bundle", sampling={"steps": 3, "samples": 2})
    whole = train_method(_job(name, dataset, folder, tmp_path / "whole"))

    def stop(text: str) -> None:
        if "validation at step 2" in text:
            raise Interruption

    with pytest.raises(Interruption):
        train_method(_job(name, dataset, folder, tmp_path / "stopped", stop))
    job = _job(name, dataset, folder, tmp_path / "stopped")
    stopped = train_method(job)
    a, b = (load_file(out / METHODS[name].files[0]) for out in (whole, stopped))
    assert a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)

    record = json.loads((whole / "training.json").read_text(encoding="utf-8"))
    assert record["stage"] == name
    for key, value in METHODS[name].settings.items():
        assert value is None or record["config"][key] == value
    made = add(folder, stopped, job.monitor, "cpu")
    entry = made.spec.entry(name)
    assert isinstance(entry, Diffusion)
    assert entry.schedule.prior_guided == METHODS[name].settings.get("prior_guided", True)
    assert entry.provenance["map"]["nll"] <= entry.provenance["map"]["nll_start"]
    volume = read_volume(job.monitor[0].images)
    *_, last = predict(volume, Bundle.load(folder), Request(samples=2, steps=2, device="cpu", method=name))
    assert last.prediction is not None and last.prediction.samples == 2
    other = make_tiny_bundle(tmp_path / "other", seed=4)
    with pytest.raises(InputError, match="around another prior"):
        add(other, stopped, job.monitor, "cpu")


def test_no_prior_is_a_sentence(dataset: Path, tmp_path: Path) -> None:  # noqa: F811
    for name in (*AROUND, "pgrd"):
        with pytest.raises(InputError, match="is trained beside a prior. Give --prior"):
            train_method(_job(name, dataset, None, tmp_path / "out"))


def test_without_the_prior_the_residual_is_the_mask_itself(dataset: Path, tmp_path: Path) -> None:  # noqa: F811
    """Its size is measured: the root of the mean of y over classes, 1 / sqrt(3), whatever the configuration says."""
    folder = make_tiny_bundle(tmp_path / "bundle")
    job = _job("no-pgr", dataset, folder, tmp_path / "out")
    train_method(job)
    record = json.loads((tmp_path / "out" / "training.json").read_text(encoding="utf-8"))
    assert record["config"]["network"]["residual_std"] == pytest.approx(1 / np.sqrt(3), abs=1e-4)


class _Told(Denoiser):
    """A network that answers with a given tensor and notes what it was asked."""

    def __init__(self, answer: Callable[[Tensor], Tensor]) -> None:
        super().__init__(DenoiserConfig(dims=2, classes=2, widths=(8, 8), attention=(False, False), supervised=()))
        self.answer = answer

    def raw(self, s: Tensor, image: Tensor, pi: Tensor, t: Tensor, rb: Tensor, hint: Tensor | None = None):  # type: ignore[no-untyped-def]
        assert hint is None and not pi.any()
        np.testing.assert_allclose(rb.numpy(), linear_rhobar(50)[t.numpy()], rtol=1e-5)
        self.eps = (s - rb.sqrt().reshape(-1, 1, 1, 1) * self.clean) / (1 - rb).sqrt().reshape(-1, 1, 1, 1)
        return self.answer(self.eps), []


def test_the_loss_of_ddpm_is_the_error_on_the_noise() -> None:
    """Nothing for a network that knows eps, and its variance, 1, for one that says 0."""
    settings = {k: v for k, v in METHODS["ddpm"].settings.items() if v is not None}
    config = DenoiserTraining(T=50, **settings)
    objective = NoiseObjective(config, NOISE.schedule(config).rhobar, lambda *_: torch.zeros(()), lambda step: [])  # type: ignore[arg-type, return-value]
    y = torch.nn.functional.one_hot(torch.randint(0, 2, (16, 24, 24)), 2).movedim(-1, 1).float()
    for answer, loss in ((lambda eps: eps, 0.0), (torch.zeros_like, 1.0)):
        net = _Told(answer)
        net.clean = 2 * y - 1  # type: ignore[assignment]
        assert float(objective(net, (torch.zeros(16, 1, 24, 24), y), 3)) == pytest.approx(loss, abs=0.03)


def test_every_method_has_a_training() -> None:
    assert {row.training for row in METHODS.values()} == set(TRAININGS)
