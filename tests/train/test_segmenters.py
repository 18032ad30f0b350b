"""The prior's competitors: losses whose best answer is known, and trainings that find it and survive being stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.methods import METHODS
from napari_pgrd.engine.netspec import HeadsConfig, LatentConfig
from napari_pgrd.engine.sampler import Case, sample_rng
from napari_pgrd.engine.samplers.segmenters import HeadsSampler, LatentSampler
from napari_pgrd.engine.segmenters import LatentNet, MultiHeadNet
from napari_pgrd.io.cases import choose, find_cases
from napari_pgrd.train.add import add
from napari_pgrd.train.methods import Job, train_method
from napari_pgrd.train.segmenters import (
    HEADS,
    LATENT,
    HeadsTraining,
    LatentTraining,
    evidence_bound,
    heads_cross_entropy,
    winner_takes_most,
)
from tests.cli.conftest import dataset  # noqa: F401  # a fixture
from tests.tiny import make_tiny_bundle

SIZE = 8
CPU = torch.device("cpu")


def _two_masks() -> Tensor:
    """Two answers to one image, ``(2, 2, 8, 8)``: the left half or the right half."""
    masks = torch.zeros(2, SIZE, SIZE, dtype=torch.long)
    masks[0, :, :4], masks[1, :, 4:] = 1, 1
    return torch.nn.functional.one_hot(masks, 2).movedim(-1, 1).float()


def _share(p: float, steps: int, batch: int) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Batches of one noise image whose label is the second mask in exactly this share of cases, in random order."""
    masks = _two_masks()
    image = torch.from_numpy(np.random.default_rng(5).normal(size=(1, 1, SIZE, SIZE))).float()
    n = steps * batch
    which = np.random.default_rng(6).permutation(np.arange(n) < round(p * n)).astype(int).reshape(steps, batch)
    return lambda step: (image.expand(batch, -1, -1, -1), masks[which[step]])


def _train(
    model: torch.nn.Module, loss: Callable[..., Tensor], config: Any, p: float, steps: int, rate: float
) -> Tensor:
    """A few hundred steps of Adam; returns the image."""
    batches = _share(p, steps, 8)
    optimiser = torch.optim.Adam(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        optimiser.zero_grad()
        loss(model.train(), batches(step), step, config).backward()
        optimiser.step()
        schedule.step()
    model.eval()
    return batches(0)[0][:1]


def _chosen(y: Tensor, blends: float = 0.0) -> Tensor:
    """Which of the two masks each sample is nearer to; no more than this share may lie between them."""
    masks = _two_masks().argmax(1)
    wrong = (y.argmax(1)[:, None] != masks[None]).flatten(2).sum(2)
    assert (wrong.min(1).values > 4).double().mean() <= blends
    return wrong.argmin(1)


def test_two_relaxed_heads_are_as_sure_as_is_known() -> None:
    """The head of answer A hears A's images, a share a, with weight 1 - e, and B's, b, with e: the best it can say of A
    is ``(1 - e) a / ((1 - e) a + e b)``."""
    p, e = 0.7, 0.05
    y = _two_masks()[[1] * 7 + [0] * 3]  # the shares 0.7 and 0.3 exactly
    logits = torch.zeros(1, 2, 2, SIZE, SIZE)
    logits[0, 0, 1, :, :4] = logits[0, 1, 1, :, 4:] = 0.1  # so that the heads part
    logits.requires_grad_()
    fit = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        fit.zero_grad()
        value = winner_takes_most(heads_cross_entropy(logits.expand(len(y), -1, -1, -1, -1), y), e)
        value.backward()
        return value

    fit.step(loss)
    says = logits.detach().softmax(2)[0, :, 1]
    for head, (part, share) in enumerate(((slice(0, 4), 1 - p), (slice(4, 8), p))):
        known = (1 - e) * share / ((1 - e) * share + e * (1 - share))
        np.testing.assert_allclose(says[head, :, part], known, atol=1e-3)


def test_two_heads_find_two_answers() -> None:
    torch.manual_seed(0)
    shape = HeadsConfig(dims=2, classes=2, filters=(4, 8, 8), heads=2, deep_supervision=0)
    model = MultiHeadNet(shape)
    image = _train(model, HEADS.loss, HeadsTraining(network=shape), 0.7, 120, 2e-2)
    (y,) = HeadsSampler(model).draw(Case(image, image), [sample_rng(0, i) for i in range(4)])
    assert _chosen(y).tolist() in ([0, 1, 0, 1], [1, 0, 1, 0])


def test_a_latent_learns_two_answers_and_how_often_each_is_given() -> None:
    """Its Gaussian has no gap, so a few draws lie between the answers, and the shares are near the true ones only."""
    torch.manual_seed(0)
    shape = LatentConfig(dims=2, classes=2, filters=(4, 8, 8), encoder=(8, 8), latent=1)
    model = LatentNet(shape)
    image = _train(model, LATENT.loss, LatentTraining(network=shape), 0.7, 300, 1e-2)
    (y,) = LatentSampler(model, 1).draw(Case(image, image), [sample_rng(0, i) for i in range(400)])
    assert float(_chosen(y, blends=0.3).double().mean()) == pytest.approx(0.7, abs=0.15)


def test_the_winner_has_the_weight_it_should() -> None:
    each = torch.tensor([[1.0, 3.0, 5.0], [4.0, 2.0, 2.5]], requires_grad=True)
    loss = winner_takes_most(each, 0.1)
    assert loss.item() == pytest.approx(np.mean([0.9 * 1 + 0.05 * 8, 0.9 * 2 + 0.05 * 6.5]))
    loss.backward()
    assert each.grad is not None
    np.testing.assert_allclose(each.grad.numpy() * 2, [[0.9, 0.05, 0.05], [0.05, 0.9, 0.05]], atol=1e-6)


def test_every_heads_cross_entropy_is_that_of_torch() -> None:
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(2, 3, 4, 5, 6))).float()
    index = torch.from_numpy(rng.integers(0, 4, (2, 5, 6)))
    y = torch.nn.functional.one_hot(index, 4).movedim(-1, 1).float()
    ours = heads_cross_entropy(logits, y)
    for b in range(2):
        for m in range(3):
            theirs = torch.nn.functional.cross_entropy(logits[b : b + 1, m], index[b : b + 1])
            assert ours[b, m].item() == pytest.approx(theirs.item(), rel=1e-5)
    deep = torch.stack([logits, torch.zeros_like(logits)], 1)
    torch.testing.assert_close(heads_cross_entropy(deep, y), (ours + 0.5 * np.log(4)) / 1.5)


def test_the_evidence_bound_is_cross_entropy_and_divergence() -> None:
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(1, 3, 4, 5))).float()
    index = torch.from_numpy(rng.integers(0, 3, (1, 4, 5)))
    y = torch.nn.functional.one_hot(index, 3).movedim(-1, 1).float()
    after, before = (
        (torch.from_numpy(rng.normal(size=(1, 2))), torch.from_numpy(rng.normal(size=(1, 2)))) for _ in "ab"
    )
    q, p = (MultivariateNormal(mean[0], torch.diag(log[0].exp())) for mean, log in (after, before))
    cross = torch.nn.functional.cross_entropy(logits, index, reduction="sum")
    for beta in (0.0, 1.0, 10.0):
        known = (cross + beta * kl_divergence(q, p)) / 20
        assert evidence_bound(logits, y, after, before, beta).item() == pytest.approx(known.item(), rel=1e-5)


# ---- from cases on disk to a bundle that offers the method

CONFIG = """
[prepare]
patch = [16, 16, 16]
stride = 4
[network]
filters = [4, 8, 8]
deep_supervision = 1
{network}
[optimisation]
steps = 4
validate_every = 2
warmup = 1
precision = "float32"
checkpoint_seconds = 0.0001
"""
OWN = {"multi-head": "heads = 3", "probunet": "encoder = [4, 8]"}
BY_THEMSELVES = ["dropout", "ensemble", "multi-head", "probunet"]


class Interruption(KeyboardInterrupt):
    """As a kill would, between two steps."""


def _job(name: str, data: Path, out: Path, say: Callable[[str], None] = lambda text: None) -> Job:
    config = data.parent / f"{name}.toml"
    config.write_text(CONFIG.format(network=OWN.get(name, "")), encoding="utf-8")
    cases = find_cases(data)
    names = [case.name for case in cases]
    return Job(name, choose(cases, names[:3]), choose(cases, names[3:5]), data, out, CPU, say, config)


@pytest.mark.parametrize("name", BY_THEMSELVES)
def test_a_training_that_was_stopped_ends_in_the_same_weights_and_is_added_to_a_bundle(
    name: str,
    dataset: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    whole = train_method(_job(name, dataset, tmp_path / "whole"))
    heard = 0

    def stop(text: str) -> None:
        nonlocal heard
        heard += "validation at step 2" in text
        if heard == (3 if name == "ensemble" else 1):  # in the third of its members
            raise Interruption

    with pytest.raises(Interruption):
        train_method(_job(name, dataset, tmp_path / "stopped", stop))
    stopped = train_method(_job(name, dataset, tmp_path / "stopped"))
    for file in METHODS[name].files:
        a, b = (load_file(folder / file) for folder in (whole, stopped))
        assert a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)
        assert all(v.dtype == np.float16 for v in a.values())
    first = [next(iter(load_file(whole / file).values())) for file in METHODS[name].files]
    assert len({weights.tobytes() for weights in first}) == len(first), "members differ"
    record = json.loads((whole / "training.json").read_text(encoding="utf-8"))
    assert record["stage"] == name and len(record.get("members", [1])) == len(first)
    again = _job(name, dataset, tmp_path / "stopped")
    assert again.config is not None
    again.config.write_text(
        again.config.read_text(encoding="utf-8").replace("steps = 4", "steps = 5"), encoding="utf-8"
    )
    with pytest.raises(InputError, match="other settings"):
        train_method(again)

    folder = make_tiny_bundle(tmp_path / "bundle", prepare={"patch": (16, 16, 16)})
    made = add(folder, stopped, again.monitor, "cpu")
    assert name in made.spec.offered and made.spec.method == "pgrd"
    entry = made.spec.entry(name)
    fit = entry.provenance["map"]
    assert fit["nll"] <= fit["nll_at_1"] and fit["cases"] == 2
    assert len(made.networks(method=name)) == 1 + len(METHODS[name].files)
    assert json.loads((folder / "bundle.json").read_text(encoding="utf-8"))["methods"][name]["temperature"] > 0
    assert add(folder, stopped, again.monitor, "cpu", default=True).spec.method == name
    assert Bundle.load(folder).spec.offered == made.spec.offered
    other = make_tiny_bundle(tmp_path / "other", prepare={"patch": (24, 24, 24)})
    with pytest.raises(InputError, match=r"another \[prepare\]"):
        add(other, stopped, again.monitor, "cpu")


def test_what_cannot_be_trained_is_a_sentence(dataset: Path, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(InputError, match="no method 'oracle' to train; choose one of pgrd"):
        train_method(_job("oracle", dataset, tmp_path / "out"))
    job = _job("dropout", dataset, tmp_path / "out")
    with pytest.raises(InputError, match="trained without a prior"):
        train_method(Job(**{**vars(job), "prior": tmp_path}))
    with pytest.raises(InputError, match="members' own seeds"):
        train_method(Job(**{**vars(_job("ensemble", dataset, tmp_path / "out")), "start": "hippocampus-mri"}))
    with pytest.raises(InputError, match="no finished training of a further method|no readable training"):
        add(make_tiny_bundle(tmp_path / "bundle"), tmp_path, job.monitor)
    with pytest.raises(InputError, match="comes with the package"):
        add("hippocampus-mri", tmp_path, job.monitor)
