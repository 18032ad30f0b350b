"""A network asked window by window, where a volume is too large for one call.

What overlapping windows say of a voxel is averaged with weights that fall off towards a window's border as a Gaussian
does, so that no border shows (Isensee et al. 2021, sec. "Inference"; windows and weights are MONAI's, or nnU-Net's
where the image is prepared as nnU-Net does it). Whoever asks hears of one network on one volume: samplers know no
windows, and their noise is one field over the whole volume.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from napari_pgrd.engine.prepspec import PrepareSpec

Size = tuple[int, int, int]
Place = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class Windows:
    """Where the windows on one prepared volume lie, and how much each counts.

    Attributes
    ----------
    shape, size : tuple of int
        Of the volume and of a window.
    places : tuple
        The windows that are looked at. Those that hold nothing but background are left out.
    weight : Tensor
        ``(*size)``: how much a window's own voxels count.
    share : Tensor
        ``(*shape)``: one over the weights that fall on a voxel; 0 where no window looks.
    """

    shape: Size
    size: Size
    places: tuple[Place, ...]
    weight: Tensor
    share: Tensor

    @classmethod
    def over(cls, image: Tensor, spec: PrepareSpec, size: Size | None = None) -> Windows | None:
        """Windows over a prepared image ``(1, C, *shape)``; None where one call sees all of it.

        ``size`` is the bundle's unless a smaller one is asked for. Slices of a stack are images of their own, so
        windows on a stack share no voxel.
        """
        shape = size_of(image.shape[2:])
        wanted = size or spec.window
        if wanted is None:
            return None
        size = size_of([min(n, w) for n, w in zip(shape, wanted, strict=True)])
        stack = spec.dims == 2
        overlap = 0.0 if stack else spec.overlap
        evenly = spec.nnunet is not None and not stack
        if evenly:
            starts = [even_starts(n, w, overlap) for n, w in zip(shape, size, strict=True)]
            corners = product(*starts)
            places = [tuple(slice(a, a + w) for a, w in zip(corner, size, strict=True)) for corner in corners]
        else:
            interval = [n if w == n else max(1, int(w * (1 - overlap))) for n, w in zip(shape, size, strict=True)]
            places = [tuple(place) for place in dense_patch_slices(shape, size, interval)]
        if spec.blank_background:
            head = (image[0] != 0).any(0)
            places = [place for place in places if bool(head[place].any())]
        elif len(places) == 1:
            return None
        if len(places) == 1 and size == shape:
            return None
        weight = bell(size) if evenly else compute_importance_map(size, "constant" if stack else "gaussian")
        weight = weight.to(image.device)
        total = torch.zeros(shape, device=image.device)
        for place in places:
            total[place] += weight
        return cls(shape, size, tuple(places), weight, torch.where(total > 0, 1 / total, 0))

    @property
    def seen(self) -> Tensor:
        """``(*shape)`` bool: where any window looks."""
        return self.share > 0

    def __len__(self) -> int:
        return len(self.places)

    def ask(self, net: Callable[..., Tensor], *inputs: Any, beat: Callable[[], None] = lambda: None) -> Tensor:
        """``net(*inputs)`` on the whole volume, ``(..., *shape)``; 0 where no window looks.

        Inputs whose last axes are the volume's are cut to each window, the others handed on. ``beat`` is called after
        every window. Where gradients are wanted, each window is computed again for them, so that memory holds one.
        """
        out: Tensor | None = None
        for place in self.places:
            at: tuple[Any, ...] = (..., *place)
            parts = [x[at] if self.covers(x) else x for x in inputs]
            grad = torch.is_grad_enabled() and any(isinstance(x, Tensor) and x.requires_grad for x in parts)
            y = checkpoint(net, *parts, use_reentrant=False) if grad else net(*parts)
            if out is None:
                out = y.new_zeros((*y.shape[:-3], *self.shape))
            out[at] += y * self.weight
            del y, parts
            beat()
        assert out is not None
        return out * self.share if out.requires_grad else out.mul_(self.share)

    def background_where_unseen(self, y: Tensor) -> Tensor:
        """``(m, K, *shape)`` class scores, the background's where no window looked."""
        if bool(self.seen.all()):
            return y
        background = torch.zeros_like(y[:1])
        background[:, 0] = 1
        return torch.where(self.seen, y, background)

    def covers(self, x: Any) -> bool:
        """Whether this is a tensor on the whole volume."""
        return isinstance(x, Tensor) and x.ndim >= 4 and x.shape[-3:] == self.shape


def even_starts(n: int, w: int, overlap: float) -> list[int]:
    """Where nnU-Net's windows of ``w`` voxels along ``n`` begin: as few as overlap so much, evenly spread."""
    count = math.ceil((n - w) / (w * (1 - overlap))) + 1
    return [round((n - w) / max(1, count - 1) * i) for i in range(count)]


def bell(size: Size) -> Tensor:
    """nnU-Net's weights: a Gaussian of an eighth of the window around its voxel ``size // 2``, 0 nowhere."""
    middle = np.zeros(size)
    middle[tuple(n // 2 for n in size)] = 1
    out = gaussian_filter(middle, [n / 8 for n in size], mode="constant")
    return torch.from_numpy(np.maximum(out / out.max(), out[out > 0].min() / out.max())).float()


def smaller(shape: Size, size: Size | None, spec: PrepareSpec) -> Size | None:
    """The next smaller window on a volume; None where a smaller one would no longer tell the network anything.

    The longest axis is halved, down to half the patch that the network was trained on; of a stack, the slices seen at
    once.
    """
    now = [min(n, w) for n, w in zip(shape, size or spec.window or shape, strict=True)]
    if spec.dims == 2:
        return None if now[2] == 1 else size_of([*now[:2], -(-now[2] // 2)])
    strides = spec.strides
    least = [min(n, max(2 * s, _up(-(-p // 2), s))) for n, p, s in zip(now, spec.patch, strides, strict=True)]
    axis = max(range(3), key=lambda i: (now[i] > least[i], now[i]))
    if now[axis] <= least[axis]:
        return None
    now[axis] = max(least[axis], _up(-(-now[axis] // 2), strides[axis]))
    return size_of(now)


def _up(n: int, stride: int) -> int:
    return -(-n // stride) * stride


def size_of(values: Sequence[int]) -> Size:
    """Three sizes."""
    a, b, c = (int(n) for n in values)
    return a, b, c
