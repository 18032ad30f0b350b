"""The files of a review folder: ``session.json``, which names the others, and arrays that never change."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.given import GivenPrior
from napari_pgrd.engine.locks import Locks
from napari_pgrd.engine.prediction import Prediction
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.store import Store, stacked
from napari_pgrd.engine.volume import Box, Volume, check_affine
from napari_pgrd.io.nifti import write_atomically
from napari_pgrd.io.provenance import RESEARCH_USE, now, versions
from napari_pgrd.session.editlog import sync_folder

SCHEMA = 1
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


def read_session(folder: Path) -> SessionRecord:
    """Read and check ``session.json``.

    Raises
    ------
    InputError
        If the folder is no review, of another version, or damaged.
    """
    try:
        content = json.loads((folder / SESSION).read_bytes())
    except OSError as error:
        raise InputError(
            f"{folder.name} is no saved review: it holds no readable {SESSION}. Choose another folder."
        ) from error
    except (ValueError, RecursionError) as error:
        raise damaged(folder, SESSION) from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version is None:
        raise damaged(folder, SESSION)
    require(
        version == SCHEMA,
        InputError,
        f"{folder.name} was saved by another version of napari-pgrd: its schema is {version!r}, this one reads "
        f"{SCHEMA}. Open it with that version.",
    )
    try:
        record = SessionRecord.model_validate(content)
        check_affine(np.reshape(record.image.affine, (4, 4)))
    except (ValueError, InputError) as error:  # pydantic's is a ValueError
        raise damaged(folder, SESSION) from error
    for name in record.files:
        if name != Path(name).name or not name.startswith((SAMPLES, LOCKS, PRIOR, EDITS)):
            raise damaged(folder, SESSION)
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
    return SamplesRecord(**record, key=_pack(prediction.key), drawn_on=prediction.drawn_on)


def read_samples(folder: Path, record: SamplesRecord) -> Prediction:
    """The prediction exactly as it was, so that further samples may be added to it.

    Raises
    ------
    InputError
        If the file is missing or not as it was written.
    """
    arrays: dict[str, Any] = _read_arrays(folder, record)
    try:
        store = Store()
        arrays["masks"] = tuple(store.keep(mask) for mask in arrays["masks"])
        return Prediction(**arrays, key=_unpack(record.key), drawn_on=record.drawn_on)
    except (KeyError, TypeError, ValueError) as error:
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


def read_request(folder: Path, record: RequestRecord) -> Request:
    """The request as it was; raises as :func:`read_samples` does."""
    plain = {name: getattr(record, name) for name in RequestRecord.model_fields if name != "locks"}
    if record.prior is not None:
        try:
            plain["prior"] = GivenPrior(_read_arrays(folder, record.prior)["values"])
        except (KeyError, InputError) as error:
            raise damaged(folder, record.prior.file) from error
    if record.locks is None:
        return Request(**plain)
    arrays = _read_arrays(folder, record.locks)
    earlier = None if record.locks.earlier is None else read_samples(folder, record.locks.earlier)
    try:
        return Request(**plain, locks=Locks(arrays["mask"], arrays["labels"], arrays.get("region"), earlier))
    except (KeyError, InputError) as error:
        raise damaged(folder, record.locks.file) from error


def _write_arrays(folder: Path, kind: str, arrays: dict[str, Any]) -> dict[str, str]:
    """File name, made from the contents, and hash: an :class:`ArraysRecord`'s fields."""
    record = ArraysRecord(file=f"{kind}{digest(arrays)[:16]}.npz", digest=digest(arrays))
    try:
        _read_arrays(folder, record)
    except InputError:
        write_atomically(folder / record.file, lambda temporary: np.savez_compressed(temporary, **arrays))
    return record.model_dump()


def _read_arrays(folder: Path, record: ArraysRecord) -> dict[str, NDArray[Any]]:
    try:
        with np.load(folder / record.file) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # zipfile and numpy raise a dozen kinds on damaged files
        raise damaged(folder, record.file) from error
    if digest(arrays) != record.digest:
        raise damaged(folder, record.file)
    return arrays


def sweep(folder: Path, keep: set[str], kinds: tuple[str, ...]) -> None:
    """Delete files of these kinds, and what is left of interrupted writes of them, unless named in ``keep``."""
    ours = (*kinds, *(f".{kind}" for kind in kinds))
    for path in folder.iterdir():
        if path.name.startswith(ours) and path.name not in keep and ".torn-" not in path.name:
            path.unlink(missing_ok=True)


def digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Hash of arrays with their names, types and shapes."""
    total = hashlib.blake2b(digest_size=16)
    for name, array in arrays.items():
        total.update(f"{name} {array.dtype.str} {array.shape}".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def damaged(folder: Path, name: str) -> InputError:
    """The error for a file that is not as it was written."""
    masks = sorted(path.name for path in folder.glob(f"{MASKS}*.nii.gz"))
    rescue = f" Masks for other programs are in {', '.join(masks)}." if masks else ""
    return InputError(
        f"{folder.name} is damaged: {name} is missing, cut short or altered. Copy the whole folder again, or open what "
        f"is whole of it.{rescue}"
    )


def times(shape: tuple[int, ...]) -> str:
    """``40 x 56 x 40``."""
    return " x ".join(map(str, shape))


def _pack(value: Any) -> Any:
    """A key as JSON; bytes as hexadecimal."""
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, (tuple, list)):
        return [_pack(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def _unpack(value: Any) -> Any:
    if isinstance(value, dict):
        return bytes.fromhex(value["bytes"])
    return tuple(_unpack(v) for v in value) if isinstance(value, list) else value
