"""First stage: the prior alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.nets import TRAINING_ONLY, build_prior, named_weights
from napari_pgrd.train.config import PriorTraining
from napari_pgrd.train.data import Batches, CaseFiles, TrainCase, load_case
from napari_pgrd.train.loop import Batch, Report, Trainer
from napari_pgrd.train.losses import PriorLoss
from napari_pgrd.train.plots import learning_curves


def train_prior(
    train: Sequence[CaseFiles], monitor: Sequence[CaseFiles], config: PriorTraining, out: Path, device: torch.device, say: Report
) -> Path:
    """Train the prior; returns the folder with ``prior.safetensors``, ``training.json`` and the learning curves."""
    index = {value: i for i, value in enumerate(sorted(config.labels))}
    require(
        config.network.classes == len(index),
        InputError,
        f"The network has {config.network.classes} classes but {len(index)} labels are named; make them equal.",
    )
    cases = load_cases(train, config, index, say)
    watched = load_cases(monitor[: config.optimisation.validate_cases], config, index, say)
    torch.manual_seed(config.optimisation.seed)
    trainer = Trainer(build_prior(config.network), config.optimisation, out, device, fingerprint(config, train))
    o = config.optimisation
    batches = Batches(cases, len(index), config.prepare, o.batch, o.seed, o.mirror)
    criterion = PriorLoss()

    def loss(model: nn.Module, batch: Batch, step: int) -> Tensor:
        return criterion(model(batch[0]), batch[1])

    @torch.no_grad()
    def validate(model: nn.Module) -> dict[str, float]:
        return dice_scores([model(c.image[None].to(device)).argmax(1)[0].cpu() for c in watched], watched, config.labels)

    trainer.fit(batches, loss, validate, say)
    return finish(trainer, "prior", config.model_dump_json(), train, say)


def load_cases(files: Sequence[CaseFiles], config: PriorTraining, index: Mapping[int, int], say: Report) -> list[TrainCase]:
    """Read and check every case before the first step."""
    cases = [load_case(f, config.prepare, index) for f in files]
    require(bool(cases), InputError, "A block of the split is empty; training and calibration both need cases.")
    channels = {int(c.image.shape[0]) for c in cases}
    require(
        channels == {config.network.channels},
        InputError,
        f"The images have {sorted(channels)} channels, the network expects {config.network.channels}.",
    )
    say(f"{len(cases)} cases read")
    return cases


def dice_scores(predicted: Sequence[Tensor], cases: Sequence[TrainCase], labels: Mapping[int, str]) -> dict[str, float]:
    """Mean Dice over cases for each class, to watch a training by."""
    out = {}
    for i, value in enumerate(sorted(labels)):
        if i == 0:
            continue
        scores = []
        for p, case in zip(predicted, cases, strict=True):
            a, b = p == i, case.label == i
            total = int(a.sum() + b.sum())
            scores.append(2 * int((a & b).sum()) / total if total else 1.0)
        out[f"dice_{labels[value]}"] = sum(scores) / len(scores)
    out["dice"] = sum(out.values()) / len(out)
    return out


def fingerprint(config: PriorTraining | object, cases: Sequence[CaseFiles], *more: str) -> str:
    """What must not change between a run and its continuation."""
    import hashlib

    text = json.dumps([config.model_dump(mode="json"), [c.name for c in cases], *more], sort_keys=True)  # type: ignore[attr-defined]
    return hashlib.sha256(text.encode()).hexdigest()


def finish(trainer: Trainer, name: str, config_json: str, train: Sequence[CaseFiles], say: Report) -> Path:
    """Write the averaged weights in half precision, the record of the training, and its picture."""
    out = trainer.out
    weights = {
        k: v.detach().cpu().half().contiguous()
        for k, v in named_weights(trainer.averaged).items()
        if not k.startswith(TRAINING_ONLY)
    }
    save_file(weights, out / f"{name}.safetensors")
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
        "history": trainer.history,
    }
    (out / "training.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    learning_curves(trainer.history, out / "learning.png", name)
    say(f"wrote {name}.safetensors, training.json and learning.png")
    return out
