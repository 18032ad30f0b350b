"""How often a time is drawn: the default as ever, a fingerprint's weights as the mathematics has them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.nets import Denoiser
from napari_pgrd.engine.schedule import cosine_rhobar, linear_rhobar
from napari_pgrd.engine.spec import DenoiserConfig
from napari_pgrd.train.config import DenoiserTraining, Optimisation, read_config
from napari_pgrd.train.denoiser import NOISE, Objective
from napari_pgrd.train.weighting import (
    ErrorCurve,
    Times,
    at_knots,
    from_knots,
    noise_angle,
    read_fingerprint,
    slope,
    weighted,
    weights_of,
)
from tests.oracles.masks import bernoulli_error

CURVE = {"T": 100, "shift": 1.0, "residual_scale": 1.0, "smoothing": 0.02, "floor": 0.2}


def bernoulli_file(folder: Path, **changed: object) -> Path:
    """A fingerprint of independent voxels, one in ten of them foreground."""
    t = list(range(0, 101, 2))
    err = bernoulli_error(cosine_rhobar(100)[t], 0.1)
    path = folder / "fingerprint.json"
    path.write_text(json.dumps({**CURVE, "t": t, "err": err.tolist(), "more": "for the reader", **changed}))
    return path


class Spy(Denoiser):
    """A denoiser that notes what it is asked."""

    def raw(self, s: Tensor, image: Tensor, pi: Tensor, t: Tensor, rb: Tensor, hint: Tensor | None = None):
        self.asked = s, t
        return super().raw(s, image, pi, t, rb, hint)


def test_times_are_by_default_what_they_were_before_they_could_be_weighted() -> None:
    config = DenoiserTraining(
        optimisation=Optimisation(seed=4, batch=3),
        network=DenoiserConfig(dims=2, classes=2, widths=(8, 8), attention=(False, False), supervised=()),
        T=37,
        dds_weight=0,
    )
    net = Spy(config.network)
    y = torch.nn.functional.one_hot(torch.arange(192).reshape(3, 8, 8) % 2, 2).movedim(-1, 1).float()
    pi = torch.full_like(y, 0.5)
    rhobar = cosine_rhobar(37)
    objective = Objective(config, rhobar, lambda image, names: pi, lambda step: ["a", "b", "c"])
    for step in range(20):
        loss = objective(net, (torch.zeros(3, 1, 8, 8), y), step)
        rng = np.random.default_rng((4, 11, step))
        t = 1 + np.floor((np.arange(3) + rng.random(3)) / 3 * 37).astype(int)
        eps = torch.from_numpy(rng.standard_normal(y.shape, dtype=np.float32))
        s, asked = net.asked
        assert asked.tolist() == t.tolist()
        rb = torch.from_numpy(rhobar[t]).float()[:, None, None, None]
        assert torch.allclose(s, pi + rb.sqrt() * (y - pi) + (1 - rb).sqrt() * eps, atol=1e-6)
        v = rb.sqrt() * eps - (1 - rb).sqrt() * (y - pi)  # residual_std is 1, and MONAI's last layer starts at 0
        assert loss.item() == pytest.approx(v.square().mean().item(), rel=1e-5)


def test_records_say_nothing_of_weights_where_there_are_none() -> None:
    record = DenoiserTraining().model_dump(mode="json")
    assert not {"weighting", "fingerprint", "timestep_weights"} & set(record)
    weights = DenoiserTraining(weighting="fingerprint", timestep_weights=(0.5, 1.5))
    record = weights.model_dump(mode="json")
    assert record["timestep_weights"] == [0.5, 1.5]
    assert DenoiserTraining.model_validate(record) == weights


def test_even_weights_draw_what_no_weights_draw() -> None:
    for T in (7, 1000):
        even, none = Times(T, (1.0, 1.0, 1.0)), Times(T)
        for seed in range(50):
            assert np.array_equal(even(np.random.default_rng(seed), 5), none(np.random.default_rng(seed), 5))


def test_times_are_drawn_as_often_as_their_weight_says() -> None:
    T, batch, knots = 20, 4, (0.0, 0.2, 3.0, 1.0)
    expected = np.interp(np.arange(1, T + 1) / T, [0, 1 / 3, 2 / 3, 1], knots)
    expected /= expected.sum()
    times, rng, count = Times(T, knots), np.random.default_rng(0), 20_000
    drawn = np.stack([times(rng, batch) for _ in range(count)])
    share = np.bincount(drawn.ravel(), minlength=T + 1)[1:] / drawn.size
    assert np.all(np.abs(share - expected) < 5 * np.sqrt(expected / drawn.size) + 1e-9)
    edges = np.concatenate([[0], np.cumsum(expected)])
    for i in range(batch):  # one in each equal part of the probability
        assert np.all(edges[drawn[:, i]] >= i / batch - 1e-9)
        assert np.all(edges[drawn[:, i] - 1] <= (i + 1) / batch + 1e-9)


def test_the_derivative_is_that_of_the_curve_up_to_its_ends() -> None:
    x = np.linspace(0, 1, 1001)
    assert np.allclose(slope(3 * x, 0.05), 3, atol=1e-9)
    inner = slice(200, -200)
    assert np.allclose(
        slope(x**3, 0.02)[inner], 3 * x[inner] ** 2 + 3 * 0.02**2, atol=1e-3
    )  # a Gaussian adds 3 sigma^2
    assert np.allclose(slope(x**3, 0.0)[1:-1], (3 * x**2)[1:-1], atol=1e-5)
    both = np.stack([x, x**2])
    assert np.allclose(slope(both, 0.03)[1], slope(x**2, 0.03))


def test_weights_have_mean_one_and_keep_to_their_floor() -> None:
    slopes = np.array([9.0, -2.0, 0.0, 1.0, 3.0])
    assert weights_of(slopes, 0.2).tolist() == pytest.approx([9 * 0.8 + 0.2, 0.2, 0.2, 0.8 + 0.2, 2.4 + 0.2])
    assert weights_of(slopes, 0.2)[1:].mean() == pytest.approx(1)
    assert np.array_equal(weights_of(slopes, 1.0), np.ones(5))
    assert np.array_equal(weights_of(np.array([1.0, -1.0, 0.0]), 0.2), np.ones(3))  # nothing rises in 1..T
    w = weights_of(slope(np.linspace(0, 1, 1001) ** 2, 0.01), 0.1)
    assert np.abs(from_knots(at_knots(w), 1000) - w).max() < 0.01
    with pytest.raises(InputError, match="are 0 at every time"):
        from_knots((1.0, 0.0, 0.0), 2)


@pytest.mark.parametrize(("shift", "scale", "T"), [(1.0, 1.0, 100), (0.4, 1.0, 100), (1.0, 0.5, 1000), (0.6, 0.8, 250)])
def test_a_fingerprint_serves_another_schedule(tmp_path: Path, shift: float, scale: float, T: int) -> None:
    found = read_fingerprint(bernoulli_file(tmp_path))
    rhobar = cosine_rhobar(T, shift=shift)
    exact = bernoulli_error(rhobar, 0.1, scale)
    assert np.abs(found.curve.at(rhobar, scale) - exact).max() < 0.002 * exact[-1]
    expected = weights_of(slope(exact, 0.02), 0.2)
    assert np.abs(found.weights(rhobar, scale) - expected).max() < 0.03 * expected.max()


def test_a_draw_by_the_derivative_alone_meets_the_same_noise_under_every_schedule(tmp_path: Path) -> None:
    found = read_fingerprint(bernoulli_file(tmp_path, floor=0.0, smoothing=0.0))
    middle = []
    for shift in (0.3, 1.0, 2.0):
        rhobar = cosine_rhobar(1000, shift=shift)
        upto = np.cumsum(found.weights(rhobar)[1:]) / 1000
        middle.append([noise_angle(rhobar)[1 + np.searchsorted(upto, q)] for q in (0.25, 0.5, 0.75)])
    assert np.ptp(middle, axis=0).max() < 0.01


def test_a_training_file_gives_a_fingerprint_or_the_weights_themselves(tmp_path: Path) -> None:
    bernoulli_file(tmp_path)
    path = tmp_path / "denoiser.toml"
    path.write_text('T = 50\nshift = 0.5\nweighting = "fingerprint"\nfingerprint = "fingerprint.json"\n')
    rhobar = cosine_rhobar(50, shift=0.5)
    config, record = weighted(read_config(path, DenoiserTraining), rhobar)
    assert config.fingerprint is None and config.timestep_weights is not None and record is not None
    assert len(config.timestep_weights) == 51 and str(tmp_path) not in config.model_dump_json() + json.dumps(record)
    exact = weights_of(slope(bernoulli_error(rhobar, 0.1), 0.02), 0.2)
    assert np.abs(np.array(config.timestep_weights) - exact).max() < 0.05
    assert record["floor"] == 0.2 and len(record["sha256"]) == 64
    assert weighted(config, rhobar)[0] == config  # as a record is read back
    path.write_text('weighting = "fingerprint"\ntimestep_weights = [0, 1]\n')
    config, record = weighted(read_config(path, DenoiserTraining), cosine_rhobar(1000))
    assert record == {"kind": "fingerprint", "least": 0.002, "most": 1.998, "half_of_the_draws_above": 0.707}
    assert weighted(DenoiserTraining(), cosine_rhobar(1000)) == (DenoiserTraining(), None)


def test_the_noise_that_ddpm_adds_is_read_on_the_same_curve(tmp_path: Path) -> None:
    found = read_fingerprint(bernoulli_file(tmp_path))
    rhobar = linear_rhobar(1000)  # of a mask from -1 to 1: twice as far apart
    path = str(tmp_path / "fingerprint.json")
    asked = DenoiserTraining(weighting="fingerprint", fingerprint=path)
    config, _ = weighted(asked, NOISE.schedule(asked).rhobar, NOISE.scale or 1)
    exact = weights_of(slope(bernoulli_error(rhobar, 0.1, 2.0), 0.02), found.floor)
    assert np.abs(from_knots(config.timestep_weights or (), 1000) - exact).max() < 0.05 * exact.max()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('weighting = "fingerprint"', "denoiser.toml: weighting = 'fingerprint' takes either"),
        ("timestep_weights = [1, 2]", "'uniform' takes neither"),
        ('weighting = "fingerprint"\nfingerprint = "a.json"\ntimestep_weights = [1, 2]', "takes either"),
        ('weighting = "fingerprint"\ntimestep_weights = [1, -2]', "timestep_weights.1: .*greater than or equal to 0"),
        ('weighting = "fingerprint"\ntimestep_weights = [1, inf]', "timestep_weights.1: .*finite"),
        ('weighting = "fingerprint"\ntimestep_weights = [1]', "timestep_weights: .*at least 2"),
        ('weighting = "snr"', "weighting: .*'uniform' or 'fingerprint'"),
        ('weighting = "fingerprint"\nfingerprint = "nowhere.json"', "There is no nowhere.json"),
    ],
)
def test_a_faulty_weighting_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "denoiser.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=sentence):
        weighted(read_config(path, DenoiserTraining), cosine_rhobar(1000))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"T": 90}, "does not hold an error for each of its times"),
        ({"err": [0.0, 1.0]}, "does not hold an error for each"),
        ({"t": [0, 60, 50, 100], "err": [0, 1, 2, 3]}, "does not hold an error for each"),
        ({"t": [0, 100], "err": [0, float("nan")]}, "does not hold an error for each"),
        ({"floor": 2}, "is no fingerprint"),
    ],
)
def test_a_faulty_fingerprint_is_one_sentence(tmp_path: Path, changed: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_fingerprint(bernoulli_file(tmp_path, **changed))
    (tmp_path / "fingerprint.json").write_bytes(b"\x80no json")
    with pytest.raises(InputError, match="is no fingerprint"):
        read_fingerprint(tmp_path / "fingerprint.json")


def test_a_curve_of_several_cases_is_read_case_by_case() -> None:
    rhobar = cosine_rhobar(50)
    err = np.stack([bernoulli_error(rhobar, p) for p in (0.1, 0.3)])
    assert np.allclose(ErrorCurve(noise_angle(rhobar), err).at(rhobar), err)
