"""The folder of results of many cases: a folder a case, whose files appear all at once, and how it is known again.

``manifest.json`` of a case holds, beside what any export holds, the hash of inputs, bundle and request under which it
was made, and the measures that the summary is made of.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from napari_pgrd import __version__
from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.errors import ExportError, InputError, require
from napari_pgrd.engine.prediction import Prediction
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.nifti import write_atomically
from napari_pgrd.session.export import MANIFEST, PARTS, REPORT, export
from napari_pgrd.session.triage import Measures
from napari_pgrd.session.volumes import LabelVolume

LOCK, HIDDEN, SECTION = ".pgrd-batch.lock", ".pgrd-", "batch"
FORMAT = 2


@dataclass(frozen=True)
class Results:
    """The folder.

    Attributes
    ----------
    folder : Path
        Made when needed.
    bundle, request
        What every case is segmented with; the request resolved.
    page : bool
        Whether a report is written, too.
    resample : bool
        Whether channels on other grids are brought onto the first channel's.
    """

    folder: Path
    bundle: Bundle
    request: Request
    page: bool = False
    resample: bool = False

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the folder alone, without what an earlier run left half-written.

        Raises
        ------
        ExportError
            If it cannot be written, or another run holds it.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / LOCK)
            lock.acquire(timeout=0)
        except Timeout as error:
            raise ExportError(
                f"Another run writes to {self.folder.name}. Wait until it has ended, or choose another folder."
            ) from error
        except OSError as error:
            raise ExportError(
                f"The output folder {self.folder.name} cannot be written ({error.strerror}). Choose another folder."
            ) from error
        try:
            for left in self.folder.glob(f"{HIDDEN}*"):
                if left.is_dir():
                    shutil.rmtree(left, ignore_errors=True)
            yield
        finally:
            lock.release()

    def key(self, inputs: str) -> str:
        """Hash of what decides a case's files: contents of its images, bundle, request, and this program's version.

        Another version may draw other samples for the same request. Not in it is where they are computed, libraries
        included: that changes last digits alone, and the manifest states it.
        """
        r = self.request
        asked = {
            "method": r.method,
            "samples": r.samples,
            "steps": r.steps,
            "seed": r.seed,
            "solver": r.solver,
            "eta": r.eta,
            "box": r.box,
            "resample": self.resample,
        }
        made = {
            "format": FORMAT,
            "version": __version__,
            "inputs": inputs,
            "bundle": self.bundle.digest,
            "report": self.page,
            "request": asked,
        }
        return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()

    def finished(self, name: str, key: str) -> Measures | None:
        """The measures of a case that is there whole under this key; None if it is to be computed."""
        manifest = read_manifest(self.folder / name)
        section = manifest.get(SECTION, {})
        if section.get("key") != key or any(not (self.folder / name / f).is_file() for f in manifest["files"]):
            return None
        return measures_of(section.get("measures"))

    def put(self, name: str, key: str, prediction: Prediction, volume: Volume, measures: Measures) -> None:
        """Write a case beside its place, then move it there in one step.

        An earlier result of ours gives way; if anything in it is not as it was written, it stays under another name.
        """
        target = self.folder / name
        self.check(name)
        staged = self._hidden()
        staged.mkdir()
        try:
            what = (*PARTS, REPORT) if self.page else tuple(PARTS)
            export(staged, prediction, volume, self.bundle, self.request, what=what)
            manifest = json.loads((staged / MANIFEST).read_text(encoding="utf-8"))
            manifest[SECTION] = {"key": key, "measures": asdict(measures)}
            text = json.dumps(manifest, indent=1) + "\n"
            write_atomically(staged / MANIFEST, lambda path: path.write_text(text, encoding="utf-8"))
            self._replace(target, staged)
        except OSError as error:
            raise ExportError(
                f"The results could not be written ({error.strerror}). Free some space or choose another folder."
            ) from error
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def check(self, name: str) -> None:
        """A sentence if something that is not ours lies where a case's results belong."""
        target = self.folder / name
        ours = not target.exists() or (target.is_dir() and SECTION in read_manifest(target))
        require(
            ours,
            InputError,
            f"In the output folder there is a {name} that no such run has made. Choose another --out, or move it away.",
        )

    def _replace(self, target: Path, staged: Path) -> None:
        if target.exists():
            if untouched(target):
                old = self._hidden()
            else:
                numbers = (target.with_name(f"{target.name}.earlier-{i}") for i in range(1, 10_000))
                old = next(path for path in numbers if not path.exists())
            os.rename(target, old)
            os.rename(staged, target)
            if old.name.startswith(HIDDEN):
                shutil.rmtree(old, ignore_errors=True)
        else:
            os.rename(staged, target)

    def _hidden(self) -> Path:
        return self.folder / f"{HIDDEN}{uuid.uuid4().hex[:12]}"


def read_manifest(folder: Path) -> dict[str, Any]:
    """A case's manifest as far as it can be trusted; empty where there is none."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    good = isinstance(found, dict) and isinstance(found.get("files"), dict) and isinstance(found.get(SECTION), dict)
    return found if good else {}


def untouched(folder: Path) -> bool:
    """Whether a case's folder holds nothing but what was written there; something may be missing."""
    files = read_manifest(folder).get("files", {})
    there = {path.name for path in folder.iterdir()} - {MANIFEST}
    return there <= set(files) and all(
        hashlib.sha256((folder / name).read_bytes()).hexdigest() == files[name] for name in there
    )


def measures_of(stored: Any) -> Measures | None:
    """What ``asdict`` made of measures, back from JSON; None if it is not that."""
    if not isinstance(stored, Mapping):
        return None
    try:
        volumes = [LabelVolume(**{**v, "interval": v["interval"] and tuple(v["interval"])}) for v in stored["volumes"]]
        return Measures(**{**stored, "volumes": tuple(volumes), "absent": tuple(stored["absent"])})
    except (KeyError, TypeError):
        return None
