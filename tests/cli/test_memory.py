"""Memory that runs out in a network: one sentence and exit status 2, and nothing half done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from monai.networks.nets import DynUNet

from napari_pgrd.engine.nets import Denoiser
from tests.cli.conftest import Pgrd

TRAINING = """
[prepare]
patch = [16, 16, 16]
stride = 4
[network]
filters = [4, 8, 8]
deep_supervision = 1
[optimisation]
steps = 2
precision = "float32"
"""


def card(*_given: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def python(*_given: object) -> None:
    raise MemoryError


def allocator(*_given: object) -> None:
    torch.empty(2**60, dtype=torch.uint8)  # PyTorch's own, which says it as a RuntimeError


def other(*_given: object) -> None:
    raise RuntimeError("shapes do not match")


FAILURES = pytest.mark.parametrize("fail", [card, python, allocator])


def train(pgrd: Pgrd, dataset: Path, folder: Path):
    config = folder / "config.toml"
    config.write_text(TRAINING, encoding="utf-8")
    return pgrd("train", "prior", "--data", dataset, "--config", config, "--device", "cpu", "--out", folder / "out")


@FAILURES
def test_a_training_without_memory_is_one_line(
    pgrd: Pgrd, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: Callable[..., None]
) -> None:
    monkeypatch.setattr(DynUNet, "forward", fail)
    result = train(pgrd, dataset, tmp_path)
    assert result.code == 2
    *progress, last = result.err.splitlines()
    assert last == "pgrd: Memory ran out. Choose a smaller image, patch or batch, or close other programs."
    assert "precision float32 on cpu" in progress  # reading was over
    assert "Traceback" not in result.err and result.out == ""
    assert not list((tmp_path / "out").glob("*.safetensors"))


def test_another_error_of_a_network_is_not_hidden(
    pgrd: Pgrd, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DynUNet, "forward", other)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        train(pgrd, dataset, tmp_path)


@FAILURES
def test_a_prediction_without_memory_for_one_sample_is_one_line(
    pgrd: Pgrd, tiny: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: Callable[..., None]
) -> None:
    monkeypatch.setattr(Denoiser, "forward", fail)
    out = tmp_path / "out"
    words = ("--bundle", tiny, "--steps", 2, "--samples", 2, "--device", "cpu")
    result = pgrd("predict", image, *words, "--out", out)
    assert result.code == 2
    *told, last = result.err.splitlines()
    assert last.startswith("pgrd: Memory ran out while refining one sample of 20 x 24 x 20 voxels.")
    assert told[1] == "Memory ran out; going on with 1 sample at once."  # after what it tried before
    assert "Traceback" not in result.err
    assert result.out == "" and not list(out.iterdir())
