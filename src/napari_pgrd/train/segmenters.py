"""Training of the prior's competitors: its backbone with dropout, from several beginnings, with heads, with a latent.

They take the prior's configuration, batches and optimiser, so that a comparison is one of methods alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Independent, Normal, kl_divergence

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.methods import METHODS
from napari_pgrd.engine.netspec import DropoutConfig, HeadsConfig, LatentConfig
from napari_pgrd.engine.segmenters import DropoutNet, LatentNet, MultiHeadNet
from napari_pgrd.io.cases import CaseFiles
from napari_pgrd.io.nifti import write_atomically
from napari_pgrd.train.config import PriorTraining
from napari_pgrd.train.loop import Batch, Report
from napari_pgrd.train.losses import PriorLoss
from napari_pgrd.train.prior import PRIOR, Recipe, read_record, train_segmenter, write_record


class DropoutTraining(PriorTraining):
    """As the prior's, of a network with dropout."""

    network: DropoutConfig = DropoutConfig()


class HeadsTraining(PriorTraining):
    """As the prior's, of a network with several heads.

    Attributes
    ----------
    relaxation : float
        The share of the gradient that goes to the heads that were not the best: the e of the relaxed loss.
    """

    network: HeadsConfig = HeadsConfig()
    relaxation: float = Field(0.05, ge=0, lt=1)


class LatentTraining(PriorTraining):
    """As the prior's, of a Probabilistic U-Net.

    Attributes
    ----------
    beta : float
        Weight of the Kullback-Leibler divergence; 1 is the evidence lower bound.
    """

    network: LatentConfig = LatentConfig()
    beta: float = Field(1.0, ge=0)


def winner_takes_most(each: Tensor, relaxation: float) -> Tensor:
    """The relaxed winner-takes-all loss (Rupprecht et al. 2017) of ``each (B, M)`` head's own loss.

    The best head of an image has weight 1 - e, the others share e.
    """
    best, heads = each.min(1).values, each.shape[1]
    loss: Tensor = (1 - relaxation) * best + relaxation * (each.sum(1) - best) / (heads - 1)
    return loss.mean()


def heads_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """``(B, M)``: mean over voxels of every head's cross-entropy.

    ``logits (B, M, K, ...)`` or, with deep supervision, ``(B, scales, M, K, ...)``, coarser scales halved each; ``y
    (B, K, ...)`` one-hot.
    """
    scales = torch.unbind(logits.float(), 1) if logits.ndim == y.ndim + 2 else [logits.float()]
    weights = [0.5**i for i in range(len(scales))]
    losses = [-(y[:, None] * F.log_softmax(z, 2)).sum(2).flatten(2).mean(2) for z in scales]
    return torch.stack([w * x for w, x in zip(weights, losses, strict=True)]).sum(0) / sum(weights)


def evidence_bound(
    logits: Tensor, y: Tensor, after: tuple[Tensor, Tensor], before: tuple[Tensor, Tensor], beta: float
) -> Tensor:
    """The Probabilistic U-Net's loss (Kohl et al. 2018), divided by the number of voxels.

    Cross-entropy summed over voxels, and beta times the divergence of the posterior ``after`` from the prior
    ``before``, each a mean and logarithm of the variance ``(B, latent)``.
    """
    cross = -(y * F.log_softmax(logits.float(), 1)).sum(1).flatten(1).sum(1)
    q, p = (Independent(Normal(mean, (log_variance / 2).exp()), 1) for mean, log_variance in (after, before))
    voxels = y[0, 0].numel()
    return ((cross + beta * kl_divergence(q, p)) / voxels).mean()


def _dropout_loss(model: nn.Module, batch: Batch, step: int, config: DropoutTraining) -> Tensor:
    image, y = batch
    rngs = [np.random.default_rng((config.optimisation.seed, 15, step, i)) for i in range(len(image))]
    return PriorLoss(config.dice_weight)(model(image, rngs), y)


def _heads_loss(model: nn.Module, batch: Batch, step: int, config: HeadsTraining) -> Tensor:
    image, y = batch
    return winner_takes_most(heads_cross_entropy(model(image), y), config.relaxation)


def _latent_loss(model: nn.Module, batch: Batch, step: int, config: LatentTraining) -> Tensor:
    assert isinstance(model, LatentNet)
    image, y = batch
    mean, log_variance = after = model.after(image, y)
    rng = np.random.default_rng((config.optimisation.seed, 17, step))
    eps = torch.from_numpy(rng.standard_normal(tuple(mean.shape), dtype=np.float32)).to(mean.device)
    logits = model.decode(image, mean + (log_variance / 2).exp() * eps)
    return evidence_bound(logits, y, after, model.prior(image), config.beta)


def _likeliest(model: nn.Module, image: Tensor) -> Tensor:
    """The answer under the most likely latent."""
    assert isinstance(model, LatentNet)
    config = model.config
    slices = image.shape[-1] if config.dims == 2 else 1
    out: Tensor = model(image, torch.zeros(1, slices, config.latent, device=image.device))
    return out.argmax(1)


DROPOUT = Recipe(
    "dropout", lambda config: DropoutNet(config.network), _dropout_loss, lambda model, image: model(image).argmax(1)
)
HEADS = Recipe(
    "multi-head",
    lambda config: MultiHeadNet(config.network),
    _heads_loss,
    lambda model, image: model(image).softmax(2).mean(1).argmax(1),
)
LATENT = Recipe("probunet", lambda config: LatentNet(config.network), _latent_loss, _likeliest)


def train_ensemble(
    train: Sequence[CaseFiles],
    monitor: Sequence[CaseFiles],
    config: PriorTraining,
    out: Path,
    device: torch.device,
    say: Report,
    start: str | Path | None = None,
    name: str = "ensemble",
) -> Path:
    """Train as many priors as the method has files, each with a seed of its own and in a folder of its own.

    The seeds follow that of the configuration, so no member is the prior of the same configuration. A training that was
    stopped goes on with the member it stopped in.
    """
    require(start is None, InputError, "An ensemble begins from its members' own seeds. Leave --start out.")
    out.mkdir(parents=True, exist_ok=True)
    records = []
    files = METHODS[name].files
    for k, file in enumerate(files, 1):
        seeded = config.optimisation.model_copy(update={"seed": config.optimisation.seed + k})
        say(f"member {k} of {len(files)}, seed {seeded.seed}")
        member = out / f"member-{k}"
        train_segmenter(train, monitor, config.model_copy(update={"optimisation": seeded}), member, device, say)
        weights = (member / f"{PRIOR.name}.safetensors").read_bytes()
        write_atomically(out / file, lambda path, weights=weights: path.write_bytes(weights))
        records.append(read_record(member))
    first = records[0]
    record = {
        **{key: first[key] for key in ("device", "precision", "torch", "steps", "train_cases")},
        "stage": name,
        "config": config.model_dump(mode="json"),
        "seconds": sum(r["seconds"] for r in records),
        "parameters": sum(r["parameters"] for r in records),
        "members": [{key: r[key] for key in ("steps", "seconds", "parameters")} for r in records],
    }
    write_record(out, record)
    return out
