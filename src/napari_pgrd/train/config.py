"""What a training run is told, as frozen objects read from a TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.netspec import UNetConfig
from napari_pgrd.engine.spec import DenoiserConfig, PrepareSpec, PriorConfig

Frozen = ConfigDict(frozen=True, extra="forbid")
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Optimisation(BaseModel):
    """How long and how fast to learn."""

    model_config = Frozen

    seed: int = 0
    steps: int = Field(2000, ge=1)
    batch: int = Field(2, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    warmup: int = 100
    decay: Literal["cosine", "none"] = "cosine"
    clip_norm: float = 1.0
    ema: float = Field(0.999, ge=0, lt=1)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    validate_every: int = Field(500, ge=1)
    validate_cases: int = Field(8, ge=1)
    checkpoint_seconds: float = Field(60.0, gt=0)
    mirror: tuple[int, ...] = ()
    # Left out of records at its default, so that trainings begun before it existed go on.
    translate: float = Field(4.0, ge=0, exclude_if=lambda value: value == 4.0)
    streams: Literal["batch", "item"] = Field("batch", exclude_if=lambda value: value == "batch")
    grey_deviation: float = Field(1.0, gt=0, exclude_if=lambda value: value == 1.0)


class PriorTraining(BaseModel):
    """Everything ``pgrd train prior`` needs.

    Attributes
    ----------
    dice_weight : float
        Of the Dice loss beside the cross-entropy. The cross-entropy alone asks for the share of readers who mark a
        voxel, the Dice loss for a decision.
    """

    model_config = Frozen

    optimisation: Optimisation = Optimisation()
    prepare: PrepareSpec = PrepareSpec()
    network: PriorConfig | UNetConfig = PriorConfig()
    labels: dict[int, str] = {0: "background", 1: "foreground"}
    dice_weight: float = Field(1.0, ge=0, exclude_if=lambda value: value == 1.0)


class DenoiserTraining(BaseModel):
    """Everything ``pgrd train denoiser`` needs beside the trained prior.

    Attributes
    ----------
    shift : float
        Schedule shift, see :func:`napari_pgrd.engine.schedule.cosine_rhobar`.
    prior_temperature : float
        Applied to the prior's logits before they become pi.
    dds_weight : float
        The lambda of deep diffusion supervision; 0 is the ablation without it.
    dds_times : tuple of float
        The supervised set, as fractions of T.
    hint_share : float
        Share of the training crops in which parts of the truth are told as a reader's corrections would be; above 0
        the network has hints.
    residual_std : float, optional
        See :class:`DenoiserConfig`; None measures it on training cases.
    weighting : "uniform" or "fingerprint"
        How often each time is drawn, see :mod:`napari_pgrd.train.weighting`.
    fingerprint : str, optional
        File that ``pgrd fingerprint`` wrote, from which ``timestep_weights`` follow; no record keeps the path.
    timestep_weights : tuple of float, optional
        The weights themselves, at evenly spaced times from 0 to T.
    prepare, labels
        As a prior's, where maps of probabilities stand in for it; otherwise the prior's own count.
    """

    model_config = Frozen

    optimisation: Optimisation = Optimisation()
    network: DenoiserConfig = DenoiserConfig()
    T: int = Field(1000, ge=2)
    shift: float = Field(1.0, gt=0)
    residual_scale: float = Field(1.0, gt=0)
    prior_guided: bool = True
    prior_temperature: float = Field(1.0, gt=0)
    dds_weight: float = Field(0.1, ge=0)
    dds_tau: float = Field(1.0, gt=0)
    dds_times: tuple[float, float] = (0.0, 1.0)
    hint_share: float = Field(0.0, ge=0, le=1)
    residual_std: float | None = None
    # Left out of records while they say nothing, so that trainings begun before they existed go on.
    weighting: Literal["uniform", "fingerprint"] = Field("uniform", exclude_if=lambda value: value == "uniform")
    fingerprint: str | None = Field(None, exclude_if=lambda value: value is None)
    timestep_weights: tuple[Weight, ...] | None = Field(None, min_length=2, exclude_if=lambda value: value is None)
    prepare: PrepareSpec | None = Field(None, exclude_if=lambda value: value is None)
    labels: dict[int, str] | None = Field(None, exclude_if=lambda value: value is None)

    @model_validator(mode="after")
    def _weighting_has_one_source(self) -> DenoiserTraining:
        given = sum(value is not None for value in (self.fingerprint, self.timestep_weights))
        if given != (self.weighting == "fingerprint"):
            raise ValueError(
                "weighting = 'fingerprint' takes either fingerprint, the file that 'pgrd fingerprint' wrote, or "
                "timestep_weights, and 'uniform' takes neither"
            )
        return self


class MaskNetwork(BaseModel):
    """Shape of the mask denoiser; classes and dimensions follow from the labels and ``prepare``."""

    model_config = Frozen

    widths: tuple[int, ...] = Field((8, 16, 32), min_length=1)
    blocks: int = Field(1, ge=1)
    groups: int = Field(4, ge=1)


class FingerprintTraining(BaseModel):
    """Everything ``pgrd fingerprint`` needs.

    Attributes
    ----------
    T, shift, residual_scale
        The diffusion in which the error is measured; a training with another one may use the result.
    draws : int
        Masks to measure on, each with one noise for all times.
    times : int
        Times to measure at, beside 0.
    smoothing : float
        Standard deviation of the Gaussian over which the derivative is taken, as a fraction of T.
    floor : float
        Share of the weight that all times have alike.
    """

    model_config = Frozen

    optimisation: Optimisation = Optimisation(steps=1000, batch=4)
    prepare: PrepareSpec = PrepareSpec()
    network: MaskNetwork = MaskNetwork()
    labels: dict[int, str] = {0: "background", 1: "foreground"}
    T: int = Field(1000, ge=2)
    shift: float = Field(1.0, gt=0)
    residual_scale: float = Field(1.0, gt=0)
    draws: int = Field(64, ge=2)
    times: int = Field(80, ge=4)
    smoothing: float = Field(0.02, ge=0, le=0.5)
    floor: float = Field(0.2, ge=0, le=1)


PAPER: dict[str, Any] = {
    "optimisation": {"learning_rate": 1e-3, "batch": 2, "warmup": 0, "decay": "none"},
    "T": 1000,
    "shift": 1.0,
    "residual_scale": 1.0,
    "residual_std": 1.0,
    "dds_weight": 0.1,
}
"""Training settings printed in the paper; sampling: ``napari_pgrd.engine.spec.PAPER_SAMPLING``."""

Config = TypeVar("Config", PriorTraining, DenoiserTraining, FingerprintTraining)


def read_config(path: str | Path | None, kind: type[Config]) -> Config:
    """Read a TOML file into a configuration; without a file, the defaults.

    A denoiser's file may start from ``preset = "paper"``; what else it says goes on top.
    """
    if path is None:
        return kind()
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{Path(path).name} is no readable TOML file: {error}.") from error
    preset = table.pop("preset", None)
    if preset is not None:
        if preset != "paper" or kind is not DenoiserTraining:
            raise InputError(f"There is no preset {preset!r} here; the denoiser has one, 'paper'.")
        optimisation = {**PAPER["optimisation"], **table.get("optimisation", {})}
        table = {**PAPER, **table, "optimisation": optimisation}
    prepare = table.get("prepare")
    if isinstance(prepare, dict) and prepare.get("spacing") == "none":
        table["prepare"] = {**prepare, "spacing": None}  # TOML has no word for it
    if isinstance(table.get("fingerprint"), str):
        table["fingerprint"] = str(Path(path).parent / table["fingerprint"])
    if "labels" in table:
        table["labels"] = {int(k): v for k, v in table["labels"].items()}
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        parts = (Path(path).name, ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, "))
        raise InputError(f"{': '.join(filter(None, parts))}. See docs/training.md for what is allowed.") from error
