"""Hints tell the truth, in the shapes a reader's corrections have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from napari_pgrd.engine.errors import BundleError
from napari_pgrd.engine.nets import Denoiser, named_weights
from napari_pgrd.engine.spec import DenoiserConfig
from napari_pgrd.train.hints import draw_hints
from napari_pgrd.train.prior import start_from


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    """A block, and a prior that misses one voxel of it."""
    truth = torch.zeros(1, 10, 12, 9, dtype=torch.long)
    truth[:, 3:7, 4:8, 2:6] = 1
    prior = truth.clone()
    prior[:, 6, 7, 5] = 0
    y, pi = (torch.nn.functional.one_hot(x, 3).movedim(-1, 1).float() for x in (truth, prior))
    return y, pi


def test_a_hint_is_the_truth_or_nothing() -> None:
    y, pi = scene()
    kinds = set()
    for seed in range(40):
        hint = draw_hints(y, pi, np.random.default_rng(seed), 1.0)
        assert hint is not None
        known = hint.sum(1, keepdim=True)
        assert set(known.unique().tolist()) == {0.0, 1.0}  # something is told, not everything
        assert torch.equal(hint, y * known)
        told = known[0, 0].bool().numpy()
        whole = [axis for axis in range(3) if told.all(tuple(a for a in range(3) if a != axis)).any()]
        kinds.add("slices" if whole else "balls")
        assert whole or told[6, 7, 5]  # a ball lies on the one error
    assert kinds == {"slices", "balls"}


def test_the_share_of_hints_is_kept() -> None:
    y, pi = scene()
    y, pi = y.expand(400, -1, -1, -1, -1), pi.expand(400, -1, -1, -1, -1)
    hint = draw_hints(y, pi, np.random.default_rng(0), 0.3)
    assert hint is not None
    assert float((hint.flatten(1).sum(1) > 0).float().mean()) == pytest.approx(0.3, abs=0.08)
    assert draw_hints(y, pi, np.random.default_rng(0), 0.0) is None


def test_nothing_to_point_at_is_no_hint() -> None:
    y = torch.zeros(2, 3, 6, 6, 6)
    y[:, 0] = 1
    for seed in range(6):
        hint = draw_hints(y, y, np.random.default_rng(seed), 1.0)
        assert hint is not None and float(hint.sum()) == 0


def test_a_denoiser_without_hints_may_begin_one_with_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = DenoiserConfig(widths=(8, 8), attention=(False, False), supervised=(), residual_std=0.1)
    old, new = Denoiser(config), Denoiser(config.model_copy(update={"hints": True}))
    for p in old.parameters():
        torch.nn.init.normal_(p, std=0.1)  # MONAI starts the last layer at zero
    folder = tmp_path / "old"
    folder.mkdir()
    save_file({k: v.contiguous() for k, v in named_weights(old).items()}, folder / "denoiser.safetensors")
    (folder / "training.json").write_text('{"steps": 5, "config": {"optimisation": {"seed": 3}}}', encoding="utf-8")
    (_,), (before,) = start_from(folder, new, "denoiser", lambda text: None)
    assert before["steps"] == 5 and before["optimisation"] == {"seed": 3}
    s, image, pi = torch.randn(2, 3, 8, 8, 8), torch.randn(1, 1, 8, 8, 8), torch.rand(1, 3, 8, 8, 8)
    t, rb = torch.tensor([500, 500]), torch.tensor([0.4, 0.4])
    hint = torch.zeros(1, 3, 8, 8, 8)
    hint[:, 1, 2:5] = 1
    with torch.no_grad():
        plain = old.eval()(s, image, pi, t, rb)
        assert torch.allclose(plain, new.eval()(s, image, pi, t, rb), atol=1e-5)
        assert torch.allclose(plain, new(s, image, pi, t, rb, hint), atol=1e-5)  # heard, but not yet heeded
        torch.nn.init.normal_(new.unet.conv_in.conv.weight)
        assert not torch.allclose(new(s, image, pi, t, rb), new(s, image, pi, t, rb, hint), atol=1e-3)
    with pytest.raises(BundleError, match="do not fit"):
        start_from(folder, Denoiser(config.model_copy(update={"widths": (8, 16)})), "denoiser", lambda text: None)
