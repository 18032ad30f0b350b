"""From the places of slices to one grid, or a sentence that says why there is none.

With the position ``p_k`` of slice k, the unit vectors ``a`` (column indices grow) and ``d`` (row indices grow) and the
pixel spacing ``(s_a, s_d)``, all LPS and in mm (DICOM PS3.3 C.7.6.2.1.1), pixel (column i, row j, slice k) lies at
``p_k + i s_a a + j s_d d``. A grid has ``p_k = p_0 + k t`` with one step ``t``, which is measured here and taken from
nothing else: neither from the thickness of slices nor from their numbers or names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.volume import Affine
from napari_pgrd.io.dicom.elements import Vector, value_of
from napari_pgrd.io.dicom.frames import Frame

# For files round their geometry:
NEAR = 0.1  # of a voxel: how far a slice may lie off the grid
ALIKE = 2e-4  # how much directions may differ between slices; also pixel spacings, relative to their size
TILT = 0.5  # of a pixel: how far the last slice may lie beside the first, seen along the normal
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def stack(frames: Sequence[Frame], series: str) -> tuple[list[Frame], Affine]:
    """Slices in the order of their places along ``a x d``, and the affine of (column, row, slice) to RAS+ mm.

    A single slice gets a step of 1 mm, which means nothing.

    Raises
    ------
    InputError
        Naming the series and the slice: if sizes, pixel spacings or directions are mixed, slices share a place or are
        missing, steps are unequal, or the gantry was tilted.
    """
    _alike(frames, series)
    first = frames[0]
    across = np.mean([f.across for f in frames], axis=0)
    down = np.mean([f.down for f in frames], axis=0)
    normal = np.cross(across, down)
    normal /= np.linalg.norm(normal)
    ordered = sorted(frames, key=lambda f: float(f.position @ normal))
    places = np.array([f.position for f in ordered])
    step = normal if len(ordered) == 1 else _step(ordered, places, normal, series)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = across * first.spacing[0], down * first.spacing[1]
    affine[:3, 2], affine[:3, 3] = step, places[0]
    return ordered, LPS_TO_RAS @ affine


def _alike(frames: Sequence[Frame], series: str) -> None:
    """A sentence unless all slices have one size, one pixel spacing, one direction and one frame of reference."""
    _one(frames, series, lambda f: f.size, lambda f: f"has {f.size[0]} x {f.size[1]} pixels", "size")
    _one(
        frames,
        series,
        _rounded(lambda f: np.log(f.spacing), frames),
        lambda f: f"has pixels of {f.spacing[0]:.4g} x {f.spacing[1]:.4g} mm",
        "pixel spacing",
    )
    _one(
        frames,
        series,
        _rounded(lambda f: np.concatenate([f.across, f.down]), frames),
        lambda f: "lies in another direction",
        "direction",
    )
    _one(
        frames,
        series,
        lambda f: str(value_of(f.dataset, "FrameOfReferenceUID") or ""),
        lambda f: "lies in another frame of reference",
        "frame of reference",
    )


def _rounded(of: Callable[[Frame], Vector], frames: Sequence[Frame]) -> Callable[[Frame], int]:
    """Which of the first slices that differ from each other a slice is like."""
    kinds: list[Vector] = []
    which: dict[int, int] = {}
    for frame in frames:
        value = of(frame)
        near = [k for k, kind in enumerate(kinds) if float(np.abs(kind - value).max()) <= ALIKE]
        if not near:
            kinds.append(value)
        which[id(frame)] = near[0] if near else len(kinds) - 1
    return lambda frame: which[id(frame)]


def _one(
    frames: Sequence[Frame], series: str, of: Callable[[Frame], Hashable], text: Callable[[Frame], str], what: str
) -> None:
    counts = Counter(of(f) for f in frames)
    if len(counts) == 1:
        return
    usual, other = counts.most_common(1)[0][0], counts.most_common()[-1][0]
    odd = next(f for f in frames if of(f) == other)
    raise InputError(
        f"In {series}, {odd.text} {text(odd)}, unlike {counts[usual]} of the {len(frames)} slices. All slices of a "
        f"volume must have one {what}; remove what does not belong, or export the series again."
    )


def _step(ordered: Sequence[Frame], places: Vector, normal: Vector, series: str) -> Vector:
    heights = places @ normal
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    same = np.flatnonzero(gaps < max(1e-3, 0.01 * usual))
    if len(same):
        one, other = ordered[same[0]], ordered[same[0] + 1]
        raise InputError(
            f"In {series}, {one.text} and {other.text} lie at the same place, as do {len(same)} pairs in all. Echoes, "
            "phases and time points cannot be read together, nor copies of a slice; keep one of each place."
        )
    step: Vector = (places[-1] - places[0]) / (len(places) - 1)
    for k in np.flatnonzero(np.abs(gaps - usual) > NEAR * usual).tolist():
        one, other = ordered[k], ordered[k + 1]
        lack = round(float(gaps[k]) / usual) - 1
        whole = lack > 0 and abs(gaps[k] / usual - lack - 1) <= NEAR
        raise InputError(
            f"In {series}, {one.text} and {other.text} (slices {k + 1} and {k + 2} of {len(ordered)}) lie "
            f"{gaps[k]:.4g} mm apart, but most slices {usual:.4g} mm"
            + (
                f": {lack} {'is' if lack == 1 else 'are'} missing between them. Export the series again, with every "
                "slice."
                if whole
                else ". Slices must be evenly spaced; export or reconstruct the series with one distance."
            )
        )
    along = step / np.linalg.norm(step)
    pixel = min(ordered[0].spacing)
    if np.linalg.norm(step - (step @ normal) * normal) * (len(places) - 1) > TILT * pixel:
        angle = np.degrees(np.arccos(min(1.0, float(along @ normal))))
        raise InputError(
            f"In {series}, every slice is shifted against the one before, from {ordered[0].text} to "
            f"{ordered[-1].text} by {angle:.1f} degrees: the gantry was tilted. Such a volume has no right angles; "
            "reconstruct the series without tilt, or correct the tilt first."
        )
    off = np.linalg.norm(places - (places[0] + np.arange(len(places))[:, None] * step), axis=1)
    worst = int(off.argmax())
    require(
        bool(off[worst] <= NEAR * max(usual, pixel)),
        InputError,
        f"In {series}, {ordered[worst].text} (slice {worst + 1} of {len(ordered)}) lies {off[worst]:.3g} mm beside the "
        "line of the others. Slices must lie on one straight line; export the series again.",
    )
    return step
