"""What a bundle says about itself, read without loading torch.

The window lists bundles, names labels and refuses images long before a network is needed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_pgrd.engine.errors import BundleError, require
from napari_pgrd.engine.locks import LockMethod
from napari_pgrd.engine.schedule import Array, cosine_rhobar

SCHEMA_VERSION = 1
EMBEDDED = Path(__file__).resolve().parent.parent / "bundles"
PAPER_SAMPLING: dict[str, Any] = {"solver": "ddim", "eta": 0.0, "steps": 300}
PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib", ".npy", ".npz")
WEIGHTS = ("prior.safetensors", "denoiser.safetensors")
Frozen = ConfigDict(frozen=True, extra="forbid")


class PrepareSpec(BaseModel):
    """How an image is brought into the form the networks were trained on.

    Attributes
    ----------
    orientation : str
        Directions in which the indices grow.
    spacing : tuple of float, optional
        Voxel size in mm along those axes; None leaves the grid as it is.
    patch : tuple of int
        The image is padded (edge values) to at least this size.
    stride : int
        Every padded size is a multiple of this (in plane only, if ``dims`` is 2).
    normalisation : "zscore" or "unit"
        Percentile clip then z-score over the volume, or 0..255 to -1..1 as it is.
    """

    model_config = Frozen

    dims: Literal[2, 3] = 3
    orientation: str = "RAS"
    spacing: tuple[float, float, float] | None = (1.0, 1.0, 1.0)
    patch: tuple[int, int, int] = (40, 56, 40)
    stride: int = 8
    normalisation: Literal["zscore", "unit"] = "zscore"
    percentiles: tuple[float, float] = (0.5, 99.5)


class PriorConfig(BaseModel):
    """Shape of the prior: a plain nnU-Net-like encoder and decoder."""

    model_config = Frozen

    dims: Literal[2, 3] = 3
    channels: int = 1
    classes: int = 3
    filters: tuple[int, ...] = (16, 48, 96, 160)
    deep_supervision: int = 2


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


class Label(BaseModel):
    """One class: its value in files, its name and its colour on screen."""

    model_config = Frozen

    value: int = Field(ge=0, le=255)
    name: str = Field(min_length=1)
    colour: str = Field(pattern=r"^#[0-9A-Fa-f]{6}$")


class Scope(BaseModel):
    """What the bundle was trained for, and so what it may be asked.

    ``field_of_view_mm`` holds the smallest and largest size along the prepared axes; ``box_mm`` is the size of the box
    to offer on anything larger.
    """

    model_config = Frozen

    sentence: str
    field_of_view_mm: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    box_mm: tuple[float, float, float] | None = None
    intensity: Literal["mri", "ct", "any"] = "any"
    start_plane: Literal["sagittal", "coronal", "axial"] = "axial"


class ScheduleSpec(BaseModel):
    """The diffusion the denoiser was trained in."""

    model_config = Frozen

    kind: Literal["cosine"] = "cosine"
    T: int = Field(1000, ge=2, le=100_000)
    shift: float = Field(1.0, gt=0)
    residual_scale: float = Field(1.0, gt=0)
    prior_guided: bool = True


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


class Reliability(BaseModel):
    """How far the samples may be believed, measured on the validation block.

    ``volume_coverage`` maps a label's name to how many of ``cases`` had their true volume inside the samples' 5-95 %
    range; ``interval_coverage`` the same for the conformal interval; ``unanimous_error_share`` is the part of the
    consensus' errors where every sample agreed.
    """

    model_config = Frozen

    cases: int
    steps: int
    samples: int
    volume_coverage: dict[str, int]
    unanimous_error_share: float
    dice: float
    interval_coverage: dict[str, int] = {}


class VolumeInterval(BaseModel):
    """What makes an honest interval of the samples' volumes: see :mod:`napari_pgrd.evaluate.volumes`.

    Fitted for each label name on ``cases`` calibration cases, to hold the true volume with probability ``level``.
    """

    model_config = Frozen

    level: float = Field(gt=0, lt=1)
    cases: int = Field(ge=1)
    widening: dict[str, float]


class BundleSpec(BaseModel):
    """The contents of ``bundle.json``."""

    model_config = Frozen

    schema_version: Literal[1]
    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    title: str
    modality: str
    channels: tuple[str, ...] = Field(min_length=1)
    labels: tuple[Label, ...] = Field(min_length=2)
    prepare: PrepareSpec
    scope: Scope
    prior: PriorConfig
    denoiser: DenoiserConfig
    schedule: ScheduleSpec = ScheduleSpec()
    prior_temperature: float = Field(1.0, gt=0)
    tau: float = Field(0.1, gt=0)
    mean_weight: float = Field(0.0, ge=0, le=1)
    sampling: SamplingDefaults = SamplingDefaults()
    reliability: Reliability | None = None
    volume_interval: VolumeInterval | None = None
    provenance: dict[str, Any] = {}
    weights: dict[str, str]

    @model_validator(mode="after")
    def _agree(self) -> BundleSpec:
        k, c = len(self.labels), len(self.channels)
        for net in (self.prior, self.denoiser):
            if (net.classes, net.channels, net.dims) != (k, c, self.prepare.dims):
                raise ValueError(
                    f"a network has {net.classes} classes, {net.channels} channels and {net.dims} dimensions, but the "
                    f"bundle names {k} labels, {c} channels and {self.prepare.dims} dimensions"
                )
        if self.labels[0].value != 0:
            raise ValueError("the first label must be the background, value 0")
        if len({label.value for label in self.labels}) != k:
            raise ValueError("two labels share one value")
        if self.sampling.lock_method == "hint" and not self.denoiser.hints:
            raise ValueError("sampling.lock_method is 'hint', but the denoiser has no hint channels")
        if set(self.weights) != set(WEIGHTS):
            raise ValueError(f"weights must name exactly {', '.join(WEIGHTS)}")
        return self

    @property
    def values(self) -> np.ndarray:
        """Label value of each class index, uint8."""
        return np.array([label.value for label in self.labels], np.uint8)

    @property
    def rhobar(self) -> Array:
        """The schedule, ``(T + 1,)``."""
        return cosine_rhobar(self.schedule.T, shift=self.schedule.shift)


def read_spec(where: str | os.PathLike[str]) -> BundleSpec:
    """The description of a bundle, its weights neither checked nor loaded."""
    folder = find(where)
    try:
        refuse_pickles(folder)
        return parse_spec(read_raw(folder / "bundle.json"), folder.name)
    except OSError as error:
        raise BundleError(
            f"Bundle {folder.name} cannot be read ({error.strerror}). Check the folder's rights."
        ) from error


def find(where: str | os.PathLike[str]) -> Path:
    """The folder of a bundle given by embedded name or by path."""
    text = str(where)
    for folder in (EMBEDDED / text if os.sep not in text and text not in ("", ".", "..") else None, Path(text)):
        if folder is not None and folder.is_dir():
            return folder
    path = Path(text)
    if path.name == "bundle.json" and path.is_file():
        return path.parent
    if path.suffix.lower() in PICKLES or (path.is_file() and path.suffix):
        raise BundleError(
            f"{path.name} is a single weight file; a bundle is a folder with bundle.json and "
            "safetensors. Pickled weights "
            "can run code when opened and are never loaded; convert them, then run 'pgrd bundle pack'."
        )
    known = ", ".join(embedded()) or "none"
    raise BundleError(f"There is no bundle {path.name!r}: neither a folder nor an embedded one (embedded: {known}).")


def embedded() -> list[str]:
    """Names of the bundles that come with the package."""
    return sorted(p.parent.name for p in EMBEDDED.glob("*/bundle.json"))


def refuse_pickles(folder: Path) -> None:
    """A sentence if the folder holds a file format that can run code when opened."""
    bad = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in PICKLES)
    require(
        not bad,
        BundleError,
        f"Bundle {folder.name} holds {', '.join(bad)}: pickled weights can run code when opened, so this "
        "bundle is refused. Convert the weights to safetensors with 'pgrd bundle pack'.",
    )


def parse_spec(raw: bytes, name: str) -> BundleSpec:
    """Read ``bundle.json``; every fault is one sentence."""
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"Bundle {name}: bundle.json is not valid JSON. Copy the bundle again.") from error
    require(isinstance(content, dict), BundleError, f"Bundle {name}: bundle.json must be an object.")
    version = content.get("schema_version")
    require(
        version == SCHEMA_VERSION,
        BundleError,
        f"Bundle {name} has schema version {version!r}; this program reads version {SCHEMA_VERSION}. "
        "Update napari-pgrd, or pack the bundle again.",
    )
    try:
        return BundleSpec.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "bundle.json"
        raise BundleError(
            f"Bundle {name}: {where}: {first['msg']}. Correct bundle.json or pack the bundle again."
        ) from error


def read_raw(path: Path) -> bytes:
    """The bytes of ``bundle.json``."""
    require(path.is_file(), BundleError, f"Bundle {path.parent.name} lacks bundle.json. Give the folder that holds it.")
    require(path.stat().st_size < 10**7, BundleError, f"Bundle {path.parent.name}: bundle.json is absurdly large.")
    return path.read_bytes()
