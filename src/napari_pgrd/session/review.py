"""A review as a folder ``NAME.pgrd``: everything that brings back the same screen, and no pickle.

::

    session.json           image, model, request, states of places, slices seen, times, notes, view; names the rest
    samples-....npz        the prediction's arrays
    locks-....npz          what was locked when they were drawn
    edits-....log          start mask and edit log of a correction (see editlog.py)
    correction-1.nii.gz    its mask for other programs; not read back

Every save writes new files beside the old ones, then replaces session.json in one step, then deletes what it no longer
names. So whenever a save is interrupted, the session.json that stands names a whole review, the earlier or the later.

Neither the image nor its path is in it, and its file name only if the reader wants that: the voxels are known again by
their hash.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_pgrd.engine.errors import ExportError, InputError, require
from napari_pgrd.engine.inside import inside
from napari_pgrd.engine.prediction import Prediction
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.spec import find, read_raw, read_spec
from napari_pgrd.engine.volume import Volume, embed
from napari_pgrd.io.nifti import write_atomically, write_nifti
from napari_pgrd.session.archive import digest
from napari_pgrd.session.correction import Correction, replay
from napari_pgrd.session.editlog import Mask
from napari_pgrd.session.folder import (
    EDITS,
    LOCKS,
    MASKS,
    PRIOR,
    SAMPLES,
    SESSION,
    EditsRecord,
    ImageMark,
    RequestRecord,
    SamplesRecord,
    damaged,
    read_request,
    read_samples,
    read_session,
    sweep,
    write_request,
    write_samples,
    write_session,
)

SUFFIX = ".pgrd"


@dataclass(frozen=True, eq=False)
class Review:
    """A review at one moment.

    Attributes
    ----------
    bundle, bundle_digest : str
        Name of the model bundle and its ``Bundle.digest``; :func:`bundle_mark` gives both.
    places, seen, phases, view
        Plain values that JSON can hold: states of the places, slices seen of each plane, seconds in each phase, and
        what is on the screen (plane, slice, zoom, heat, sample, place). Tuples come back as lists.
    """

    image: ImageMark
    bundle: str
    bundle_digest: str
    request: Request = Request()
    prediction: Prediction | None = None
    corrections: tuple[Correction, ...] = ()
    places: Mapping[str, Any] = field(default_factory=dict)
    seen: Mapping[str, Sequence[int]] = field(default_factory=dict)
    phases: Mapping[str, float] = field(default_factory=dict)
    notes: str = ""
    initials: str = ""
    view: Mapping[str, Any] = field(default_factory=dict)


def bundle_mark(where: str | os.PathLike[str]) -> tuple[str, str]:
    """Name and digest of a bundle, its networks not loaded."""
    return read_spec(where).name, hashlib.sha256(read_raw(find(where) / "bundle.json")).hexdigest()


def save(folder: str | os.PathLike[str], review: Review) -> Path:
    """Write a review, or write it again; ``.pgrd`` is added to a name that lacks it. Returns the folder.

    Raises
    ------
    ExportError
        If it cannot be written, or the folder holds something else; an earlier save stays whole.
    """
    folder = Path(folder)
    folder = folder if folder.suffix == SUFFIX else folder.with_name(folder.name + SUFFIX)
    require(_may_write(folder), ExportError, f"{folder.name} is there and is no saved review. Choose another name.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        kept = tuple(_in_folder(folder, correction) for correction in review.corrections)
        masks = {f"{MASKS}{i}.nii.gz": correction.mask for i, correction in enumerate(kept, 1)}
        for name, mask in masks.items():
            _write_mask(folder / name, mask, review)
        samples = None if review.prediction is None else write_samples(folder, review.prediction)
        request = write_request(folder, review.request)
        write_review(folder, review, request, samples, tuple(_hashed(correction) for correction in kept))
        sweep(folder, read_session(folder).files | set(masks), (SAMPLES, LOCKS, PRIOR, EDITS, MASKS, f"{SESSION}."))
    except OSError as error:
        raise ExportError(
            f"The review could not be saved ({error.strerror}); an earlier save is untouched. "
            "Free some space or choose another folder."
        ) from error
    return folder


def load(folder: str | os.PathLike[str], volume: Volume | None = None, strict: bool = True) -> Review:
    """Read a review back, and check it against ``volume`` if one is given.

    An edit made to its corrections goes straight into the folder's own logs; a window begins an
    :class:`~napari_pgrd.session.autosave.Autosave` with it, which copies them.

    Parameters
    ----------
    strict : bool
        If False, of a damaged review what is whole: without the samples if they are not, and each correction as far as
        its log can be read.

    Raises
    ------
    InputError
        If it is no review, of another version, damaged, or made on another image.
    """
    folder = Path(folder)
    record = read_session(folder)
    if volume is not None:
        record.image.check(volume)
    request, prediction, corrections = Request(), None, []
    with nullcontext() if strict else suppress(InputError):
        request = read_request(folder, record)
    if record.samples is not None:
        with nullcontext() if strict else suppress(InputError):
            prediction = read_samples(folder, record.samples, record)
    for edits in record.corrections:
        with nullcontext() if strict else suppress(InputError):
            corrections.append(_read_edits(folder, edits, record.image.shape, strict))
    return Review(
        record.image,
        record.bundle,
        record.bundle_digest,
        request,
        prediction,
        tuple(corrections),
        record.model_dump(include={"places"})["places"],
        record.seen,
        record.phases,
        record.notes,
        record.initials,
        record.view,
    )


def write_review(
    folder: Path,
    review: Review,
    request: RequestRecord,
    samples: SamplesRecord | None,
    edits: tuple[EditsRecord, ...],
) -> None:
    """Replace ``session.json``; the files that these records name stand already."""
    names = ("image", "bundle", "bundle_digest", "places", "seen", "phases", "notes", "initials", "view")
    plain = {name: getattr(review, name) for name in names}
    write_session(folder, request=request, samples=samples, corrections=edits, **plain)


def copy_correction(folder: Path, correction: Correction) -> Correction:
    """The same correction, going on in a copy of its log in another folder."""
    path = folder / new_log_name()
    content = correction.log.content()  # the reader may go on painting meanwhile
    write_atomically(path, lambda temporary: temporary.write_bytes(content))
    return Correction.open(path, correction.name)


def new_log_name() -> str:
    """A file name that no earlier log has."""
    return f"{EDITS}{secrets.token_hex(8)}.log"


def _may_write(folder: Path) -> bool:
    if not folder.exists():
        return True
    ours = (SAMPLES, LOCKS, PRIOR, EDITS, MASKS, ".")  # without session.json: a first save that was interrupted
    return folder.is_dir() and (
        (folder / SESSION).exists() or all(path.name.startswith(ours) for path in folder.iterdir())
    )


def _in_folder(folder: Path, correction: Correction) -> Correction:
    there = correction.log.path.parent.resolve() == folder.resolve()
    return correction if there else copy_correction(folder, correction)


def _hashed(correction: Correction) -> EditsRecord:
    entries, mask = correction.state()
    return EditsRecord(
        name=correction.name, file=correction.log.path.name, entries=entries, digest=digest({"mask": mask})
    )


def _read_edits(folder: Path, edits: EditsRecord, image: tuple[int, ...], strict: bool) -> Correction:
    if (path := inside(folder, edits.file)) is None:
        raise damaged(folder, edits.file)
    try:
        correction = Correction.open(path, edits.name, image)
        whole = len(correction.log.entries) >= edits.entries
        if strict and edits.digest:
            whole = whole and digest({"mask": replay(correction.log, edits.entries)}) == edits.digest
    except InputError as error:
        raise damaged(folder, edits.file) from error
    if strict and not whole:
        raise damaged(folder, edits.file)
    return correction


def _write_mask(path: Path, mask: Mask, review: Review) -> None:
    image = review.image
    whole = mask if mask.shape == image.shape else embed(mask, review.request.box, image.shape)
    write_nifti(path, whole, Volume(whole[None], np.reshape(image.affine, (4, 4)), image.spacing_known))
