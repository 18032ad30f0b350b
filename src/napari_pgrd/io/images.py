"""An image in the format that it comes in: a NIfTI file or a DICOM series for each channel."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.channels import join, order_channels
from napari_pgrd.io.dicom.files import is_dicom
from napari_pgrd.io.nifti import is_nifti, read_volume, stem


def read_image(
    paths: Sequence[str | os.PathLike[str]],
    series: Sequence[str] = (),
    channels: Sequence[str] = (),
    resample: bool = False,
    say: Callable[[str], None] = lambda text: None,
    told: Sequence[str] = (),
) -> Volume:
    """Read an image whose channels share one grid.

    Parameters
    ----------
    paths : sequence of paths
        One for each channel: a NIfTI file, a folder with a DICOM series, or any file of one. One DICOM folder may stand
        for all channels if as many series are named.
    series : sequence of str
        Which series of each folder, in the same order; empty where each holds one.
    channels : sequence of str
        What the channels are called. Where there are as many images, these are brought into that order by their names:
        see :func:`~napari_pgrd.io.channels.order_channels`.
    resample : bool
        Bring channels on other grids onto the first's.
    say : callable
        Hears which image became which channel.
    told : sequence of str
        Words of the reader for each path, such as a list's columns, which come before the images' own names.

    Raises
    ------
    InputError
        If a path holds no image that can be read, or the channels do not share one grid.
    """
    files = [Path(p) for p in paths]
    names: list[str | None] = list(series) or [None] * len(files)
    if len(files) == 1:
        files *= len(names)
    require(
        len(names) == len(files),
        InputError,
        f"{len(names)} series are named for {len(files)} images. Name one for each, or several for one folder.",
    )
    require(
        not series or any(map(_dicom, files)),
        InputError,
        "A series was named, but the image is no DICOM. Leave it out, or give a DICOM folder.",
    )
    if len(files) == len(channels) > 1:
        images = [_read(path, name) for path, name in zip(files, names, strict=True)]
        images = [images[i] for i in order_channels([image.name for image in images], channels, told)]
        say("Channels: " + ", ".join(f"{c} is {v.name}" for c, v in zip(channels, images, strict=True)) + ".")
        return join(images, channels, resample)
    if not any(map(_dicom, files)):
        return read_volume(files)
    volumes = [_read(path, name) for path, name in zip(files, names, strict=True)]
    first = volumes[0]
    for number, other in enumerate(volumes[1:], 2):
        require(
            other.shape == first.shape and np.allclose(other.affine, first.affine, atol=1e-3),
            InputError,
            f"Channel {number} ({other.name}) has another grid (shape {other.shape}) than channel 1 ({first.name}, "
            f"shape {first.shape}). All channels must share one; resample them first.",
        )
    return first if len(volumes) == 1 else replace(first, data=np.concatenate([v.data for v in volumes]))


def files_of(
    paths: Sequence[Path], channels: Sequence[str] = (), told: Sequence[str] = ()
) -> list[tuple[Path, tuple[Path, ...]]]:
    """Each path and the files that :func:`read_image` reads for it, in the order in which it makes them channels.

    Raises
    ------
    InputError
        If a DICOM folder or file does not lead to one series.
    """
    listed = [_listed(path) for path in paths]
    order: Sequence[int] = range(len(listed))
    if len(listed) == len(channels) > 1:
        order = order_channels([name for name, _ in listed], channels, told)
    return [(paths[i], listed[i][1]) for i in order]


def _listed(path: Path) -> tuple[str, tuple[Path, ...]]:
    """What a volume is called, and its files."""
    if not _dicom(path):
        return stem(path), (path,)
    from napari_pgrd.io.dicom.listing import choose

    series = choose(path)
    return series.title, series.files


def _dicom(path: Path) -> bool:
    return not is_nifti(path) and (path.is_dir() or is_dicom(path))


def _read(path: Path, series: str | None) -> Volume:
    if not _dicom(path):
        require(
            series is None, InputError, f"{path.name} is no DICOM, so it holds no series {series}. Name none for it."
        )
        return read_volume(path)
    from napari_pgrd.io.dicom.series import read_series

    return read_series(path, series)
