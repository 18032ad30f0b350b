"""From two finished trainings to a bundle: weights, description, fitted tau, provenance, model card."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from napari_pgrd.engine.bundle import Bundle, save
from napari_pgrd.engine.device import resolve
from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.given import as_prepared
from napari_pgrd.engine.methods import ALONE
from napari_pgrd.engine.predict import Runner, choose_batch
from napari_pgrd.engine.preprocess import prepare
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.sampler import Case
from napari_pgrd.engine.spec import SCHEMA_VERSION, Label, PrepareSpec, PriorConfig, SamplingDefaults, Scope
from napari_pgrd.evaluate.calibration import Floats, Indices, fit_map
from napari_pgrd.evaluate.volumes import LEVEL, fit_widening
from napari_pgrd.io.cases import CaseFiles, load_readers
from napari_pgrd.io.nifti import write_atomically
from napari_pgrd.io.probabilities import map_of, read_probabilities
from napari_pgrd.io.provenance import now, versions
from napari_pgrd.train.config import DenoiserTraining, PriorTraining
from napari_pgrd.train.prior import KEPT, digest, prior_folder, read_record

FIRST_TAU = 0.1
WIDEST = 1.0  # median volumes: an interval that must reach further begins below nothing and says nothing
Say = Callable[[str], None]


class Meta(BaseModel):
    """What no training can know: names, colours, scope, defaults, and where the data come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    modality: str
    channels: tuple[str, ...]
    labels: tuple[Label, ...]
    scope: Scope
    sampling: SamplingDefaults = SamplingDefaults()
    data: dict[str, Any] = {}
    commands: tuple[str, ...] = ()


def read_meta(path: Path) -> Meta:
    """Read the bundle's TOML file."""
    try:
        return Meta.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path.name} is no readable TOML file: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path.name}: {where}: {first['msg']}. Correct that entry.") from error


def pack(
    prior: str | Path | None,
    denoiser: Path | None,
    calibration: Sequence[CaseFiles],
    blocks: Mapping[str, int],
    meta: Meta,
    out: Path,
    device: str = "auto",
    say: Say = lambda text: None,
    maps: Path | None = None,
) -> Bundle:
    """Make a bundle.

    Parameters
    ----------
    prior, denoiser : Path
        Folders of the two trainings. A bundle, by name or folder, stands for the training of its prior. Without a
        denoiser the bundle does what a prior can do alone, until :func:`~napari_pgrd.train.add.add` gives it more.
    calibration : sequence of CaseFiles
        On which tau and w are fitted, with the bundle's default sampling.
    blocks : mapping
        Number of cases in each block of the split, for the record.
    maps : Path, optional
        In place of a prior, for a denoiser that was trained around maps of probabilities: those of the calibration
        cases, among others. The bundle then holds no prior network.
    """
    require(
        (prior is None) != (maps is None) and (prior is not None or denoiser is not None),
        InputError,
        "A bundle holds a prior, or a denoiser that was trained around maps. Give --prior, or --denoiser and "
        "--prior-probabilities.",
    )
    prior = None if prior is None else prior_folder(prior)
    folders = {stage: folder for stage, folder in (("prior", prior), ("denoiser", denoiser)) if folder is not None}
    records = {stage: read_record(folder) for stage, folder in folders.items()}
    for stage, folder in folders.items():
        require(
            records[stage].get("stage") == stage and (folder / f"{stage}.safetensors").is_file(),
            InputError,
            f"{folder.name} holds no finished training of the {stage}. Run 'pgrd train {stage}' first.",
        )
    require(
        denoiser is None
        or (
            (prior is None) == ("maps_blake2" in records["denoiser"])
            and (
                prior is None or records["denoiser"].get("prior_sha256") in (None, digest(prior / "prior.safetensors"))
            )
        ),
        InputError,
        f"The denoiser in {denoiser and denoiser.name} was trained beside another prior than "
        f"{'these maps' if prior is None else 'the one in ' + prior.name}. "
        "Give what 'pgrd train denoiser' was given as --prior, or --prior-probabilities.",
    )
    weights = [folder / f"{stage}.safetensors" for stage, folder in folders.items()]
    content = describe(records, meta, blocks)
    if denoiser is not None:
        with TemporaryDirectory(prefix="pgrd-") as place:  # stopped while it is fitted, there is no bundle yet
            draft = Path(place) / (out.name or "bundle")
            draft.mkdir()
            copy_weights(weights, draft)
            fitting = save(draft, {**content, "tau": FIRST_TAU})
            content |= _fitted(content["provenance"], draws(fitting, calibration, device, say, maps=maps), meta, say)
    out.mkdir(parents=True, exist_ok=True)
    copy_weights(weights, out)
    return save(out, content)


def copy_weights(files: Sequence[Path], folder: Path) -> None:
    """Put weights into a bundle's folder, each whole or not at all."""
    for source in files:
        write_atomically(folder / source.name, lambda path, source=source: shutil.copyfile(source, path))


def _fitted(
    provenance: dict[str, Any], drawn: Iterable[tuple[Floats, Floats, Indices]], meta: Meta, say: Say
) -> dict[str, Any]:
    """tau, w and the volume interval that fit the draws; how they came about goes into the provenance."""
    volumes: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    fit = fit_map(_counting(drawn, volumes), FIRST_TAU)
    say(
        f"tau {fit.tau:.4f} and w {fit.mean_weight:.2f} on {len(volumes)} cases: NLL {fit.nll:.4f}, "
        f"at tau {FIRST_TAU} and w 0 {fit.nll_start:.4f}"
    )
    provenance["map"] = {**fit._asdict(), "cases": len(volumes), "seed": 0}
    interval = fit_interval(volumes, meta, say)
    return {"tau": round(fit.tau, 5), "mean_weight": round(fit.mean_weight, 5), "volume_interval": interval}


def _counting(
    cases: Iterable[tuple[Floats, Floats, Indices]], volumes: list[tuple[NDArray[np.int64], NDArray[np.int64]]]
) -> Iterator[tuple[Floats, Floats, Indices]]:
    """Pass the draws on, noting the voxels of each class by sample ``(M, K)`` and by reader ``(readers, K)``."""
    for yhat, first, truth in cases:
        k = yhat.shape[1]
        counts = np.stack([np.bincount(y.argmax(0), minlength=k) for y in yhat])
        volumes.append((counts, np.stack([np.bincount(one, minlength=k) for one in truth])))
        yield yhat, first, truth


def fit_interval(
    volumes: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]], meta: Meta, say: Say
) -> dict[str, Any] | None:
    """The conformal interval of every label but the background; None where the cases are too few, or it too wide."""
    try:
        widening = {
            label.name: round(fit_widening([c[:, k] for c, _ in volumes], [t[:, k] for _, t in volumes]), 4)
            for k, label in enumerate(meta.labels)
            if k
        }
    except InputError as error:
        say(f"no volume interval: {error}")
        return None
    widest = max(widening.values())
    if widest > WIDEST:
        say(f"no volume interval: to hold the truth it would be widened by {widest:.1f} times the median volume")
        return None
    say(f"volume interval at {LEVEL:.0%}: widened by {widening}")
    return {"level": LEVEL, "cases": len(volumes), "widening": widening}


def describe(records: Mapping[str, Mapping[str, Any]], meta: Meta, blocks: Mapping[str, int]) -> dict[str, Any]:
    """``bundle.json`` but for tau, w and checksums."""
    first = _first(records)
    known = [label.value for label in meta.labels]
    require(
        known == sorted(first.labels),
        InputError,
        f"The labels have the values {known}, but the training had {sorted(first.labels)}. Name them in that order.",
    )
    training = {
        stage: {
            **{k: record[k] for k in KEPT if k in record},
            **({"optimisation": record["config"]["optimisation"]} if "optimisation" in record["config"] else {}),
            **{k: record[k] for k in ("before", "imported", "out_of_fold", "weighting") if k in record},
        }
        for stage, record in records.items()
    }
    fitted = ("temperature", "nll_at_temperature_1", "nll_at_temperature")
    provenance = {
        "data": meta.data,
        "cases": dict(blocks),
        "commands": list(meta.commands),
        "training": training,
        "prior_temperature": {k: v for k, v in records.get("prior", {}).items() if k in fitted},
        "versions": versions(),
        "date": now(),
    }
    return {
        "schema_version": SCHEMA_VERSION,
        **meta.model_dump(mode="json", exclude={"data", "commands"}),
        "prepare": first.prepare.model_dump(mode="json"),
        "prior": first.network.model_dump(mode="json") if "prior" in records else None,
        "prior_temperature": records.get("prior", {}).get("temperature", 1.0),
        **(_diffusion(records["denoiser"]["config"]) if "denoiser" in records else {"method": ALONE}),
        "provenance": provenance,
    }


def _first(records: Mapping[str, Mapping[str, Any]]) -> PriorTraining:
    """What the prior was made with; without one, what the denoiser's training says in its place."""
    if "prior" in records:
        return PriorTraining.model_validate(records["prior"]["config"])
    config = DenoiserTraining.model_validate(records["denoiser"]["config"])
    shape = {key: getattr(config.network, key) for key in ("dims", "channels", "classes")}
    prepare, labels = config.prepare or PrepareSpec(), config.labels or {}
    return PriorTraining(prepare=prepare, labels=labels, network=PriorConfig(**shape))


def _diffusion(config: Mapping[str, Any]) -> dict[str, Any]:
    made = DenoiserTraining.model_validate(config)
    return {
        "denoiser": made.network.model_dump(mode="json"),
        "schedule": {
            "T": made.T,
            "shift": made.shift,
            "residual_scale": made.residual_scale,
            "prior_guided": made.prior_guided,
        },
        "prior_temperature": made.prior_temperature,
    }


def draws(
    bundle: Bundle,
    cases: Sequence[CaseFiles],
    device: str,
    say: Say = lambda text: None,
    method: str | None = None,
    maps: Path | None = None,
) -> Iterator[tuple[Floats, Floats, Indices]]:
    """Per case last and first estimates ``(M, K, N)`` of a method's default sampling, and truths ``(readers, N)``."""
    runner = Runner(bundle, resolve(device), method)
    index = {label.value: k for k, label in enumerate(bundle.spec.labels)}
    for done, case in enumerate(cases, 1):
        volume, truth = load_readers(case, index)
        image, restore = prepare(volume, bundle.spec.prepare)
        image = image.to(runner.device)
        given = None if maps is None else read_probabilities(map_of(maps, case.name), volume, len(index))
        request = Request(device=device, method=method, prior=given).resolved(bundle.spec)
        here = runner.over(image)
        sampler = here.sampler(request)
        pi = here.prior(image) if given is None else as_prepared(given.values, restore).to(runner.device)
        batch = choose_batch(bundle.spec, image.shape[2:], runner.device, window=bundle.spec.prepare.window)
        parts, firsts = [], []
        for start in range(0, request.samples or 0, batch):
            indices = range(start, min(start + batch, request.samples or 0))
            first = None
            for y in sampler.draw(Case(image, pi, None, indices), runner.rngs(request.seed, indices)):
                first = y if first is None else first
            assert first is not None
            parts.append(restore(here.shown(y)).flatten(2).cpu())
            firsts.append(restore(here.shown(first)).flatten(2).cpu())
        say(f"samples of {done}/{len(cases)} calibration cases")
        yield torch.cat(parts).numpy(), torch.cat(firsts).numpy(), truth.reshape(len(truth), -1)
