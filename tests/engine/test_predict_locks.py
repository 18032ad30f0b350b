"""Sampling again around locks through the whole engine: exact on the source grid, whatever lies between."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.errors import BundleError, InputError
from napari_pgrd.engine.locks import Locks
from napari_pgrd.engine.predict import choose_batch, predict, sampling_key
from napari_pgrd.engine.prediction import Prediction
from napari_pgrd.engine.preprocess import known_voxels, prepare
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.spec import PrepareSpec
from napari_pgrd.engine.volume import Volume
from tests.engine.test_volume import affine_of
from tests.tiny import blob_volume, make_tiny_bundle

METHODS = ("replacement", "guidance", "hint")
VOLUME, TRUTH = blob_volume()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.load(make_tiny_bundle(tmp_path_factory.mktemp("locks") / "tiny", hints=True))


@pytest.fixture(scope="module")
def deaf(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.load(make_tiny_bundle(tmp_path_factory.mktemp("locks") / "deaf", mean_weight=0.5))


def _request(**fields: Any) -> Request:
    return Request(**{"samples": 3, "steps": 3, "device": "cpu", "batch": 2, **fields})


def _run(bundle: Bundle, volume: Volume = VOLUME, so_far: Prediction | None = None, **fields: Any) -> Prediction:
    *_, last = predict(volume, bundle, _request(**fields), so_far)
    assert last.prediction is not None
    return last.prediction


def _slice(shape: tuple[int, ...], at: int = 9) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[at] = True
    return mask


def _wrong(truth: np.ndarray) -> np.ndarray:
    """Labels that no sample would choose by itself."""
    return (truth + 1) % 3


LOCKS = Locks(_slice(TRUTH.shape), _wrong(TRUTH))


def _assert_kept(p: Prediction, where: np.ndarray, labels: np.ndarray) -> None:
    for mask in p.masks:
        assert np.array_equal(mask[where], labels[where])
    assert np.array_equal(p.consensus[where], labels[where])
    assert np.array_equal(p.probability[:, where], np.eye(3)[:, labels[where]])
    assert (p.entropy[where] == 0).all() and (p.variance[where] == 0).all() and (p.mutual_information[where] == 0).all()
    assert p.votes[:, where].max(0).min() == p.samples
    np.testing.assert_allclose(p.probability.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("solver", "eta"), [("ddim", 0.0), ("ddim", 1.0), ("ddpm", 0.0), ("dpmpp2m", 0.0)])
def test_locked_voxels_are_in_every_sample_and_map(bundle: Bundle, solver: str, eta: float, method: str) -> None:
    updates = list(predict(VOLUME, bundle, _request(solver=solver, eta=eta, locks=LOCKS, lock_method=method)))
    for update in updates:
        if update.prediction is not None:  # the prior's update too: what is locked is shown from the beginning
            _assert_kept(update.prediction, LOCKS.mask, LOCKS.labels)
    assert updates[-1].prediction is not None and updates[-1].prediction.samples == 3


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 0.5), (1.7, 1.3, 0.8), (2.0, 2.0, 2.0)])
@pytest.mark.parametrize("code", ["RAS", "PIL"])
def test_locks_are_exact_on_the_grid_of_the_source(
    bundle: Bundle, code: str, spacing: tuple[float, float, float]
) -> None:
    """Scattered single voxels survive reordering and resampling, there and back."""
    shape = (14, 18, 12)
    rng = np.random.default_rng(3)
    volume = Volume(blob_volume(shape)[0].data, affine_of(code, spacing))
    mask, labels = rng.random(shape) < 0.05, rng.integers(0, 3, shape)
    p = _run(bundle, volume, locks=Locks(mask, labels), lock_method="replacement")
    _assert_kept(p, mask, labels)


def test_locks_on_the_source_and_on_the_box_are_the_same(bundle: Bundle) -> None:
    box = ((1, 19), (2, 24), (0, 17))
    inside = (slice(1, 19), slice(2, 24), slice(0, 17))
    whole = _run(bundle, box=box, locks=LOCKS)
    part = _run(bundle, box=box, locks=Locks(LOCKS.mask[inside], LOCKS.labels[inside]))
    assert whole.key == part.key
    assert np.array_equal(np.stack(whole.masks), np.stack(part.masks))
    _assert_kept(whole, LOCKS.mask[inside], LOCKS.labels[inside])


def test_every_method_moves_voxels_beside_the_locks_and_each_in_its_own_way(bundle: Bundle) -> None:
    free = _run(bundle)
    beside = np.zeros(TRUTH.shape, bool)
    beside[[8, 10]] = True
    moved = {m: _run(bundle, locks=LOCKS, lock_method=m) for m in METHODS}
    maps = [p.probability[:, beside].tobytes() for p in (free, *moved.values())]
    assert len(set(maps)) == 4


def test_samples_with_and_without_locks_are_never_mixed(bundle: Bundle) -> None:
    other = Locks(_slice(TRUTH.shape, 8), _wrong(TRUTH))
    free = _run(bundle)
    keys = {free.key, *(sampling_key(VOLUME, bundle, _request(locks=LOCKS, lock_method=m)) for m in METHODS)}
    keys.add(sampling_key(VOLUME, bundle, _request(locks=other)))
    assert len(keys) == 5
    assert sampling_key(VOLUME, bundle, _request(lock_method="hint")) == free.key, "no locks, so no difference"
    fresh, after = _run(bundle, locks=LOCKS), _run(bundle, so_far=free, locks=LOCKS)
    assert np.array_equal(fresh.probability, after.probability)
    back = _run(bundle, so_far=after)
    assert np.array_equal(back.probability, free.probability)


def test_further_samples_are_added_to_locked_ones(bundle: Bundle) -> None:
    two = _run(bundle, samples=2, locks=LOCKS, lock_method="guidance")
    grown = _run(bundle, so_far=two, samples=4, locks=LOCKS, lock_method="guidance")
    four = _run(bundle, samples=4, locks=LOCKS, lock_method="guidance")
    assert np.array_equal(np.stack(grown.masks), np.stack(four.masks))
    assert np.array_equal(grown.probability, four.probability)
    assert np.array_equal(grown.mutual_information, four.mutual_information)


@pytest.mark.parametrize("method", METHODS)
def test_outside_the_region_every_sample_is_what_it_was(bundle: Bundle, method: str) -> None:
    earlier = _run(bundle, samples=3)
    region = np.zeros(TRUTH.shape, bool)
    region[6:13, 4:20] = True
    locks = Locks(LOCKS.mask, LOCKS.labels, region, earlier)
    p = _run(bundle, samples=3, locks=locks, lock_method=method)
    outside = ~region & ~LOCKS.mask
    for i, mask in enumerate(p.masks):
        assert np.array_equal(mask[outside], earlier.masks[i][outside])
    assert np.array_equal(p.probability[:, outside], earlier.probability[:, outside])
    assert np.array_equal(p.entropy[outside], earlier.entropy[outside])
    assert np.array_equal(p.votes[:, outside], earlier.votes[:, outside])
    np.testing.assert_allclose(p.mutual_information[outside], earlier.mutual_information[outside], atol=1e-6)
    _assert_kept(p, LOCKS.mask, LOCKS.labels)
    free = region & ~LOCKS.mask
    assert any(not np.array_equal(m[free], e[free]) for m, e in zip(p.masks, earlier.masks, strict=True))
    with pytest.raises(InputError, match="only 3 earlier ones"):
        _run(bundle, samples=4, locks=locks)


def test_a_network_that_hears_no_locks_refuses_the_hint_before_anything_runs(deaf: Bundle) -> None:
    with pytest.raises(InputError, match="not trained to hear locks.*'guidance' or 'replacement'"):
        next(predict(VOLUME, deaf, _request(locks=LOCKS, lock_method="hint")))
    with pytest.raises(InputError, match="named 'repaint'; choose one of replacement, guidance, hint"):
        next(predict(VOLUME, deaf, _request(locks=LOCKS, lock_method="repaint")))
    with pytest.raises(InputError, match="class index 3"):
        next(predict(VOLUME, deaf, _request(locks=Locks(LOCKS.mask, np.full(TRUTH.shape, 3)))))
    with pytest.raises(InputError, match="the image has"):
        next(predict(VOLUME, deaf, _request(locks=Locks(LOCKS.mask[1:], LOCKS.labels[1:]))))


def test_how_locks_are_respected_is_the_bundles_unless_asked(deaf: Bundle, bundle: Bundle, tmp_path: Path) -> None:
    assert _request(locks=LOCKS).resolved(deaf.spec).lock_method == "guidance"
    assert _request().resolved(deaf.spec).lock_method is None
    hears = {"sampling": {"lock_method": "hint", "steps": 2}}
    taught = Bundle.load(make_tiny_bundle(tmp_path / "taught", hints=True, **hears))
    assert _request(locks=LOCKS).resolved(taught.spec).lock_method == "hint"
    assert _request(locks=LOCKS, lock_method="replacement").resolved(taught.spec).lock_method == "replacement"
    with pytest.raises(BundleError, match="no hint channels"):
        make_tiny_bundle(tmp_path / "claims", **hears)


def test_a_network_with_hints_and_no_locks_hears_silence(bundle: Bundle) -> None:
    image, pi = torch.randn(1, 1, 16, 16, 16), torch.softmax(torch.randn(1, 3, 16, 16, 16), 1)
    _, net = bundle.networks()
    t, rb = torch.tensor([500]), torch.tensor([0.5])
    with torch.no_grad():
        assert torch.equal(net(pi, image, pi, t, rb), net(pi, image, pi, t, rb, torch.zeros_like(pi)))
        assert not torch.equal(net(pi, image, pi, t, rb), net(pi, image, pi, t, rb, torch.ones_like(pi)))


def test_locked_sampling_can_be_cancelled_and_leaves_no_gradients(bundle: Bundle) -> None:
    def alive() -> set[int]:
        gc.collect()
        return {id(x) for x in gc.get_objects() if type(x) is Tensor and (x.grad_fn is not None or x.requires_grad)}

    before = alive()
    run = predict(VOLUME, bundle, _request(samples=64, steps=50, locks=LOCKS, lock_method="guidance"))
    kinds = [next(run).kind for _ in range(4)]
    run.close()  # type: ignore[attr-defined]  # a generator
    assert kinds == ["prior", "step", "step", "step"]
    assert not alive() - before
    _run(bundle, locks=LOCKS, lock_method="guidance")
    assert not alive() - before


def test_a_2d_bundle_keeps_locks_too(tmp_path: Path) -> None:
    prepared = {"normalisation": "unit", "spacing": None}
    flat = Bundle.load(make_tiny_bundle(tmp_path / "flat", dims=2, patch=(16, 16, 1), prepare=prepared, hints=True))
    volume, truth = blob_volume((16, 20, 4))
    mask = np.zeros(truth.shape, bool)
    mask[3:9, 5:15, 1] = True
    for method in METHODS:
        p = _run(flat, volume, locks=Locks(mask, _wrong(truth)), lock_method=method)
        _assert_kept(p, mask, _wrong(truth))


def test_guidance_asks_for_smaller_batches(bundle: Bundle) -> None:
    cpu = torch.device("cpu")
    huge = (900, 900, 900)
    assert choose_batch(bundle.spec, huge, cpu, guided=True) <= choose_batch(bundle.spec, huge, cpu)


@pytest.mark.parametrize("code", ["RAS", "PIL", "LSA"])
@pytest.mark.parametrize("spacing", [(0.5, 1.0, 2.1), (0.48, 0.48, 0.48), (1.9, 1.9, 1.9)])
def test_the_networks_see_every_lock_where_it_is_in_the_world(code: str, spacing: tuple[float, float, float]) -> None:
    """Every locked voxel's middle lies in a prepared voxel that is known, by world coordinates alone."""
    shape, spec = (12, 14, 10), PrepareSpec(patch=(8, 8, 8), stride=4)
    affine = affine_of(code, spacing)
    rng = np.random.default_rng(1)
    volume = Volume(rng.normal(size=(1, *shape)), affine)
    mask = rng.random(shape) < 0.02
    where = np.argwhere(mask)
    labels = rng.integers(0, 3, shape)
    image, restore = prepare(volume, spec)
    seen, known = known_voxels(Locks(mask, labels), restore, 3, [0])
    assert seen.shape == known.shape == (1, *image.shape[2:])
    # The prepared grid in the world: RAS, so its low corner is the lowest corner of all source voxels.
    corners = np.stack([affine[:3, :3] @ (c - 0.5) + affine[:3, 3] for c in (np.zeros(3), np.array(shape))])
    low, high = corners.min(0), corners.max(0)
    size = (high - low) / restore.resampled
    middles = where @ affine[:3, :3].T + affine[:3, 3]
    index = np.floor((middles - low) / size).astype(int) + [p[0] for p in restore.padding]
    assert known[0][tuple(index.T)].all()
    # Where no two locks fall into one prepared voxel, the label is the lock's own.
    alone = np.unique(index, axis=0, return_counts=True, return_inverse=True)
    single = alone[2][alone[1].ravel()] == 1
    assert np.array_equal(seen[0][tuple(index[single].T)], labels[tuple(where[single].T)])
    upsampled = np.prod(np.maximum(1, np.ceil(np.array(restore.resampled) / restore.original)))
    assert known.sum() <= len(where) * upsampled


def test_without_resampling_the_networks_see_exactly_the_locks_and_what_is_kept(bundle: Bundle) -> None:
    region = np.zeros(TRUTH.shape, bool)
    region[6:13] = True
    earlier = _run(bundle, samples=2)
    _, restore = prepare(VOLUME, bundle.spec.prepare)
    x, y, z = (slice(lo, lo + n) for (lo, _), n in zip(restore.padding, restore.resampled, strict=True))
    seen, known = known_voxels(replace(LOCKS, region=region, earlier=earlier), restore, 3, [1, 0])
    assert np.array_equal(known[0, x, y, z], LOCKS.mask | ~region)
    assert known.sum() == 2 * (LOCKS.mask | ~region).sum(), "nothing is known in the padding"
    for row, i in enumerate((1, 0)):
        expected = np.where(LOCKS.mask, LOCKS.labels, earlier.masks[i])
        inside = known[row, x, y, z]
        assert np.array_equal(seen[row, x, y, z][inside], expected[inside])


def test_the_smooth_part_of_the_map_hears_of_locks(tmp_path: Path) -> None:
    """The first network call, at t = T, sees noise alone: it would give the same map with and without locks."""
    smooth = Bundle.load(make_tiny_bundle(tmp_path / "smooth", mean_weight=1.0, hints=True))
    beside = np.zeros(TRUTH.shape, bool)
    beside[[8, 10]] = True
    free = _run(smooth).probability[:, beside]
    for method in METHODS:
        p = _run(smooth, locks=LOCKS, lock_method=method).probability[:, beside]
        assert np.abs(p - free).max() > 1e-3
    one_step = _run(smooth, steps=1, locks=LOCKS, lock_method="replacement").probability[:, beside]
    assert np.array_equal(one_step, _run(smooth, steps=1).probability[:, beside])


def test_the_weight_of_guidance_is_the_bundles(tmp_path: Path) -> None:
    maps = {}
    for zeta in (0.0, 1.0, 9.0):
        sampling = {"steps": 3, "zeta": zeta}
        weighted = Bundle.load(make_tiny_bundle(tmp_path / str(zeta), sampling=sampling))
        maps[zeta] = _run(weighted, locks=LOCKS, lock_method="guidance").probability
        if zeta == 0:
            unguided = _run(weighted, locks=LOCKS, lock_method="replacement").probability
    np.testing.assert_allclose(maps[0.0], unguided, atol=1e-5)
    moved = [np.abs(maps[zeta] - maps[0.0]).mean() for zeta in (1.0, 9.0)]
    assert 0 < moved[0] < moved[1]
