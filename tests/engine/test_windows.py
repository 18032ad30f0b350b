"""Windows over a volume: against MONAI's own sliding window, without seams, and without looking at nothing."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference
from pydantic import ValidationError
from torch import Tensor, nn

from napari_pgrd.engine.netspec import NnUNetPreparation
from napari_pgrd.engine.spec import PrepareSpec
from napari_pgrd.engine.windows import Windows, bell, even_starts, size_of, smaller

WINDOWED = PrepareSpec(patch=(16, 16, 16), stride=4, window=(16, 16, 16))
NNUNET = NnUNetPreparation(schemes=("zscore-inside",) * 2, foreground=(None, None), strides=(4, 4, 4))
HEAD = PrepareSpec(patch=(16, 16, 16), nnunet=NNUNET, window=(16, 16, 16))


def network(channels: int = 2, classes: int = 3) -> nn.Module:
    """Sees its whole window, as instance normalisation does, so that two windows never say the same of a voxel."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv3d(channels, 8, 3, padding=1), nn.InstanceNorm3d(8), nn.ReLU(), nn.Conv3d(8, classes, 3, padding=1)
        ).requires_grad_(False)


def image(*shape: int, channels: int = 2) -> Tensor:
    rng = np.random.default_rng(0)
    smooth = torch.from_numpy(rng.normal(size=(1, channels, *[max(2, n // 8) for n in shape])).astype(np.float32))
    return torch.nn.functional.interpolate(smooth, shape, mode="trilinear") + 0.1 * torch.from_numpy(
        rng.normal(size=(1, channels, *shape)).astype(np.float32)
    )


@pytest.mark.parametrize("overlap", [0.25, 0.5])
@pytest.mark.parametrize("shape", [(40, 24, 20), (16, 16, 36), (20, 44, 16)])
def test_windows_say_what_monais_sliding_window_says(shape: tuple[int, ...], overlap: float) -> None:
    x, net = image(*shape), network()
    spec = WINDOWED.model_copy(update={"overlap": overlap})
    windows = Windows.over(x, spec)
    assert windows is not None
    expected = sliding_window_inference(x, spec.window, 1, net, overlap=overlap, mode="gaussian")
    torch.testing.assert_close(windows.ask(net, x), expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("n", "w", "overlap", "starts"),
    [
        (64, 64, 0.5, [0]),
        (65, 64, 0.5, [0, 1]),
        (96, 64, 0.5, [0, 32]),
        (100, 64, 0.5, [0, 18, 36]),  # not 0, 32, 36
        (182, 80, 0.25, [0, 51, 102]),
        (35, 16, 0.5, [0, 6, 13, 19]),
    ],
)
def test_windows_on_what_nnunet_prepared_are_evenly_spread(n: int, w: int, overlap: float, starts: list[int]) -> None:
    assert even_starts(n, w, overlap) == starts
    assert all(b - a <= w * (1 - overlap) + 0.5 for a, b in pairwise(starts))
    assert starts[-1] == n - w


def test_weights_on_what_nnunet_prepared_are_a_gaussian_of_an_eighth() -> None:
    weight = bell((16, 24, 8))
    axes = [torch.exp(-0.5 * ((torch.arange(n) - n // 2) / (n / 8)) ** 2) for n in (16, 24, 8)]
    known = axes[0][:, None, None] * axes[1][:, None] * axes[2]
    assert weight[8, 12, 4] == 1 and bool((weight > 0).all())
    near = known > 0.05  # further out, four standard deviations are cut off
    torch.testing.assert_close(weight[near], known[near], atol=1e-3, rtol=2e-2)


def test_windows_on_what_nnunet_prepared_blend_by_those_weights() -> None:
    x, net, spec = image(40, 24, 20), network(), HEAD
    windows = Windows.over(x, spec)
    assert windows is not None and len(windows) == 4 * 2 * 2
    total, weights = torch.zeros(1, 3, 40, 24, 20), torch.zeros(40, 24, 20)
    for i in (0, 8, 16, 24):
        for j in (0, 8):
            for k in (0, 4):
                at = (..., slice(i, i + 16), slice(j, j + 16), slice(k, k + 16))
                total[at] += net(x[at]) * bell((16, 16, 16))
                weights[at] += bell((16, 16, 16))
    torch.testing.assert_close(windows.ask(net, x), total / weights, atol=1e-5, rtol=1e-4)


def test_several_samples_and_what_is_no_volume_pass_through() -> None:
    x, net = image(24, 20, 16, channels=1), network(channels=2)
    s = (
        torch.cat([image(24, 20, 16, channels=1) for _ in range(3)])
        * torch.tensor([1, 2, 3])[:, None, None, None, None]
    )
    windows = Windows.over(x, WINDOWED)
    assert windows is not None
    beats: list[int] = []

    def call(s: Tensor, image: Tensor, times: Tensor) -> Tensor:
        assert s.shape[2:] == image.shape[2:] == (16, 16, 16)
        assert times.shape == (3,)
        out: Tensor = net(torch.cat([s, image.expand_as(s)], 1)) * times[:, None, None, None, None]
        return out

    times = torch.tensor([1.0, 2.0, 3.0])
    out = windows.ask(call, s, x, times, beat=lambda: beats.append(1))
    assert out.shape == (3, 3, 24, 20, 16)
    assert len(beats) == len(windows) == 4
    for i in range(3):
        alone = windows.ask(lambda s, image: net(torch.cat([s, image], 1)), s[i : i + 1], x)
        torch.testing.assert_close(out[i : i + 1], alone * (i + 1), atol=1e-5, rtol=1e-5)


def seam(y: Tensor, windows: Windows) -> float:
    """Mean absolute step across the borders of windows over the mean step elsewhere, over all axes."""
    across, inside = [], []
    for axis in range(3):
        step = y.movedim(axis - 3, -1).diff().abs().reshape(-1, windows.shape[axis] - 1)
        ends = {place[axis].start for place in windows.places} | {place[axis].stop for place in windows.places}
        borders = [e - 1 for e in ends if 0 < e < windows.shape[axis]]
        at = torch.zeros(windows.shape[axis] - 1, dtype=torch.bool)
        at[borders] = True
        across.append(step[:, at])
        inside.append(step[:, ~at])
    return float(torch.cat([x.flatten() for x in across]).mean() / torch.cat([x.flatten() for x in inside]).mean())


def test_no_border_of_a_window_can_be_seen() -> None:
    x, net = image(48, 48, 48), network()
    windows = Windows.over(x, WINDOWED)
    assert windows is not None
    assert seam(windows.ask(net, x), windows) <= 1.05
    side_by_side = Windows.over(x, WINDOWED.model_copy(update={"overlap": 0.0}))
    assert side_by_side is not None
    assert seam(side_by_side.ask(net, x), side_by_side) > 1.2, "windows side by side show what is measured here"


def test_windows_of_nothing_are_not_looked_at() -> None:
    x = torch.zeros(1, 2, 48, 16, 16)
    x[..., 20:26, :, :] = image(6, 16, 16)
    windows = Windows.over(x, HEAD)
    assert windows is not None
    assert [place[0].start for place in windows.places] == [8, 16, 24]
    asked: list[Tensor] = []

    def call(part: Tensor) -> Tensor:
        asked.append(part)
        return part[:, :1].expand(-1, 3, -1, -1, -1) + 1

    y = windows.ask(call, x)
    assert len(asked) == 3
    assert all(bool((part != 0).any()) for part in asked)
    assert not bool(windows.seen[:8].any())
    assert bool(windows.seen[8:40].all())
    assert (y[..., :8, :, :] == 0).all()
    shown = windows.background_where_unseen(y)
    assert (shown[:, 0, :8] == 1).all()
    assert (shown[:, 1:, :8] == 0).all()
    assert torch.equal(shown[..., 8:40, :, :], y[..., 8:40, :, :])
    every = Windows.over(x, WINDOWED)
    assert every is not None
    assert len(every) == 5, "an image whose background is not 0 is looked at everywhere"


def test_gradients_through_windows_are_those_of_the_blended_sum() -> None:
    """What guidance needs; each window is computed again for them."""
    x = image(24, 16, 16, channels=1)
    windows = Windows.over(x, WINDOWED)
    assert windows is not None
    s = image(24, 16, 16, channels=1).requires_grad_()
    calls: list[int] = []

    def call(s: Tensor, image: Tensor) -> Tensor:
        calls.append(1)
        return (s * image).pow(2)

    windows.ask(call, s, x).sum().backward()
    assert s.grad is not None
    torch.testing.assert_close(s.grad, 2 * s.detach() * x**2, atol=1e-4, rtol=1e-4)
    assert len(calls) == 2 * len(windows)


@given(
    shape=st.tuples(*[st.integers(4, 13)] * 3),
    window=st.tuples(*[st.integers(2, 8)] * 3),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.75]),
)
@settings(max_examples=60, deadline=None)
def test_a_network_that_says_the_same_everywhere_is_heard_exactly_so(
    shape: tuple[int, int, int], window: tuple[int, int, int], overlap: float
) -> None:
    spec = PrepareSpec(patch=(16, 16, 16), stride=4, window=size_of([4 * w for w in window]), overlap=overlap)
    x = torch.ones(1, 1, *[4 * n for n in shape])
    windows = Windows.over(x, spec)
    if windows is None:
        assert all(n <= w for n, w in zip(shape, window, strict=True))
        return
    y = windows.ask(lambda part: torch.full((1, 2, *part.shape[2:]), 7.0), x)
    torch.testing.assert_close(y, torch.full_like(y, 7.0))
    assert bool(windows.seen.all())


def test_the_ladder_of_windows_goes_down_to_half_the_patch() -> None:
    spec = PrepareSpec(patch=(40, 56, 40), stride=8)
    size, steps = None, []
    while (size := smaller((48, 64, 40), size, spec)) is not None:
        steps.append(size)
    assert steps == [(48, 32, 40), (24, 32, 40), (24, 32, 24)]
    assert all(n % 8 == 0 for step in steps for n in step)


def test_slices_of_a_stack_are_taken_fewer_at_once_and_share_nothing() -> None:
    flat = PrepareSpec(dims=2, patch=(16, 16, 1), stride=8, spacing=None)
    assert smaller((16, 16, 5), None, flat) == (16, 16, 3)
    assert smaller((16, 16, 5), (16, 16, 3), flat) == (16, 16, 2)
    assert smaller((16, 16, 5), (16, 16, 1), flat) is None
    x = image(16, 16, 5)
    assert Windows.over(x, flat) is None
    windows = Windows.over(x, flat, (16, 16, 2))
    assert windows is not None
    y = windows.ask(lambda part: part * 3, x)
    torch.testing.assert_close(y, x * 3)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"dims": 2}, "slice is seen whole"),
        ({"window": (16, 18, 16)}, "must be a multiple"),
        ({"window": (4, 16, 16)}, "must be a multiple"),
        ({"middle_only": True}, "contradict"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        PrepareSpec(**{**WINDOWED.model_dump(), **changed})


def test_a_spec_that_says_nothing_new_is_recorded_as_before() -> None:
    """Trainings are known again by their description."""
    keys = {"dims", "orientation", "spacing", "patch", "stride", "normalisation", "percentiles"}
    assert set(PrepareSpec().model_dump(mode="json")) == keys
    assert PrepareSpec.model_validate(HEAD.model_dump(mode="json")) == HEAD


def test_what_one_call_can_see_needs_no_windows_and_a_small_head_one() -> None:
    assert Windows.over(image(16, 16, 16), WINDOWED) is None
    small = torch.zeros(1, 2, 32, 16, 16)
    small[..., :8, :, :] = 1
    windows = Windows.over(small, HEAD)
    assert windows is not None
    assert len(windows) == 1
    assert windows.ask(network(), small).shape == (1, 3, 32, 16, 16)
