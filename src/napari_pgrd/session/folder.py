"""The files of a review folder: ``session.json``, which names the others, and arrays that never change."""

from __future__ import annotations

import json
import math
import reprlib
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.given import GivenPrior
from napari_pgrd.engine.inside import inside
from napari_pgrd.engine.locks import Locks
from napari_pgrd.engine.prediction import Prediction
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.store import Store, stacked
from napari_pgrd.engine.volume import Box, Volume, check_affine, check_box
from napari_pgrd.io.nifti import MAX_VOXELS, write_atomically
from napari_pgrd.io.provenance import RESEARCH_USE, now, versions
from napari_pgrd.session.archive import check_prediction, digest, fits, pack, read_archive, unpack
from napari_pgrd.session.editlog import sync_folder

SCHEMA = 1
MOST_BYTES = 2**26  # of session.json
PlaceState = Literal["open", "accepted", "changed", "deferred"]
SESSION = "session.json"
# How the names of the other files begin.
SAMPLES, LOCKS, PRIOR, EDITS, MASKS = "samples-", "locks-", "prior-", "edits-", "correction-"
_ARRAYS = tuple(f.name for f in fields(Prediction) if f.name not in ("key", "drawn_on"))
_versions = cache(versions)  # looking them up takes longer than writing session.json


@dataclass(frozen=True)
class ImageMark:
    """How an image is known again: by its voxels and where they lie, not by its name.

    Attributes
    ----------
    digest : str
        ``Volume.digest``.
    affine : tuple
        Sixteen numbers, row by row.
    name : str
        The file's name, empty unless the reader agrees to keep it.
    """

    digest: str
    shape: tuple[int, int, int]
    affine: tuple[float, ...]
    spacing_known: bool
    name: str = ""

    @classmethod
    def of(cls, volume: Volume, name: str = "") -> ImageMark:
        """Of a volume; ``name`` is kept only if given."""
        affine = tuple(float(v) for v in volume.affine.ravel())
        return cls(volume.digest, volume.shape, affine, volume.spacing_known, name)

    def check(self, volume: Volume) -> None:
        """Raise an InputError unless the volume is this image."""
        same = volume.shape == self.shape and np.allclose(volume.affine.ravel(), self.affine, atol=1e-3)
        require(
            same and volume.digest == self.digest,
            InputError,
            f"This review was made on another image: {times(self.shape)} voxels with other contents or another "
            f"position than the {times(volume.shape)} voxels given. Open the image that the review was made on.",
        )


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ArraysRecord(_Model):
    """A file of arrays, and the hash of these."""

    file: str
    digest: str


class SamplesRecord(ArraysRecord):
    """A prediction; ``key`` is ``Prediction.key``, and so is ``drawn_on``."""

    key: Any
    drawn_on: tuple[str, str] | None = None


class LocksRecord(ArraysRecord):
    """What was locked, and the samples that stay outside the region."""

    earlier: SamplesRecord | None


class RequestRecord(_Model):
    """A request, field by field."""

    samples: int | None
    steps: int | None
    seed: int
    solver: str | None
    eta: float | None
    device: str
    box: Box | None
    batch: int | None
    locks: LocksRecord | None
    lock_method: str | None
    method: str | None = None
    prior: ArraysRecord | None = None


class EditsRecord(_Model):
    """The log of a correction, how many entries it has at least, and the hash of the mask after them if it is known."""

    name: str
    file: str
    entries: int
    digest: str = ""


class KeptPlace(_Model):
    """A place that the samples no longer make, with what the reader decided: see ``Places.record``."""

    state: PlaceState
    name: str
    classes: tuple[int, ...]
    box: Box
    voxels: tuple[int, ...]
    centre: tuple[int, int, int]
    stake: float
    unit: str

    @model_validator(mode="after")
    def _inside(self) -> KeptPlace:
        if any(not 0 <= lo < hi for lo, hi in self.box):
            raise ValueError("a place has no extent")
        if not self.voxels or not 0 <= min(self.voxels) <= max(self.voxels) < math.prod(hi - lo for lo, hi in self.box):
            raise ValueError("a place's voxels lie outside its box")
        return self


class SessionRecord(_Model):
    """The contents of ``session.json``."""

    schema_version: int = SCHEMA
    note: str = RESEARCH_USE
    date: str
    versions: dict[str, str]
    image: ImageMark
    bundle: str
    bundle_digest: str
    request: RequestRecord
    samples: SamplesRecord | None
    corrections: tuple[EditsRecord, ...]
    places: dict[str, PlaceState | KeptPlace]
    seen: dict[str, list[int]]
    phases: dict[str, float]
    notes: str
    initials: str
    view: dict[str, Any]

    @property
    def files(self) -> set[str]:
        """Names of the files it needs."""
        locks = self.request.locks
        records = (self.samples, locks, locks and locks.earlier, self.request.prior, *self.corrections)
        return {record.file for record in records if record is not None}

    def check(self) -> None:
        """A ValueError or InputError if it names no image, or no files of a review."""
        shape, box, named = self.image.shape, self.request.box, (self.image.name, self.bundle)
        if min(shape) < 1 or math.prod(shape) > MAX_VOXELS or not all(t.isprintable() and len(t) <= 300 for t in named):
            raise ValueError("no image")
        check_affine(np.reshape(self.image.affine, (4, 4)))
        if box is not None:
            check_box(box, shape)
        if not all(name.startswith((SAMPLES, LOCKS, PRIOR, EDITS)) for name in self.files):
            raise ValueError("no files of a review")


def read_session(folder: Path) -> SessionRecord:
    """Read and check ``session.json``.

    Raises
    ------
    InputError
        If the folder is no review, of another version, or damaged.
    """
    path, none = inside(folder, SESSION), f"{folder.name} is no saved review: it holds no readable {SESSION}."
    try:
        require(path is not None, InputError, f"{none} Choose another folder.")
        assert path is not None
        require(path.stat().st_size <= MOST_BYTES, InputError, f"{none} It is too large to be one. Choose another.")
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{none} Choose another folder.") from error
    except (ValueError, RecursionError) as error:
        raise damaged(folder, SESSION) from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version is None:
        raise damaged(folder, SESSION)
    require(
        version == SCHEMA,
        InputError,
        f"{folder.name} was saved by another version of napari-pgrd: its schema is {reprlib.repr(version)}, this one "
        f"reads {SCHEMA}. Open it with that version.",
    )
    try:
        record = SessionRecord.model_validate(content)
        record.check()
    except (ValueError, InputError, RecursionError) as error:  # pydantic's is a ValueError
        raise damaged(folder, SESSION) from error
    return record


def write_session(folder: Path, **content: Any) -> None:
    """Replace ``session.json`` in one step; the files that it names must stand already."""
    try:
        record = SessionRecord(date=now(), versions=_versions(), **content)
        text = json.dumps(record.model_dump(mode="json"), indent=1) + "\n"
    except (ValidationError, ValueError, TypeError) as error:
        raise InputError(f"The review holds something that cannot be saved: {error}.") from error
    write_atomically(folder / SESSION, lambda path: path.write_text(text, encoding="utf-8"))
    sync_folder(folder)


def write_samples(folder: Path, prediction: Prediction) -> SamplesRecord:
    """Write a prediction's arrays, unless the folder has them whole."""
    arrays = {name: getattr(prediction, name) for name in _ARRAYS}
    arrays["masks"] = stacked(prediction.masks) if prediction.masks else np.asarray(prediction.masks)
    record = _write_arrays(folder, SAMPLES, arrays)
    return SamplesRecord(**record, key=pack(prediction.key), drawn_on=prediction.drawn_on)


def read_samples(folder: Path, record: SamplesRecord, session: SessionRecord) -> Prediction:
    """The prediction exactly as it was, so that further samples may be added to it.

    Raises
    ------
    InputError
        If the file is missing or not as it was written.
    """
    arrays: dict[str, Any] = _read_arrays(folder, record, math.prod(session.image.shape))
    try:
        prediction = Prediction(**arrays, key=unpack(record.key), drawn_on=record.drawn_on)
        check_prediction(prediction, session.image.shape)
        store = Store()
        return replace(prediction, masks=tuple(store.keep(mask) for mask in prediction.masks))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise damaged(folder, record.file) from error


def write_request(folder: Path, request: Request) -> RequestRecord:
    """A request for ``session.json``, with what it locks, and a prior that was given, in files."""
    plain: dict[str, Any] = {name: getattr(request, name) for name in RequestRecord.model_fields if name != "locks"}
    locks, given = request.locks, request.prior
    plain["prior"] = None if given is None else _write_arrays(folder, PRIOR, {"values": given.values})
    if locks is None:
        return RequestRecord(**plain, locks=None)
    arrays = {"mask": locks.mask, "labels": locks.labels}
    arrays |= {} if locks.region is None else {"region": locks.region}
    earlier = None if locks.earlier is None else write_samples(folder, locks.earlier)
    return RequestRecord(**plain, locks=LocksRecord(**_write_arrays(folder, LOCKS, arrays), earlier=earlier))


def read_request(folder: Path, session: SessionRecord) -> Request:
    """The request as it was; raises as :func:`read_samples` does."""
    record, voxels = session.request, math.prod(session.image.shape)
    plain = {name: getattr(record, name) for name in RequestRecord.model_fields if name != "locks"}
    if record.prior is not None:
        try:
            plain["prior"] = GivenPrior(_read_arrays(folder, record.prior, voxels)["values"])
        except (KeyError, InputError) as error:
            raise damaged(folder, record.prior.file) from error
    if record.locks is None:
        return Request(**plain)
    arrays = _read_arrays(folder, record.locks, voxels)
    earlier = None if record.locks.earlier is None else read_samples(folder, record.locks.earlier, session)
    try:
        locks = Locks(arrays["mask"], arrays["labels"], arrays.get("region"), earlier)
        if not fits(locks.mask.shape, session.image.shape):
            raise ValueError("locks on another grid")
        return Request(**plain, locks=locks)
    except (KeyError, TypeError, ValueError, InputError) as error:
        raise damaged(folder, record.locks.file) from error


def _write_arrays(folder: Path, kind: str, arrays: dict[str, Any]) -> dict[str, str]:
    """File name, made from the contents, and hash: an :class:`ArraysRecord`'s fields."""
    record = ArraysRecord(file=f"{kind}{digest(arrays)[:16]}.npz", digest=digest(arrays))
    try:
        _read_arrays(folder, record, sum(array.nbytes for array in arrays.values()))
    except InputError:
        write_atomically(folder / record.file, lambda temporary: np.savez_compressed(temporary, **arrays))
    return record.model_dump()


def _read_arrays(folder: Path, record: ArraysRecord, voxels: int) -> dict[str, NDArray[Any]]:
    path = inside(folder, record.file)
    if path is None:
        raise damaged(folder, record.file)
    try:
        arrays = read_archive(path, voxels)
        same = digest(arrays) == record.digest
    except Exception as error:  # zipfile and numpy raise a dozen kinds on damaged files
        raise damaged(folder, record.file) from error
    if not same:
        raise damaged(folder, record.file)
    return arrays


def sweep(folder: Path, keep: set[str], kinds: tuple[str, ...]) -> None:
    """Delete files of these kinds, and what is left of interrupted writes of them, unless named in ``keep``."""
    ours = (*kinds, *(f".{kind}" for kind in kinds))
    for path in folder.iterdir():
        kept = path.name in keep or ".torn-" in path.name or (path.is_dir() and not path.is_symlink())
        if path.name.startswith(ours) and not kept:
            path.unlink(missing_ok=True)


def damaged(folder: Path, name: str) -> InputError:
    """The error for a file that is not as it was written."""
    masks = sorted(path.name for path in folder.glob(f"{MASKS}*.nii.gz") if path.name.isprintable())[:8]
    name = name[:60] if name.isprintable() else "a file"
    rescue = f" Masks for other programs are in {', '.join(masks)}." if masks else ""
    return InputError(
        f"{folder.name} is damaged: {name} is missing, cut short or altered. Copy the whole folder again, or open what "
        f"is whole of it.{rescue}"
    )


def times(shape: tuple[int, ...]) -> str:
    """``40 x 56 x 40``."""
    return " x ".join(map(str, shape))
