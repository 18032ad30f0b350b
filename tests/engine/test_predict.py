"""The whole engine on a tiny bundle: order, determinism, cancelling, memory, boxes and slices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from napari_pgrd.engine.aggregate import Prediction
from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.errors import DeviceError
from napari_pgrd.engine.predict import choose_batch, predict, prepared_shape, sampling_key
from napari_pgrd.engine.preprocess import prepare
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.spec import PrepareSpec
from napari_pgrd.engine.volume import Reorder, Volume
from tests.engine.test_volume import CODES, affine_of
from tests.tiny import LABELS, blob_volume, make_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.load(make_tiny_bundle(tmp_path_factory.mktemp("predict") / "tiny"))


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A 2D bundle whose normalisation, too, looks at one slice at a time."""
    prepared = {"normalisation": "unit", "spacing": None}
    folder = tmp_path_factory.mktemp("predict") / "flat"
    return Bundle.load(make_tiny_bundle(folder, dims=2, labels=LABELS[:2], patch=(16, 16, 1), prepare=prepared))


VOLUME, TRUTH = blob_volume()
Observer = Callable[[Tensor], None]


class Watched(nn.Module):
    def __init__(self, net: nn.Module, before: Observer) -> None:
        super().__init__()
        self.net, self.before = net, before

    def forward(self, s: Tensor, *more: Tensor) -> Tensor:
        self.before(s)
        out: Tensor = self.net(s, *more)
        return out


@dataclass(frozen=True)
class WatchedBundle(Bundle):
    """A bundle whose denoiser reports every call before it is made."""

    before: Observer = print

    def networks(self, device: str = "cpu", method: str | None = None) -> tuple[nn.Module, ...]:
        prior, denoiser = super().networks(device, method)
        return prior, Watched(denoiser, self.before)


def _watch(bundle: Bundle, before: Observer) -> WatchedBundle:
    return WatchedBundle(bundle.folder, bundle.spec, bundle.digest, before=before)


def _request(**fields: Any) -> Request:
    return Request(**{"samples": 4, "steps": 3, "device": "cpu", "batch": 2, **fields})


def _run(bundle: Bundle, volume: Volume = VOLUME, so_far: Prediction | None = None, **fields: Any) -> Prediction:
    *_, last = predict(volume, bundle, _request(**fields), so_far)
    assert last.kind == "done"
    assert last.prediction is not None
    return last.prediction


def _masks(p: Prediction) -> np.ndarray:
    return np.stack(p.masks)


def test_the_prior_comes_first_then_steps_and_samples_in_order(bundle: Bundle) -> None:
    updates = list(predict(VOLUME, bundle, _request(samples=3, steps=2)))
    kinds = [u.kind for u in updates]
    assert kinds == ["prior", "step", "step", "sample", "sample", "step", "step", "sample", "done"]
    first, last = updates[0].prediction, updates[-1].prediction
    assert first is not None
    assert last is not None
    assert first.samples == 0
    np.testing.assert_allclose(first.probability, last.prior, atol=1e-6)
    arrived = [u for u in updates if u.kind == "sample"]
    assert [u.index for u in arrived] == [0, 1, 2]
    for n, update in enumerate(arrived, 1):
        assert update.prediction is not None
        assert update.drawn == update.prediction.samples == n
        assert update.mask is not None
        assert np.array_equal(update.mask, last.masks[n - 1])
    assert all(a.fraction <= b.fraction for a, b in pairwise(updates))
    assert updates[-1].fraction == 1
    assert all(u.seconds_left is None or u.seconds_left >= 0 for u in updates)


def test_the_blobs_are_found_on_the_volumes_own_grid(bundle: Bundle) -> None:
    p = _run(bundle)
    assert p.consensus.shape == VOLUME.shape
    assert p.probability.shape == p.prior.shape == (3, *VOLUME.shape)
    found, true = p.consensus > 0, TRUTH > 0
    assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.5
    assert p.variance.max() > 0, "samples differ"


@pytest.mark.parametrize(("solver", "eta"), [("ddim", 0.0), ("ddim", 1.0), ("ddpm", 0.0), ("dpmpp2m", 0.0)])
def test_a_run_repeats_itself_bit_for_bit(bundle: Bundle, solver: str, eta: float) -> None:
    first, second = (_run(bundle, solver=solver, eta=eta) for _ in range(2))
    assert np.array_equal(_masks(first), _masks(second))
    assert np.array_equal(first.probability, second.probability)


def test_raising_the_samples_draws_only_the_further_ones(bundle: Bundle) -> None:
    calls: list[int] = []
    watched = _watch(bundle, lambda s: calls.append(len(s)))
    four = _run(watched, samples=4)
    assert sum(calls) == 4 * 3
    calls.clear()
    further = list(predict(VOLUME, watched, _request(samples=8), so_far=four))
    assert sum(calls) == 4 * 3
    assert [u.index for u in further if u.kind == "sample"] == [4, 5, 6, 7]
    assert further[0].prediction is not None
    assert further[0].prediction.samples == 4
    eight, grown = _run(bundle, samples=8), further[-1].prediction
    assert grown is not None
    assert np.array_equal(_masks(grown), _masks(eight))
    assert np.array_equal(grown.probability, eight.probability)
    assert np.array_equal(grown.votes, eight.votes)
    assert np.array_equal(_masks(eight)[:4], _masks(four)), "a sample depends on how many are drawn"


@pytest.mark.parametrize("batch", [1, 3, 4, 8])
def test_the_size_of_a_batch_hardly_touches_a_voxel(bundle: Bundle, batch: int) -> None:
    one, other = _run(bundle, samples=8), _run(bundle, samples=8, batch=batch)
    assert (_masks(one) == _masks(other)).mean() >= 0.999


def test_another_seed_gives_other_samples_and_no_shifted_ones(bundle: Bundle) -> None:
    zero, one = _masks(_run(bundle, seed=0)), _masks(_run(bundle, seed=1))
    assert not any(np.array_equal(a, b) for a in zero for b in one)


@pytest.mark.parametrize("changed", [{"seed": 1}, {"steps": 2}, {"eta": 1.0}, {"solver": "ddpm"}])
def test_samples_of_another_run_are_never_mixed_in(bundle: Bundle, changed: dict[str, Any]) -> None:
    earlier = _run(bundle)
    assert np.array_equal(_masks(_run(bundle, so_far=earlier, **changed)), _masks(_run(bundle, **changed)))


def test_samples_of_another_image_bundle_or_geometry_have_another_key(bundle: Bundle, tmp_path: Path) -> None:
    other = Bundle.load(make_tiny_bundle(tmp_path / "other", seed=5))
    data = VOLUME.data.copy()
    data[0, 0, 0, 0] += 1
    keys = {
        sampling_key(VOLUME, bundle, _request()),
        sampling_key(VOLUME, other, _request()),
        sampling_key(Volume(data, VOLUME.affine), bundle, _request()),
        sampling_key(Volume(VOLUME.data, np.diag([-1.0, 1, 1, 1])), bundle, _request()),
        sampling_key(VOLUME, bundle, _request(box=((0, 18), (0, 24), (0, 18)))),
    }
    assert len(keys) == 5
    same = sampling_key(VOLUME, bundle, _request(samples=9, batch=1, device="auto"))
    assert same == sampling_key(VOLUME, bundle, _request())


@pytest.mark.parametrize("code", ["LPI", "SAR", "PIL"])
def test_the_order_of_a_files_axes_changes_no_mask(bundle: Bundle, code: str) -> None:
    turn = Reorder.between(VOLUME.affine, code)
    turned = Volume(turn.apply(VOLUME.data), turn.affine(VOLUME.affine, VOLUME.shape))
    straight, p = _run(bundle), _run(bundle, turned)
    assert p.consensus.shape == turned.shape
    assert (turn.invert(_masks(p)) == _masks(straight)).mean() >= 0.999
    np.testing.assert_allclose(turn.invert(p.prior), straight.prior, atol=0.01)


def test_another_spacing_is_answered_on_its_own_grid(bundle: Bundle) -> None:
    fine = Volume(VOLUME.data.repeat(2, 1).repeat(2, 2).repeat(2, 3), np.diag([0.5, 0.5, 0.5, 1]))
    p = _run(bundle, fine)
    assert p.consensus.shape == fine.shape
    ours = _run(bundle).consensus.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    assert (p.consensus == ours).mean() > 0.97


def test_a_box_is_the_cropped_volume(bundle: Bundle) -> None:
    box = ((1, 19), (2, 24), (0, 17))
    boxed, cropped = _run(bundle, box=box), _run(bundle, VOLUME.crop(box))
    assert np.array_equal(_masks(boxed), _masks(cropped))
    assert np.array_equal(boxed.probability, cropped.probability)
    assert boxed.consensus.shape == (18, 22, 17)


def test_closing_the_generator_stops_at_once(bundle: Bundle) -> None:
    calls: list[int] = []
    run = predict(VOLUME, _watch(bundle, lambda s: calls.append(len(s))), _request(samples=64, steps=50))
    kept = None
    for update in run:
        kept = update.prediction or kept
        if len(calls) == 60:
            break
    run.close()  # type: ignore[attr-defined]  # a generator
    assert len(calls) == 60
    assert kept is not None
    assert kept.samples == 2, "what arrived is kept"


def _only(most: int) -> Observer:
    def refuse(s: Tensor) -> None:
        if len(s) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    return refuse


def test_out_of_memory_goes_on_with_fewer_at_once(bundle: Bundle) -> None:
    updates = list(predict(VOLUME, _watch(bundle, _only(1)), _request(samples=3, batch=4)))
    notes = [u.note for u in updates if u.kind == "note"]
    assert ["2 samples at once" in notes[0], "1 sample at once" in notes[1], len(notes)] == [True, True, 2]
    assert sum(u.kind == "prior" for u in updates) == 1
    done = updates[-1].prediction
    assert done is not None
    assert np.array_equal(_masks(done), _masks(_run(bundle, samples=3, batch=1)))


def test_memory_that_runs_out_midway_loses_no_sample(bundle: Bundle) -> None:
    calls = 0

    def refuse_later(s: Tensor) -> None:
        nonlocal calls
        calls += 1
        if calls > 4 and len(s) > 1:  # in the second batch's second step
            raise torch.OutOfMemoryError("out of memory")

    updates = list(predict(VOLUME, _watch(bundle, refuse_later), _request(samples=4)))
    assert [u.index for u in updates if u.kind == "sample"] == [0, 1, 2, 3]
    done = updates[-1].prediction
    assert done is not None
    assert (_masks(done) == _masks(_run(bundle))).mean() >= 0.999


def test_memory_too_small_for_one_sample_is_a_sentence(bundle: Bundle) -> None:
    with pytest.raises(DeviceError, match="20 x 24 x 20 voxels.*smaller box"):
        list(predict(VOLUME, _watch(bundle, _only(0)), _request()))


def test_another_error_is_not_taken_for_memory(bundle: Bundle) -> None:
    def fail(s: Tensor) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        list(predict(VOLUME, _watch(bundle, fail), _request()))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_there_is_none_is_a_sentence(bundle: Bundle) -> None:
    with pytest.raises(DeviceError, match="CUDA was asked for"):
        next(predict(VOLUME, bundle, _request(device="cuda")))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_graphics_card_gives_nearly_the_same(bundle: Bundle) -> None:
    cpu, cuda = _run(bundle), _run(bundle, device="cuda")
    assert (cpu.consensus == cuda.consensus).mean() > 0.95


def test_a_2d_prior_answers_for_a_stack_as_for_each_slice(flat: Bundle) -> None:
    volume, _ = blob_volume((16, 20, 6), classes=2)
    stack = next(predict(volume, flat, _request())).prediction
    assert stack is not None
    for z in range(6):
        alone = next(predict(volume.crop(((0, 16), (0, 20), (z, z + 1))), flat, _request())).prediction
        assert alone is not None
        np.testing.assert_allclose(alone.prior[..., 0], stack.prior[..., z], atol=1e-5)


def test_a_2d_sample_of_a_slice_does_not_see_its_neighbours(flat: Bundle) -> None:
    volume, _ = blob_volume((16, 20, 6), classes=2)
    changed = Volume(volume.data.copy(), volume.affine)
    changed.data[..., 2] = 255 - changed.data[..., 2]
    before, after = _masks(_run(flat, volume)), _masks(_run(flat, changed))
    others = [0, 1, 3, 4, 5]
    assert np.array_equal(before[..., others], after[..., others])
    assert not np.array_equal(before[..., 2], after[..., 2])


def test_each_slice_of_a_stack_has_its_own_noise(flat: Bundle) -> None:
    """Equal slices must not get equal samples; drawn alone or in a stack, they vary by as much."""
    volume, _ = blob_volume((16, 20, 6), classes=2)
    one = volume.crop(((0, 16), (0, 20), (3, 4)))
    stack = Volume(one.data.repeat(8, 3), one.affine)
    masks = _masks(_run(flat, stack, samples=8))
    assert not any(np.array_equal(masks[0, ..., 0], masks[0, ..., z]) for z in range(1, 8))
    alone = _masks(_run(flat, one, samples=64))
    spread = alone.mean(0).var(), masks.mean((0, 3)).var()
    assert spread[0] == pytest.approx(spread[1], rel=0.15)
    assert alone.mean() == pytest.approx(masks.mean(), rel=0.05)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_how_many_slices_follow_changes_none(flat: Bundle, eta: float) -> None:
    volume, _ = blob_volume((16, 20, 6), classes=2)
    whole = _masks(_run(flat, volume, eta=eta))
    part = _masks(_run(flat, volume.crop(((0, 16), (0, 20), (0, 2))), eta=eta))
    assert (part == whole[..., :2]).mean() > 0.999  # a convolution over another number of slices rounds otherwise


@pytest.mark.parametrize("schedule", [{"prior_guided": False}, {"residual_scale": 0.5}, {"T": 50, "shift": 0.5}])
def test_every_variant_of_the_process_runs_and_answers_differently(
    bundle: Bundle, tmp_path: Path, schedule: dict[str, Any]
) -> None:
    variant = Bundle.load(make_tiny_bundle(tmp_path / "variant", schedule=schedule))
    p = _run(variant)
    assert np.isfinite(p.probability).all()
    np.testing.assert_allclose(p.probability.sum(0), 1, atol=1e-5)
    assert not np.array_equal(_masks(p), _masks(_run(bundle)))


def test_several_channels(tmp_path: Path) -> None:
    two = Bundle.load(make_tiny_bundle(tmp_path / "two", channels=2))
    volume, _ = blob_volume(channels=2)
    assert _run(two, volume).consensus.any()


@given(
    code=st.sampled_from(CODES),
    shape=st.tuples(*[st.integers(6, 24)] * 3),
    spacing=st.tuples(*[st.floats(0.5, 2.5)] * 3),
    boxed=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_the_prepared_shape_is_foretold(
    bundle: Bundle, code: str, shape: tuple[int, int, int], spacing: tuple[float, float, float], boxed: bool
) -> None:
    volume = Volume(np.random.default_rng(0).normal(size=(1, *shape)), affine_of(code, spacing))
    box = ((1, shape[0]), (0, shape[1] - 1), (2, shape[2])) if boxed else None
    spec = bundle.spec.model_copy(update={"prepare": PrepareSpec(patch=(8, 8, 8), stride=4)})
    assert prepared_shape(volume, spec, box) == tuple(prepare(volume, spec.prepare, box)[0].shape[2:])


def test_the_batch_shrinks_with_the_size_of_the_image(bundle: Bundle) -> None:
    cpu = torch.device("cpu")
    assert choose_batch(bundle.spec, (8, 8, 8), cpu) == 2
    assert choose_batch(bundle.spec, (4096, 4096, 4096), cpu) == 1
