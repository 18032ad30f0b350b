"""How the networks of each method are trained: the other half of the rows of :mod:`napari_pgrd.engine.methods`.

A row names its training, and here stands what that is; a new method needs a row there and, if nothing here makes its
networks, a training here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.methods import METHODS
from napari_pgrd.io.cases import CaseFiles, label_names
from napari_pgrd.train.config import DenoiserTraining, PriorTraining, read_config
from napari_pgrd.train.denoiser import NOISE, VELOCITY, DiffusionRecipe, train_denoiser
from napari_pgrd.train.loop import Report
from napari_pgrd.train.prior import Recipe, train_prior, train_segmenter
from napari_pgrd.train.segmenters import (
    DROPOUT,
    HEADS,
    LATENT,
    DropoutTraining,
    HeadsTraining,
    LatentTraining,
    train_ensemble,
)


@dataclass(frozen=True)
class Job:
    """What any training is given.

    Attributes
    ----------
    method : str
        Whose networks are wanted.
    train, monitor : sequence of CaseFiles
        The cases to learn from and those of the calibration block.
    data : Path
        The folder of the cases, for the names of its labels.
    config : Path, optional
        A TOML file; None takes the defaults.
    prior : Path, optional
        A finished training of the prior, or a bundle, for methods that need one.
    """

    method: str
    train: Sequence[CaseFiles]
    monitor: Sequence[CaseFiles]
    data: Path
    out: Path
    device: torch.device
    say: Report
    config: Path | None = None
    prior: Path | None = None
    start: str | None = None


@dataclass(frozen=True)
class Training:
    """How networks come about, and what a bundle says of them afterwards.

    ``describe`` makes the method's entry in ``bundle.json`` from the training's configuration, but for what is fitted.
    """

    run: Callable[[Job], Path]
    describe: Callable[[Mapping[str, Any]], dict[str, Any]]


def train_method(job: Job) -> Path:
    """Train what a method needs beyond the prior; returns the folder of the training.

    Raises
    ------
    InputError
        If there is no such method, or something that its training needs is not given.
    """
    known(job.method)
    return TRAININGS[METHODS[job.method].training].run(job)


def known(method: str) -> None:
    """A sentence unless there is a method of that name."""
    require(
        method in METHODS, InputError, f"There is no method {method!r} to train; choose one of {', '.join(METHODS)}."
    )


def fit_to_data(settings: PriorTraining, data: Path, cases: Sequence[CaseFiles]) -> PriorTraining:
    """Fill in what the configuration leaves open: names from ``dataset.json``, numbers of classes and channels."""
    named = None if "labels" in settings.model_fields_set else label_names(data)
    labels = named or settings.labels
    found = {"classes": len(labels), "channels": len(cases[0].images) if cases else 1}
    network = settings.network.model_copy(
        update={k: v for k, v in found.items() if k not in settings.network.model_fields_set}
    )
    return settings.model_copy(update={"labels": labels, "network": network})


def _segmenter(job: Job, run: Callable[..., Path], kind: type[PriorTraining]) -> Path:
    """A training that needs no prior."""
    require(
        job.prior is None,
        InputError,
        f"The networks of {METHODS[job.method].title} are trained without a prior. Leave --prior out.",
    )
    settings = fit_to_data(read_config(job.config, kind), job.data, job.train)
    return run(job.train, job.monitor, settings, job.out, job.device, job.say, job.start)


def _denoiser(job: Job, recipe: DiffusionRecipe) -> Path:
    """A training around a prior."""
    if job.prior is None:
        raise InputError(
            f"{METHODS[job.method].title} is trained beside a prior. Give --prior: the folder of 'pgrd train prior', "
            "or a bundle."
        )
    settings = read_config(job.config, DenoiserTraining)
    return train_denoiser(
        job.train, job.monitor, settings, job.prior, job.out, job.device, job.say, job.start, (), job.method, recipe
    )


def _around(recipe: DiffusionRecipe, **more: Any) -> Training:
    def describe(config: Mapping[str, Any]) -> dict[str, Any]:
        schedule = recipe.schedule(DenoiserTraining.model_validate(config))
        return {"network": config["network"], "schedule": schedule.model_dump(mode="json"), **more}

    return Training(partial(_denoiser, recipe=recipe), describe)


def _own(recipe: Recipe, kind: type[PriorTraining]) -> Training:
    return Training(partial(_segmenter, run=partial(train_segmenter, recipe=recipe), kind=kind), _network)


def _network(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"network": config["network"]}


TRAININGS: Mapping[str, Training] = MappingProxyType(
    {
        "prior": Training(partial(_segmenter, run=train_prior, kind=PriorTraining), _network),
        "ensemble": Training(partial(_segmenter, run=train_ensemble, kind=PriorTraining), _network),
        "denoiser": _around(VELOCITY),
        "ddpm": _around(NOISE, sampling={"solver": "ddpm", "steps": 50}),
        "dropout": _own(DROPOUT, DropoutTraining),
        "multi-head": _own(HEADS, HeadsTraining),
        "probunet": _own(LATENT, LatentTraining),
    }
)
