"""From a network that names the noise to the velocity that the samplers step by."""

from __future__ import annotations

from math import sqrt

import pytest
import torch

from napari_pgrd.engine.samplers.noise import from_noise

RB = [4e-5, 0.02, 0.5, 0.98, 0.9999]


def state(rb: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A mask in {0, 2}, noise, and the state that they make."""
    generator = torch.Generator().manual_seed(0)
    r_0 = 2.0 * torch.randint(0, 2, (2, 3, 8, 8), generator=generator)
    eps = torch.randn(2, 3, 8, 8, generator=generator)
    return r_0, eps, sqrt(rb) * r_0 + sqrt(1 - rb) * eps


@pytest.mark.parametrize("rb", RB)
def test_the_true_noise_gives_the_true_velocity(rb: float) -> None:
    r_0, eps, s = state(rb)
    v = from_noise(lambda *_: eps.double())(s.double(), s, s, 500, rb)
    torch.testing.assert_close(v, (sqrt(rb) * eps - sqrt(1 - rb) * r_0).double(), atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("rb", RB)
def test_an_error_in_the_noise_leaves_a_mask_between_its_two_values(rb: float) -> None:
    _, eps, s = state(rb)
    v = from_noise(lambda *_: 1.1 * eps + 0.05)(s, s, s, 500, rb)
    left = sqrt(rb) * s - sqrt(1 - rb) * v
    assert left.min() >= -1e-3 and left.max() <= 2 + 1e-3
    if rb < 0.1:
        wild = (s - sqrt(1 - rb) * (1.1 * eps + 0.05)) / sqrt(rb)
        assert wild.abs().max() > 3, "without being held it would lie far outside"


def test_the_network_sees_the_mask_between_minus_one_and_one_and_no_prior() -> None:
    r_0, eps, s = state(0.5)
    seen = {}

    def net(y, image, pi, t, rb):
        seen.update(y=y, image=image, pi=pi, t=t, rb=rb)
        return eps

    image = torch.rand(2, 1, 8, 8)
    from_noise(net)(s, image, torch.ones_like(s), 321, 0.5)
    torch.testing.assert_close(seen["y"], sqrt(0.5) * (r_0 - 1) + sqrt(0.5) * eps)
    assert seen["image"] is image and not seen["pi"].any() and (seen["t"], seen["rb"]) == (321, 0.5)
