"""Somebody else's DICOM Segmentation as label values on an image, voxel by voxel.

Frames may come in any order, cover part of the slices or part of each, and lie in planes other than the image's own;
their pixels must lie on its voxels, so nothing is interpolated. Segments are told by their names, else by their codes,
else, where neither says anything, by their numbers; see :func:`_told`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.spec import BundleSpec
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.dicom.elements import items, value_of, whole
from napari_pgrd.io.dicom.files import quiet, read_object
from napari_pgrd.io.dicom.frames import Frame, frames_of
from napari_pgrd.io.dicom.lattice import Where, place, turned
from napari_pgrd.io.dicom.pixels import DECODERS, StoredPixels, check_claims
from napari_pgrd.io.dicom.source import DicomSource
from napari_pgrd.io.nifti import MAX_VOXELS

if TYPE_CHECKING:
    from pydicom import Dataset

SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # the second is the label map's
THRESHOLD = 0.5  # of FRACTIONAL: from this share on, a voxel belongs to the segment with the largest
NAMED = 8  # segments that a sentence lists


@dataclass(frozen=True, eq=False)
class Segments:
    """What a segmentation says of an image.

    Attributes
    ----------
    values : numpy.ndarray
        ``(x, y, z)`` uint8: the bundle's label values on the whole grid of the volume.
    made : str
        "AUTOMATIC", "SEMIAUTOMATIC" or "MANUAL": the first of these that any of its segments is; "" if unsaid.
    note : str
        What the reader should know about how it was read: a sentence, or nothing.
    """

    values: NDArray[np.uint8]
    made: str = ""
    note: str = ""


def read_seg(path: str | os.PathLike[str], volume: Volume, spec: BundleSpec) -> Segments:
    """Read a BINARY, LABELMAP or FRACTIONAL segmentation of an image.

    Raises
    ------
    InputError
        If the file is no readable segmentation, belongs to another frame of reference or grid, names segments that the
        bundle does not know, or has a voxel in two of them.
    """
    path = Path(path)
    name = path.name
    dataset = read_object(path)
    with quiet():
        require(
            dataset is not None and _text(dataset, "SOPClassUID") in SEGMENTATIONS,
            InputError,
            f"{name} is no readable DICOM Segmentation. Give one, or a NIfTI mask of this image.",
        )
        assert dataset is not None
        _same_place(dataset, volume, name)
        segments = {whole(value_of(item, "SegmentNumber")): item for item in items(dataset, "SegmentSequence")}
        kind = _text(dataset, "SegmentationType")
        require(
            bool(segments) and None not in segments and bool(kind),
            InputError,
            f"{name} does not describe its segments. The file is damaged; export it again.",
        )
        described = {number: item for number, item in segments.items() if number is not None}
        numbers = {n: item for n, item in described.items() if not _is_background(n, item, kind)}
        told, note = _told(numbers, spec, name)
        frames = frames_of(dataset, path, f"the segmentation {name}")
        pixels = _pixels(dataset, frames, name)
        places = [place(frame, volume, name) for frame in frames]
        if kind == "LABELMAP":
            empty = {0, whole(value_of(dataset, "PixelPaddingValue")) or 0}
            values = _from_label_map(pixels, places, told, {*described, *empty}, volume, name)
        else:
            values, cut = _from_frames(dataset, kind, pixels, places, told, volume, name)
            note = f"{note} {cut}".strip()
    made = {_text(described[number], "SegmentAlgorithmType") for number in told}
    strongest = next((how for how in ("AUTOMATIC", "SEMIAUTOMATIC", "MANUAL") if how in made), "")
    return Segments(values, strongest, note)


# ---- which segment is which label


def _is_background(number: int, item: Dataset, kind: str) -> bool:
    return kind == "LABELMAP" and (number == 0 or _code(item, "SegmentedPropertyTypeCodeSequence") == ("DCM", "125040"))


def _told(segments: Mapping[int, Dataset], spec: BundleSpec, name: str) -> tuple[dict[int, int], str]:
    """The label value of each segment that the bundle knows, and what to say about it.

    By name (capitals and blanks do not count); a segment of another name by its code with modifiers, where one label
    alone has that code. If nothing is found so, by number, if all numbers are label values: the reader is told.
    """
    names = {label.name.casefold().strip(): label.value for label in spec.labels[1:]}
    codes: dict[tuple[object, ...], list[int]] = {}
    for label in spec.labels[1:]:
        if label.coded is not None:
            codes.setdefault(label.coded.key, []).append(label.value)
    told: dict[int, int] = {}
    said = {number: _name(number, item) for number, item in segments.items()}
    for number, item in segments.items():
        coded = codes.get(_key(item), [])
        value = names.get(_text(item, "SegmentLabel").casefold())
        if value is None and len(coded) == 1:
            value = coded[0]
        if value is not None:
            told[number] = value
    of = {label.value: label.name for label in spec.labels}
    if told:
        rest = [said[number] for number in segments if number not in told]
        note = f"Its segments {_list(rest)} are no labels of {spec.name} and were left out." if rest else ""
        return told, note
    if segments and set(segments) <= set(of) - {0}:
        pairs = [f"{said[number]} as {of[number]}" for number in sorted(segments)]
        return {number: number for number in segments}, f"Its segments were told by number: {_list(pairs)}."
    known = ", ".join(label.name for label in spec.labels[1:])
    raise InputError(
        f"{name} holds the segments {_list(list(said.values())) or 'none'}; none is a label of the model {spec.name} "
        f"by name, code or number. It knows {known}. Rename the segments, or choose the model that they belong to."
    )


def _name(number: int, item: Dataset) -> str:
    return f"{number} {_text(item, 'SegmentLabel')}".strip()


def _list(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (" ..." if len(names) > NAMED else "")


def _key(item: Dataset) -> tuple[object, ...]:
    types = items(item, "SegmentedPropertyTypeCodeSequence")
    modifiers = items(types[0], "SegmentedPropertyTypeModifierCodeSequence") if types else []
    return (_code(item, "SegmentedPropertyTypeCodeSequence"), frozenset(_pair(code) for code in modifiers))


def _code(item: Dataset, keyword: str) -> tuple[str, str]:
    sequence = items(item, keyword)
    return _pair(sequence[0]) if sequence else ("", "")


def _pair(code: Dataset) -> tuple[str, str]:
    return _text(code, "CodingSchemeDesignator").upper(), _text(code, "CodeValue")


def _text(dataset: Dataset, keyword: str) -> str:
    value = value_of(dataset, keyword)
    return "" if value is None else str(value).strip()


def _same_place(dataset: Dataset, volume: Volume, name: str) -> None:
    source = volume.source
    mine = _text(dataset, "FrameOfReferenceUID")
    theirs = source.frame_of_reference_uid if isinstance(source, DicomSource) else ""
    require(
        not mine or not theirs or mine == theirs,
        InputError,
        f"{name} belongs to another frame of reference than the image, so places in the two cannot be compared. Give a "
        "segmentation of this series or study.",
    )
    require(
        bool(theirs) or volume.spacing_known,
        InputError,
        "The image does not say where it lies, so a DICOM Segmentation cannot be laid on it. Open the DICOM series.",
    )


# ---- what they hold


def _pixels(dataset: Dataset, frames: list[Frame], name: str) -> NDArray[Any]:
    """``(frame, row, column)`` stored values."""
    columns, rows = frames[0].size
    what = f"the segmentation {name}"
    if whole(value_of(dataset, "BitsAllocated")) == 1:
        return _bits(dataset, len(frames), rows, columns, name)
    check_claims(frames, what)
    out, held = np.empty((len(frames), rows, columns), np.uint16), StoredPixels(dataset)
    for plane, frame in zip(out, frames, strict=True):
        stored = held.of(frame, f"In {what}, {frame.text}")
        require(
            stored.dtype.kind in "iu" and int(stored.min()) >= 0 and int(stored.max()) < 2**16,
            InputError,
            f"{name} holds pixels that are no segment numbers or fractions. The file is damaged; export it again.",
        )
        plane[:] = stored
    return out


def _bits(dataset: Dataset, frames: int, rows: int, columns: int, name: str) -> NDArray[Any]:
    """Of a segmentation with one bit a pixel, which are never compressed and run on from frame to frame."""
    size, packed = frames * rows * columns, value_of(dataset, "PixelData")
    native = not dataset.file_meta.TransferSyntaxUID.is_compressed and dataset.file_meta.TransferSyntaxUID in DECODERS
    require(
        native and isinstance(packed, bytes) and size <= min(MAX_VOXELS, 8 * len(packed)),
        InputError,
        f"{name} claims {frames} frames of {columns} x {rows} pixels, which its bytes cannot hold, or over a limit of "
        f"{MAX_VOXELS}. The file is cut off or damaged; export it again.",
    )
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=size, bitorder="little")
    return bits.reshape(frames, rows, columns)


def _all_inside(plane: NDArray[Any], block: NDArray[Any], name: str) -> None:
    outside = int(np.count_nonzero(plane)) - int(np.count_nonzero(block))
    require(
        outside == 0,
        InputError,
        f"{name} marks {outside} pixels of a slice outside the image, so it was drawn on a larger one. Open that "
        "image, or crop the segmentation to this one.",
    )


def _from_label_map(
    pixels: NDArray[Any],
    places: list[Where],
    told: Mapping[int, int],
    described: set[int],
    volume: Volume,
    name: str,
) -> NDArray[np.uint8]:
    stray = set(np.unique(pixels).tolist()) - described
    require(
        not stray,
        InputError,
        f"{name} marks voxels with the numbers {_list([str(n) for n in sorted(stray)])}, which none of its segments "
        "has. The file is damaged; export it again.",
    )
    table = np.zeros(int(pixels.max(initial=0)) + 1, np.uint8)
    for number, value in told.items():
        if number < len(table):
            table[number] = value
    values = np.zeros(volume.shape, np.uint8)
    for plane, where in zip(pixels, places, strict=True):
        labels = table[plane]
        block = turned(labels, where)
        _all_inside(labels, block, name)
        values[where[0]] = np.where(block > 0, block, values[where[0]])
    return values


def _from_frames(
    dataset: Dataset,
    kind: str,
    pixels: NDArray[Any],
    places: list[Where],
    told: Mapping[int, int],
    volume: Volume,
    name: str,
) -> tuple[NDArray[np.uint8], str]:
    require(kind in ("BINARY", "FRACTIONAL"), InputError, f"{name} is a segmentation of an unknown kind, {kind}.")
    fractional = kind == "FRACTIONAL"
    full = (whole(value_of(dataset, "MaximumFractionalValue")) or 255) if fractional else 1
    values = np.zeros(volume.shape, np.uint8)
    best = np.zeros(volume.shape, pixels.dtype)
    for plane, where, number in zip(pixels, places, _numbers(dataset, len(pixels), name), strict=True):
        if number not in told:
            continue
        held = np.where(plane >= THRESHOLD * full, plane, 0) if fractional else plane
        block = turned(held, where)
        _all_inside(held, block, name)
        mine = block > best[where[0]]
        both = (block > 0) & ~mine & (values[where[0]] != told[number])
        if not fractional and (shared := int(both.sum())):
            raise InputError(
                f"In {name} at least {shared} voxels belong to two segments at once, and a voxel here has one label. "
                "Decide in the program that made it which comes first, and export it again."
            )
        values[where[0]] = np.where(mine, told[number], values[where[0]])
        best[where[0]] = np.maximum(block, best[where[0]])
    cut = f"It holds fractions: a voxel is taken from {THRESHOLD:g} on, by the largest of its segments."
    return values, cut if fractional else ""


def _numbers(dataset: Dataset, frames: int, name: str) -> Iterator[int]:
    """The segment number of each frame."""
    shared = items(dataset, "SharedFunctionalGroupsSequence")
    every = items(dataset, "PerFrameFunctionalGroupsSequence")
    for index in range(frames):
        number = None
        for group in (*every[index : index + 1], *shared[:1]):
            for item in items(group, "SegmentIdentificationSequence")[:1]:
                number = whole(value_of(item, "ReferencedSegmentNumber")) if number is None else number
        if number is None:
            raise InputError(f"{name} does not say which segment a frame is of. The file is damaged; export it again.")
        yield number
