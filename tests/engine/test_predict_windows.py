"""The whole engine through windows: one noise field, no seams, heartbeats, and memory that really runs out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.device import resolve
from napari_pgrd.engine.errors import DeviceError
from napari_pgrd.engine.locks import Locks
from napari_pgrd.engine.predict import Update, choose_batch, predict
from napari_pgrd.engine.preprocess import prepare
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.runner import Runner
from napari_pgrd.engine.sampler import Case, sample_rng
from napari_pgrd.engine.volume import Volume
from napari_pgrd.engine.windows import Windows
from tests.engine.test_windows import seam
from tests.tiny import LABELS, blob_volume, make_tiny_bundle

VOLUME, _ = blob_volume((32, 24, 16))
Observer = Callable[[Tensor], None]


def _bundle(folder: Path, **prepare: Any) -> Bundle:
    return Bundle.load(make_tiny_bundle(folder, prepare={"window": (16, 16, 16), **prepare}))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return _bundle(tmp_path_factory.mktemp("windows") / "windowed")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same networks, which see all at once."""
    return Bundle.load(make_tiny_bundle(tmp_path_factory.mktemp("windows") / "whole"))


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
    """A bundle whose networks report every call before it is made."""

    before: Observer = print

    def networks(self, device: str = "cpu", method: str | None = None) -> tuple[nn.Module, ...]:
        prior, denoiser = super().networks(device, method)
        return Watched(prior, self.before), Watched(denoiser, self.before)


def _watch(bundle: Bundle, before: Observer) -> WatchedBundle:
    return WatchedBundle(bundle.folder, bundle.spec, bundle.digest, before=before)


def _updates(bundle: Bundle, volume: Volume = VOLUME, **fields: Any) -> list[Update]:
    return list(predict(volume, bundle, Request(**{"samples": 2, "steps": 2, "device": "cpu", "batch": 2, **fields})))


def _masks(updates: list[Update]) -> np.ndarray:
    assert updates[-1].prediction is not None
    return np.stack(updates[-1].prediction.masks)


def test_every_window_is_a_heartbeat_and_what_it_computes_repeats_itself(bundle: Bundle) -> None:
    calls: list[tuple[int, ...]] = []
    updates = _updates(_watch(bundle, lambda s: calls.append(tuple(s.shape))))
    assert [c[0] for c in calls] == [1] * 6 + [2] * 6 * 2, "3 x 2 windows: of the prior, then of each step, two samples"
    assert {c[2:] for c in calls} == {(16, 16, 16)}
    kinds = [u.kind for u in updates]
    expected = ["step"] * 6 + ["prior"] + (["step"] * 6 + ["step"]) * 2 + ["sample"] * 2 + ["done"]
    assert kinds == expected
    assert all(a.fraction <= b.fraction for a, b in pairwise(updates))
    mid = updates[9]
    assert 0 < mid.fraction < 0.5
    assert mid.seconds_left is not None
    assert np.array_equal(_masks(updates), _masks(_updates(bundle)))
    assert _masks(updates).any()


def test_all_windows_see_one_noise_field(bundle: Bundle) -> None:
    """At t = T the state is the prior and the noise of the sample's own generator, cut to each window."""
    seen: list[Tensor] = []
    updates = _updates(_watch(bundle, lambda s: seen.append(s.clone())), samples=1, steps=1)
    image, _ = prepare(VOLUME, bundle.spec.prepare)
    windows = Windows.over(image, bundle.spec.prepare)
    assert windows is not None
    assert updates[-1].prediction is not None
    field = sample_rng(0, 0).standard_normal((3, *windows.shape), dtype=np.float32)
    expected = torch.from_numpy(updates[-1].prediction.prior + field)
    for place, s in zip(windows.places, seen[len(windows) :], strict=True):
        torch.testing.assert_close(s[0], expected[:, *place])


def test_samples_have_no_seams(tmp_path: Path) -> None:
    """Over the blended estimates of a volume that looks the same everywhere."""
    bundle = _bundle(tmp_path / "even")
    data = np.random.default_rng(0).normal(100, 10, (1, 40, 40, 40)).astype(np.float32)
    image, _ = prepare(Volume(data, np.eye(4)), bundle.spec.prepare)
    runner = Runner(bundle, resolve("cpu")).over(image)
    assert runner.windows is not None
    sampler = runner.sampler(Request(samples=1, steps=2).resolved(bundle.spec))
    pi = runner.prior(image)
    *_, y = sampler.draw(Case(image, pi), runner.rngs(0, [0]))
    assert seam(pi, runner.windows) <= 1.05
    assert seam(y, runner.windows) <= 1.05


def test_a_cancel_takes_effect_at_the_next_window(bundle: Bundle) -> None:
    calls: list[int] = []
    threads = threading.active_count()
    run = predict(VOLUME, _watch(bundle, lambda s: calls.append(len(s))), Request(samples=64, steps=50, device="cpu"))
    for _ in run:
        if len(calls) == 9:
            break
    run.close()  # type: ignore[attr-defined]  # a generator
    assert len(calls) == 9
    assert threading.active_count() == threads


def test_what_no_window_sees_is_background(tmp_path: Path) -> None:
    data = np.zeros((1, 64, 16, 16), np.float32)
    data[:, 24:40] = blob_volume((16, 16, 16))[0].data
    data[:, 0, 0, 0] = 1  # so that nothing is cropped
    nnunet = {"schemes": ("zscore-inside",), "foreground": (None,), "strides": (4, 4, 4)}
    bundle = _bundle(tmp_path / "head", nnunet=nnunet)
    updates = _updates(bundle, Volume(data, np.eye(4)))
    done = updates[-1].prediction
    assert done is not None
    unseen = slice(48, 64)
    assert not np.stack(done.masks)[:, unseen].any()
    assert (done.probability[0, unseen] > 0.99).all()
    assert (done.prior[0, unseen] == 1).all()
    assert done.entropy[unseen].max() < 0.01


def _only(most: int) -> Observer:
    """A network that a real allocator refuses memory for more than so many voxels."""

    def ask(s: Tensor) -> None:
        if len(s) * s[0, 0].numel() > most:
            torch.empty(2**60, dtype=torch.uint8)  # no machine has it: PyTorch's own allocator says so

    return ask


def test_memory_that_runs_out_leads_down_the_ladder_and_each_step_is_told(whole: Bundle) -> None:
    sizes: list[tuple[int, ...]] = []

    def before(s: Tensor) -> None:
        _only(16 * 16 * 16)(s)
        sizes.append(tuple(s.shape[2:]))

    updates = _updates(_watch(whole, before), samples=3, batch=2)
    notes = [u.note for u in updates if u.kind == "note"]
    assert notes == [
        "Memory ran out; going on with 1 sample at once.",
        "Memory ran out; going on through smaller windows, of 16 x 24 x 16 voxels.",
        "Memory ran out; going on through smaller windows, of 16 x 12 x 16 voxels.",
    ]
    assert set(sizes) == {(16, 12, 16)}
    assert [u.index for u in updates if u.kind == "sample"] == [0, 1, 2]
    assert sum(u.kind == "prior" for u in updates) == 1
    assert _masks(updates).any()


def test_memory_that_runs_out_midway_keeps_what_was_drawn(bundle: Bundle) -> None:
    calls = 0

    def later(s: Tensor) -> None:
        nonlocal calls
        calls += 1
        if calls > 6 + 12 + 3:  # in the second sample's first step
            _only(16 * 16 * 8)(s)

    updates = _updates(_watch(bundle, later), batch=1)
    assert [u.note for u in updates if u.kind == "note"] == [
        "Memory ran out; going on through smaller windows, of 8 x 16 x 16 voxels."
    ]
    assert [u.index for u in updates if u.kind == "sample"] == [0, 1]
    assert np.array_equal(_masks(updates)[0], _masks(_updates(bundle, batch=1))[0])


def test_a_graphics_cards_memory_gives_way_to_the_cpu(whole: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no card here: the meta device stands for one, on which no number can be computed."""
    from napari_pgrd.engine import predict as module

    def refuse(self: Any, image: Tensor, *more: Any) -> Any:
        if image.device.type == "meta":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return over(self, image, *more)

    over = module.Runner.over
    monkeypatch.setattr(module.Runner, "over", refuse)
    monkeypatch.setattr(module, "resolve", lambda name: torch.device("meta"))
    updates = _updates(whole, batch=2)
    notes = [u.note for u in updates if u.kind == "note"]
    assert notes[0] == "Memory ran out; going on with 1 sample at once."
    assert all("smaller windows" in note for note in notes[1:-1])
    assert notes[-1] == "The graphics card's memory ran out; going on with the CPU, which takes longer."
    monkeypatch.undo()
    assert np.array_equal(_masks(updates), _masks(_updates(whole, batch=1)))


def test_no_memory_at_all_is_a_sentence(bundle: Bundle) -> None:
    with pytest.raises(DeviceError, match="32 x 24 x 16 voxels.*smaller box"):
        _updates(_watch(bundle, _only(0)))


def test_a_stack_of_slices_gives_way_in_slices_and_answers_the_same(tmp_path: Path) -> None:
    prepared = {"normalisation": "unit", "spacing": None}
    folder = make_tiny_bundle(tmp_path / "flat", dims=2, labels=LABELS[:2], patch=(16, 16, 1), prepare=prepared)
    flat = Bundle.load(folder)
    volume, _ = blob_volume((16, 20, 6), classes=2)

    updates = _updates(_watch(flat, _only(16 * 20 * 3)), volume, batch=1)
    assert [u.note for u in updates if u.kind == "note"] == [
        "Memory ran out; going on through smaller windows, of 16 x 20 x 3 voxels."
    ]
    assert (_masks(updates) == _masks(_updates(flat, volume, batch=1))).mean() > 0.999


@pytest.mark.parametrize("method", ["replacement", "guidance"])
def test_what_is_locked_is_kept_through_windows(bundle: Bundle, method: str) -> None:
    mask = np.zeros(VOLUME.shape, bool)
    mask[6:26, 10, 4:12] = True
    locks = Locks(mask, np.full(VOLUME.shape, 2, np.uint8))
    updates = _updates(bundle, locks=locks, lock_method=method)
    assert (_masks(updates)[:, mask] == 2).all()


@pytest.mark.parametrize("method", ["thresholded", "tta"])
def test_methods_of_the_prior_alone_look_through_windows_too(bundle: Bundle, method: str) -> None:
    updates = _updates(bundle, steps=1, method=method)
    assert _masks(updates).any()


def test_large_volumes_are_drawn_fewer_at_once(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU one by one; on a card, whose states of the whole volume lie in its memory, as many as these allow."""
    cpu, card, window = torch.device("cpu"), torch.device("cuda"), (16, 16, 16)
    assert choose_batch(bundle.spec, (16, 16, 16), cpu, window=window) == 2
    assert choose_batch(bundle.spec, (17, 16, 16), cpu, window=window) == 1
    monkeypatch.setattr("napari_pgrd.engine.predict.free_memory", lambda device: 16e9)
    assert choose_batch(bundle.spec, (16, 16, 16), card, window=window) == 16
    assert 1 < choose_batch(bundle.spec, (256, 256, 256), card, window=window) < 16
    assert choose_batch(bundle.spec, (4096, 4096, 4096), card, window=window) == 1
