"""Networks that segment in more than one way: what is random in them, in closed form, and nothing but it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, norm
from torch import Tensor

from napari_pgrd.engine.nets import build_prior
from napari_pgrd.engine.netspec import DropoutConfig, HeadsConfig, LatentConfig, PriorConfig
from napari_pgrd.engine.sampler import Case, sample_rng
from napari_pgrd.engine.samplers.segmenters import DropoutSampler, EnsembleSampler, HeadsSampler, LatentSampler
from napari_pgrd.engine.segmenters import DropoutNet, LatentNet, MultiHeadNet

SMALL = {"classes": 2, "filters": (4, 8, 8), "deep_supervision": 0}


def _rngs(m: int, first: int = 0) -> list[np.random.Generator]:
    return [sample_rng(7, i) for i in range(first, first + m)]


def _image(dims: int, depth: int = 5) -> Tensor:
    size = (8, 8, 8) if dims == 3 else (8, 12, depth)
    return torch.from_numpy(np.random.default_rng(2).normal(size=(1, 1, *size))).float()


def _dropout(dims: int = 3, **fields: object) -> DropoutNet:
    torch.manual_seed(0)
    return DropoutNet(DropoutConfig(**{**SMALL, "dims": dims, **fields})).eval()


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_label_that_hangs_on_one_unit_is_there_as_often_as_the_unit(share: float) -> None:
    """One unit in the coarsest block: its voxels get a logit of 2 while it speaks, of -2 while it is silenced."""
    net = _dropout(dropout=share, dropped_levels=1)

    net.net = torch.nn.Sequential(torch.nn.Identity())  # the hook alone stays
    net.net[0].register_forward_hook(net._drop)

    def logits(image: Tensor, rngs: Sequence[np.random.Generator]) -> Tensor:
        unit = net(torch.ones(len(rngs), 1, 1, 1, 1), rngs)  # 0, or 1 / (1 - share)
        return torch.cat([torch.zeros_like(unit), 4 * (unit > 0).float() - 2], 1)

    (y,) = DropoutSampler(logits).draw(Case(torch.ones(1, 1, 1, 1, 1), torch.ones(1, 2, 1, 1, 1)), _rngs(500))
    there = int((y.argmax(1) == 1).sum())
    assert binomtest(there, 500, 1 - share).pvalue > 1e-3
    units = net(torch.ones(500, 1, 1, 1, 1), _rngs(500))
    assert units.unique().tolist() == pytest.approx([0, 1 / (1 - share)]), "what is left is scaled up"


def test_dropout_lies_in_the_deepest_blocks_alone() -> None:
    for levels in (1, 2):
        net = _dropout(dropped_levels=levels)
        hooked = {name for name, module in net.named_modules() if module._forward_hooks}
        known = {"net.bottleneck", *(("net.downsamples.0", "net.upsamples.0") if levels == 2 else ())}
        assert known <= hooked and len([*hooked]) <= 2 * len(known), "blocks are registered under two names"


def test_without_generators_the_network_is_the_plain_one() -> None:
    net, plain = _dropout(), build_prior(PriorConfig(dims=3, **SMALL)).eval()
    plain.load_state_dict(net.net.state_dict())
    image = _image(3)
    with torch.no_grad():
        assert torch.equal(net(image), plain(image))
        assert not torch.allclose(net(image, _rngs(1)), plain(image), atol=1e-3)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_dropout_sample_depends_on_its_generator_alone(dims: int) -> None:
    image, sampler = _image(dims), DropoutSampler(_dropout(dims))
    case = Case(image, torch.zeros(1, 2, *image.shape[2:]))
    (whole,), (late,) = sampler.draw(case, _rngs(4)), sampler.draw(case, _rngs(2, first=2))
    assert whole.shape == (4, 2, *image.shape[2:])
    torch.testing.assert_close(whole[2:], late, atol=1e-5, rtol=0)
    assert not torch.allclose(whole[0], whole[1], atol=1e-3)


def test_every_slice_loses_units_of_its_own() -> None:
    net = _dropout(2)
    one = _image(2, depth=1)
    with torch.no_grad():
        out = net(one.repeat(1, 1, 1, 1, 3), _rngs(1))
    assert not torch.allclose(out[..., 0], out[..., 1], atol=1e-3)


def test_members_answer_in_turn_and_equally_often() -> None:
    said = [2.0, -1.0, 3.0, -2.0, -0.5]  # two of five members see the label

    def member(value: float) -> object:
        return lambda image: torch.cat([torch.zeros_like(image), torch.full_like(image, value)], 1)

    image = torch.zeros(1, 1, 2, 2, 2)
    sampler = EnsembleSampler([member(v) for v in said], temperature=2.0)  # type: ignore[misc]
    (y,) = sampler.draw(Case(image, image, None, range(3, 13)), _rngs(10))
    np.testing.assert_allclose(y[:, 1, 0, 0, 0], [1 / (1 + np.exp(-said[i % 5] / 2)) for i in range(3, 13)], rtol=1e-5)
    assert (y[:, 1] > 0.5).double().mean() == 0.4


def test_heads_answer_in_turn() -> None:
    torch.manual_seed(0)
    net = MultiHeadNet(HeadsConfig(dims=3, heads=3, **SMALL)).eval()
    image = _image(3)
    with torch.no_grad():
        logits = net(image)
    assert logits.shape == (1, 3, 2, 8, 8, 8)
    (y,) = HeadsSampler(net, 0.5).draw(Case(image, image, None, range(4, 9)), _rngs(5))
    torch.testing.assert_close(y, torch.softmax(logits[0, [1, 2, 0, 1, 2]] / 0.5, 1))


def test_a_2d_head_answers_for_a_stack_as_for_each_slice() -> None:
    torch.manual_seed(0)
    net, image = MultiHeadNet(HeadsConfig(dims=2, heads=3, **SMALL)).eval(), _image(2)
    with torch.no_grad():
        stack = net(image)
        for z in range(5):
            torch.testing.assert_close(net(image[..., z]), stack[..., z], atol=1e-5, rtol=0)


def _latent(dims: int, mean: float = 0.0, log_variance: float = 0.0) -> LatentNet:
    """A network in closed form: the label is everywhere or nowhere, as the first latent is above zero or not."""
    torch.manual_seed(0)
    net = LatentNet(LatentConfig(dims=dims, latent=3, encoder=(4, 4), **SMALL)).eval()
    with torch.no_grad():
        net.encoder.out.weight.zero_()
        net.encoder.out.bias.copy_(torch.tensor([mean, 0, 0, log_variance, 0, 0]))
        first, _, second, _, third = net.last
        for layer in (first, second, third):
            layer.weight.zero_()
            layer.bias.zero_()
        first.weight[0, 4], first.weight[1, 4] = 1, -1  # the latent and its negative, through the ReLUs
        second.weight[0, 0] = second.weight[1, 1] = 1
        third.weight[1, 0], third.weight[1, 1] = 5, -5
    return net


@pytest.mark.parametrize(("mean", "spread"), [(0.0, 1.0), (0.6, 1.0), (-0.5, 2.0)])
def test_the_frequency_is_what_the_gaussian_gives(mean: float, spread: float) -> None:
    image = _image(3)
    sampler = LatentSampler(_latent(3, mean, 2 * np.log(spread)), latent=3)
    (y,) = sampler.draw(Case(image, image), _rngs(500))
    there = y.argmax(1).flatten(1)
    assert (there == there[:, :1]).all()
    assert binomtest(int(there[:, 0].sum()), 500, norm.cdf(mean / spread)).pvalue > 1e-3


def test_every_slice_has_a_latent_of_its_own() -> None:
    image = _image(2, depth=40)
    (y,) = LatentSampler(_latent(2, 0.6), latent=3, flat=True).draw(Case(image, image), _rngs(20))
    there = y.argmax(1)
    assert (there == there[:, :1, :1]).all(), "a slice is decided as a whole"
    slices = there[:, 0, 0]
    assert binomtest(int(slices.sum()), 800, norm.cdf(0.6)).pvalue > 1e-3
    assert 0 < slices[0].sum() < 40


@pytest.mark.parametrize("dims", [2, 3])
def test_a_latent_sample_depends_on_its_generator_alone(dims: int) -> None:
    torch.manual_seed(0)
    net = LatentNet(LatentConfig(dims=dims, latent=3, encoder=(4, 4), **SMALL)).eval()
    image = _image(dims)
    sampler, case = LatentSampler(net, 3, dims == 2, temperature=1.5), Case(image, image)
    (whole,), (late,) = sampler.draw(case, _rngs(4)), sampler.draw(case, _rngs(2, first=2))
    torch.testing.assert_close(whole[2:], late, atol=1e-5, rtol=0)
    mean, _ = net.prior(image[0].movedim(-1, 0) if dims == 2 else image)
    assert mean.shape == (5 if dims == 2 else 1, 3)


def test_the_backbone_with_a_latent_is_asked_once() -> None:
    net, image = _latent(3), _image(3)
    calls: list[int] = []
    net.net.register_forward_hook(lambda *_: calls.append(1))
    list(LatentSampler(net, 3).draw(Case(image, image), _rngs(6)))
    assert len(calls) == 1
