"""The sampler of prior-guided residual diffusion, free or around voxels that are known.

Known voxels follow the process backwards from their true residual: at every time ``r_t[K] = sqrt(rhobar_t) r_0K +
sqrt(1 - rhobar_t) eps_K``, and at the end exactly y_K. eps_K is the sample's own noise at those voxels, moved on by the
solver as it is elsewhere; so nothing else is drawn, and the noise of a free voxel is the same with and without locks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from napari_pgrd.engine import process
from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.locks import LockMethod
from napari_pgrd.engine.sampler import Case, Denoise, noise
from napari_pgrd.engine.schedule import Array, half_log_snr, lambda_steps, trailing_steps

Solver = Literal["ddim", "ddpm", "dpmpp2m"]


@dataclass(frozen=True)
class ResidualSampler:
    """Start at the prior plus noise and refine the residual in ``steps`` network calls.

    Attributes
    ----------
    denoise : callable
        ``(s_t, image, pi, t, rhobar_t) -> v``.
    rhobar : numpy.ndarray
        ``(T + 1,)``.
    eta : float
        DDIM only: 0 is deterministic after the first noise, 1 has DDPM's variance.
    scale : float
        The residual scale b.
    prior_guided : bool
        False is the ablation without the prior: pi = 0 in the process and in the network's input.
    clip : bool
        Keep every estimate of the clean mask on the simplex. Off only where an exact linear process is studied.
    lock_method : "replacement", "guidance" or "hint"
        How the rest is made to agree with known voxels: by their noisy truth in the state alone; by gradients of their
        error, too, which costs a backward pass a step; or by telling a network that was trained to hear them.
    zeta : float
        Weight of the guidance.
    """

    denoise: Denoise
    rhobar: Array
    steps: int = 8
    solver: Solver = "ddim"
    eta: float = 0.0
    scale: float = 1.0
    prior_guided: bool = True
    clip: bool = True
    lock_method: LockMethod = "replacement"
    zeta: float = 1.0

    def __post_init__(self) -> None:
        require(
            self.solver in get_args(Solver),
            InputError,
            f"There is no solver {self.solver!r}; choose one of {', '.join(get_args(Solver))}.",
        )
        require(0 <= self.eta <= 1, InputError, f"eta is {self.eta}; choose between 0 and 1.")

    def draw(self, case: Case, rngs: Sequence[np.random.Generator]) -> Iterator[Tensor]:
        """Yield ``yhat (m, K, *spatial)`` once a step."""
        pi = case.pi if self.prior_guided else torch.zeros_like(case.pi)
        shape, device = pi.shape[1:], pi.device
        lam = half_log_snr(self.rhobar)
        multistep = self.solver == "dpmpp2m"
        times = lambda_steps(self.rhobar, self.steps) if multistep else trailing_steps(len(self.rhobar) - 1, self.steps)
        r = noise(rngs, shape, device)
        previous: tuple[int, Tensor] | None = None
        for t, u in pairwise(times):
            rb_t, rb_u = float(self.rhobar[t]), float(self.rhobar[u])
            v, pull = self._call(r, case, pi, t, rb_t)
            r0, eps = process.recover(r, v, rb_t)
            y = pi + r0 / self.scale
            if self.clip:
                y = process.clean(r0, pi, self.scale)
            y = _settled(y, case)
            if self.clip or case.known is not None:
                r0 = process.residual(y, pi, self.scale)
                eps = (r - process.root(rb_t) * r0) / process.root(1 - rb_t)  # t > 0, so never a division by zero
            if multistep:
                times3 = (lam[previous[0]] if previous else -np.inf, lam[t], lam[u])
                r = process.dpmpp2m_step(r, r0, previous[1] if previous else None, times3)
            elif self.solver == "ddpm":
                r = process.ddpm_step(r, r0, self._z(rngs, shape, device, u), rb_t, rb_u)
            else:
                z = self._z(rngs, shape, device, u) if self.eta > 0 else None
                r = process.ddim_step(r0, eps, z, rb_t, rb_u, self.eta)
            if pull is not None and u:
                r = r + self.zeta * pull
            previous = (t, r0)
            yield y if u else _settled(pi + r / self.scale, case)

    def _call(self, r: Tensor, case: Case, pi: Tensor, t: int, rb_t: float) -> tuple[Tensor, Tensor | None]:
        """One network call: the velocity, and the pull of known voxels where it is wanted."""
        known = case.known
        if known is None or self.lock_method != "guidance":
            hint = (known.y,) if known is not None and self.lock_method == "hint" else ()
            with torch.no_grad():
                return self.denoise(pi + r, case.image, pi, t, rb_t, *hint), None
        with torch.enable_grad():
            r = r.detach().requires_grad_()
            v = self.denoise(pi + r, case.image, pi, t, rb_t)
            r0, _ = process.recover(r, v, rb_t)
            pull = process.guidance(r, r0, process.residual(known.y, pi, self.scale), known.mask)
        return v.detach(), pull

    @staticmethod
    def _z(rngs: Sequence[np.random.Generator], shape: Sequence[int], device: torch.device, u: int) -> Tensor:
        """Noise for a stochastic step; the last one, to u = 0, adds none and so draws none."""
        return noise(rngs, shape, device) if u else torch.zeros((len(rngs), *shape), device=device)


def _settled(y: Tensor, case: Case) -> Tensor:
    return y if case.known is None else torch.where(case.known.mask, case.known.y, y)
