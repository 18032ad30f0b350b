"""Sampling around known voxels, against a Gaussian field whose conditional is known and against the free sampler."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_pgrd.engine import process
from napari_pgrd.engine.sampler import Case, Known, noise, sample_rng
from napari_pgrd.engine.samplers.residual import ResidualSampler
from napari_pgrd.engine.schedule import cosine_rhobar, trailing_steps
from tests.oracles.closed_forms import conditional_mean, gaussian, mixture, onehot

RHOBAR = cosine_rhobar(1000)
SOLVERS = [("ddim", 0.0), ("ddim", 0.5), ("ddim", 1.0), ("ddpm", 0.0), ("dpmpp2m", 0.0)]
MODES = onehot(np.array([[[0, 0, 0], [0, 0, 0]], [[0, 1, 1], [1, 2, 2]], [[0, 1, 2], [2, 2, 2]]]), 3)


def _last(updates: Iterator[Tensor]) -> Tensor:
    *_, last = updates
    return last


def _rngs(n: int) -> list[np.random.Generator]:
    return [sample_rng(0, i) for i in range(n)]


def _case(known: Known | None = None) -> Case:
    draw = torch.Generator().manual_seed(7)
    logits = torch.randn(1, 3, 2, 3, generator=draw, dtype=torch.float64)
    return Case(torch.zeros(1, 1, 2, 3, dtype=torch.float64), torch.softmax(logits, 1), known)


def _known(mode: int, *where: tuple[int, int]) -> Known:
    mask = torch.zeros(1, 1, 2, 3, dtype=torch.bool)
    for i, j in where:
        mask[0, 0, i, j] = True
    return Known(MODES[mode][None] * mask, mask)


def _sampler(solver: Any, eta: float, steps: int = 12, **more: Any) -> ResidualSampler:
    denoise = mixture(MODES, torch.tensor([0.5, 0.3, 0.2]), more.get("scale", 1.0), spread=0.1)
    return ResidualSampler(denoise, RHOBAR, steps, solver, eta, **more)


# A field of 33 voxels, correlated over three; five in the middle are known to be 1.5, so their neighbours are near 1.4.
N, VALUE = 33, 1.5
AWAY = (torch.arange(N)[:, None] - torch.arange(N)).double()
FIELD = torch.exp(-((AWAY / 3) ** 2) / 2) + 1e-6 * torch.eye(N)
FIVE = (torch.arange(N) - N // 2).abs() <= 2
NEIGHBOURS = ((torch.arange(N) - N // 2).abs() <= 4) & ~FIVE


def _field(method: Any, steps: int, n: int = 300) -> Tensor:
    """Samples ``(n, N)`` of the field around what is known; free ones for None."""
    zeros = torch.zeros(1, 1, N, dtype=torch.float64)
    known = Known(VALUE * FIVE.double()[None, None], FIVE[None, None]) if method else None
    sampler = ResidualSampler(gaussian(FIELD), RHOBAR, steps, eta=1.0, clip=False, lock_method=method or "replacement")
    return _last(sampler.draw(Case(zeros, zeros, known), _rngs(n)))[:, 0]


def test_guidance_nearly_finds_the_conditional_mean_and_replacement_alone_falls_short() -> None:
    exact = float(conditional_mean(FIELD, FIVE, VALUE)[NEIGHBOURS].mean())
    assert exact == pytest.approx(1.46, abs=0.01)
    hows = (("guidance", 50), ("guidance", 20), ("replacement", 50))
    guided, few, replaced = (float(_field(*how)[:, NEIGHBOURS].mean()) for how in hows)
    assert 0.4 < replaced < 1.0, "it pulls, but not enough"
    assert replaced < few < guided
    assert guided == pytest.approx(exact, abs=0.1)
    assert few == pytest.approx(exact, abs=0.2)


def test_far_from_what_is_known_the_field_stays_free() -> None:
    far = (torch.arange(N) - N // 2).abs() > 12
    free, guided = (_field(method, 20)[:, far] for method in (None, "guidance"))
    assert float((guided - free).square().mean()) < 0.05 * float(free.var())


@pytest.mark.parametrize("method", ["replacement", "guidance"])
def test_a_known_voxel_chooses_among_modes(method: Any) -> None:
    """Half of the masks are empty; where one voxel is known to be of another mode, hardly any should be."""
    sampler = _sampler("ddim", 1.0, 30, lock_method=method)
    empty = {}
    for name, known in (("free", None), ("locked", _known(1, (0, 1), (1, 0)))):
        y = _last(sampler.draw(_case(known), _rngs(300)))
        empty[name] = float((y.argmax(1)[:, 1, 2] == 0).double().mean())
    assert empty["free"] == pytest.approx(0.5, abs=0.1)
    assert empty["locked"] < 0.25 if method == "guidance" else empty["locked"] < 0.45


@pytest.mark.parametrize("method", ["replacement", "guidance"])
@pytest.mark.parametrize(("solver", "eta"), SOLVERS)
@pytest.mark.parametrize("options", [{}, {"scale": 0.3}, {"prior_guided": False}, {"clip": False}])
def test_known_voxels_are_exact_in_every_sample_and_step(
    solver: Any, eta: float, method: Any, options: dict[str, Any]
) -> None:
    known = _known(2, (0, 1), (1, 1), (1, 2))
    where = known.mask[0, 0]
    for y in _sampler(solver, eta, lock_method=method, **options).draw(_case(known), _rngs(5)):
        assert torch.equal(y[..., where], MODES[2][..., where].expand(5, 3, 3))
        assert torch.isfinite(y).all()


@pytest.mark.parametrize(("solver", "eta"), SOLVERS)
def test_the_state_of_known_voxels_is_their_own_truth_with_noise(solver: Any, eta: float) -> None:
    """``r_t[K] = sqrt(rb) r_0K + sqrt(1 - rb) eps_K`` with standard normal eps_K, before every network call."""
    known, case = _known(1, (0, 0), (0, 1), (0, 2), (1, 0)), _case()
    where, scale, off = known.mask[0, 0], 0.5, []

    def spy(s: Tensor, image: Tensor, pi: Tensor, t: int, rb: float) -> Tensor:
        mean = np.sqrt(rb) * scale * (MODES[1][None] - pi)
        off.append(((s - pi - mean) / np.sqrt(1 - rb))[..., where])
        return torch.zeros_like(s)

    locked = Case(case.image, case.pi, known)
    list(ResidualSampler(spy, RHOBAR, 6, solver, eta, scale, lock_method="replacement").draw(locked, _rngs(400)))
    for eps in off:
        assert float(eps.mean()) == pytest.approx(0, abs=0.06)
        assert float(eps.std()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("solver", "eta"), SOLVERS)
def test_guidance_leaves_the_state_of_known_voxels_to_the_process(solver: Any, eta: float) -> None:
    known, seen = _known(1, (0, 0), (1, 2)), {}
    for method in ("replacement", "guidance"):
        states: list[Tensor] = []

        def spy(s: Tensor, *more: Any, states: list[Tensor] = states) -> Tensor:
            states.append(s.detach())
            return torch.tanh(s.mean((2, 3), keepdim=True)).expand_as(s)  # every voxel hears of every other

        sampler = ResidualSampler(spy, RHOBAR, 6, solver, eta, lock_method=method)  # type: ignore[arg-type]
        list(sampler.draw(_case(known), _rngs(3)))
        seen[method] = torch.stack(states)
    where = known.mask[0, 0]
    torch.testing.assert_close(seen["guidance"][..., where], seen["replacement"][..., where], atol=1e-12, rtol=0)
    assert not torch.allclose(seen["guidance"][..., ~where], seen["replacement"][..., ~where])


@pytest.mark.parametrize("method", ["replacement", "guidance"])
@pytest.mark.parametrize(("solver", "eta"), SOLVERS)
def test_locks_do_not_touch_the_noise_of_free_voxels(solver: Any, eta: float, method: Any) -> None:
    """A network that looks at each voxel alone cannot tell whether others are known, if their noise is the same."""
    case, known = _case(), _known(1, (0, 1), (1, 0))
    alone = lambda s, image, pi, t, rb: 0.3 * (s - pi) + 0.1 * rb  # noqa: E731
    sampler = ResidualSampler(alone, RHOBAR, 7, solver, eta, clip=False, lock_method=method)
    free = _last(sampler.draw(case, _rngs(3)))
    locked = _last(sampler.draw(Case(case.image, case.pi, known), _rngs(3)))
    assert not torch.equal(free, locked)
    # Free arithmetic takes eps from the velocity and locked arithmetic from the state: equal up to rounding.
    torch.testing.assert_close(torch.where(known.mask, 0, locked), torch.where(known.mask, 0, free), atol=1e-10, rtol=0)


def test_samples_may_keep_different_voxels() -> None:
    one, two = _known(1, (0, 1)), _known(2, (1, 0))
    both = Known(torch.cat([one.y, two.y]), torch.cat([one.mask, two.mask]))
    for method in ("replacement", "guidance"):
        sampler = _sampler("ddim", 1.0, lock_method=method)
        together = _last(sampler.draw(_case(both), _rngs(2)))
        for i, known in enumerate((one, two)):
            single = _last(sampler.draw(_case(known), [sample_rng(0, i)]))
            torch.testing.assert_close(together[i : i + 1], single, atol=1e-12, rtol=0)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_without_locks_nothing_has_changed(eta: float) -> None:
    """The loop as it was before there were locks, bit for bit."""
    case, denoise = _case(), mixture(MODES, torch.tensor([0.5, 0.3, 0.2]), spread=0.1)
    rngs, shape = _rngs(3), case.pi.shape[1:]
    r = noise(rngs, shape, case.pi.device)
    for t, u in pairwise(trailing_steps(1000, 6)):
        rb_t, rb_u = float(RHOBAR[t]), float(RHOBAR[u])
        r0, _ = process.recover(r, denoise(case.pi + r, case.image, case.pi, t, rb_t), rb_t)
        r0 = process.residual(process.clean(r0, case.pi), case.pi)
        eps = (r - process.root(rb_t) * r0) / process.root(1 - rb_t)
        z = None if eta == 0 else noise(rngs, shape, r.device) if u else torch.zeros(3, *shape)
        r = process.ddim_step(r0, eps, z, rb_t, rb_u, eta)
    for method in ("replacement", "guidance", "hint"):
        sampler = ResidualSampler(denoise, RHOBAR, 6, "ddim", eta, lock_method=method)  # type: ignore[arg-type]
        assert torch.equal(_last(sampler.draw(case, _rngs(3))), case.pi + r)


def test_only_a_network_that_hears_is_told() -> None:
    told: list[tuple[Tensor, ...]] = []

    def spy(s: Tensor, image: Tensor, pi: Tensor, t: int, rb: float, *hint: Tensor) -> Tensor:
        told.append(hint)
        return (s - pi) * 0.1

    known = _known(1, (0, 1))
    for method, case in (("hint", _case(known)), ("hint", _case()), ("replacement", _case(known))):
        list(ResidualSampler(spy, RHOBAR, 1, lock_method=method).draw(case, _rngs(1)))  # type: ignore[arg-type]
    (first,), second, third = told
    assert torch.equal(first, known.y)
    assert second == third == ()


def _with_gradients() -> set[int]:
    gc.collect()
    return {id(x) for x in gc.get_objects() if type(x) is Tensor and x.grad_fn is not None}


def test_guidance_leaves_no_gradients_behind() -> None:
    before = _with_gradients()
    sampler = _sampler("ddim", 1.0, lock_method="guidance")
    with torch.no_grad():  # as a careful caller would; guidance needs them all the same
        states = list(sampler.draw(_case(_known(1, (0, 1))), _rngs(2)))
    assert not any(y.requires_grad for y in states)
    assert not _with_gradients() - before
