"""What a worker does once for a case, and how little of its samples travels."""

from __future__ import annotations

import gc
import pickle
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest

from napari_pgrd.cluster import worker
from napari_pgrd.cluster.address import Where
from napari_pgrd.cluster.sampling import predict_at
from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.kept import Kept
from napari_pgrd.engine.predict import predict
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.runner import Runner
from napari_pgrd.session.triage import measure
from tests.clusters import near
from tests.tiny import blob_volume, make_tiny_bundle

__all__ = ["near"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.load(make_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one whenever a prior is asked."""
    calls: list[int] = []
    real = Runner.prior

    def counted(self: Runner, image: Any) -> Any:
        calls.append(1)
        return real(self, image)

    monkeypatch.setattr(Runner, "prior", counted)
    return calls


def test_the_prior_is_asked_once_on_each_worker(near: Any, bundle: Bundle, asked: list[int]) -> None:
    volume, request = blob_volume()[0], Request(samples=6, steps=2, batch=1, device="cpu")
    *_, here = predict(volume, bundle, request)
    asked.clear()
    *_, last = predict_at(Where(near.scheduler.address), volume, bundle, request)
    assert 1 <= len(asked) <= 2  # there are two workers; six groups
    assert last.prediction is not None and here.prediction is not None
    assert np.array_equal(np.stack(last.prediction.masks), np.stack(here.prediction.masks))
    assert np.array_equal(last.prediction.probability, here.prediction.probability)
    until = time.monotonic() + 60
    while len(worker._images) and time.monotonic() < until:  # nobody's image stays when nobody asks for it
        gc.collect()
        time.sleep(0.05)
    assert not len(worker._images)


def test_what_is_kept_is_of_one_image_alone(bundle: Bundle, asked: list[int]) -> None:
    kept, request = Kept(), Request(samples=2, steps=2, batch=1, device="cpu")
    for seed, count in ((0, 1), (0, 1), (1, 2), (0, 3)):
        volume = blob_volume(seed=seed)[0]
        *_, with_it = predict(volume, bundle, request, kept=kept)
        assert len(asked) == count
        *_, alone = predict(volume, bundle, request)
        asked.pop()
        assert with_it.prediction is not None and alone.prediction is not None
        assert np.array_equal(with_it.prediction.prior, alone.prediction.prior)
        assert np.array_equal(with_it.prediction.probability, alone.prediction.probability)


def test_masks_of_a_large_case_take_little_space_on_their_way(bundle: Bundle) -> None:
    volume, request = blob_volume()[0], Request(samples=2, steps=2, device="cpu")
    *_, last = predict(volume, bundle, request)
    assert last.prediction is not None
    measures = measure(last.prediction, volume, bundle.spec, None)
    shape, count = (176, 176, 150), 12  # more than 4 MB a mask, so that arrived ones lie on disk
    ground = np.indices(shape, np.int16).sum(0)
    masks = [((ground > 200 + 5 * i) & (ground < 300)).astype(np.uint8) for i in range(count)]
    votes = np.zeros((1, *shape), np.uint16)
    small = np.zeros(0, np.float32)
    solved = worker.Solved(small, votes, tuple(map(worker.packed, masks)), small, (), ("cpu", "float32"), measures, [])
    one = masks[0].nbytes
    assert len(pickle.dumps(solved)) < votes.nbytes + one / 2
    tracemalloc.start()
    arrived = solved.prediction.masks
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * one
    assert len(arrived) == count and all(np.array_equal(a, b) for a, b in zip(arrived, masks, strict=True))
