"""NIfTI into napari, upright and with its geometry kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.nifti import is_nifti, read_volume
from napari_pgrd.session.display import Display, contrast_limits

VOLUME = "pgrd_volume"  # metadata key: the volume a layer shows
MODEL = "pgrd_model"  # and of a sample case: the name of the bundle that it is for
LayerData = tuple[Any, dict[str, Any], str]
MAX_LABEL = 32  # whole numbers up to here, few of them, are a mask and not an image


def get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """A reader if every path is NIfTI, else None."""
    paths = [path] if isinstance(path, str) else list(path)
    return read if paths and all(is_nifti(p) for p in paths) else None


def read(path: str | Sequence[str]) -> list[LayerData]:
    """One layer a file: an image, or labels where the file holds few small whole numbers."""
    paths = [path] if isinstance(path, str) else list(path)
    return [layer_data(read_volume(Path(p))) for p in paths]


def layer_data(volume: Volume, name: str | None = None) -> LayerData:
    """What napari needs to show a volume."""
    display = Display.of(volume)
    shown = display.show(volume.data)
    grid = display.layer
    if len(shown) == 1:
        shown = shown[0]
    else:
        for key, value in (("scale", 1.0), ("translate", 0.0), ("units", "pixel"), ("axis_labels", "channel")):
            grid[key] = (value, *grid[key])
    meta: dict[str, Any] = {"name": name or volume.name, "metadata": {VOLUME: volume}, **grid}
    if is_mask(volume):
        return np.ascontiguousarray(shown).astype(np.uint8), meta, "labels"
    meta |= {"colormap": "gray", "interpolation2d": "cubic", "contrast_limits": contrast_limits(volume.data)}
    return shown, meta, "image"


def is_mask(volume: Volume) -> bool:
    """Whether a file holds labels: a few small whole numbers, zero among them."""
    if float(volume.data.max()) > MAX_LABEL or float(volume.data.min()) != 0:
        return False
    values = np.unique(volume.data)
    return 2 <= len(values) <= MAX_LABEL and bool((values == np.rint(values)).all())
