"""How an image is prepared for the networks, as bundles and trainings describe it; read without loading torch."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, Field, field_validator, model_validator

from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.netspec import Count, Frozen, NnUNetPreparation
from napari_pgrd.engine.volume import Reorder

Millimetres = Annotated[float, Field(ge=1e-3, le=1e3)]
Percent = Annotated[float, Field(ge=0, le=100)]


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
    window : tuple of int, optional
        Larger volumes are seen through windows of this size, which overlap by the share ``overlap``. Without it the
        networks see the whole at once; slices are always seen whole.
    normalisation : "zscore" or "unit"
        Percentile clip then z-score over the volume, or 0..255 to -1..1 as it is.
    middle_only : bool
        The networks were trained on patches around one structure, which the middle means to them. Of a larger image, or
        box, they are shown the middle patch, and what lies further out comes back as background.
    nnunet : NnUNetPreparation, optional
        Prepare as nnU-Net does, to this orientation, spacing and patch; ``stride``, ``normalisation`` and
        ``percentiles`` count for nothing then.
    """

    model_config = Frozen

    dims: Literal[2, 3] = 3
    orientation: str = "RAS"
    spacing: tuple[Millimetres, Millimetres, Millimetres] | None = (1.0, 1.0, 1.0)
    patch: tuple[Count, Count, Count] = (40, 56, 40)
    stride: Count = 8
    normalisation: Literal["zscore", "unit"] = "zscore"
    percentiles: tuple[Percent, Percent] = (0.5, 99.5)
    # Left out of records while it says nothing, so that trainings begun before it existed go on.
    middle_only: bool = Field(False, exclude_if=lambda value: value is False)
    nnunet: NnUNetPreparation | None = Field(None, exclude_if=lambda value: value is None)
    window: tuple[Count, Count, Count] | None = Field(None, exclude_if=lambda value: value is None)
    overlap: float = Field(0.5, ge=0, le=0.9, exclude_if=lambda value: value == 0.5)

    @field_validator("orientation")
    @classmethod
    def _three_letters(cls, given: str) -> str:
        try:
            Reorder.between(np.eye(4), given[:4])
        except (InputError, ValueError) as error:
            raise ValueError("it is no orientation; three letters are needed, such as RAS") from error
        return given

    @model_validator(mode="after")
    def _windows_fit(self) -> PrepareSpec:
        if self.window is None:
            return self
        if self.dims == 2:
            raise ValueError("window is for volumes: with dims 2 each slice is seen whole")
        if self.middle_only:
            raise ValueError(
                "window and middle_only contradict each other: either all of an image is seen or its middle"
            )
        if any(w < 2 * s or w % s for w, s in zip(self.window, self.strides, strict=True)):
            raise ValueError(f"window is {self.window}: each size must be a multiple of {self.strides}, twice at least")
        return self

    @property
    def strides(self) -> tuple[int, int, int]:
        """What each padded size is a multiple of."""
        return (self.stride,) * 3 if self.nnunet is None else self.nnunet.strides

    @property
    def at_once(self) -> PrepareSpec:
        """The same without windows: what is prepared is of a size that one call can see."""
        return self if self.window is None else self.model_copy(update={"window": None})

    @property
    def blank_background(self) -> bool:
        """Whether a prepared image is 0 wherever there is nothing of the patient."""
        return self.nnunet is not None and set(self.nnunet.schemes) == {"zscore-inside"}
