"""Does this image fit this bundle? A sentence and, where it helps, a box, before anything runs."""

from __future__ import annotations

import numpy as np

from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.engine.volume import Box, Reorder, Volume

CT_AIR = -200.0  # no MR image reaches below; every CT with air in it does


class ScopeError(InputError):
    """The image is not what the bundle was made for; ``box`` is where a crop could start, if a crop would help."""

    def __init__(self, sentence: str, box: Box | None = None) -> None:
        super().__init__(sentence)
        self.box = box


def check_scope(volume: Volume, spec: BundleSpec, box: Box | None = None) -> None:
    """Raise :class:`ScopeError` unless the image (or its box) is one the bundle can be asked about."""
    part = volume.crop(box) if box else volume
    _check_channels(part, spec)
    _check_values(part, spec)
    _check_size(volume, part, spec)


def _check_channels(part: Volume, spec: BundleSpec) -> None:
    have, want = part.data.shape[0], len(spec.channels)
    if have != want:
        raise ScopeError(
            f"{spec.name} needs {want} channel{'s' * (want != 1)} ({', '.join(spec.channels)}), but the "
            f"image has {have}. "
            "Choose another image or bundle."
        )


def _check_values(part: Volume, spec: BundleSpec) -> None:
    if not np.isfinite(part.data).all():
        raise ScopeError(
            "The image holds voxels that are NaN or infinite. Replace them by a finite value, then try again."
        )
    if float(np.ptp(part.data)) == 0:
        raise ScopeError("The image is constant, so there is nothing to segment. Choose another image or another box.")
    low = float(part.data.min())
    if spec.scope.intensity == "mri" and low < CT_AIR:
        raise ScopeError(
            f"Values down to {low:.0f} look like CT numbers, but {spec.name} was trained on {spec.modality}. "
            "Choose an MR image, or a bundle made for CT."
        )
    if spec.scope.intensity == "ct" and low >= 0:
        raise ScopeError(
            f"No value is below 0, so these are no CT numbers, but {spec.name} was trained on {spec.modality}. "
            "Choose a CT image."
        )


def _check_size(volume: Volume, part: Volume, spec: BundleSpec) -> None:
    if spec.prepare.spacing is None or spec.scope.field_of_view_mm is None:
        return
    if not part.spacing_known:
        raise ScopeError(
            f"The image states no voxel size, but {spec.name} was trained at "
            f"{_times(spec.prepare.spacing)} mm. Open a file that holds its spacing in mm."
        )
    order = Reorder.between(part.affine, spec.prepare.orientation)
    extent = tuple(part.extent_mm[a] for a in order.axes)
    small, large = spec.scope.field_of_view_mm
    if any(e > hi for e, hi in zip(extent, large, strict=True)):
        box = suggest_box(volume, spec)
        offer = f" Place a {_times(spec.scope.box_mm)} mm box on it." if spec.scope.box_mm else " Crop the image first."
        raise ScopeError(f"{spec.scope.sentence} This image is {_times(extent)} mm.{offer}", box)
    if any(e < lo for e, lo in zip(extent, small, strict=True)):
        raise ScopeError(
            f"{spec.scope.sentence} This one is only {_times(extent)} mm; at least {_times(small)} mm are needed. "
            "Choose a larger crop."
        )


def suggest_box(volume: Volume, spec: BundleSpec) -> Box | None:
    """A box of the bundle's size in the middle of the volume, as source indices."""
    if spec.scope.box_mm is None:
        return None
    order = Reorder.between(volume.affine, spec.prepare.orientation)
    out: list[tuple[int, int]] = [(0, 0)] * 3
    for size, axis in zip(spec.scope.box_mm, order.axes, strict=True):
        n = volume.shape[axis]
        width = min(n, max(1, round(size / volume.spacing[axis])))
        out[axis] = ((n - width) // 2, (n - width) // 2 + width)
    return out[0], out[1], out[2]


def _times(sizes: tuple[float, ...] | None) -> str:
    return " x ".join(f"{s:.0f}" if float(s).is_integer() or s >= 10 else f"{s:.1f}" for s in sizes or ())
