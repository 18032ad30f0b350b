"""Results as files: masks, samples, maps, volumes, a report and a manifest, all of them or none."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.errors import ExportError, InputError, require
from napari_pgrd.engine.store import room
from napari_pgrd.engine.volume import Box, Volume, embed
from napari_pgrd.io.dicom.planes import source_of
from napari_pgrd.io.nifti import write_atomically, write_nifti
from napari_pgrd.io.provenance import RESEARCH_USE, now, versions
from napari_pgrd.session.dicom import EVERY, DicomParts, making_of, own_files, write_part
from napari_pgrd.session.report import Outcome, report_html
from napari_pgrd.session.summary import ReviewSummary

if TYPE_CHECKING:
    from napari_pgrd.engine.aggregate import Prediction
    from napari_pgrd.engine.bundle import Bundle
    from napari_pgrd.engine.request import Request

PARTS = {"mask": ("segmentation", "corrected"), "maps": ("probability", "variance", "entropy"), "samples": ("samples",)}
REPORT = "report"
VOLUMES, PAGE, EDITS, MANIFEST = "volumes.csv", "report.html", "edits.log", "manifest.json"


def export(
    folder: str | os.PathLike[str],
    prediction: Prediction | None,
    volume: Volume,
    bundle: Bundle,
    request: Request,
    *,
    what: Collection[str] = tuple(PARTS),
    correction: NDArray[np.integer] | None = None,
    source: Sequence[str | os.PathLike[str]] = (),
    review: ReviewSummary | None = None,
    edit_log: bytes | None = None,
    dicom: DicomParts | None = None,
) -> list[Path]:
    """Write results in the exact geometry of the volume, and a manifest that says how they came to be.

    Every file is first written beside its destination; only when all stand are they moved into place, so a full disk
    leaves an earlier export whole.

    Parameters
    ----------
    prediction : Prediction, optional
        Without one, as of a correction that was started from a mask before anything was sampled, there are neither maps
        nor samples nor report: the correction, its volumes, its edit log and the manifest are written.
    what : collection of str
        Which of ``PARTS``, and "report"; volumes and manifest come always, ``corrected.nii.gz`` only if there is a
        correction.
    correction : numpy.ndarray, optional
        ``(x, y, z)`` label values, on the volume's grid or on the request's box of it.
    source : sequence of paths
        The image's own files, never overwritten; those of a DICOM series need not be named.
    review : ReviewSummary, optional
        What the reader did, for manifest and report.
    edit_log : bytes, optional
        The correction's edit log, written as it is to ``edits.log``.
    dicom : DicomParts, optional
        What to write as DICOM, too, where the volume came from DICOM.

    Returns
    -------
    list of Path
        The files written, the manifest last.

    Raises
    ------
    ExportError
        If the folder cannot be written, space runs out or a file of ``source`` would be overwritten, or DICOM is asked
        for and the volume did not come from it.
    """
    known = (*PARTS, REPORT)
    unknown = sorted(set(what) - set(known))
    require(
        not unknown,
        InputError,
        f"There is nothing called {', '.join(unknown)} to export; choose among {', '.join(known)}.",
    )
    require(
        prediction is not None or correction is not None,
        InputError,
        "There is neither a prediction nor a correction to export. Draw samples, or start a correction from a mask.",
    )
    _check_correction(correction, prediction, volume, bundle, request.box)
    there = {"corrected"} if correction is not None else set()
    if prediction is not None:
        there |= {"segmentation", *PARTS["maps"]} | ({"samples"} if prediction.masks else set())
    maps = [key for part in PARTS if part in what for key in PARTS[part] if key in there]
    objects = dicom.names(there) if dicom is not None else {}
    if dicom is not None and dicom.kinds:
        source_of(volume)
    folder = Path(folder)
    names = [*(f"{key}.nii.gz" for key in maps), *objects, VOLUMES]
    names += [PAGE] * (REPORT in what and prediction is not None) + [EDITS] * (edit_log is not None)
    _refuse_to_overwrite([*source, *own_files(volume)], [folder / name for name in names])
    staging = _stage(folder)
    try:
        for key in maps:
            data = array(key, prediction, volume, bundle, request.box, correction)
            write_nifti(staging / f"{key}.nii.gz", data, volume)
        rows = volume_rows(prediction, volume, bundle, correction)
        write_atomically(staging / VOLUMES, lambda path: _write_csv(path, volume.spacing_known, rows))
        made = describe(prediction, volume, bundle, request)
        if PAGE in names:
            assert prediction is not None
            whole = None
            if correction is not None:
                whole = array("corrected", prediction, volume, bundle, request.box, correction)
            spec = bundle.spec.measured_for(request.method)
            outcome = Outcome(prediction, volume, spec, request.box, whole)
            page = report_html(outcome, review or ReviewSummary(), made).encode()
            write_atomically(staging / PAGE, lambda path: path.write_bytes(page))
        if edit_log is not None:
            write_atomically(staging / EDITS, lambda path: path.write_bytes(edit_log))
        for name, (kind, key) in objects.items():
            assert dicom is not None
            data = array(key, prediction, volume, bundle, request.box, correction)
            making = making_of(key, prediction, bundle, request, staging / EDITS if edit_log is not None else None)
            write_part(staging / name, kind, data, volume, bundle, making, dicom.ownership)
        manifest = {
            **made,
            **({"review": review.record()} if review else {}),
            "files": {name: hashlib.sha256((staging / name).read_bytes()).hexdigest() for name in names},
        }
        text = json.dumps(manifest, indent=1) + "\n"
        write_atomically(staging / MANIFEST, lambda path: path.write_text(text, encoding="utf-8"))
        return [_move(staging / name, folder / name) for name in [*names, MANIFEST]]
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def check_destination(folder: str | os.PathLike[str], source: Sequence[str | os.PathLike[str]] = ()) -> None:
    """Refuse, before anything is computed, a folder that cannot be written or where the source would be overwritten."""
    maps = [f"{key}.nii.gz" for keys in PARTS.values() for key in keys]
    _refuse_to_overwrite(source, [Path(folder) / name for name in [*maps, *EVERY, VOLUMES, PAGE, EDITS, MANIFEST]])
    _stage(Path(folder)).rmdir()


def describe(prediction: Prediction | None, volume: Volume, bundle: Bundle, request: Request) -> dict[str, Any]:
    """What made a result: everything needed to make it again, and nothing about the patient."""
    return {
        "note": RESEARCH_USE,
        "date": now(),
        "bundle": {"name": bundle.spec.name, "sha256": bundle.digest},
        **(_drawing(prediction, bundle, request) if prediction is not None else {"request": None}),
        "labels": {label.value: label.name for label in bundle.spec.labels},
        "shape": list(volume.shape),
        "affine": volume.affine.tolist(),
        "spacing_known": volume.spacing_known,
        "versions": versions(),
    }


def _drawing(prediction: Prediction, bundle: Bundle, request: Request) -> dict[str, Any]:
    """How the samples were drawn."""
    from napari_pgrd.engine.device import precision, resolve  # torch, which the window loads late

    r = request.resolved(bundle.spec)
    if prediction.drawn_on is not None:
        kind, dtype = prediction.drawn_on
    else:
        device = resolve(request.device)
        kind, dtype = device.type, str(precision(device)).removeprefix("torch.")
    return {
        "request": {
            "method": r.method,
            "samples": prediction.samples,
            "steps": r.steps,
            "seed": r.seed,
            "solver": r.solver,
            "eta": r.eta,
            "box": r.box,
            **_locks(r),
            **({"prior_probabilities": r.prior.digest} if r.prior else {}),
        },
        "device": kind,
        "precision": dtype,
    }


def _locks(request: Request) -> dict[str, Any]:
    """What the samples had to keep: enough to know whether two results kept the same."""
    locks = request.locks
    if locks is None:
        return {}
    kept = {"method": request.lock_method, "digest": locks.digest, "voxels": int(np.count_nonzero(locks.mask))}
    return {"locks": kept | ({} if locks.region is None else {"region": int(np.count_nonzero(locks.region))})}


def volume_rows(
    prediction: Prediction | None, volume: Volume, bundle: Bundle, correction: NDArray[np.integer] | None = None
) -> Iterator[tuple[str, str, float]]:
    """``(label, sample, size)`` of every label but the background; samples count from 1, sizes are mL or voxels."""
    size = abs(float(np.linalg.det(volume.affine[:3, :3]))) / 1000 if volume.spacing_known else 1.0
    values = bundle.spec.values
    masks: list[tuple[str, NDArray[np.uint8]]] = []
    if correction is not None:
        masks.append(("correction", correction.astype(np.uint8)))
    if prediction is not None:
        masks += [("consensus", values[prediction.consensus]), ("prior", values[prediction.prior.argmax(0)])]
        masks += [(str(i), values[mask]) for i, mask in enumerate(prediction.masks, 1)]
    for label in bundle.spec.labels[1:]:
        for name, mask in masks:
            yield label.name, name, float(np.count_nonzero(mask == label.value)) * size


def array(
    key: str,
    prediction: Prediction | None,
    volume: Volume,
    bundle: Bundle,
    box: Box | None,
    correction: NDArray[np.integer] | None = None,
) -> NDArray[Any]:
    """What goes into the file of that name: ``(x, y, z)`` or ``(x, y, z, n)`` on the whole grid of the volume."""
    if key == "corrected":
        assert correction is not None
        data: NDArray[Any] = correction.astype(np.uint8)
    elif prediction is None:
        raise InputError(f"There is no {key} without samples. Draw some first.")
    elif key == "segmentation":
        data = bundle.spec.values[prediction.consensus]
    elif key == "samples":
        return _samples(prediction, volume, bundle, box)
    else:
        data = getattr(prediction, key).astype(np.float32)
    partial = data.shape[-3:] != volume.shape
    data = embed(data, box if partial else None, volume.shape)
    if key == "probability" and partial and prediction is not None:
        data[0] = embed(prediction.probability[0], box, volume.shape, fill=1)  # outside the box all is background
    return np.moveaxis(data, 0, -1) if data.ndim == 4 else data


def _samples(prediction: Prediction, volume: Volume, bundle: Bundle, box: Box | None) -> NDArray[np.uint8]:
    """``(x, y, z, samples)`` on the whole grid, one by one: there may be more of them than memory."""
    out = room((len(prediction.masks), *volume.shape), np.uint8)
    for at, mask in enumerate(prediction.masks):
        out[at] = embed(bundle.spec.values[mask], box if mask.shape != volume.shape else None, volume.shape)
    return np.moveaxis(out, 0, -1)


def _check_correction(
    correction: NDArray[np.integer] | None,
    prediction: Prediction | None,
    volume: Volume,
    bundle: Bundle,
    box: Box | None,
) -> None:
    if correction is None:
        return
    part = tuple(hi - lo for lo, hi in box) if box else volume.shape
    grids = (volume.shape, part if prediction is None else prediction.consensus.shape)
    require(
        correction.shape in grids,
        InputError,
        f"The correction has shape {correction.shape}, but the image has {volume.shape}. Start it again on this image.",
    )
    known = [label.value for label in bundle.spec.labels]
    unknown = sorted(set(np.unique(correction).tolist()) - set(known))
    require(
        not unknown,
        InputError,
        f"The correction holds the label values {unknown}, but {bundle.spec.name} knows only {known}. "
        "Repaint those voxels.",
    )


def _write_csv(path: Path, spacing_known: bool, rows: Iterator[tuple[str, str, float]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(("label", "sample", "mL" if spacing_known else "voxels"))
        table.writerows((label, name, f"{size:.6g}") for label, name, size in rows)


def _refuse_to_overwrite(source: Sequence[str | os.PathLike[str]], targets: Sequence[Path]) -> None:
    for path in map(Path, source):
        for target in targets:
            same = target.resolve() == path.resolve() or (target.exists() and path.exists() and target.samefile(path))
            require(
                not same,
                ExportError,
                f"{target.name} in that folder is the image itself. Choose another output folder.",
            )


def _stage(folder: Path) -> Path:
    """A hidden folder on the same file system, so that moving out of it is a rename."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".pgrd-", dir=folder))
    except OSError as error:
        raise ExportError(
            f"The output folder {folder.name} cannot be written ({error.strerror}). Choose another output folder."
        ) from error


def _move(staged: Path, target: Path) -> Path:
    try:
        os.replace(staged, target)
    except OSError as error:
        raise ExportError(
            f"{target.name} could not be replaced ({error.strerror}). Close programs that use it or "
            "choose another folder."
        ) from error
    return target
