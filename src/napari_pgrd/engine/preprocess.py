"""From a volume to the tensor the networks see, and exactly back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.grid import check_room, padded_shape, target_shape
from napari_pgrd.engine.locks import Locks
from napari_pgrd.engine.spec import PrepareSpec
from napari_pgrd.engine.volume import Box, Reorder, Volume


def normalise(channel: NDArray[np.floating], spec: PrepareSpec) -> NDArray[np.float32]:
    """Bring one channel to a common intensity scale."""
    x = channel.astype(np.float32)
    if spec.normalisation == "unit":
        return x / 127.5 - 1
    lo, hi = np.percentile(x, spec.percentiles)
    x = np.clip(x, lo, hi)
    spread = float(x.std())
    require(
        spread > 1e-6 * max(abs(float(lo)), abs(float(hi)), 1e-30),
        InputError,
        "The image is constant, so there is nothing to segment. Choose another image or another box.",
    )
    scaled: NDArray[np.float32] = ((x - x.mean()) / spread).astype(np.float32)
    return scaled


@dataclass(frozen=True)
class Restore:
    """Undoes :func:`prepare` on what the networks return."""

    shape: tuple[int, int, int]  # of the source volume
    box: Box | None  # where the prepared part lies in it
    reorder: Reorder
    resampled: tuple[int, int, int]  # reordered shape before padding
    original: tuple[int, int, int]  # reordered shape, or that of the crop, before resampling
    padding: tuple[tuple[int, int], ...]  # negative where the networks are shown less than the whole
    crop: Box | None = None  # the part of the reordered grid that was resampled
    thick: int | None = None  # the axis along which slices stay what they are, nnU-Net's way
    nnunet: bool = False  # so that probabilities are resampled as logits

    def probabilities(self, p: Tensor) -> Tensor:
        """What a network says as softmax: as ``__call__``, but resampled as nnU-Net does where it prepared the image.

        It resamples logits. Their logarithmic softmax will do as well: resampling adds to all classes the same.
        """
        if not self.nnunet:
            return self(p)
        return self(p, lambda x: torch.softmax(self._resample(x.clamp_min(1e-30).log()), -4))

    def __call__(self, x: Tensor, resample: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """``(..., K, *prepared)`` class scores to ``(..., K, *box or source)``: unpad, resample (linear), reorder.

        What the networks were not shown is class 0 with score 1.
        """
        back = [-p for pair in reversed(self.padding) for p in pair]
        inside = x
        x = F.pad(inside, back)
        if any(p > 0 for p in back):
            shown = F.pad(torch.ones_like(inside[..., :1, :, :, :]), back)
            x[..., :1, :, :, :] += 1 - shown
        if self.resampled != self.original:
            x = (resample or self._resample)(x)
        if self.crop is not None:
            whole = x.new_zeros(*x.shape[:-3], *self._reordered)
            whole[..., 0, :, :, :] = 1
            i, j, k = (slice(lo, hi) for lo, hi in self.crop)
            whole[..., i, j, k] = x
            x = whole
        lead = x.ndim - 3
        flips = [lead + i for i, f in enumerate(self.reorder.flips) if f]
        x = x.flip(flips) if flips else x
        return x.permute(*range(lead), *(lead + int(i) for i in np.argsort(self.reorder.axes)))

    def _resample(self, x: Tensor) -> Tensor:
        """``(..., *resampled)`` to ``(..., *original)``, linear; thick slices each by itself, the nearest one."""
        size = list(self.original)
        if self.thick is not None:
            from napari_pgrd.engine.nnunet import nearest_slices

            n, m = x.shape[self.thick - 3], size[self.thick]
            nearest = torch.from_numpy(nearest_slices(n, m)).to(x.device)
            x = x.index_select(self.thick - 3, nearest)
        flat = x.reshape(1, -1, *x.shape[-3:]).float()
        out = F.interpolate(flat, size, mode="trilinear", align_corners=False)
        return out.reshape(*x.shape[:-3], *size)

    @property
    def _reordered(self) -> tuple[int, ...]:
        """Shape of the box or source, its axes in order."""
        shape = self.shape if self.box is None else tuple(hi - lo for lo, hi in self.box)
        return tuple(shape[a] for a in self.reorder.axes)

    def cropped(self, x: NDArray[Any]) -> NDArray[Any]:
        """The part of ``(..., *reordered)`` that was resampled; a view."""
        if self.crop is None:
            return x
        i, j, k = (slice(lo, hi) for lo, hi in self.crop)
        return x[..., i, j, k]

    def count(self, x: NDArray[np.bool_]) -> NDArray[np.float32]:
        """How many set voxels of ``(n, *box or source)`` lie in each voxel of ``(n, *prepared)``; none in the padding.

        Along an axis that was made finer, a prepared voxel counts the one that it lies in. Unlike sampling at the
        middles of the prepared voxels, this loses no thin stroke.
        """
        out = self.cropped(self.reorder.apply(x)).astype(np.float32)
        for axis, (n, m) in enumerate(zip(self.original, self.resampled, strict=True), 1):
            if n != m:
                out = np.moveaxis(np.tensordot(out, _lies_in(n, m), (axis, 1)), -1, axis)
        return _pad(out, self.padding)


def _pad(x: NDArray[Any], padding: Sequence[tuple[int, int]], **how: Any) -> NDArray[Any]:
    """``(n, ...)`` padded along the axes after the first; a negative number takes so much away."""
    cut = tuple(slice(max(0, -lo), n - max(0, -hi)) for n, (lo, hi) in zip(x.shape[1:], padding, strict=True))
    return np.pad(x[:, *cut], ((0, 0), *((max(0, lo), max(0, hi)) for lo, hi in padding)), **how)


def _lies_in(n: int, m: int) -> NDArray[np.float32]:
    """``(m, n)``: 1 where source voxel j of n and prepared voxel i of m, on the same length, lie in each other."""
    out = np.zeros((m, n), np.float32)
    if m < n:
        out[(2 * np.arange(n) + 1) * m // (2 * n), np.arange(n)] = 1
    else:
        out[np.arange(m), (2 * np.arange(m) + 1) * n // (2 * m)] = 1
    return out


def known_voxels(
    locks: Locks, restore: Restore, classes: int, indices: Sequence[int]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Locks, on the box's grid, as the networks see them.

    A prepared voxel is known if a locked voxel lies in it (the most frequent class wins), or if nothing in it may be
    drawn again; the rest of such a voxel is settled on the source grid, where locks are exact.

    Returns
    -------
    labels, mask : numpy.ndarray
        ``(1 or m, *prepared)``: class indices and where they are known; m samples differ only if there is a region.
    """

    def votes(mask: NDArray[np.integer], where: NDArray[np.bool_]) -> NDArray[np.float32]:
        return restore.count(np.stack([(mask == k) & where for k in range(classes)]))

    locked = votes(locks.labels, locks.mask)
    labels, mask = locked.argmax(0).astype(np.uint8), locked.sum(0) > 0
    if locks.kept is None or locks.earlier is None:
        return labels[None], mask[None]
    free = restore.count((~(locks.kept | locks.mask))[None])[0] > 0
    out = []
    for i in indices:
        kept = votes(locks.earlier.masks[i], locks.kept)
        out.append((np.where(mask, labels, kept.argmax(0)).astype(np.uint8), mask | ((kept.sum(0) > 0) & ~free)))
    return np.stack([y for y, _ in out]), np.stack([m for _, m in out])


def prepare(volume: Volume, spec: PrepareSpec, box: Box | None = None) -> tuple[Tensor, Restore]:
    """Crop, reorder, resample, normalise and pad.

    Returns
    -------
    image : Tensor
        ``(1, C, *prepared)``, float32 on the CPU.
    restore : Restore
        Takes network output back to the box (or the whole source) in the source's own axis order.
    """
    part = volume.crop(box) if box else volume
    require(
        bool(np.isfinite(part.data).all()),
        InputError,
        "The image holds voxels that are NaN or infinite. Replace them by a finite value, then try again.",
    )
    reorder = Reorder.between(part.affine, spec.orientation)
    data = np.ascontiguousarray(reorder.apply(part.data))
    if spec.nnunet is not None:
        return _as_nnunet(data, reorder, part, volume.shape, box, spec)
    original = data.shape[1:]
    x = torch.from_numpy(data.astype(np.float32))[None]
    resampled = target_shape(reorder.affine(part.affine, part.shape), original, spec)
    check_room(original, resampled, padded_shape(resampled, spec))
    if resampled != original:
        x = F.interpolate(x, resampled, mode="trilinear", align_corners=False)
    channels = np.stack([normalise(c, spec) for c in x[0].numpy()])
    padded_to = padded_shape(resampled, spec)
    padding = tuple(((p - n) // 2, p - n - (p - n) // 2) for n, p in zip(resampled, padded_to, strict=True))
    padded = _pad(channels, padding, mode="edge")
    return torch.from_numpy(padded)[None], Restore(volume.shape, box, reorder, resampled, original, padding)


def _as_nnunet(
    data: NDArray[Any], reorder: Reorder, part: Volume, shape: tuple[int, int, int], box: Box | None, spec: PrepareSpec
) -> tuple[Tensor, Restore]:
    """nnU-Net's own way from the reordered ``data (C, ...)`` on."""
    from napari_pgrd.engine.nnunet import inside, resampled, scaled, thick_axis

    assert spec.nnunet is not None
    mask, crop = inside(data)
    i, j, k = (slice(lo, hi) for lo, hi in crop)
    channels = scaled(data[:, i, j, k], mask[i, j, k], spec.nnunet)
    original = (channels.shape[1], channels.shape[2], channels.shape[3])
    affine = reorder.affine(part.affine, part.shape)
    have = [float(x) for x in np.linalg.norm(affine[:3, :3], axis=0)]
    want = have if spec.spacing is None else [*spec.spacing[: spec.dims], *have[spec.dims :]]
    size = target_shape(affine, original, spec)
    check_room(original, size, padded_shape(size, spec))
    channels = resampled(channels, size, have, want)
    padded_to = padded_shape(size, spec)
    padding = tuple(((p - n) // 2, p - n - (p - n) // 2) for n, p in zip(size, padded_to, strict=True))
    image = torch.from_numpy(_pad(channels, padding))[None]
    # Back, nnU-Net goes from the spacing of the network: thick slices are looked for there first.
    return image, Restore(shape, box, reorder, size, original, padding, crop, thick_axis(want, have), nnunet=True)
