"""Does this image fit this bundle? A sentence and, where it helps, a box, before anything runs."""

from __future__ import annotations

import numpy as np

from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.grid import padded_shape, target_shape
from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.engine.volume import Box, Reorder, Volume, times

GREY_ROUNDING = 1.0  # a grey value may lie so far beyond 0..255, as resampling makes it
CT_AIR = -200.0  # no MR image reaches below; every CT with air in it does
CT_FAT = -20.0  # CT without air still has fat; what resampling throws below 0 is less, or on few voxels
FAT_SHARE = 0.01
LOOKED_AT = 2**17  # voxels at most, evenly spaced, where only a share is asked for


class ScopeError(InputError):
    """The image is not what the bundle was made for; ``box`` is where a crop could start, if a crop would help."""

    def __init__(self, sentence: str, box: Box | None = None) -> None:
        super().__init__(sentence)
        self.box = box


def check_scope(volume: Volume, spec: BundleSpec, box: Box | None = None) -> None:
    """Raise :class:`ScopeError` unless the image (or its box) is one the bundle can be asked about."""
    part = volume.crop(box) if box else volume
    _check_channels(part, spec)
    _check_values(volume, part, spec)
    _check_size(volume, part, spec)


def _check_channels(part: Volume, spec: BundleSpec) -> None:
    have, want = part.data.shape[0], len(spec.channels)
    if have != want:
        fewer = "Give an image for each, or join their layers below."
        raise ScopeError(
            f"{spec.name} needs {want} channel{'s' * (want != 1)} ({', '.join(spec.channels)}), but the "
            f"image has {have}. {fewer if have < want else 'Choose another image or bundle.'}"
        )


def _check_values(volume: Volume, part: Volume, spec: BundleSpec) -> None:
    """What kind of values these are, the whole image says: a box inside a skull has no air in it."""
    if not np.isfinite(part.data).all():
        raise ScopeError(
            "The image holds voxels that are NaN or infinite. Replace them by a finite value, then try again."
        )
    if float(np.ptp(part.data)) == 0:
        raise ScopeError("The image is constant, so there is nothing to segment. Choose another image or another box.")
    low, high = volume.finite_range
    if spec.prepare.normalisation == "unit":
        _check_grey(low, high, spec)
    elif spec.scope.intensity == "mri" and (low < CT_AIR or (low < CT_FAT and _has_fat(volume))):
        raise ScopeError(
            f"Values down to {low:.0f} look like CT numbers, but {spec.name} was trained on {spec.modality}. "
            "Choose an MR image, or a bundle made for CT."
        )
    elif spec.scope.intensity == "ct" and low >= 0:
        raise ScopeError(
            f"No value is below 0, so these are no CT numbers, but {spec.name} was trained on {spec.modality}. "
            "Choose a CT image."
        )


def _has_fat(volume: Volume) -> bool:
    """Whether more than single voxels lie far below 0, for CT_FAT and for the image's own range."""
    stride = max(1, int(np.ceil((volume.data.size / LOOKED_AT) ** (1 / 3))))
    seen = volume.data[:, ::stride, ::stride, ::stride]
    seen = seen[np.isfinite(seen)]
    return seen.size > 0 and float((seen < min(CT_FAT, -0.1 * np.percentile(seen, 99))).mean()) > FAT_SHARE


def _check_grey(low: float, high: float, spec: BundleSpec) -> None:
    if low < CT_AIR and spec.scope.intensity == "ct":
        raise ScopeError(
            f"Values from {low:.0f} to {high:.0f} look like CT numbers (HU), but {spec.name} reads grey values from 0 "
            "to 255. Stretch each slice to 0 to 255 first, as the slices were that it was trained on."
        )
    if low < -GREY_ROUNDING or high > 255 + GREY_ROUNDING or high <= 1:
        raise ScopeError(
            f"The values go from {low:.4g} to {high:.4g}, but {spec.name} reads grey values from 0 to 255. Stretch "
            "each slice to 0 to 255 first, or choose another image."
        )


def _check_size(volume: Volume, part: Volume, spec: BundleSpec) -> None:
    scope, in_mm = spec.scope, spec.prepare.spacing is not None
    limits = scope.field_of_view_mm if in_mm else scope.field_of_view_voxels
    if limits is None:
        return
    if spec.prepare.spacing is not None and not part.spacing_known:
        raise ScopeError(
            f"The image states no voxel size, but {spec.name} was trained at "
            f"{times(spec.prepare.spacing)} mm. Open a file that holds its spacing in mm."
        )
    order, unit = Reorder.between(part.affine, spec.prepare.orientation), "mm" if in_mm else "voxels"
    extent = tuple((part.extent_mm if in_mm else part.shape)[a] for a in order.axes)
    small, large = limits
    if any(e > hi for e, hi in zip(extent, large, strict=True)):
        box = suggest_box(volume, spec)
        offer = f" Place a {scope.box_text} box on it." if box else " Crop the image first."
        raise ScopeError(f"{scope.sentence} This image is {times(extent)} {unit}.{offer}", box)
    if any(e < lo for e, lo in zip(extent, small, strict=True)):
        raise ScopeError(
            f"{scope.sentence} This one is only {times(extent)} {unit}; at least {times(small)} {unit} are needed. "
            "Choose a larger crop."
        )


def middle_sentence(volume: Volume, spec: BundleSpec, box: Box | None = None) -> str:
    """Where the networks are not shown all of the image, or its box: how much, and what to do; else ""."""
    part = volume.crop(box) if box else volume
    order = Reorder.between(part.affine, spec.prepare.orientation)
    size = target_shape(order.affine(part.affine, part.shape), tuple(part.shape[a] for a in order.axes), spec.prepare)
    shown = padded_shape(size, spec.prepare)[: spec.prepare.dims]
    if all(s >= n for s, n in zip(shown, size, strict=False)):
        return ""
    where = f"{times(shown)} voxels{' of each slice' * (spec.prepare.dims == 2)}"
    return (
        f"{spec.name} looks at the middle {where}; what lies further out counts as background. Place a box on "
        "a structure that is not in the middle."
    )


def suggest_box(volume: Volume, spec: BundleSpec) -> Box | None:
    """A box of the bundle's size in the middle of the volume, as source indices."""
    in_mm = spec.prepare.spacing is not None
    wanted = spec.scope.box_mm if in_mm else spec.scope.box_voxels
    if wanted is None:
        return None
    order = Reorder.between(volume.affine, spec.prepare.orientation)
    out: list[tuple[int, int]] = [(0, 0)] * 3
    for size, axis in zip(wanted, order.axes, strict=True):
        n = volume.shape[axis]
        width = min(n, max(1, round(size / (volume.spacing[axis] if in_mm else 1))))
        out[axis] = ((n - width) // 2, (n - width) // 2 + width)
    return out[0], out[1], out[2]
