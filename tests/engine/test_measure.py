"""What one window foretells of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.cost import Cost
from napari_pgrd.engine.measure import measure
from napari_pgrd.engine.request import Request
from napari_pgrd.session.estimate import cost_sentence
from tests.tiny import blob_volume, make_tiny_bundle

COST = Cost(8, 2, 0.5, 3.0, 1.0, 2.0, 1e9, 0.5e9, 1e6)


@pytest.mark.parametrize(
    ("samples", "steps", "seconds"),
    [(2, 1, 4 + 25 + 4), (2, 8, 4 + 8 * 25 + 4), (1, 2, 4 + 25 + 2), (32, 2, 4 + 32 * 25 + 64), (3, 1, 4 + 50 + 6)],
)
def test_time_is_that_of_all_windows_of_all_steps(samples: int, steps: int, seconds: float) -> None:
    assert COST.seconds(samples, steps) == pytest.approx(seconds)


def test_memory_grows_by_what_is_stored_alone() -> None:
    assert COST.bytes(101) - COST.bytes(1) == pytest.approx(100e6)


def test_the_sentence_says_time_memory_and_windows() -> None:
    assert cost_sentence(COST, 32, 2) == (
        "Takes about 14 min and 1.5 GB of memory: 8 windows a step, foretold by one of them."
    )
    whole = Cost(1, 2, 0.1, 1.0, 0.0, 0.0, 1e9, 0, 0, "cuda")
    assert cost_sentence(whole, 2, 5) == "Takes about 5 s and 1.0 GB of graphics memory."


def test_a_window_is_measured_and_nothing_drawn(tmp_path: Path) -> None:
    volume, _ = blob_volume((32, 24, 16))
    windowed = Bundle.load(make_tiny_bundle(tmp_path / "windowed", prepare={"window": (16, 16, 16)}))
    whole = Bundle.load(make_tiny_bundle(tmp_path / "whole"))
    cost = measure(volume, windowed, Request(samples=4, steps=2, device="cpu", batch=2))
    assert (cost.windows, cost.at_once, cost.device) == (6, 2, "cpu")
    assert min(cost.prior_seconds, cost.call_seconds, cost.sample_seconds, cost.base_bytes, cost.volume_bytes) > 0
    assert cost.step_seconds >= 0
    assert cost.stored_bytes == 32 * 24 * 16
    assert measure(volume, whole, Request(samples=1, steps=2, device="cpu")).windows == 1
    once = measure(volume, windowed, Request(samples=3, steps=1, device="cpu", method="tta"))
    assert once.seconds(3, 1) > 0
