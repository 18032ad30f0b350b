"""The shapes of the networks a bundle may hold, the diffusion they were trained in, and how they are asked.

Plain descriptions, read without loading torch; :mod:`napari_pgrd.engine.nets` builds from them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from napari_pgrd.engine.locks import LockMethod
from napari_pgrd.engine.schedule import Array, cosine_rhobar, linear_rhobar

Frozen = ConfigDict(frozen=True, extra="forbid")


class PriorConfig(BaseModel):
    """Shape of the prior: a plain nnU-Net-like encoder and decoder."""

    model_config = Frozen

    dims: Literal[2, 3] = 3
    channels: int = 1
    classes: int = 3
    filters: tuple[int, ...] = (16, 48, 96, 160)
    deep_supervision: int = 2


class DropoutConfig(PriorConfig):
    """The prior's shape with dropout behind its deepest blocks, which hold what a whole structure looks like.

    Attributes
    ----------
    dropout : float
        Share of the units that are silenced, in training and in sampling alike.
    dropped_levels : int
        How many levels of encoder and decoder, counted from the coarsest, are dropped from.
    """

    dropout: float = Field(0.5, gt=0, lt=1)
    dropped_levels: int = Field(2, ge=1)


class HeadsConfig(PriorConfig):
    """The prior's shape with several last layers on one trunk."""

    heads: int = Field(16, ge=2, le=64)


class LatentConfig(PriorConfig):
    """The prior's shape, and two encoders to a Gaussian whose draws steer the last layers.

    Attributes
    ----------
    latent : int
        Dimensions of the Gaussian.
    encoder : tuple of int
        Filters of the encoders, a level each.
    deep_supervision : int
        Unused: coarse heads would not hear the latent.
    """

    latent: int = Field(6, ge=1)
    encoder: tuple[int, ...] = (16, 32, 64)
    deep_supervision: int = 0


class DenoiserConfig(BaseModel):
    """Shape of the denoiser ``f(s_t, X, pi, t) -> v``.

    Attributes
    ----------
    residual_std : float
        Typical size of the residual. The network then learns only what no linear rule on its input can know (Karras
        et al. 2022, in v-form); 1 is the plain v-parameterisation of the paper.
    supervised : tuple of int
        Decoder levels that carry a head of deep diffusion supervision, 0 being the coarsest. Training only.
    hints : bool
        Whether the network also hears what a reader has locked.
    """

    model_config = Frozen

    dims: Literal[2, 3] = 3
    channels: int = 1
    classes: int = 3
    widths: tuple[int, ...] = (16, 32, 64, 64)
    attention: tuple[bool, ...] = (False, False, False, False)
    blocks: int = 1
    groups: int = 8
    residual_std: float = 1.0
    supervised: tuple[int, ...] = (1, 2)
    hints: bool = False


class ScheduleSpec(BaseModel):
    """The diffusion a denoiser was trained in."""

    model_config = Frozen

    kind: Literal["cosine", "linear"] = "cosine"
    T: int = Field(1000, ge=2, le=100_000)
    shift: float = Field(1.0, gt=0)
    residual_scale: float = Field(1.0, gt=0)
    prior_guided: bool = True

    @property
    def rhobar(self) -> Array:
        """The schedule, ``(T + 1,)``."""
        return linear_rhobar(self.T) if self.kind == "linear" else cosine_rhobar(self.T, shift=self.shift)


class SamplingDefaults(BaseModel):
    """What the window and the command line start with.

    ``lock_method`` is how samples are made to agree with locks, ``zeta`` the weight of guidance.
    """

    model_config = Frozen

    solver: Literal["ddim", "ddpm", "dpmpp2m"] = "ddim"
    eta: float = Field(0.0, ge=0, le=1)
    steps: int = Field(8, ge=1)
    samples: int = Field(16, ge=1)
    lock_method: LockMethod = "guidance"
    zeta: float = Field(1.0, ge=0)
