"""Stored pixels to real values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.errors import InputError
from napari_pgrd.io.dicom.files import quiet, read_object
from napari_pgrd.io.dicom.frames import Frame


def values(frames: Sequence[Frame], series: str) -> NDArray[np.float32]:
    """``(column, row, slice)`` real values of slices of one size.

    Raises
    ------
    InputError
        Naming the series and the image that cannot be decoded.
    """
    from pydicom.pixels.utils import pixel_array

    columns, rows = frames[0].size
    out = np.empty((columns, rows, len(frames)), np.float32)
    last, stored = None, None
    for k, frame in enumerate(frames):
        try:
            if last != frame.file:
                last, stored = frame.file, read_object(frame.file)
            with quiet():
                pixels = pixel_array(stored, index=frame.index)  # type: ignore[arg-type]
            out[:, :, k] = (pixels * np.float64(frame.slope) + frame.intercept).T
        except Exception as error:
            raise InputError(f"In {series}, {frame.text} cannot be decoded. Export the series again.") from error
    return out
