"""What a bundle says about itself, read without loading torch.

The window lists bundles, names labels and refuses images long before a network is needed.
"""

from __future__ import annotations

import json
import os
import reprlib
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, Field, SerializeAsAny, ValidationError, field_validator, model_validator

from napari_pgrd.engine.codes import Coded
from napari_pgrd.engine.entries import Diffusion, Entry, Reliability, Segmenter, VolumeInterval
from napari_pgrd.engine.errors import BundleError, InputError, require, shown
from napari_pgrd.engine.inside import inside
from napari_pgrd.engine.methods import FIRST, METHODS, Method, files_of
from napari_pgrd.engine.netspec import DenoiserConfig as DenoiserConfig
from napari_pgrd.engine.netspec import Frozen, ScheduleSpec, UNetConfig
from napari_pgrd.engine.netspec import PriorConfig as PriorConfig
from napari_pgrd.engine.netspec import SamplingDefaults as SamplingDefaults
from napari_pgrd.engine.prepspec import PrepareSpec as PrepareSpec
from napari_pgrd.engine.schedule import Array
from napari_pgrd.engine.volume import times

SCHEMA_VERSION = 1
EMBEDDED = Path(__file__).resolve().parent.parent / "bundles"
PAPER_SAMPLING: dict[str, Any] = {"solver": "ddim", "eta": 0.0, "steps": 300}
PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib", ".npy", ".npz")
WEIGHTS = ("prior.safetensors", "denoiser.safetensors")


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it holds line ends or control characters")
    return text


Line = Annotated[str, Field(max_length=1000), AfterValidator(_printable)]  # shown as it is


class Label(BaseModel):
    """One class: its value in files, its name, its colour on screen and, for DICOM, what it is in coded words."""

    model_config = Frozen

    value: int = Field(ge=0, le=255)
    name: Line = Field(min_length=1)
    colour: str = Field(pattern=r"^#[0-9A-Fa-f]{6}$")
    coded: Coded | None = Field(None, exclude_if=lambda value: value is None)


class Scope(BaseModel):
    """What the bundle was trained for, and so what it may be asked.

    ``field_of_view_mm`` holds the smallest and largest size along the prepared axes; ``box_mm`` is the size of the box
    to offer on anything larger. A bundle that resamples to no spacing says the same in voxels.
    """

    model_config = Frozen

    sentence: Line
    field_of_view_mm: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    box_mm: tuple[float, float, float] | None = None
    field_of_view_voxels: tuple[tuple[int, int, int], tuple[int, int, int]] | None = None
    box_voxels: tuple[int, int, int] | None = None
    intensity: Literal["mri", "ct", "any"] = "any"
    start_plane: Literal["sagittal", "coronal", "axial"] = "axial"

    @property
    def box_text(self) -> str:
        """Size of the box to offer, for the reader; "" where there is none."""
        if self.box_mm is not None:
            return f"{times(self.box_mm)} mm"
        return f"{times(self.box_voxels)} voxel" if self.box_voxels is not None else ""


class BundleSpec(BaseModel):
    """The contents of ``bundle.json``.

    ``denoiser``, ``schedule``, ``tau`` and ``mean_weight`` describe PGRD; a bundle without a denoiser has other methods
    only. ``methods`` describes the networks of further ones, and ``method`` is the one that the bundle uses unless
    asked for another: see :mod:`napari_pgrd.engine.methods`. ``prior`` is null where every image comes with the
    probabilities of a model that the bundle does not hold: see :mod:`napari_pgrd.engine.given`.
    """

    model_config = Frozen

    schema_version: Literal[1]
    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$", max_length=100)
    title: Line
    modality: Line
    channels: tuple[Line, ...] = Field(min_length=1)
    labels: tuple[Label, ...] = Field(min_length=2)
    prepare: PrepareSpec
    scope: Scope
    prior: PriorConfig | UNetConfig | None
    denoiser: DenoiserConfig | None = None
    schedule: ScheduleSpec = ScheduleSpec()
    prior_temperature: float = Field(1.0, ge=1e-3, le=1e3)
    tau: float = Field(0.1, ge=1e-4, le=1e4)
    mean_weight: float = Field(0.0, ge=0, le=1)
    sampling: SamplingDefaults = SamplingDefaults()
    reliability: Reliability | None = None
    volume_interval: VolumeInterval | None = None
    provenance: dict[str, Any] = {}
    method: str = FIRST
    methods: dict[str, SerializeAsAny[Entry]] = {}
    weights: dict[str, str]

    @field_validator("methods", mode="before")
    @classmethod
    def _entries(cls, given: Any) -> Any:
        """Each entry as what its method needs."""
        if not isinstance(given, dict):
            return given
        out = {}
        for name, content in given.items():
            kind = METHODS[name].entry if name in METHODS else None
            if kind is None:
                known = ", ".join(key for key, row in METHODS.items() if row.entry) or "none"
                raise ValueError(f"this version knows no networks of {name} (known: {known})")
            try:
                out[name] = kind.model_validate(content)
            except ValidationError as error:
                first = error.errors()[0]
                raise ValueError(f"{'.'.join(map(str, (name, *first['loc'])))}: {first['msg']}") from error
        return out

    @model_validator(mode="after")
    def _agree(self) -> BundleSpec:
        k, c = len(self.labels), len(self.channels)
        nets = [(n.classes, n.channels, n.dims) for n in (self.prior, self.denoiser) if n is not None]
        for shape in (*nets, *(entry.shape for entry in self.methods.values())):
            if shape != (k, c, self.prepare.dims):
                raise ValueError(
                    "a network has {} classes, {} channels and {} dimensions".format(*shape) + ", but the bundle names "
                    f"{k} labels, {c} channels and {self.prepare.dims} dimensions"
                )
        if self.prepare.nnunet is not None and len(self.prepare.nnunet.schemes) != c:
            raise ValueError(f"prepare.nnunet scales {len(self.prepare.nnunet.schemes)} channels, but there are {c}")
        if self.labels[0].value != 0:
            raise ValueError("the first label must be the background, value 0")
        if len({label.value for label in self.labels}) != k:
            raise ValueError("two labels share one value")
        if self.sampling.lock_method == "hint" and self.denoiser is not None and not self.denoiser.hints:
            raise ValueError("sampling.lock_method is 'hint', but the denoiser has no hint channels")
        needed = files_of(self.denoiser is not None, self.methods, self.prior is not None)
        if set(self.weights) != set(needed):
            raise ValueError(f"weights must name exactly {', '.join(needed)}")
        if self.method not in self.offered:
            raise ValueError(f"method is {self.method!r}, but the bundle holds what {', '.join(self.offered)} need")
        return self

    @property
    def offered(self) -> tuple[str, ...]:
        """Names of the methods that it holds everything for."""
        return tuple(name for name in METHODS if self._entry(name) is not None)

    def row(self, name: str | None = None) -> Method:
        """The table's row of a method that it offers; None is its own."""
        self.entry(name)
        return METHODS[name or self.method]

    def entry(self, name: str | None = None) -> Entry:
        """What it says of a method; None is its own.

        Raises
        ------
        InputError
            If it does not offer that method.
        """
        name = name or self.method
        found = self._entry(name)
        require(
            found is not None,
            InputError,
            f"{self.name} cannot do {name!r}; choose one of {', '.join(self.offered)}, or a bundle that holds its "
            "networks.",
        )
        assert found is not None
        return found

    def measured_for(self, method: str | None) -> BundleSpec:
        """The same, silent on how far samples may be believed unless they are the bundle's own method's.

        Its coverage, intervals and errors were measured on those alone.
        """
        if method is None or method == self.method:
            return self
        return self.model_copy(update={"reliability": None, "volume_interval": None})

    def _entry(self, name: str) -> Entry | None:
        row = METHODS.get(name)
        if row is None:
            return None
        if row.entry is not None:
            return self.methods.get(name)
        if row.build is None:
            if self.prior is None:
                return None
            sampling = SamplingDefaults(steps=1, samples=min(self.sampling.samples, row.most or self.sampling.samples))
            return Segmenter(network=self.prior, temperature=self.prior_temperature, sampling=sampling)
        if self.denoiser is None:
            return None
        fitted = {"tau": self.tau, "mean_weight": self.mean_weight}
        return Diffusion(network=self.denoiser, schedule=self.schedule, sampling=self.sampling, **fitted)

    @property
    def values(self) -> np.ndarray:
        """Label value of each class index, uint8."""
        return np.array([label.value for label in self.labels], np.uint8)

    @property
    def rhobar(self) -> Array:
        """The schedule, ``(T + 1,)``."""
        return self.schedule.rhobar

    @property
    def width(self) -> int:
        """Feature maps at full resolution of the widest network it holds: what memory goes by."""
        entries = (self._entry(name) for name in self.offered)
        return max(entry.width for entry in entries if entry is not None)


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
        f"Bundle {folder.name} holds {shown(', '.join(bad), 200)}: pickled weights can run code when opened, so this "
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
        f"Bundle {name} has schema version {reprlib.repr(version)}; this program reads version {SCHEMA_VERSION}. "
        "Update napari-pgrd, or pack the bundle again.",
    )
    try:
        return BundleSpec.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "bundle.json"
        raise BundleError(
            f"Bundle {name}: {shown(where)}: {shown(first['msg'], 300)}. Correct bundle.json or pack the bundle again."
        ) from error


def read_raw(path: Path) -> bytes:
    """The bytes of ``bundle.json``."""
    there = inside(path.parent, path.name) is not None
    require(there, BundleError, f"Bundle {path.parent.name} lacks bundle.json. Give the folder that holds it.")
    require(path.stat().st_size < 10**7, BundleError, f"Bundle {path.parent.name}: bundle.json is absurdly large.")
    return path.read_bytes()
