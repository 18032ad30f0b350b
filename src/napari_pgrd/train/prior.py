"""First stage: the prior alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from napari_pgrd.engine.device import autocast
from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.given import no_prior
from napari_pgrd.engine.nets import TRAINING_ONLY, build_prior, load_weights, named_weights
from napari_pgrd.engine.preprocess import prepare
from napari_pgrd.engine.spec import BundleSpec, find, read_spec
from napari_pgrd.evaluate.calibration import fit_temperature, temperature_nll
from napari_pgrd.evaluate.metrics import dice
from napari_pgrd.evaluate.raters import majority
from napari_pgrd.io.cases import CaseFiles, load_readers
from napari_pgrd.io.nifti import write_atomically
from napari_pgrd.train.config import PriorTraining
from napari_pgrd.train.data import Batches, TrainCase, load_case
from napari_pgrd.train.loop import Batch, Report, Trainer
from napari_pgrd.train.losses import PriorLoss
from napari_pgrd.train.plots import learning_curves
from napari_pgrd.train.processes import share, silent

KEPT = ("steps", "seconds", "parameters", "device", "precision", "torch")
"""What a bundle's description repeats of a training's record."""
LEAST = 1e-7  # probability below which a voxel counts as excluded, so that its logarithm is finite


@dataclass(frozen=True)
class Recipe:
    """What differs between networks that learn to segment by themselves.

    Attributes
    ----------
    name : str
        Of the stage, and of its weight file.
    build : callable
        ``config -> network``.
    loss : callable
        ``(network, batch, step, config) -> loss``; what is random in it depends on the seed and the step alone.
    answer : callable
        ``(network, image) -> class indices (1, *spatial)``, to watch the training by.
    """

    name: str
    build: Callable[[Any], nn.Module]
    loss: Callable[[nn.Module, Batch, int, Any], Tensor]
    answer: Callable[[nn.Module, Tensor], Tensor]


PRIOR = Recipe(
    "prior",
    lambda config: build_prior(config.network),
    lambda model, batch, step, config: PriorLoss(config.dice_weight)(model(batch[0]), batch[1]),
    lambda model, image: model(image).argmax(1),
)


def train_prior(
    train: Sequence[CaseFiles],
    monitor: Sequence[CaseFiles],
    config: PriorTraining,
    out: Path,
    device: torch.device,
    say: Report,
    start: str | Path | None = None,
) -> Path:
    """Train the prior and fit its temperature: see :func:`train_segmenter`."""
    train_segmenter(train, monitor, config, out, device, say, start)
    index = {value: i for i, value in enumerate(sorted(config.labels))}
    if share().first:
        calibrate(out, monitor, index, device, say)
    return out


def train_segmenter(
    train: Sequence[CaseFiles],
    monitor: Sequence[CaseFiles],
    config: PriorTraining,
    out: Path,
    device: torch.device,
    say: Report,
    start: str | Path | None = None,
    recipe: Recipe = PRIOR,
) -> Path:
    """Train a network that segments by itself, by default the prior.

    Returns the folder with its weights (``prior.safetensors``, for the prior), ``training.json`` and the learning
    curves. With ``start``, a bundle (by name or folder) or a finished training, its weights are where this one begins.
    """
    mine = share()
    say = say if mine.first else silent
    index = {value: i for i, value in enumerate(sorted(config.labels))}
    require(
        config.network.classes == len(index),
        InputError,
        f"The network has {config.network.classes} classes but {len(index)} labels are named; make them equal.",
    )
    cases = load_cases(train, config, index, say, whole=True)
    watched = load_cases(monitor[: config.optimisation.validate_cases], config, index, say)
    torch.manual_seed(config.optimisation.seed)
    net = recipe.build(config)
    began, before = start_from(start, net, recipe.name, say)
    trainer = Trainer(net, config.optimisation, out, device, fingerprint(config, train, *began))
    batches = Batches.told(cases, len(index), config.prepare, config.optimisation, mine)

    def loss(model: nn.Module, batch: Batch, step: int) -> Tensor:
        return recipe.loss(model, batch, step, config)

    @torch.no_grad()
    def validate(model: nn.Module) -> dict[str, float]:
        answers = [recipe.answer(model, c.image[None].to(device))[0].cpu() for c in watched]
        return dice_scores(answers, watched, config.labels)

    trainer.fit(batches, loss, validate, say)
    return finish(trainer, recipe.name, config.model_dump_json(), train, say, before=before)


def calibrate(
    folder: Path, cases: Sequence[CaseFiles], index: Mapping[int, int], device: torch.device, say: Report
) -> None:
    """Fit the prior's temperature with the weights that ship, and add it to ``training.json``."""
    config, net = load_prior(folder, device)
    logits, labels = [], []
    for case in cases:
        volume, truths = load_readers(case, index)
        image, restore = prepare(volume, config.prepare.at_once)
        with torch.no_grad(), autocast(device):
            pi = torch.softmax(net(image.to(device)).float(), 1)
        logits.append(restore.probabilities(pi)[0].flatten(1).clamp_min(LEAST).log().cpu().numpy())
        labels.append(truths.reshape(len(truths), -1))
    temperature = round(fit_temperature(logits, labels), 4)
    before, after = (temperature_nll(logits, labels, t) for t in (1.0, temperature))
    record = read_record(folder)
    record |= {
        "temperature": temperature,
        "nll_at_temperature_1": round(before, 5),
        "nll_at_temperature": round(after, 5),
        "calibration_cases": [c.name for c in cases],
    }
    write_record(folder, record)
    say(f"temperature {temperature} on {len(cases)} cases: NLL {before:.4f} before, {after:.4f} after")


def fitted_temperature(folder: Path) -> float:
    """The temperature in a prior's record; 1 where none was fitted."""
    return float(read_record(folder).get("temperature", 1.0))


def prior_folder(where: str | Path) -> Path:
    """The folder of a finished training, or of a bundle given by name or path, whose prior is to be used as it is."""
    return Path(where) if Path(where).is_dir() else find(where)


def read_record(folder: Path) -> dict[str, Any]:
    """``training.json`` of a finished training; of a bundle, what it says of the training of its prior."""
    path = folder / "training.json"
    if not path.exists() and (folder / "bundle.json").exists():
        return _record_of_bundle(read_spec(folder))
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder.name} holds no readable training.json. Finish its training first.") from error
    return record


def _record_of_bundle(spec: BundleSpec) -> dict[str, Any]:
    require(spec.prior is not None, InputError, no_prior(spec.name))
    known = spec.provenance.get("training", {}).get("prior", {})
    config: dict[str, Any] = {
        "prepare": spec.prepare.model_dump(mode="json"),
        "network": spec.model_dump(mode="json")["prior"],
        "labels": {label.value: label.name for label in spec.labels},
    }
    config |= {k: v for k, v in known.items() if k == "optimisation"}
    fitted = spec.provenance.get("prior_temperature", {})
    kept = {k: v for k, v in (*known.items(), *spec.provenance.items()) if k in (*KEPT, "before", "imported")}
    return {"stage": "prior", "config": config, **kept, **fitted, "temperature": spec.prior_temperature}


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Replace ``training.json`` in one move."""
    write_atomically(folder / "training.json", lambda p: p.write_text(json.dumps(record, indent=1), encoding="utf-8"))


def load_prior(folder: Path, device: torch.device) -> tuple[PriorTraining, nn.Module]:
    """The trained prior, frozen, and what it was trained with."""
    weights = folder / "prior.safetensors"
    require(
        weights.is_file() and any((folder / name).is_file() for name in ("training.json", "bundle.json")),
        InputError,
        f"{folder.name} holds no trained prior (prior.safetensors and training.json). Run 'pgrd train prior' first.",
    )
    config = PriorTraining.model_validate(read_record(folder)["config"])
    net = build_prior(config.network.model_copy(update={"deep_supervision": 0}))
    load_weights(net, load_file(weights))
    return config, net.to(device).eval().requires_grad_(False)


def load_cases(
    files: Sequence[CaseFiles],
    config: PriorTraining,
    index: Mapping[int, int],
    say: Report,
    whole: bool = False,
    maps: Path | None = None,
) -> list[TrainCase]:
    """Read and check every case before the first step; ``whole`` and ``maps`` as :func:`load_case` has them."""
    require(bool(files), InputError, "A block of the split is empty; training and calibration both need cases.")
    if {len(f.images) for f in files} != {1}:  # one file may hold several
        _check_channels({len(f.images) for f in files}, config)
    cases = [load_case(f, config.prepare, index, whole, maps) for f in files]
    _check_channels({int(c.image.shape[0]) for c in cases}, config)
    say(f"{len(cases)} cases read")
    return cases


def _check_channels(channels: set[int], config: PriorTraining) -> None:
    require(
        channels == {config.network.channels},
        InputError,
        f"The images have {sorted(channels)} channels, the network expects {config.network.channels}.",
    )


def dice_scores(predicted: Sequence[Tensor], cases: Sequence[TrainCase], labels: Mapping[int, str]) -> dict[str, float]:
    """Mean Dice over cases for each class, to watch a training by; against what at least half of the readers marked."""
    scores = [
        dice(p.numpy(), majority(case.labels.numpy()), len(labels)) for p, case in zip(predicted, cases, strict=True)
    ]
    means = np.mean(scores, 0)
    out = {f"dice_{labels[value]}": float(means[i]) for i, value in enumerate(sorted(labels)[1:])}
    return {**out, "dice": float(means.mean())}


def fingerprint(config: BaseModel, cases: Sequence[CaseFiles], *more: str) -> str:
    """What must not change between a run and its continuation."""
    text = json.dumps([config.model_dump(mode="json"), [c.name for c in cases], *more], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def start_from(
    where: str | Path | None, net: nn.Module, stage: str, say: Report
) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """Load the weights to begin with, heads that serve training only left as they are.

    Returns
    -------
    sha256 : tuple of str
        Of the weights; empty without a start.
    before : list of dict
        What is known of the trainings that made them, oldest first.

    Raises
    ------
    PgrdError
        If nothing is there, or the weights are of another network.
    """
    if where is None:
        return (), []
    folder = find(where)
    path = folder / f"{stage}.safetensors"
    require(
        path.is_file(),
        InputError,
        f"{folder.name} holds no {path.name}. Give a bundle or a finished training to start.",
    )
    try:
        load_weights(net, widened(load_file(path), net))
    except SafetensorError as error:
        raise InputError(f"{path.name} in {folder.name} cannot be read ({error}). Copy it again.") from error
    say(f"beginning with the weights of {folder.name}")
    sha256 = digest(path)
    if (folder / "bundle.json").is_file():
        known = dict(read_spec(folder).provenance.get("training", {}).get(stage, {}))
    else:
        record = read_record(folder)
        known = {k: record[k] for k in (*KEPT, "before") if k in record}
        known["optimisation"] = record["config"]["optimisation"]
    return (sha256,), [*known.pop("before", []), {**known, "sha256": sha256}]


def widened(tensors: Mapping[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """Weights for a network with more input channels: the new ones, which come last, go unheard at first."""
    out = dict(tensors)
    for name, mine in named_weights(net).items():
        given = out.get(name)
        if given is None or given.ndim < 3 or given.shape[1] >= mine.shape[1]:
            continue
        if given.shape[0] == mine.shape[0] and given.shape[2:] == mine.shape[2:]:
            more = given.new_zeros(given.shape[0], mine.shape[1] - given.shape[1], *given.shape[2:])
            out[name] = torch.cat([given, more], 1)
    return out


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def finish(
    trainer: Trainer,
    name: str,
    config_json: str,
    train: Sequence[CaseFiles],
    say: Report,
    **more: object,
) -> Path:
    """Write the averaged weights in half precision, the record of the training, and its picture."""
    out = trainer.out
    if not trainer.share.first:
        return out
    weights = {
        k: v.detach().cpu().half().contiguous()
        for k, v in named_weights(trainer.averaged).items()
        if not k.startswith(TRAINING_ONLY)
    }
    write_atomically(out / f"{name}.safetensors", lambda path: save_file(weights, path))
    record = {
        "stage": name,
        "config": json.loads(config_json),
        "steps": trainer.step,
        "seconds": round(trainer.seconds),
        "device": trainer.device.type,
        "precision": trainer.precision,
        "torch": torch.__version__.split("+")[0],
        "train_cases": [c.name for c in train],
        "parameters": sum(v.numel() for v in weights.values()),
        **more,
        "history": trainer.history,
    }
    write_record(out, record)
    learning_curves(trainer.history, out / "learning.png", name)
    say(f"wrote {name}.safetensors, training.json and learning.png")
    return out
