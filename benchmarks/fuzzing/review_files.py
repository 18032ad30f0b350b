"""Hostile reviews: session files, arrays, edit logs; signed anew where something states a hash or a checksum."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tests.session.drawn import prediction
from tests.session.reviews import GRID, make_review, make_volume

from fuzzing import mutators
from fuzzing.review_logs import log, log_of, named, parts_of, records
from napari_pgrd.engine.errors import PgrdError
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.nifti import read_volume
from napari_pgrd.io.samples import sample_cases
from napari_pgrd.session.archive import digest, fits
from napari_pgrd.session.autosave import Autosave, unfinished
from napari_pgrd.session.correction import Correction
from napari_pgrd.session.folder import SESSION
from napari_pgrd.session.review import ImageMark, Review, load, save


class Family:
    """A small review with everything in it, and one of a sample case."""

    name = "review"

    def __init__(self, folder: Path, canary: Path, linked: Path, data: Path | None) -> None:
        self.values, self.canary = mutators.pool(), canary
        small = save(folder / "small.pgrd", make_review(folder / "small logs"))
        case = read_volume(sample_cases()[0].image)
        masks = [(case.data[0] > np.percentile(case.data, p)).astype(np.uint8) for p in (90, 93, 95)]
        log = Correction.begin(folder / "real.log", masks[0])
        log.observe(masks[1], new=True)
        log.observe(masks[2], new=True)
        real = Review(
            ImageMark.of(case), "hippocampus-mri", "a" * 64, prediction=prediction(masks, 3), corrections=(log,)
        )
        self.seeds = [(_files(small), make_volume()), (_files(save(folder / "real.pgrd", real)), case)]
        self.gigabyte, self.archive = _gigabyte(), _large_archive()

    def make(self, rng: random.Random, folder: Path) -> tuple[str, Callable[[], Any]]:
        """A folder, and what opens it."""
        found, volume = self.seeds[rng.random() < 0.05]
        files = dict(found)
        kind = "bomb" if rng.random() < 0.01 else rng.choice(USUAL)
        WAYS[kind](rng, files, self)
        running = rng.random() < 0.3
        where = folder / "running" / "left.pgrd" if running else folder / "case.pgrd"
        where.mkdir(parents=True)
        for name, raw in files.items():
            with contextlib.suppress(OSError, ValueError):  # a name that no file can have
                (where / name).write_bytes(raw)
        if kind == "elsewhere":
            _links(rng, where, self.canary)
        plan = rng.random()
        return kind, lambda: self._resume(where, volume) if running else self._open(where, volume, plan)

    def _open(self, where: Path, volume: Volume, plan: float) -> None:
        """As the window opens a folder, with the image open or without; then saves it elsewhere."""
        review = load(where, volume if plan < 0.7 else None, strict=plan > 0.2)
        self._check(review)
        if plan < 0.15 or plan > 0.95:
            saved = save(where.parent / "again.pgrd", review)
            load(saved, volume if plan < 0.7 else None)

    def _resume(self, where: Path, volume: Volume) -> None:
        """As the window offers and takes up what a crash left, then paints."""
        for left in unfinished(where.parent):
            assert left.sentence.isprintable() and len(left.sentence) < 2500, "an offer that is no sentence"
        running = Autosave.resume(where)
        try:
            running.review.image.check(volume)
            self._check(running.review)
            for correction in running.review.corrections[:1]:
                mask = correction.mask
                mask.reshape(-1)[0] += 1
                correction.observe(mask, new=True)
                list(correction.history())
            running.update(view={"slice": 1})
        finally:
            with contextlib.suppress(PgrdError):
                running.leave()

    def _check(self, review: Review) -> None:
        """What the window takes for granted."""
        whole = review.image.shape
        if (p := review.prediction) is not None:
            k, grid = len(p.probability), p.probability.shape[1:]
            assert fits(grid, whole), "samples beyond the image"
            assert p.probability.shape == p.votes.shape == p.prior.shape == p.total.shape == (k, *grid), (
                "arrays on another grid"
            )
            assert all(m.shape == grid and m.dtype == np.uint8 for m in p.masks) and p.sample_entropy.shape == grid, (
                "masks on another grid"
            )
            assert all(int(m.max(initial=0)) < k for m in p.masks), "a class that there is not"
            assert np.isfinite(p.probability).all() and np.isfinite(p.entropy).all(), (
                "probabilities that are no numbers"
            )
            hash(p.key)
        for correction in review.corrections:
            assert fits(correction.mask.shape, whole), "a correction beyond the image"


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ---- the ways


def _session(rng: random.Random, files: dict[str, bytes], family: Family) -> None:
    files[SESSION] = mutators.dumps(mutators.tree(rng, json.loads(files[SESSION]), family.values))


def _text(rng: random.Random, files: dict[str, bytes], family: Family) -> None:
    files[SESSION] = mutators.text(rng, files[SESSION])


def _names(rng: random.Random, files: dict[str, bytes], family: Family) -> None:
    """Files named where they are not, or where they must not be."""
    content = json.loads(files[SESSION])
    records = [r for r in (content["samples"], content["request"]["locks"], *content["corrections"]) if r]
    for record in rng.sample(records, k=1):
        old = record["file"]
        record["file"] = rng.choice(
            (
                f"../../canary/{old}",
                f"../canary/{old}",
                f"samples-/../../canary/{old}",
                str(family.canary / old),
                "samples-\0",
                "edits-" + "x" * 5000,
                "samples-..",
                "edits-/",
                "samples-\\..\\x",
                SESSION,
                "edits-",
                "samples-a\nb",
                "correction-1.nii.gz",
            )
        )
        with contextlib.suppress(ValueError):
            files[os.path.basename(record["file"])] = files[old]
    files[SESSION] = mutators.dumps(content)


def _arrays(rng: random.Random, files: dict[str, bytes], family: Family) -> None:
    """Another shape, type or content of the arrays, with the hash that belongs to it."""
    content = json.loads(files[SESSION])
    records = [r for r in (content["samples"], content["request"]["locks"]) if r]
    record = rng.choice(records)
    with np.load(io.BytesIO(files[record["file"]])) as archive:
        arrays = {name: archive[name] for name in archive.files}
    for name in rng.sample(sorted(arrays), k=rng.choice((1, 1, 2))):
        arrays[name] = _another(rng, arrays[name])
    how = rng.randrange(8)
    if how == 0:
        arrays.pop(rng.choice(sorted(arrays)))
    elif how == 1:
        arrays[rng.choice(("extra", "key", "../x", "drawn_on", "", "masks/x"))] = np.zeros(3)
    stream = io.BytesIO()
    np.savez_compressed(stream, **{name or "empty": array for name, array in arrays.items()})
    files[record["file"]] = stream.getvalue()
    with contextlib.suppress(Exception):
        record["digest"] = digest(arrays)
    files[SESSION] = mutators.dumps(content)


def _another(rng: random.Random, array: Any) -> Any:
    how = rng.randrange(9)
    if how == 0:
        return array[:0] if array.ndim else array
    if how == 1:
        return array.astype(
            rng.choice((np.float64, np.float16, np.int64, np.bool_, np.complex64, "S3", "U2", "M8[s]", ">f4"))
        )
    if how == 2:
        return array.reshape(-1)
    if how == 3:
        return np.moveaxis(array, 0, -1).copy()
    if how == 4 and array.dtype.kind == "f":
        spoilt = array.copy()
        spoilt.reshape(-1)[rng.randrange(spoilt.size)] = rng.choice((np.nan, np.inf, -1, 1e30))
        return spoilt
    if how == 5:
        return np.zeros(rng.choice(((), (1,), (0, 0), (2, 2, 2, 2, 2), (3, *GRID))), array.dtype)
    if how == 6:
        return np.concatenate([array, array]) if array.ndim else array
    if how == 7 and array.dtype.kind in "iu":
        return (array + 200).astype(array.dtype)
    return np.array([None, "x"], object)


def _archive(rng: random.Random, files: dict[str, bytes], family: Family) -> None:
    """The bytes of an archive spoilt, or members that an archive of arrays does not have."""
    name = rng.choice(named(files, "samples-") + named(files, "locks-"))
    how = rng.randrange(4)
    if how <= 1:
        files[name] = mutators.bytes_of(rng, files[name])
        return
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(files[name])) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.namelist():
            raw = old.read(member)
            if rng.random() < 0.3:
                head = (
                    b"{'descr': "
                    + rng.choice((b"'<f4'", b"'|O'", b"[('a', '<f4')]", b"'V8'", b"9" * 3000))
                    + b", 'fortran_order': False, 'shape': ("
                )
                head += rng.choice((b"3,)", b"1000000000000,)", b"-1,)", b"2147483648, 2147483648)", b"(" * 500)) + b"}"
                raw = b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head + raw[128:]
            name_of = rng.choice((member, member, "../../" + member, "/etc/" + member, member[:-4]))
            new.writestr(zipfile.ZipInfo(name_of), raw, zipfile.ZIP_DEFLATED)
        if how == 3:
            new.writestr(
                zipfile.ZipInfo("owned.npy"),
                b"\x93NUMPY\x01\0v\0{'descr': '|O', 'fortran_order': False, 'shape': (1,)}".ljust(128)
                + pickle.dumps(_Runs()),
            )
    files[name] = stream.getvalue()


class _Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch owned",)


def _bomb(rng: random.Random, files: dict[str, bytes], family: Family) -> None:
    """A megabyte that becomes a gigabyte: in an edit log, or in an archive."""
    if rng.random() < 0.5:
        name = rng.choice(named(files, "edits-"))
        parts = list(parts_of(files[name]))
        at = rng.randrange(len(parts))
        entry = json.loads(parts[at][0])
        entry["info"] = {**entry["info"], "shape": [2**10, 2**10, 2**10]} if at == 0 else entry["info"]
        entry["voxels"] = 2**30 // 6 if at else 0
        parts[at] = mutators.dumps(entry), family.gigabyte
        files[name] = log_of(parts)
        return
    files[rng.choice(named(files, "samples-"))] = family.archive


def _large_archive() -> bytes:
    stream, part = io.BytesIO(), bytes(2**22)
    head = (
        b"\x93NUMPY\x01\0v\0" + b"{'descr': '|u1', 'fortran_order': False, 'shape': (1073741824,)}".ljust(117) + b"\n"
    )
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new,
        new.open("votes.npy", "w") as member,
    ):
        member.write(head)
        for _ in range(256):
            member.write(part)
    return stream.getvalue()


def _gigabyte() -> bytes:
    pack, part = zlib.compressobj(1), bytes(2**22)
    return b"".join(pack.compress(part) for _ in range(256)) + pack.flush()


def _missing(rng: random.Random, files: dict[str, bytes], family: Family) -> None:
    for name in rng.sample(sorted(files), k=rng.choice((1, 1, 2))):
        files[name] = rng.choice((b"", b"x", files[name][: len(files[name]) // 2]))
        if rng.random() < 0.5:
            del files[name]


def _links(rng: random.Random, where: Path, canary: Path) -> None:
    """In place of a file a link, a pipe or a folder."""
    names = [*(path.name for path in where.iterdir()), "running.lock", "ended"]
    path = where / rng.choice(sorted(names))
    path.unlink(missing_ok=True)
    how = rng.randrange(6)
    there = {"s": "session.json", "e": "edits-0.log", "r": "running.lock"}.get(path.name[0], "samples-0.npz")
    if how <= 2:
        path.symlink_to(canary / there)
    elif how == 3:
        path.symlink_to(
            rng.choice(("/dev/zero", "/proc/self/mem", path.name, "nowhere", "/proc/self/environ", "session.json"))
        )
    elif how == 4:
        os.mkfifo(path)
    else:
        path.mkdir()


WAYS: dict[str, Callable[[random.Random, dict[str, bytes], Family], None]] = {
    "session": _session,
    "text": _text,
    "names": _names,
    "arrays": _arrays,
    "archive": _archive,
    "log": lambda rng, files, family: log(rng, files, family.values),
    "records": lambda rng, files, family: records(rng, files, family.values),
    "missing": _missing,
    "elsewhere": lambda rng, files, family: None,
    "as it is": lambda rng, files, family: None,
    "bomb": _bomb,
}
USUAL = [*(way for way in WAYS if way != "bomb"), "session", "session", "arrays", "records", "records"]
