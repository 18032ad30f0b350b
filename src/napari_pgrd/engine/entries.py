"""What ``bundle.json`` says of a method: its networks, the numbers fitted to them, and how it is sampled by default."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from napari_pgrd.engine.netspec import (
    DenoiserConfig,
    DropoutConfig,
    Frozen,
    HeadsConfig,
    LatentConfig,
    PriorConfig,
    SamplingDefaults,
    ScheduleSpec,
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

    network: PriorConfig
    temperature: float = Field(1.0, gt=0)

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
    tau: float = Field(0.1, gt=0)
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
