"""The networks: shapes, preconditioning, heads, slices and weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_pgrd.engine.errors import BundleError
from napari_pgrd.engine.nets import Denoiser, build_denoiser, build_prior, load_weights, named_weights, stride_of
from napari_pgrd.engine.spec import DenoiserConfig, PriorConfig


def _prior(seed: int = 0, **fields: Any) -> nn.Module:
    torch.manual_seed(seed)
    return build_prior(PriorConfig(**{"filters": (4, 8, 8), "deep_supervision": 0, **fields})).eval()


def _denoiser(seed: int = 0, **fields: Any) -> Denoiser:
    torch.manual_seed(seed)
    base = {"widths": (8, 8, 16), "attention": (False,) * 3, "supervised": ()}
    net = build_denoiser(DenoiserConfig(**{**base, **fields})).eval()
    for p in net.unet.parameters():  # MONAI starts each block's last layer at zero, which would hide the rest
        if not p.any():
            nn.init.normal_(p, std=0.1)
    return net


def test_the_time_matters() -> None:
    """Guards the other tests: a freshly made MONAI network would ignore it."""
    s, image, pi, *_ = _inputs(1, 1, 3, 8, 8, 8)
    with torch.no_grad():
        early, late = (_denoiser().unet(torch.cat([s, image, pi], 1), torch.tensor([t])) for t in (5, 900))
    assert float((early - late).abs().mean()) > 0.01


def _inputs(b: int, c: int, k: int, *size: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    s, image = torch.randn(b, k, *size, generator=draw), torch.randn(b, c, *size, generator=draw)
    pi = torch.softmax(torch.randn(b, k, *size, generator=draw), 1)
    return s, image, pi, torch.tensor([1000, 300, 1])[:b], torch.tensor([0.0, 0.6, 0.999])[:b]


@pytest.mark.parametrize(("dims", "channels", "classes"), [(2, 1, 2), (2, 3, 4), (3, 1, 3), (3, 4, 2)])
def test_both_networks_take_any_number_of_dimensions_channels_and_classes(
    dims: int, channels: int, classes: int
) -> None:
    size = (8, 12, 16)[:dims]
    fields = {"dims": dims, "channels": channels, "classes": classes}
    s, image, pi, t, rb = _inputs(2, channels, classes, *size)
    with torch.no_grad():
        assert _prior(**fields)(image).shape == s.shape
        v = _denoiser(**fields)(s, image, pi, t, rb)
    assert v.shape == s.shape
    assert torch.isfinite(v).all()


@pytest.mark.parametrize(
    "config", [PriorConfig(filters=(4, 8, 8)), DenoiserConfig(widths=(8, 8, 16), attention=(False,) * 3)]
)
def test_the_stride_is_the_smallest_size_that_passes(config: PriorConfig | DenoiserConfig) -> None:
    assert stride_of(config) == 4
    s, image, pi, t, rb = _inputs(1, 1, 3, 4, 8, 12)
    with torch.no_grad():
        if isinstance(config, PriorConfig):
            assert _prior()(image).shape[2:] == (4, 8, 12)
        else:
            assert _denoiser()(s, image, pi, t, rb).shape == s.shape


@pytest.mark.parametrize("rb", [0.0, 0.03, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("std", [0.1, 0.3, 1.0])
def test_preconditioning_is_the_best_linear_guess(std: float, rb: float) -> None:
    """Regress simulated v on simulated r_t."""
    rng = np.random.default_rng(0)
    r0, eps = std * rng.standard_normal(400_000), rng.standard_normal(400_000)
    r_t, v = np.sqrt(rb) * r0 + np.sqrt(1 - rb) * eps, np.sqrt(rb) * eps - np.sqrt(1 - rb) * r0
    slope = np.cov(r_t, v)[0, 1] / r_t.var()
    rest = (v - slope * r_t).std()
    skip, out = _denoiser(residual_std=std).preconditioning(torch.tensor([rb]), 5)
    assert skip.shape == out.shape == (1, 1, 1, 1, 1)
    assert float(skip) == pytest.approx(slope, abs=0.02 * max(1, abs(slope)))
    assert float(out) == pytest.approx(rest, rel=0.01)


def test_the_papers_plain_velocity_is_the_case_of_unit_residuals() -> None:
    net = _denoiser(residual_std=1.0)
    s, image, pi, t, rb = _inputs(3, 1, 3, 8, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(net(s, image, pi, t, rb), net.raw(s, image, pi, t, rb)[0])
        plain = net.unet(torch.cat([s, image, pi], 1), t)
        torch.testing.assert_close(net(s, image, pi, t, rb), plain)


def test_a_network_that_says_nothing_gives_the_linear_guess() -> None:
    net = _denoiser(residual_std=0.3)
    for p in net.unet.out.parameters():
        nn.init.zeros_(p)
    s, image, pi, t, rb = _inputs(3, 1, 3, 8, 8, 8)
    w = 0.09 * rb + 1 - rb
    slope = (0.91 * (rb * (1 - rb)).sqrt() / w).reshape(3, 1, 1, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(net(s, image, pi, t, rb), slope * (s - pi))


def test_members_of_a_batch_do_not_meet() -> None:
    net = _denoiser(residual_std=0.3)
    s, image, pi, t, rb = _inputs(3, 1, 3, 8, 8, 8)
    with torch.no_grad():
        together = net(s, image, pi, t, rb)
        for i in range(3):
            j = slice(i, i + 1)
            torch.testing.assert_close(net(s[j], image[j], pi[j], t[j], rb[j]), together[j], atol=1e-5, rtol=1e-4)
        one = net(s, image[:1], pi[:1], t, rb)  # one image and prior serve the whole batch
        torch.testing.assert_close(one[:1], together[:1], atol=1e-5, rtol=1e-4)


def test_heads_sit_on_the_decoder_levels_stated_and_change_nothing() -> None:
    net = _denoiser(widths=(8, 8, 16, 16), attention=(False,) * 4, supervised=(0, 1, 2, 3))
    s, image, pi, t, rb = _inputs(2, 1, 3, 16, 16, 8)
    with torch.no_grad():
        raw, logits = net.raw(s, image, pi, t, rb)
        torch.testing.assert_close(net.velocity(raw, s - pi, rb), net(s, image, pi, t, rb))
    # Level 0 is the coarsest; each level ends with its upsampling, and the last one has none to do.
    sizes = [(4, 4, 2), (8, 8, 4), (16, 16, 8), (16, 16, 8)]
    assert [tuple(x.shape) for x in logits] == [(2, 3, *size) for size in sizes]


def test_only_the_levels_asked_for_have_heads() -> None:
    net = _denoiser(widths=(8, 8, 16, 16), attention=(False,) * 4, supervised=(2,))
    _, logits = net.raw(*_inputs(1, 1, 3, 8, 8, 8))
    assert [tuple(x.shape[2:]) for x in logits] == [(8, 8, 8)]
    logits[0].sum().backward()
    assert all(p.grad is not None for p in net.heads.parameters())


def test_a_2d_network_reads_a_volume_slice_by_slice() -> None:
    prior, denoiser = _prior(dims=2), _denoiser(dims=2, residual_std=0.3)
    s, image, pi, t, rb = _inputs(2, 1, 3, 8, 12, 5)
    with torch.no_grad():
        volume, v = prior(image), denoiser(s, image, pi, t, rb)
        for z in range(5):
            torch.testing.assert_close(volume[..., z], prior(image[..., z]), atol=1e-5, rtol=1e-4)
            one = denoiser(s[..., z], image[..., z], pi[..., z], t, rb)
            torch.testing.assert_close(v[..., z], one, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dims", [2, 3])
def test_weights_trained_with_supervision_serve_a_network_without(dims: int) -> None:
    image = _inputs(1, 1, 3, *(16,) * dims)[1]
    trained = _prior(seed=1, dims=dims, filters=(4, 8, 8, 8), deep_supervision=2)
    plain = _prior(seed=2, dims=dims, filters=(4, 8, 8, 8))
    load_weights(plain, named_weights(trained))
    args = _inputs(1, 1, 3, *(8,) * dims)
    with_heads, without = _denoiser(seed=3, dims=dims, supervised=(0, 1)), _denoiser(seed=4, dims=dims)
    load_weights(without, named_weights(with_heads))
    with torch.no_grad():
        assert torch.equal(plain(image), trained(image))
        assert torch.equal(without(*args), with_heads(*args))


@pytest.mark.parametrize("build", [_prior, _denoiser])
def test_weights_are_named_once_and_come_back_the_same(build: Any) -> None:
    first, second = build(seed=1), build(seed=2)
    weights = named_weights(first)
    assert len({w.data_ptr() for w in weights.values()}) == len(weights)
    load_weights(second, {k: v.clone() for k, v in weights.items()})
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("fault", ["missing", "shape", "unknown"])
def test_weights_that_do_not_fit_are_refused_and_named(fault: str) -> None:
    net = _denoiser()
    weights = {k: v.clone() for k, v in named_weights(net).items()}
    name = "unet.conv_in.conv.weight"
    if fault == "missing":
        del weights[name]
    elif fault == "shape":
        weights[name] = weights[name][:, :1]
    else:
        weights[name := "unet.conv_in.conv.surprise"] = torch.zeros(1)
    before = {k: v.clone() for k, v in named_weights(net).items()}
    with pytest.raises(BundleError, match=name):
        load_weights(net, weights)
    assert all(torch.equal(v, before[k]) for k, v in named_weights(net).items()), "a refused load must change nothing"
