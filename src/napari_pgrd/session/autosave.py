"""Running reviews on disk, so that a crash costs at most the stroke under way.

Each review has a folder of its own (see review.py) among the running ones, whose edit logs grow with every edit. A lock
of the operating system on a file in it says that its process runs; the system frees the lock however the process ends.
At the next start :func:`unfinished` finds the folders that nobody holds and nobody ended.

Ending a review or setting one aside only marks it: the folder stays for ``KEPT_DAYS`` and can be resumed until then.
It is deleted when a review begins after that. A review that was never ended is never deleted.

What the viewer does: :meth:`Autosave.begin` with the first correction (or settled place), without the prediction so
that it is quick; ``update(prediction=...)`` in a thread; ``update(places=..., view=...)`` as these change, at its
leisure; :meth:`Autosave.start_correction` for each correction; :meth:`Autosave.finish` when the window is closed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from platformdirs import user_state_path

from napari_pgrd.engine.errors import ExportError, InputError, PgrdError, require
from napari_pgrd.engine.inside import inside
from napari_pgrd.engine.prediction import Prediction
from napari_pgrd.engine.request import Request
from napari_pgrd.session.correction import Correction
from napari_pgrd.session.editlog import EDITS as EDIT_KINDS
from napari_pgrd.session.editlog import EditLog, sync_folder
from napari_pgrd.session.folder import (
    LOCKS,
    PRIOR,
    SAMPLES,
    SESSION,
    EditsRecord,
    RequestRecord,
    SamplesRecord,
    damaged,
    read_session,
    sweep,
    times,
    write_request,
    write_samples,
)
from napari_pgrd.session.review import SUFFIX, Review, bundle_mark, copy_correction, load, new_log_name, write_review

VARIABLE = "NAPARI_PGRD_STATE"  # names another folder for running reviews
KEPT_DAYS = 30  # after the end of a review
LOCK, ENDED = "running.lock", "ended"


@dataclass(frozen=True)
class Left:
    """A review that some process left behind.

    Attributes
    ----------
    last : datetime
        Of the last edit, in UTC; without any, of the last save.
    edits : int
        Strokes, operations, undos and redos, of all its corrections.
    problem : str
        What of it cannot be read; empty if all can.
    """

    folder: Path
    last: datetime
    edits: int = 0
    bundle: str = ""
    shape: tuple[int, ...] = ()
    image: str = ""
    problem: str = ""

    @property
    def sentence(self) -> str:
        """For the reader, in local time."""
        when = self.last.astimezone().strftime("%Y-%m-%d %H:%M")
        if self.problem:
            return f"Review of {when}: {self.problem}"
        name = f"{self.image}, " if self.image else ""
        return (
            f"Review of {when}: {name}{times(self.shape)} voxels, {self.bundle}, "
            f"{self.edits} edit{'s' * (self.edits != 1)}."
        )


def home(where: str | os.PathLike[str] | None = None) -> Path:
    """The folder of running reviews: ``where``, else what ``NAPARI_PGRD_STATE`` names, else the user's state folder."""
    named = where or os.environ.get(VARIABLE)
    return Path(named) if named else user_state_path("napari-pgrd", appauthor=False) / "reviews"


def unfinished(where: str | os.PathLike[str] | None = None) -> list[Left]:
    """Reviews whose process no longer runs and that nobody ended, the newest first; never one of a running window."""
    found = [_describe(folder) for folder in _folders(where) if not (folder / ENDED).exists() and not _held(folder)]
    return sorted(found, key=lambda left: left.last, reverse=True)


def ended(where: str | os.PathLike[str] | None = None) -> list[Left]:
    """Reviews that were finished or set aside and are still kept, the newest first; they can be resumed, too."""
    found = [_describe(folder) for folder in _folders(where) if (folder / ENDED).exists()]
    return sorted(found, key=lambda left: left.last, reverse=True)


def discard(folder: str | os.PathLike[str]) -> None:
    """Set a review aside: it is offered no more, and deleted after ``KEPT_DAYS``.

    Raises
    ------
    InputError
        If a running window holds it.
    """
    lock = _acquire(Path(folder))
    try:
        _mark_ended(Path(folder), "discarded")
    finally:
        lock.release()


class Autosave:
    """The running review of one window, on disk.

    Its methods may be called from any thread; each returns when what it was given is safe.

    Attributes
    ----------
    review : Review
        What the folder holds; its corrections are those to observe.
    problem : str
        After :meth:`resume`, why not everything came back; else empty.
    """

    def __init__(
        self,
        folder: Path,
        lock: FileLock,
        review: Review,
        request: RequestRecord,
        samples: SamplesRecord | None = None,
        problem: str = "",
    ) -> None:
        self.folder, self.review, self.problem = folder, review, problem
        self._lock, self._request, self._samples = lock, request, samples
        self._guard, self._one_at_a_time = threading.Lock(), threading.Lock()

    @classmethod
    def begin(cls, review: Review, where: str | os.PathLike[str] | None = None) -> Autosave:
        """Put a review on disk; corrections that it brings go on in copies of their logs.

        Raises
        ------
        ExportError
            If the folder of running reviews cannot be written.
        """
        root = home(where)
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-")
            folder = Path(tempfile.mkdtemp(prefix=stamp, suffix=SUFFIX, dir=root))  # the user's alone
            lock = _acquire(folder)
            corrections = tuple(copy_correction(folder, correction) for correction in review.corrections)
            self = cls(folder, lock, replace(review, corrections=corrections), write_request(folder, Request()))
            self.update(prediction=review.prediction, request=review.request)
            sync_folder(root)
        except (OSError, ExportError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            why = getattr(cause, "strerror", None) or "no reason given"
            raise ExportError(
                f"Your work is not being saved as you go: the folder of running reviews cannot be written ({why}). "
                f"Set {VARIABLE} to a folder that can, or save the review yourself."
            ) from error
        _prune(root)
        return self

    @classmethod
    def resume(cls, folder: str | os.PathLike[str]) -> Autosave:
        """Take up a review that was left, where its logs end; of a damaged one, what is whole.

        Raises
        ------
        InputError
            If another window holds it, or its session.json cannot be read.
        ExportError
            If it can be read but not written; :func:`~napari_pgrd.session.review.load` then still opens it.
        """
        folder = Path(folder)
        lock = _acquire(folder)
        try:
            record, problem = read_session(folder), ""
            try:
                review = load(folder)
            except InputError as error:
                review, problem = load(folder, strict=False), str(error)
            for correction in review.corrections:
                correction.record("resume", dropped_bytes=correction.log.dropped)
            with suppress(OSError):  # a folder of that name: it counts as ended, and no more
                (folder / ENDED).unlink(missing_ok=True)
        except BaseException:
            lock.release()
            raise
        return cls(folder, lock, review, record.request, record.samples, problem)

    def start_correction(
        self, mask: NDArray[np.integer], source: str = "consensus", name: str = "Correction"
    ) -> Correction:
        """Begin a correction whose log lies in the folder; see :meth:`Correction.begin`."""
        correction = Correction.begin(self.folder / new_log_name(), mask, source, name)
        with self._guard:
            self._write(corrections=(*self.review.corrections, correction))
        return correction

    def update(self, **changes: Any) -> None:
        """Replace attributes of the review, as ``update(places=..., view=...)``; edits need none of this.

        The arrays of a prediction, and of what a request locks, are written once. Large ones take seconds, so give
        those in a thread.

        Raises
        ------
        ExportError
            If it cannot be written; the folder holds the earlier state.
        InputError
            If a value is none that JSON can hold.
        """
        if not changes.keys() & {"prediction", "request"}:
            with self._guard:
                self._write(**changes)
            return
        with self._one_at_a_time:
            prediction: Prediction | None = changes.get("prediction", self.review.prediction)
            samples = None if prediction is None else write_samples(self.folder, prediction)
            request = write_request(self.folder, changes.get("request", self.review.request))
            with self._guard:
                self._samples, self._request = samples, request
                self._write(**changes)
                sweep(self.folder, read_session(self.folder).files, (SAMPLES, LOCKS, PRIOR))

    def put_samples(self, bundle: str, prediction: Prediction, request: Request) -> None:
        """Replace the samples, and name the model that drew them: it may be another than a correction began with."""
        name, digest = bundle_mark(bundle)
        self.update(bundle=name, bundle_digest=digest, prediction=prediction, request=request)

    def finish(self) -> None:
        """Mark the review as ended, and let go of it."""
        for correction in self.review.corrections:
            correction.close()
        _mark_ended(self.folder, "finished")
        self._lock.release()

    def leave(self) -> None:
        """Let go of the review without ending it: the next start offers it."""
        for correction in self.review.corrections:
            correction.close()
        self._lock.release()

    def _write(self, **changes: Any) -> None:
        review = replace(self.review, **changes)
        edits = tuple(
            EditsRecord(name=c.name, file=c.log.path.name, entries=len(c.log.entries)) for c in review.corrections
        )
        write_review(self.folder, review, self._request, self._samples, edits)
        self.review = review


def _folders(where: str | os.PathLike[str] | None) -> list[Path]:
    """Those in which a review was begun: before session.json stands, nothing could be painted."""
    return [path.parent for path in home(where).glob(f"*{SUFFIX}/{SESSION}")]


def _acquire(folder: Path) -> FileLock:
    require(folder.is_dir(), InputError, "That review is no longer there. Choose another.")
    plain = not (folder / LOCK).is_symlink() and (not (folder / LOCK).exists() or (folder / LOCK).is_file())
    require(plain, InputError, f"That review cannot be taken up: its {LOCK} is no file. Remove it, then try again.")
    lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise InputError("Another window is working on that review. Go on there, or close it first.") from error
    except OSError as error:
        raise ExportError(
            f"The folder of that review cannot be written ({error.strerror}). Allow writing there, or open the review "
            "as a file and save it elsewhere."
        ) from error
    return lock


def _held(folder: Path) -> bool:
    try:
        _acquire(folder).release()
    except InputError:
        return True
    except ExportError:
        pass  # offered all the same: it can be read
    return False


def _mark_ended(folder: Path, how: str) -> None:
    try:
        (folder / ENDED).unlink(missing_ok=True)  # were it a link, what it leads to would be written
        with open(folder / ENDED, "x", encoding="utf-8") as stream:
            stream.write(f"{how} {datetime.now(UTC).isoformat(timespec='seconds')}\n")
            stream.flush()
            os.fsync(stream.fileno())
        sync_folder(folder)
    except OSError as error:
        raise ExportError(
            f"That review could not be marked as ended ({error.strerror}), so it will be offered again. "
            "Allow writing to its folder."
        ) from error


def _describe(folder: Path) -> Left:
    """What can be said without reading the arrays of the samples."""
    last = datetime.fromtimestamp((folder / SESSION).stat().st_mtime, UTC)
    try:
        record = read_session(folder)
        logs = [_log(folder, edits, record.image.shape) for edits in record.corrections]
    except PgrdError as error:
        return Left(folder, last, problem=str(error))
    last = max([last, *(log.began + timedelta(seconds=log.entries[-1].seconds) for log in logs)])
    edits = sum(entry.kind in EDIT_KINDS for log in logs for entry in log.entries)
    return Left(folder, last, edits, record.bundle, record.image.shape, record.image.name)


def _log(folder: Path, edits: EditsRecord, image: tuple[int, ...]) -> EditLog:
    if (path := inside(folder, edits.file)) is None:
        raise damaged(folder, edits.file)
    return EditLog.open(path, image)


def _prune(root: Path) -> None:
    """Delete what was ended, or left before it held anything, more than ``KEPT_DAYS`` ago."""
    oldest = time.time() - KEPT_DAYS * 86400
    for folder in root.glob(f"*{SUFFIX}"):
        mark = folder / ENDED
        over = mark.exists() or not (folder / SESSION).exists()
        if over and (mark if mark.exists() else folder).stat().st_mtime < oldest and not _held(folder):
            shutil.rmtree(folder, ignore_errors=True)
