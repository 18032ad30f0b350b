"""The size of the tensor the networks will see, from sizes alone."""

from __future__ import annotations

import math

import numpy as np

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.spec import PrepareSpec
from napari_pgrd.engine.volume import Affine

FINER = 64  # voxels for one of the image; no model means more, except for an image that is small
SMALL = 2**26  # voxels
SAME_SPACING = 0.02  # relative difference below which resampling would only blur


def target_shape(affine: Affine, shape: tuple[int, ...], spec: PrepareSpec) -> tuple[int, int, int]:
    """Grid size after resampling to the bundle's spacing; the same size if it is near enough."""
    wanted = spec.spacing
    out = list(shape)
    if wanted is not None:
        have = np.linalg.norm(affine[:3, :3], axis=0)
        for i, (h, w) in enumerate(zip(have, wanted, strict=True)):
            through_plane_of_2d = spec.dims == 2 and i == 2
            near = SAME_SPACING if spec.nnunet is None else 0.0
            if abs(h / w - 1) > near and not through_plane_of_2d:
                out[i] = max(1, round(shape[i] * h / w))
    return out[0], out[1], out[2]


def padded_shape(shape: tuple[int, int, int], spec: PrepareSpec) -> tuple[int, int, int]:
    """At least the patch, and a multiple of the stride; a stack of 2D slices keeps its number of slices."""
    out = list(shape)
    for i in range(spec.dims):
        wanted = spec.patch[i] if spec.middle_only else max(shape[i], spec.patch[i])
        if spec.nnunet is None:
            out[i] = -(-wanted // spec.stride) * spec.stride
        elif wanted > spec.patch[i] and spec.window is None:  # windows are as large as the patch
            out[i] = -(-wanted // spec.nnunet.strides[i]) * spec.nnunet.strides[i]
        else:
            out[i] = wanted
    return out[0], out[1], out[2]


def check_room(source: tuple[int, ...], *sizes: tuple[int, int, int]) -> None:
    """A sentence if a bundle's spacing or patch makes a grid out of all proportion to the image, before it is made."""
    most = max(SMALL, FINER * math.prod(source))
    for size in sizes:
        require(
            math.prod(size) <= most,
            InputError,
            f"The model would see this image in {' x '.join(map(str, size))} voxels, which is out of all proportion to "
            f"its own {' x '.join(map(str, source))}. Its spacing or the image's is wrong; correct that first.",
        )
