"""Second stage: the denoiser, with the prior frozen."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from napari_pgrd.engine import process
from napari_pgrd.engine.bundle import NoPrior
from napari_pgrd.engine.entries import Diffusion
from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.methods import FIRST, METHODS, Kit, Method
from napari_pgrd.engine.nets import Denoiser
from napari_pgrd.engine.netspec import ScheduleSpec, UNetConfig
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.sampler import Case, sample_rng
from napari_pgrd.engine.spec import WEIGHTS, DenoiserConfig, PriorConfig
from napari_pgrd.io.cases import CaseFiles
from napari_pgrd.train.config import DenoiserTraining, PriorTraining
from napari_pgrd.train.data import Batches, TrainCase, load_case
from napari_pgrd.train.folds import CasePriors, Fold, PriorProbabilities
from napari_pgrd.train.hints import draw_hints
from napari_pgrd.train.loop import Batch, Report, Trainer, autocast
from napari_pgrd.train.losses import deep_diffusion_supervision, diffusion_loss
from napari_pgrd.train.maps import check_size, described, digest_of
from napari_pgrd.train.prior import (
    dice_scores,
    digest,
    fingerprint,
    finish,
    fitted_temperature,
    load_cases,
    load_prior,
    prior_folder,
    read_record,
    start_from,
)
from napari_pgrd.train.processes import share, silent
from napari_pgrd.train.weighting import Times, weighted


def train_denoiser(
    train: Sequence[CaseFiles],
    monitor: Sequence[CaseFiles],
    config: DenoiserTraining,
    prior: str | Path | None,
    out: Path,
    device: torch.device,
    say: Report,
    start: str | Path | None = None,
    out_of_fold: Sequence[Path] = (),
    method: str = FIRST,
    recipe: DiffusionRecipe | None = None,
    maps: Path | None = None,
) -> Path:
    """Train the denoiser around a prior, a finished training's or a bundle's, at its temperature if none is set.

    ``method`` is the one that the denoiser is for: it may fix some of the settings. ``recipe`` says what is learnt.

    With ``start``, see :func:`~napari_pgrd.train.prior.train_prior`; keep that denoiser's ``residual_std`` then. With
    ``out_of_fold``, folders of priors trained on parts of the cases: see :mod:`napari_pgrd.train.folds`. In place of a
    prior, ``maps`` is a folder with the probabilities of any other model for every case.
    """
    mine = share()
    say = say if mine.first else silent
    row, recipe = METHODS[method], recipe or VELOCITY
    stage = row.files[0].removesuffix(".safetensors")
    config = config.model_copy(update=dict(row.settings))
    config, weighting = weighted(config, recipe.schedule(config).rhobar, recipe.scale or config.residual_scale)
    require(
        (prior is None) != (maps is None) and not (maps and out_of_fold),
        InputError,
        "A denoiser is trained around a prior or around maps of probabilities. Give one of --prior and "
        "--prior-probabilities; --out-of-fold stands in for a prior alone.",
    )
    folder = None if prior is None else prior_folder(prior)
    absent = NoPrior("This training")
    first, frozen = (described(config, train), absent) if folder is None else load_prior(folder, device)
    if folder is not None and config.prior_temperature == 1:
        config = config.model_copy(update={"prior_temperature": fitted_temperature(folder)})
    check_size(config, first)
    index = {value: i for i, value in enumerate(sorted(first.labels))}
    cases = load_cases(train, first, index, say, whole=True, maps=maps)
    watched = load_cases(monitor[: config.optimisation.validate_cases], first, index, say, maps=maps)
    pi_of = PriorProbabilities(frozen, config.prior_temperature, device)
    folds = [load_fold(folder, first, device) for folder in out_of_fold]
    pi_of_case = CasePriors(pi_of, folds, [c.name for c in cases])
    out.mkdir(parents=True, exist_ok=True)
    middle = first.prepare.middle_only
    seen = [load_case(f, first.prepare, index, maps=maps) for f in train[:MEASURED]] if middle else cases
    if not mine.first:
        mine.wait()  # for the size that the first one measures and keeps
    config = complete(config, first.network, pi_of_case, seen, out, say)
    if mine.first:
        mine.wait()
    torch.manual_seed(config.optimisation.seed)
    net = Denoiser(config.network)
    began, before = start_from(start, net, stage, say)
    others_than_the_first = (stage,) if row.entry else ()
    given = [digest_of(cases)] if folder is None else [digest(folder / WEIGHTS[0])]
    beside, *others = (*given, *(digest(fold / WEIGHTS[0]) for fold in out_of_fold))
    mark = fingerprint(config, train, beside, *others, *began, *others_than_the_first)
    trainer = Trainer(net, config.optimisation, out, device, mark)
    pi_of_case.use(trainer.precision)
    batches = Batches.told(cases, len(index), first.prepare, config.optimisation, mine)
    entry = Diffusion(network=config.network, schedule=recipe.schedule(config))
    objective = recipe.objective(config, entry.schedule.rhobar, pi_of_case, batches.names)

    @torch.no_grad()
    def validate(model: nn.Module) -> dict[str, float]:
        return watch(model, watched, entry, row, pi_of, first, device)

    trainer.fit(batches, objective, validate, say)
    made: dict[str, object] = {"before": before, "prior_sha256": None if folder is None else beside}
    made |= {"maps_blake2": beside} if folder is None else {}
    made["out_of_fold"] = [_about(folder) for folder in out_of_fold]
    made |= {"weighting": weighting} if weighting else {}
    return finish(trainer, stage, config.model_dump_json(), train, say, **made)


def load_fold(folder: Path, first: PriorTraining, device: torch.device) -> Fold:
    """A prior that has seen a part of the cases, at the temperature fitted to it."""
    config, net = load_prior(folder, device)
    require(
        (config.prepare, config.labels) == (first.prepare, first.labels),
        InputError,
        f"The prior in {folder.name} was trained with other labels or another [prepare] than the one it stands in for.",
    )
    seen = frozenset(read_record(folder)["train_cases"])
    return Fold(PriorProbabilities(net, fitted_temperature(folder), device), seen)


def _about(folder: Path) -> dict[str, object]:
    record = read_record(folder)
    kept = {key: record[key] for key in ("steps", "seconds", "device")}
    return {**kept, "cases": len(record["train_cases"]), "sha256": digest(folder / WEIGHTS[0])}


class Objective:
    """The loss at random times: v in preconditioned form, plus deep diffusion supervision."""

    def __init__(
        self,
        config: DenoiserTraining,
        rhobar: np.ndarray,
        pi_of: CasePriors,
        names: Callable[[int], Sequence[str]],
    ) -> None:
        self.config, self.pi_of, self.names = config, pi_of, names
        self.rhobar = torch.from_numpy(rhobar).float()
        self.times = Times(config.T, config.timestep_weights)
        self.share = share()

    def __call__(self, model: nn.Module, batch: Batch, step: int) -> Tensor:
        """Loss of one batch; its times and noise depend on seed and step alone."""
        assert isinstance(model, Denoiser)
        c = self.config
        image, y, *given = batch
        pi = (given[0] if given else self.pi_of(image, self.names(step))) if c.prior_guided else torch.zeros_like(y)
        t, eps = self.drawn(y, step)
        rb = self.rhobar.to(y.device)[t]
        wide = rb.reshape(-1, *[1] * (y.ndim - 1))
        r0 = process.residual(y, pi, c.residual_scale)
        r_t = process.diffuse(r0, eps, wide)
        mine = () if self.share.processes == 1 else (self.share.rank,)
        hint = draw_hints(y, pi, np.random.default_rng((c.optimisation.seed, 13, step, *mine)), c.hint_share)
        raw, psi = model.raw(pi + r_t, image, pi, t, rb, hint)
        skip, gain = model.preconditioning(rb, y.ndim)
        target = (process.velocity(r0, eps, wide) - skip * r_t) / gain
        loss = diffusion_loss(raw, target)
        if c.dds_weight > 0 and psi:
            low, high = c.dds_times
            supervised = ((t >= low * c.T) & (t <= high * c.T)).float()
            loss = loss + c.dds_weight * deep_diffusion_supervision(psi, y, supervised, c.dds_tau)
        return loss

    def drawn(self, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Times ``(B,)`` and noise of y's shape: this process's share of what is drawn for the whole batch."""
        rng = np.random.default_rng((self.config.optimisation.seed, 11, step))
        whole = len(y) * self.share.processes
        t = self.share.of(self.times(rng, whole))
        eps = self.share.of(rng.standard_normal((whole, *y.shape[1:]), dtype=np.float32))
        return torch.from_numpy(t).to(y.device), torch.from_numpy(eps).to(y.device)


class NoiseObjective(Objective):
    """The loss of Ho et al. (2020): the mean squared error on eps, at random times, of a mask in {-1, 1}."""

    def __call__(self, model: nn.Module, batch: Batch, step: int) -> Tensor:
        """Loss of one batch; its times and noise depend on seed and step alone."""
        assert isinstance(model, Denoiser)
        image, y, *_ = batch
        t, eps = self.drawn(y, step)
        rb = self.rhobar.to(y.device)[t]
        y_t = process.diffuse(2 * y - 1, eps, rb.reshape(-1, *[1] * (y.ndim - 1)))
        raw, _ = model.raw(y_t, image, torch.zeros_like(y), t, rb)
        return diffusion_loss(raw, eps)


@dataclass(frozen=True)
class DiffusionRecipe:
    """What a denoiser learns, and in which diffusion.

    ``scale`` is that of the mask in the state; None is the configuration's ``residual_scale``.
    """

    objective: type[Objective]
    kind: Literal["cosine", "linear"]
    scale: float | None = None

    def schedule(self, config: DenoiserTraining) -> ScheduleSpec:
        """The diffusion of a training, as a bundle describes it."""
        kept = {key: getattr(config, key) for key in ("T", "shift", "residual_scale", "prior_guided")}
        return ScheduleSpec(kind=self.kind, **kept)


MEASURED = 24  # cases on which the size of the residual is measured
VELOCITY = DiffusionRecipe(Objective, "cosine")
NOISE = DiffusionRecipe(NoiseObjective, "linear", scale=2.0)  # from -1 to 1


def complete(
    config: DenoiserTraining,
    prior: PriorConfig | UNetConfig,
    pi_of: CasePriors,
    cases: Sequence[TrainCase],
    out: Path,
    say: Report,
) -> DenoiserTraining:
    """Fill in what follows from the data: channels, classes and, unless it is given, the residual's size."""
    std = config.residual_std
    kept = out / "residual.json"
    if std is None and kept.exists():
        std = float(json.loads(kept.read_text(encoding="utf-8"))["residual_std"])
    if std is None:
        squares = []
        for case in cases[:MEASURED]:
            y = nn.functional.one_hot(case.labels.long(), prior.classes).movedim(-1, 1).float()  # (readers, K, ...)
            y, image = y.to(pi_of.prior.device), case.image[None].to(pi_of.prior.device)
            known = pi_of(image, [case.name]) if case.pi is None else case.pi[None].to(image.device)
            pi = known if config.prior_guided else torch.zeros_like(y)
            squares.append(float(process.residual(y, pi, config.residual_scale).square().mean()))
        std = round(float(np.sqrt(np.mean(squares))), 4)
        kept.write_text(json.dumps({"residual_std": std}), encoding="utf-8")
        say(f"the residual's standard deviation is {std}")
    supervised = config.network.supervised if config.dds_weight > 0 else ()
    update = {
        "dims": prior.dims,
        "channels": prior.channels,
        "classes": prior.classes,
        "residual_std": std,
        "supervised": supervised,
        "hints": config.hint_share > 0,
    }
    network = DenoiserConfig(**{**config.network.model_dump(), **update})
    return config.model_copy(update={"network": network, "residual_std": std})


def watch(
    model: nn.Module,
    cases: Sequence[TrainCase],
    entry: Diffusion,
    row: Method,
    pi_of: PriorProbabilities,
    first: PriorTraining,
    device: torch.device,
) -> dict[str, float]:
    """Dice and NLL of the prior, of one step and of four short samples, on the calibration block."""
    tau = 0.1

    def denoise(s: Tensor, image: Tensor, pi: Tensor, t: int, rb: float) -> Tensor:
        times = torch.full((len(s),), t, device=device)
        with autocast(device, pi_of.precision):
            v: Tensor = model(s, image, pi, times, torch.full((len(s),), rb, device=device))
        return v

    rows: dict[str, list[Tensor]] = {"prior": [], "one": [], "five": []}
    for case in cases:
        image = case.image[None].to(device)
        pi = pi_of(image) if case.pi is None else case.pi[None].to(device)
        rows["prior"].append(pi[0].cpu())
        for key, steps, m in (("one", 1, 1), ("five", 5, 4)):
            sampler = row.sampler(Kit(entry, Request(steps=steps, solver="ddim", eta=0.0), pi_of, [denoise]))
            *_, y = sampler.draw(Case(image, pi), [sample_rng(0, i, first.prepare.dims == 2) for i in range(m)])
            rows[key].append(torch.softmax(y / tau, 1).mean(0).cpu() if m > 1 else process.clean(y - pi, pi)[0].cpu())
    out = {}
    for key, maps in rows.items():
        out[f"dice_{key}"] = dice_scores([p.argmax(0) for p in maps], cases, first.labels)["dice"]
        true = [p.gather(0, c.labels.long()).clamp_min(1e-6).log().mean() for p, c in zip(maps, cases, strict=True)]
        out[f"nll_{key}"] = -float(torch.stack(true).mean())
    return out
