"""What ``bundle.json`` says of a method: networks, what was fitted to them, default sampling, how far it is right."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, model_validator

from napari_pgrd.engine.netspec import (
    DenoiserConfig,
    DropoutConfig,
    Frozen,
    HeadsConfig,
    LatentConfig,
    PriorConfig,
    SamplingDefaults,
    ScheduleSpec,
    UNetConfig,
)


class Entry(BaseModel):
    """What a bundle says of one method."""

    model_config = Frozen

    sampling: SamplingDefaults = SamplingDefaults(steps=1)
    provenance: dict[str, Any] = {}

    @property
    def shape(self) -> tuple[int, int, int]:
        """Classes, channels and dimensions of its own networks."""
        raise NotImplementedError

    @property
    def width(self) -> int:
        """Feature maps at full resolution."""
        raise NotImplementedError

    @property
    def most_steps(self) -> int:
        """In how many steps a sample may be refined."""
        return 1

    @property
    def hears_locks(self) -> bool:
        """Whether its network was trained with hints."""
        return False


class Segmenter(Entry):
    """A network that segments by itself, at the temperature fitted to what it gives."""

    network: PriorConfig | UNetConfig
    temperature: float = Field(1.0, ge=1e-3, le=1e3)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Classes, channels and dimensions of the network."""
        return self.network.classes, self.network.channels, self.network.dims

    @property
    def width(self) -> int:
        """Feature maps at full resolution."""
        return self.network.filters[0]


class Dropout(Segmenter):
    """A network with dropout."""

    network: DropoutConfig


class Heads(Segmenter):
    """A network with several heads."""

    network: HeadsConfig


class Latent(Segmenter):
    """A Probabilistic U-Net."""

    network: LatentConfig


class Diffusion(Entry):
    """A denoiser, the diffusion it was trained in, and the tau and w fitted to its samples."""

    network: DenoiserConfig
    schedule: ScheduleSpec = ScheduleSpec()
    sampling: SamplingDefaults = SamplingDefaults()
    tau: float = Field(0.1, ge=1e-4, le=1e4)
    mean_weight: float = Field(0.0, ge=0, le=1)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Classes, channels and dimensions of the network."""
        return self.network.classes, self.network.channels, self.network.dims

    @property
    def width(self) -> int:
        """Feature maps at full resolution."""
        return self.network.widths[0]

    @property
    def most_steps(self) -> int:
        """The times of the diffusion."""
        return self.schedule.T

    @property
    def hears_locks(self) -> bool:
        """Whether the denoiser was trained with hints."""
        return self.network.hints


class Bins(BaseModel):
    """Voxels in equal bins of confidence: how many, the sum of their confidences, how many of them are right."""

    model_config = Frozen

    count: tuple[int, ...]
    confidence: tuple[float, ...]
    right: tuple[int, ...]

    @model_validator(mode="after")
    def _agree(self) -> Bins:
        if not len(self.count) == len(self.confidence) == len(self.right) > 0:
            raise ValueError("a reliability diagram needs as many counts as confidences and right answers")
        return self


class Diagram(BaseModel):
    """The reliability diagram of the validation cases near truth or prediction, all cases and raters together.

    ``own`` are the bins of the bundle's method, ``prior`` those of its prior at the fitted temperature; ``command``
    counted them.
    """

    model_config = Frozen

    own: Bins
    prior: Bins
    command: str = ""


class Reliability(BaseModel):
    """How far the samples may be believed, measured on the validation block.

    ``volume_coverage`` maps a label's name to how many of ``cases`` had their true volume inside the samples' 5-95 %
    range; ``interval_coverage`` the same for the conformal interval; ``unanimous_error_share`` is the part of the
    consensus' errors where every sample agreed. ``raters`` is the most that a case had; with several, ``among`` holds
    what compares samples with raters, by the names of an evaluation.
    """

    model_config = Frozen

    cases: int
    steps: int
    samples: int
    volume_coverage: dict[str, int]
    unanimous_error_share: float
    dice: float
    interval_coverage: dict[str, int] = {}
    raters: int = Field(1, ge=1)
    among: dict[str, float] = {}
    diagram: Diagram | None = None


class VolumeInterval(BaseModel):
    """What makes an honest interval of the samples' volumes: see :mod:`napari_pgrd.evaluate.volumes`.

    Fitted for each label name on ``cases`` calibration cases, to hold the true volume with probability ``level``.
    """

    model_config = Frozen

    level: float = Field(gt=0, lt=1)
    cases: int = Field(ge=1)
    widening: dict[str, float]
