"""From a volume to the networks' tensor and back, whatever the order of the file's axes."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from skimage.transform import resize

from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.netspec import NnUNetPreparation
from napari_pgrd.engine.preprocess import normalise, prepare
from napari_pgrd.engine.spec import PrepareSpec
from napari_pgrd.engine.volume import Box, Reorder, Volume

CODES = ["".join(c) for p in permutations(["LR", "PA", "IS"]) for c in product(*p)]
SHAPE = (9, 10, 13)
SPEC = PrepareSpec(patch=(8, 16, 12), stride=4)
NNUNET = NnUNetPreparation(schemes=("zscore",), foreground=(None,), strides=(4, 4, 4))


def _volume(shape: tuple[int, int, int] = SHAPE, spacing: float = 1.0, channels: int = 1) -> Volume:
    data = np.random.default_rng(0).normal(50, 10, (channels, *shape)).astype(np.float32)
    return Volume(data, np.diag([spacing, spacing, spacing, 1]))


def _turned(volume: Volume, code: str) -> Volume:
    """The same head, its array in another axis order."""
    reorder = Reorder.between(volume.affine, code)
    return Volume(reorder.apply(volume.data), reorder.affine(volume.affine, volume.shape))


@pytest.mark.parametrize("code", CODES)
def test_the_same_head_in_any_axis_order_gives_the_same_tensor_and_comes_back(code: str) -> None:
    straight, turned = _volume(channels=2), _turned(_volume(channels=2), code)
    expected, _ = prepare(straight, SPEC)
    image, restore = prepare(turned, SPEC)
    torch.testing.assert_close(image, expected, atol=1e-5, rtol=0)  # sums over the voxels round in another order
    assert image.shape == (1, 2, 12, 16, 16)
    marked = torch.arange(image.numel(), dtype=torch.float64).reshape(image.shape)
    back = Volume(restore(marked)[0].numpy(), turned.affine)
    centre = marked[0, :, 1:10, 3:13, 1:14].numpy()  # the padding is shared by both sides
    assert np.array_equal(_turned(back, "RAS").data, centre)


@pytest.mark.parametrize("code", ["RAS", "LPI", "SLP", "AIR"])
def test_prepare_then_restore_is_the_normalised_image(code: str) -> None:
    volume = _turned(_volume(), code)
    image, restore = prepare(volume, SPEC)
    expected = normalise(volume.data[0], SPEC)
    np.testing.assert_allclose(restore(image)[0, 0].numpy(), expected, atol=1e-5)


@given(shape=st.tuples(*[st.integers(1, 30)] * 3), patch=st.tuples(*[st.integers(1, 24)] * 3), power=st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_padding_reaches_the_patch_and_the_stride_by_the_least(
    shape: tuple[int, int, int], patch: tuple[int, int, int], power: int
) -> None:
    stride = 2**power
    volume = Volume(np.random.default_rng(0).normal(size=(1, *shape)) + np.arange(shape[2]) * 99.0, np.eye(4))
    image, restore = prepare(volume, PrepareSpec(patch=patch, stride=stride, normalisation="unit"))
    for n, p, size in zip(shape, patch, image.shape[2:], strict=True):
        assert size % stride == 0
        assert max(n, p) <= size < max(n, p) + stride
    np.testing.assert_allclose(restore(image)[0, 0].numpy(), volume.data[0] / 127.5 - 1, rtol=1e-5)


def test_a_stack_of_slices_is_padded_in_plane_only() -> None:
    image, restore = prepare(_volume(), PrepareSpec(dims=2, patch=(16, 16, 1), stride=8, spacing=None))
    assert image.shape == (1, 1, 16, 16, 13)
    assert restore(image).shape == (1, 1, *SHAPE)


@pytest.mark.parametrize("spacing", [0.5, 0.8, 1.3, 2.0])
def test_resampling_there_and_back_keeps_a_smooth_field_and_its_volume(spacing: float) -> None:
    """A ball of known volume, on a grid that is not the bundle's."""
    n = round(48 / spacing)
    grid = (np.indices((n, n, n)) + 0.5) * spacing - 24
    distance = np.sqrt((grid**2).sum(0))
    smooth = 255 / (1 + np.exp((distance - 12) / 2))  # half its height exactly at 12 mm
    volume = Volume(smooth[None].astype(np.float32), np.diag([spacing, spacing, spacing, 1]))
    image, restore = prepare(volume, PrepareSpec(patch=(8, 8, 8), stride=4, normalisation="unit"))
    assert image.shape == (1, 1, 48, 48, 48)
    back = (restore(image)[0, 0].numpy() + 1) * 127.5
    assert back.shape == smooth.shape
    assert np.abs(back - smooth).max() < 0.05 * 255
    ball = 4 / 3 * np.pi * 12**3
    prepared = float((image[0, 0] > 0).sum())  # mm^3, at 1 mm
    assert prepared == pytest.approx(ball, rel=0.03)
    assert (back > 127.5).sum() * spacing**3 == pytest.approx((smooth > 127.5).sum() * spacing**3, rel=0.03)


def test_a_spacing_that_is_nearly_right_is_left_alone() -> None:
    image, _ = prepare(_volume(spacing=1.01), SPEC)
    torch.testing.assert_close(image, prepare(_volume(), SPEC)[0])


def test_no_spacing_in_the_bundle_means_the_grid_as_it_is() -> None:
    spec = SPEC.model_copy(update={"spacing": None})
    torch.testing.assert_close(prepare(_volume(spacing=3.7), spec)[0], prepare(_volume(), spec)[0])


@pytest.mark.parametrize("code", ["RAS", "PIL", "SLA"])
def test_a_box_is_the_cropped_volume(code: str) -> None:
    volume = _turned(_volume(), code)
    n = volume.shape
    box: Box = ((1, n[0]), (0, n[1] - 2), (2, n[2] - 1))
    image, restore = prepare(volume, SPEC, box)
    expected, _ = prepare(volume.crop(box), SPEC)
    assert torch.equal(image, expected)
    assert restore(image).shape[2:] == volume.crop(box).shape


def test_zscore_clips_at_the_percentiles_then_has_no_mean_and_unit_spread() -> None:
    x = np.random.default_rng(0).lognormal(0, 1, (20, 20, 20)).astype(np.float32) * 1e6
    out = normalise(x, SPEC)
    lo, hi = np.quantile(x, [0.005, 0.995])
    clipped = np.clip(x.astype(np.float64), lo, hi)
    np.testing.assert_allclose(out, (clipped - clipped.mean()) / clipped.std(), atol=1e-3)


def test_intensity_scale_and_offset_do_not_matter() -> None:
    x = np.random.default_rng(0).normal(size=(12, 12, 12))
    np.testing.assert_allclose(normalise(x * 1e6 + 3e6, SPEC), normalise(x, SPEC), atol=1e-3)


def test_channels_are_normalised_one_by_one() -> None:
    volume = _volume(channels=2)
    far = Volume(volume.data * np.array([1, 1000.0])[:, None, None, None], volume.affine)
    torch.testing.assert_close(prepare(far, SPEC)[0], prepare(volume, SPEC)[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("value", [0.0, 7.0, -1e6, 1e-20])
def test_a_constant_channel_is_a_sentence(value: float) -> None:
    with pytest.raises(InputError, match="constant"):
        normalise(np.full((8, 8, 8), value), SPEC)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_finite_are_a_sentence_where_they_matter(value: float) -> None:
    volume = _volume()
    volume.data[0, 0, 0, 0] = value
    with pytest.raises(InputError, match="NaN or infinite"):
        prepare(volume, SPEC)
    image, _ = prepare(volume, SPEC, ((1, 9), (0, 10), (0, 13)))  # outside the box they do not
    assert torch.isfinite(image).all()


@pytest.mark.parametrize("code", ["RAS", "LPI", "SLP"])
def test_networks_made_for_a_patch_see_the_middle_and_the_rest_is_background(code: str) -> None:
    spec = SPEC.model_copy(update={"middle_only": True, "patch": (4, 8, 20)})
    whole = _volume(channels=2)
    image, restore = prepare(_turned(whole, code), spec)
    assert image.shape == (1, 2, 4, 8, 20)
    x, y = slice(3, 7), slice(1, 9)  # of 9 and 10; all 13 along z, padded by 3 and 4
    np.testing.assert_allclose(image[0, 0, ..., 3:16], normalise(whole.data[0], SPEC)[x, y], atol=1e-5)
    scores = torch.rand(3, 5, 4, 8, 20)
    back = np.stack([_turned(Volume(one, _turned(whole, code).affine), "RAS").data for one in restore(scores).numpy()])
    np.testing.assert_array_equal(back[:, :, x, y], scores[..., 3:16])
    outside = np.ones(SHAPE, bool)
    outside[x, y] = False
    assert (back[:, 0, outside] == 1).all() and (back[:, 1:, outside] == 0).all()


def test_voxels_are_counted_only_where_networks_see_them() -> None:
    _, restore = prepare(_volume(), SPEC.model_copy(update={"middle_only": True, "patch": (4, 8, 20)}))
    marked = np.zeros((1, *SHAPE), bool)
    marked[0, 3, 1, 0] = marked[0, 2, 1, 0] = True  # the second lies one voxel too far out
    seen = restore.count(marked)
    assert seen.shape == (1, 4, 8, 20) and seen.sum() == 1 and seen[0, 0, 0, 3] == 1


@pytest.mark.parametrize("spacing", [(1.0, 1.2, 0.9), (1.0, 1.0, 4.0)])
def test_the_prior_is_resampled_as_logits_where_nnunet_prepared_the_image(spacing: tuple[float, ...]) -> None:
    """Thick slices each by itself, the nearest one; otherwise linear in all three directions."""
    rng = np.random.default_rng(0)
    volume = Volume(rng.normal(100, 20, (1, 20, 24, 10)).astype(np.float32), np.diag([*spacing, 1.0]))
    spec = PrepareSpec(spacing=(1.3, 1.0, 1.7), patch=(16, 16, 16), nnunet=NNUNET)
    image, restore = prepare(volume, spec)
    assert restore.resampled != restore.original
    logits = torch.from_numpy(rng.normal(0, 3, (1, 3, *image.shape[2:]))).float()
    found = restore.probabilities(torch.softmax(logits, 1))[0].numpy()
    i, j, k = (slice(lo, lo + n) for (lo, _), n in zip(restore.padding, restore.resampled, strict=True))
    shown, linearly = logits[0][:, i, j, k].numpy(), {"order": 1, "mode": "edge", "anti_aliasing": False}
    if max(spacing) > 3:
        nearest = [int((m + 0.5) * shown.shape[3] / 10) for m in range(10)]
        expected = np.stack([np.stack([resize(c[..., z], (20, 24), **linearly) for z in nearest], -1) for c in shown])
    else:
        expected = np.stack([resize(c, (20, 24, 10), **linearly) for c in shown])
    np.testing.assert_allclose(found, softmax(expected, 0), atol=1e-5)
    linear = restore(torch.softmax(logits, 1))[0].numpy()
    assert np.abs(linear - found).max() > 0.05 and np.allclose(linear.sum(0), 1, atol=1e-5)


def test_elsewhere_probabilities_are_resampled_as_they_are() -> None:
    volume = Volume(np.random.default_rng(0).normal(100, 20, (1, 20, 24, 10)).astype(np.float32), np.eye(4))
    image, restore = prepare(volume, PrepareSpec(spacing=(1.3, 1.0, 1.7), patch=(16, 16, 16), stride=4))
    p = torch.softmax(torch.randn(1, 3, *image.shape[2:]), 1)
    torch.testing.assert_close(restore.probabilities(p), restore(p))
