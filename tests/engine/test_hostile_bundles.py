"""Bundles as nobody packs them, most of them findings of benchmarks/fuzz.py: each is a sentence."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.errors import BundleError, InputError, shown
from napari_pgrd.engine.predict import predict
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.spec import read_spec
from tests.tiny import blob_volume


def edit(folder: Path, part: str, key: str | None, value: Any) -> None:
    content = json.loads((folder / "bundle.json").read_text())
    (content if key is None else content[part])[part if key is None else key] = value
    (folder / "bundle.json").write_text(json.dumps(content))


def sign(folder: Path, name: str) -> None:
    edit(folder, "weights", name, hashlib.sha256((folder / name).read_bytes()).hexdigest())


def used(folder: Path) -> None:
    """What a window does with it, up to the first sample."""
    bundle = Bundle.load(folder)
    bundle.networks()
    list(predict(blob_volume((10, 12, 9))[0], bundle, Request(samples=1, steps=1, device="cpu")))


def test_the_seed_is_whole(folder: Path) -> None:
    used(folder)


@pytest.mark.parametrize("name", ["bundle.json", "prior.safetensors"])
@pytest.mark.parametrize("how", ["link", "pipe", "folder", "loop", "device"])
def test_a_file_that_is_none_of_the_folder_is_not_opened(folder: Path, tmp_path: Path, name: str, how: str) -> None:
    path, elsewhere = folder / name, tmp_path / "elsewhere"
    path.rename(elsewhere)
    if how == "pipe":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    else:
        path.symlink_to({"link": elsewhere, "loop": path, "device": Path("/dev/zero")}[how])
    with pytest.raises(BundleError, match=f"lacks {name}"):
        used(folder)


def test_a_link_within_the_folder_is_followed(folder: Path) -> None:
    (folder / "prior.safetensors").rename(folder / "weights.safetensors")
    (folder / "prior.safetensors").symlink_to("weights.safetensors")
    used(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_refused(folder: Path, value: float) -> None:
    tensors = load_file(folder / "denoiser.safetensors")
    next(iter(tensors.values())).reshape(-1)[0] = value
    save_file(tensors, folder / "denoiser.safetensors")
    sign(folder, "denoiser.safetensors")
    with pytest.raises(BundleError, match="1 of the weights hold values that are NaN, infinite or complex"):
        used(folder)


def test_weights_that_overflow_give_no_probabilities(folder: Path) -> None:
    name = "prior.safetensors"
    save_file({key: value * 1e37 for key, value in load_file(folder / name).items()}, folder / name)
    sign(folder, name)
    with pytest.raises(BundleError, match="no numbers"):
        used(folder)


def test_a_long_name_of_a_tensor_is_cut(folder: Path) -> None:
    tensors = load_file(folder / "prior.safetensors")
    save_file({**tensors, "\x1b[2J" + "a" * 9000: torch.zeros(1)}, folder / "prior.safetensors")
    sign(folder, "prior.safetensors")
    with pytest.raises(BundleError, match="do not fit the network") as caught:
        used(folder)
    assert len(str(caught.value)) < 400 and str(caught.value).isprintable()


ABSURD = [
    ("prior", "filters", [10**6] * 3),
    ("prior", "filters", [4096] * 12),
    ("prior", "filters", [8, 8]),
    ("prior", "filters", []),
    ("prior", "filters", [0, 8, 8]),
    ("prior", "deep_supervision", -1),
    ("denoiser", "widths", [2**31] * 2),
    ("denoiser", "widths", [7, 9]),
    ("denoiser", "widths", [4096, 4096]),
    ("denoiser", "blocks", 10**9),
    ("denoiser", "groups", 0),
    ("denoiser", "groups", 5),
    ("denoiser", "attention", []),
    ("denoiser", "attention", [True] * 50),
    ("denoiser", "supervised", [99]),
    ("denoiser", "residual_std", 0.0),
    ("denoiser", "residual_std", 1e300),
    ("prepare", "patch", [4096] * 3),
    ("prepare", "patch", [0, 0, 0]),
    ("prepare", "stride", 0),
    ("prepare", "spacing", [1e-3] * 3),
    ("prepare", "spacing", [0, 0, 0]),
    ("prepare", "spacing", [-1, 1, 1]),
    ("prepare", "orientation", "RRR"),
    ("prepare", "orientation", "RASRAS"),
    ("prepare", "percentiles", [200, -5]),
    ("schedule", "shift", 1e-300),
    ("schedule", "shift", 1e300),
    ("schedule", "T", 10**12),
    ("tau", None, float("inf")),
    ("tau", None, 1e-300),
    ("prior_temperature", None, float("nan")),
    ("title", None, "two\nlines"),
    ("channels", None, ["\x1b[2J"]),
    ("name", None, "a" * 5000),
    ("schema_version", None, [["x" * 5000]]),
    ("x" * 5000, None, 1),
]


@pytest.mark.parametrize(("part", "key", "value"), ABSURD, ids=lambda value: str(value)[:24])
def test_what_nobody_can_mean_is_a_sentence(folder: Path, part: str, key: str | None, value: Any) -> None:
    edit(folder, part, key, value)
    with pytest.raises((BundleError, InputError)) as caught:
        used(folder)
    assert len(str(caught.value)) < 600 and str(caught.value).isprintable()


def test_a_description_is_read_in_full_before_memory_is_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve levels of 4096 filters would be 20 GB; the file holds none of it."""
    edit(folder, "prior", "filters", [4096] * 12)
    made: list[int] = []
    empty = torch.empty

    def counted(*words: Any, **more: Any) -> torch.Tensor:
        out = empty(*words, **more)
        made.append(out.numel() * (out.device.type != "meta"))
        return out

    monkeypatch.setattr(torch, "empty", counted)
    with pytest.raises(BundleError, match="do not fit the network"):
        Bundle.load(folder).networks()
    assert made and max(made) < 10**6


def test_words_for_a_sentence() -> None:
    assert shown("a\x1b[2J\nb") == "a?[2J?b"
    assert shown("x" * 99, 10) == "xxxxxxx..."
    assert shown("x" * 10, 10) == "x" * 10
    assert read_spec("hippocampus-mri").name == "hippocampus-mri"
