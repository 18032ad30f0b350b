"""Further methods for a bundle: their weights, what they are, and what is fitted to their samples."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from napari_pgrd.engine.bundle import Bundle, save
from napari_pgrd.engine.entries import Entry
from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.methods import METHODS, PRIOR, Method
from napari_pgrd.engine.spec import EMBEDDED, find, read_raw
from napari_pgrd.evaluate.calibration import fit_map
from napari_pgrd.evaluate.mixture import fit_mixture
from napari_pgrd.io.cases import CaseFiles
from napari_pgrd.train.methods import TRAININGS
from napari_pgrd.train.pack import FIRST_TAU, Say, copy_weights, draws
from napari_pgrd.train.prior import KEPT, digest, read_record


def add(
    where: str | Path,
    training: Path,
    calibration: Sequence[CaseFiles],
    device: str = "auto",
    say: Say = lambda text: None,
    default: bool = False,
) -> Bundle:
    """Put the networks of a finished training into a bundle, in place of earlier ones of the same method.

    Parameters
    ----------
    training : Path
        Folder of ``pgrd train --method``.
    calibration : sequence of CaseFiles
        On which the method's temperature, or its tau and w, are fitted with its default sampling.
    default : bool
        Whether the bundle uses this method from now on unless asked for another.

    Raises
    ------
    PgrdError
        If the training is not finished, or of other labels, another preparation or another prior than the bundle's.
    """
    bundle = Bundle.load(find(where))
    require(
        bundle.folder.parent.resolve() != EMBEDDED.resolve(),
        InputError,
        f"{bundle.spec.name} comes with the package and stays as it is. Copy its folder, and add to the copy.",
    )
    record = read_record(training)
    name = str(record.get("stage"))
    row = METHODS.get(name)
    require(
        row is not None and row.entry is not None and all((training / file).is_file() for file in row.files),
        InputError,
        f"{training.name} holds no finished training of a further method. Run 'pgrd train --method' first.",
    )
    assert row is not None and row.entry is not None
    _check(bundle, training, record)
    content = json.loads(read_raw(bundle.folder / "bundle.json"))
    content.setdefault("methods", {})[name] = _entry(bundle, row, record)
    if default:
        content["method"] = name
    with TemporaryDirectory(prefix="pgrd-") as folder:  # stopped while it is fitted, the bundle is as it was
        draft = shutil.copytree(bundle.folder, Path(folder) / bundle.folder.name)
        copy_weights([training / file for file in row.files], draft)
        content["methods"][name] |= _fit(save(draft, content), name, calibration, device, say)
    copy_weights([training / file for file in row.files], bundle.folder)
    return save(bundle.folder, content)


def _check(bundle: Bundle, training: Path, record: Mapping[str, Any]) -> None:
    spec, config = bundle.spec, record["config"]
    beside = record.get("prior_sha256")
    require(
        beside in (None, digest(bundle.folder / PRIOR)),
        InputError,
        f"The networks in {training.name} were trained around another prior than that of {spec.name}. Give that "
        "bundle, or its prior's training, as --prior.",
    )
    for key, mine in (("prepare", spec.prepare.model_dump(mode="json")), ("labels", [str(v) for v in spec.values])):
        theirs = config.get(key, mine)
        theirs = sorted(theirs, key=int) if key == "labels" else theirs
        require(
            beside is not None or theirs == mine,
            InputError,
            f"The networks in {training.name} were trained with another [{key}] than {spec.name} has. Train them with "
            "the same.",
        )


def _entry(bundle: Bundle, row: Method, record: Mapping[str, Any]) -> dict[str, Any]:
    """What the bundle will say of the method, before anything is fitted."""
    kind = row.entry
    assert kind is not None
    described = TRAININGS[row.training].describe(record["config"])
    kept = {k: record[k] for k in (*KEPT, "before", "members", "weighting") if k in record}
    kept["optimisation"] = record["config"]["optimisation"]
    sampling: dict[str, Any] = bundle.spec.sampling.model_dump() if row.stepwise else {"steps": 1}
    sampling |= {"samples": bundle.spec.sampling.samples, **described.pop("sampling", {})}
    entry = kind.model_validate({**described, "sampling": sampling, "provenance": {"training": kept}})
    if entry.sampling.lock_method == "hint" and not entry.hears_locks:
        sampling["lock_method"] = "guidance"
    return {**entry.model_dump(mode="json"), "sampling": sampling}


def _fit(bundle: Bundle, name: str, cases: Sequence[CaseFiles], device: str, say: Say) -> dict[str, Any]:
    """Temperature, or tau and w, with the lowest NLL on calibration cases."""
    entry: Entry = bundle.spec.entry(name)
    made = dict(entry.provenance)
    drawn = draws(bundle, cases, device, say, name)
    if METHODS[name].map(entry).tau is None:
        mixture = fit_mixture((last, labels) for last, _, labels in drawn)
        say(
            f"temperature {mixture.temperature:.3f} on {len(cases)} cases: NLL {mixture.nll:.4f}, at 1 "
            f"{mixture.nll_at_1:.4f}"
        )
        made["map"] = {**mixture._asdict(), "cases": len(cases), "seed": 0}
        return {"temperature": round(mixture.temperature, 4), "provenance": made}
    fit = fit_map(drawn, FIRST_TAU)
    say(f"tau {fit.tau:.4f} and w {fit.mean_weight:.2f} on {len(cases)} cases: NLL {fit.nll:.4f}")
    made["map"] = {**fit._asdict(), "cases": len(cases), "seed": 0}
    return {"tau": round(fit.tau, 5), "mean_weight": round(fit.mean_weight, 5), "provenance": made}
