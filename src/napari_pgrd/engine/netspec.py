"""The shapes of the networks a bundle may hold, the diffusion they were trained in, and how they are asked.

Plain descriptions, read without loading torch; :mod:`napari_pgrd.engine.nets` builds from them.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from napari_pgrd.engine.locks import LockMethod
from napari_pgrd.engine.schedule import Array, cosine_rhobar, linear_rhobar

Frozen = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
# What nobody means by more than this is refused before anything is built of it.
Count = Annotated[int, Field(ge=1, le=4096)]
Few = Annotated[int, Field(ge=0, le=16)]
Sizes = tuple[Annotated[int, Field(ge=1, le=31)], ...]


class PriorConfig(BaseModel):
    """Shape of the prior: a plain nnU-Net-like encoder and decoder."""

    model_config = Frozen

    dims: Literal[2, 3] = 3
    channels: Count = 1
    classes: Count = 3
    filters: tuple[Count, ...] = Field((16, 48, 96, 160), min_length=3, max_length=12)
    deep_supervision: Few = 2


class UNetConfig(BaseModel):
    """Shape of a prior trained by nnU-Net v2: see :mod:`napari_pgrd.engine.unet`.

    A value a stage, the finest first; kernels and strides also a value an axis.

    Attributes
    ----------
    kind : "plain" or "residual"
        PlainConvUNet or ResidualEncoderUNet.
    encoder, decoder : tuple of int
        Convolutions of each stage (of a residual encoder: blocks); the decoder has a stage less, and begins with the
        coarsest.
    bias, eps, affine, slope
        Of the convolutions, of instance normalisation, and of the leaky ReLU.
    deep_supervision : int
        None: the coarser heads served its training.
    """

    model_config = Frozen

    kind: Literal["plain", "residual"]
    dims: Literal[2, 3]
    channels: Count
    classes: Count
    filters: tuple[Count, ...] = Field(min_length=2, max_length=12)
    kernels: tuple[Sizes, ...]
    strides: tuple[Sizes, ...]
    encoder: Sizes
    decoder: Sizes
    bias: bool = True
    eps: float = Field(1e-5, gt=0)
    affine: bool = True
    slope: float = Field(0.01, ge=0, lt=1)
    deep_supervision: Literal[0] = 0

    @model_validator(mode="after")
    def _fits_together(self) -> UNetConfig:
        n = len(self.filters)
        counts = (len(self.kernels), len(self.strides), len(self.encoder), len(self.decoder) + 1)
        if set(counts) != {n}:
            raise ValueError(
                f"filters are given for {n} stages, so kernels, strides and encoder need {n} values and decoder {n - 1}"
            )
        if any(len(sizes) != self.dims for sizes in (*self.kernels, *self.strides)):
            raise ValueError(f"every kernel and stride needs a value for each of the {self.dims} axes")
        if any(size % 2 == 0 for sizes in self.kernels for size in sizes):
            raise ValueError("a kernel of an even size has no middle")
        if any(size != 1 for size in self.strides[0]):
            raise ValueError("the first stage must have stride 1: the output is as large as the image")
        return self

    @property
    def strides_in_all(self) -> tuple[int, ...]:
        """For each axis, what the size of an image must be a multiple of."""
        return tuple(math.prod(stride[axis] for stride in self.strides) for axis in range(self.dims))


class Foreground(BaseModel):
    """Intensities inside the structures of nnU-Net's training cases, by which it scales CT numbers."""

    model_config = Frozen

    low: float
    high: float
    mean: float
    std: float = Field(gt=0)


class NnUNetPreparation(BaseModel):
    """nnU-Net v2's preprocessing: see :mod:`napari_pgrd.engine.nnunet`.

    Attributes
    ----------
    schemes : tuple
        How each channel is scaled. "zscore-inside" takes mean and deviation where any channel is not 0, "rescale"
        brings the smallest value to 0 and the largest to 1, "colour" divides by 255.
    foreground : tuple
        For each channel what "ct" needs; None for others.
    strides : tuple of int
        What each padded size is a multiple of, where it is larger than the patch.
    """

    model_config = Frozen

    schemes: tuple[Literal["zscore", "zscore-inside", "ct", "none", "rescale", "colour"], ...] = Field(min_length=1)
    foreground: tuple[Foreground | None, ...]
    strides: tuple[Count, Count, Count]

    @model_validator(mode="after")
    def _a_value_a_channel(self) -> NnUNetPreparation:
        pairs = zip(self.schemes, self.foreground, strict=False)
        if len(self.schemes) != len(self.foreground) or any((s == "ct") != (f is not None) for s, f in pairs):
            raise ValueError("foreground needs a value for each channel, and is given for 'ct' alone")
        return self


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

    latent: Count = 6
    encoder: tuple[Count, ...] = Field((16, 32, 64), min_length=1, max_length=12)
    deep_supervision: Few = 0


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
    channels: Count = 1
    classes: Count = 3
    widths: tuple[Count, ...] = Field((16, 32, 64, 64), min_length=1, max_length=12)
    attention: tuple[bool, ...] = (False, False, False, False)
    blocks: int = Field(1, ge=1, le=16)
    groups: Count = 8
    residual_std: float = Field(1.0, gt=1e-4, le=1e4)
    supervised: tuple[Few, ...] = (1, 2)
    hints: bool = False

    @model_validator(mode="after")
    def _fits_together(self) -> DenoiserConfig:
        n = len(self.widths)
        if len(self.attention) != n:
            raise ValueError(f"attention is given for {len(self.attention)} levels, widths for {n}")
        if any(width % self.groups for width in self.widths):
            raise ValueError(f"each of the widths must be a multiple of groups, {self.groups}")
        return self


class ScheduleSpec(BaseModel):
    """The diffusion a denoiser was trained in."""

    model_config = Frozen

    kind: Literal["cosine", "linear"] = "cosine"
    T: int = Field(1000, ge=2, le=100_000)
    shift: float = Field(1.0, gt=1e-4, le=1e4)
    residual_scale: float = Field(1.0, gt=1e-4, le=1e4)
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
    zeta: float = Field(1.0, ge=0, le=1e4)
