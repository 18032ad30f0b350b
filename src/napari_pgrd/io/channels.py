"""Several images of one patient as the channels of one volume: which is which, and on one grid."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.volume import Volume, times

SAME_MM = 1e-3  # affines that differ by less are equal
SYNONYMS = {"t1w": "t1", "t2w": "t2", "t2flair": "flair", "flairt2": "flair"}
CONTRAST = {"t1c", "t1ce", "t1gd", "t1post", "t1postcontrast", "t1contrast", "t1wce", "t1ca", "t1km", "t1wgd"}


def order_channels(names: Sequence[str], channels: Sequence[str], told: Sequence[str] = ()) -> list[int]:
    """For each channel of a bundle, which of as many named images it is.

    An image whose name holds a channel's name, in any spelling, is that channel; the others take what is left, in the
    order given. Of two that claim one channel neither is believed. ``told`` are words of a reader for each image, such
    as a list's columns: where they hold a channel's name, they come before the image's own.

    Examples
    --------
    >>> order_channels(["case7_t2", "case7_t1_post", "case7_t1"], ["T1", "T1 post", "T2"])
    [2, 1, 0]
    """
    sure = believed(told, channels)
    left = [None if i in sure.values() else claimed(name, channels) for i, name in enumerate(names)]
    sure |= {c: i for i, c in enumerate(left) if c is not None and c not in sure and left.count(c) == 1}
    rest = iter(i for i in range(len(names)) if i not in sure.values())
    return [sure[c] if c in sure else next(rest) for c in range(len(channels))]


def believed(names: Sequence[str], channels: Sequence[str]) -> dict[int, int]:
    """Which channel is which of the named ones, where a name holds that channel's and no other does."""
    claims = [claimed(name, channels) for name in names]
    return {c: i for i, c in enumerate(claims) if c is not None and claims.count(c) == 1}


def claimed(name: str, channels: Sequence[str]) -> int | None:
    """The channel whose name is the longest that this one holds; None where it holds none, or two as long."""
    words = re.findall(r"[a-z0-9]+", name.lower())
    runs = {"".join(words[a:b]) for a in range(len(words)) for b in range(a + 1, len(words) + 1)}
    spelt = {_spelling(run): len(run) for run in sorted(runs, key=len)}
    found = [(spelt[key], c) for c, channel in enumerate(channels) if (key := _spelling(channel)) in spelt]
    best = [c for length, c in found if length == max(found)[0]]
    return best[0] if len(best) == 1 else None


def _spelling(text: str) -> str:
    plain = re.sub(r"[^a-z0-9]", "", text.lower())
    return "t1post" if plain in CONTRAST else SYNONYMS.get(plain, plain)


def join(volumes: Sequence[Volume], channels: Sequence[str], resample: bool = False) -> Volume:
    """The images, in the order of the channels, as one volume on the grid of the first.

    Parameters
    ----------
    resample : bool
        Whether an image on another grid is brought onto the first's (linear); else it is refused.

    Raises
    ------
    InputError
        If there are not as many images as channels, or they do not share one grid.
    """
    require(
        len(volumes) == len(channels),
        InputError,
        f"{len(channels)} channels are needed ({', '.join(channels)}), but {len(volumes)} images were given. "
        "Give one image for each.",
    )
    first = volumes[0]
    for volume, channel in zip(volumes, channels, strict=True):
        require(
            len(volume.data) == 1,
            InputError,
            f"The image for {channel} holds {len(volume.data)} channels itself; give an image with one.",
        )
        require(
            resample or same_grid(volume, first),
            InputError,
            f"{channel} has another grid ({times(volume.shape)} voxels of {times(volume.spacing)} mm) than "
            f"{channels[0]} ({times(first.shape)} of {times(first.spacing)} mm), or lies elsewhere. Resample it onto "
            "that grid (--resample, or the box beside the channels), or give images on one grid.",
        )
    placed = [v if same_grid(v, first) else lay_on(v, first, c) for v, c in zip(volumes, channels, strict=True)]
    return replace(first, data=np.concatenate([v.data for v in placed]))


def same_grid(a: Volume, b: Volume) -> bool:
    """Whether every voxel of one lies on the same voxel of the other."""
    return a.shape == b.shape and bool(np.allclose(a.affine, b.affine, atol=SAME_MM))


def lay_on(volume: Volume, like: Volume, channel: str = "The image") -> Volume:
    """Resample a volume onto the grid of another (linear); where it does not reach, its smallest value.

    What is finer than the new grid is smoothed first, by a Gaussian of ``(ratio - 1) / 2`` voxels.

    Raises
    ------
    InputError
        If a voxel size is unknown, or the two do not overlap.
    """
    from scipy import ndimage

    require(
        volume.spacing_known and like.spacing_known,
        InputError,
        f"{channel} cannot be resampled, as a voxel size is not stated. Open files that hold their spacing in mm.",
    )
    index = np.linalg.inv(volume.affine) @ like.affine  # of the new grid in the old one
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in like.shape], indexing="ij")).reshape(3, -1)
    there = index[:3, :3] @ corners + index[:3, 3:]
    beside = (there.max(1) < 0) | (there.min(1) > np.array(volume.shape) - 1)
    require(
        not beside.any(),
        InputError,
        f"{channel} and the first channel do not overlap in space. Give images of one patient in one position.",
    )
    sigma = np.maximum(0, (np.linalg.norm(index[:3, :3], axis=1) - 1) / 2)
    out = []
    for x in volume.data:
        smooth = ndimage.gaussian_filter(x, sigma) if (sigma > 0.05).any() else x
        moved = ndimage.affine_transform(
            smooth, index[:3, :3], index[:3, 3], like.shape, np.float32, order=1, cval=float(x.min())
        )
        out.append(moved)
    return replace(volume, data=np.stack(out), affine=like.affine, source=like.source)
