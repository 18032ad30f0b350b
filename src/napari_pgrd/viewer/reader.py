"""NIfTI and DICOM into napari, upright and with their geometry kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.dicom.files import holds_dicom
from napari_pgrd.io.dicom.listing import SeriesInfo, SeveralSeriesError, choose
from napari_pgrd.io.dicom.series import load_series
from napari_pgrd.io.dicom.source import DicomSource
from napari_pgrd.io.nifti import is_nifti, read_volume
from napari_pgrd.session.display import Display, contrast_limits
from napari_pgrd.viewer.series_choice import ask, can_ask

VOLUME = "pgrd_volume"  # metadata key: the volume a layer shows
MODEL = "pgrd_model"  # and of a sample case: the name of the bundle that it is for
LayerData = tuple[Any, dict[str, Any], str]
NOTHING: list[Any] = [(None,)]  # napari's word for "read, and there is nothing to show"
MAX_LABEL = 32  # whole numbers up to here, few of them, are a mask and not an image


def get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """A reader if every path is NIfTI, a DICOM file or a folder with DICOM files, else None."""
    paths = [path] if isinstance(path, str) else list(path)
    return read if paths and all(map(is_image, paths)) else None


def is_image(path: str) -> bool:
    """Whether a path may hold an image that is read here; the names of DICOM files say nothing."""
    return is_nifti(path) or holds_dicom(path)


def read(path: str | Sequence[str]) -> list[LayerData]:
    """One layer a file or series: an image, or labels where a NIfTI file holds few small whole numbers.

    Of several series in one folder the reader is asked for one. Where nobody can be asked, it is an error.
    """
    paths = [path] if isinstance(path, str) else list(path)
    layers: list[LayerData] = []
    seen: set[tuple[Path, ...]] = set()  # series, any files of which may be named
    for one in paths:
        if is_nifti(one):
            layers.append(layer_data(read_volume(Path(one))))
        elif not any(Path(one) in files for files in seen):
            info = _asked(one)
            if info is not None and info.files not in seen:
                seen.add(info.files)
                layers.append(layer_data(load_series(info)))
    return layers or NOTHING


def _asked(path: str) -> SeriesInfo | None:
    """The series meant by a path; None if the reader wants none."""
    try:
        return choose(path)
    except SeveralSeriesError as several:
        if not can_ask():
            raise
        return ask(several.series)


def layer_data(volume: Volume, name: str | None = None, limits: tuple[float, float] | None = None) -> LayerData:
    """What napari needs to show a volume; ``limits`` of its contrast are looked for where they are not given."""
    display = Display.of(volume)
    shown = display.show(volume.data)
    grid = display.layer
    if len(shown) == 1:
        shown = shown[0]
    else:
        for key, value in (("scale", 1.0), ("translate", 0.0), ("units", "pixel"), ("axis_labels", "channel")):
            grid[key] = (value, *grid[key])
    meta: dict[str, Any] = {"name": name or volume.name, "metadata": {VOLUME: volume}, **grid}
    if not isinstance(volume.source, DicomSource) and is_mask(volume):
        return np.ascontiguousarray(shown).astype(np.uint8), meta, "labels"
    meta |= {"colormap": "gray", "interpolation2d": "cubic", "contrast_limits": limits or contrast_limits(volume.data)}
    return shown, meta, "image"


def is_mask(volume: Volume) -> bool:
    """Whether a file holds labels: a few small whole numbers, zero among them."""
    if float(volume.data.max()) > MAX_LABEL or float(volume.data.min()) != 0:
        return False
    values = np.unique(volume.data)
    return 2 <= len(values) <= MAX_LABEL and bool((values == np.rint(values)).all())
