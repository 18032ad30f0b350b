"""One of the processes of a training: python two_processes.py OUT MEETING RANK PROCESSES STEPS BATCH NETWORK."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from napari_pgrd.engine.spec import DenoiserConfig, PrepareSpec, PriorConfig
from napari_pgrd.train.config import DenoiserTraining, Optimisation, PriorTraining
from napari_pgrd.train.data import TrainCase
from napari_pgrd.train.processes import MEETING, joined, share
from tests.tiny import blob_volume

torch.set_num_threads(1)


def cases() -> list[TrainCase]:
    """Four blob images, in memory."""
    out = []
    for seed in range(4):
        volume, truth = blob_volume((16, 16, 16), seed=seed)
        image = torch.from_numpy((volume.data - volume.data.mean()) / volume.data.std()).float()
        out.append(TrainCase(f"blob {seed}", image, torch.from_numpy(truth)[None]))
    return out


def train(out: Path, steps: int, batch: int, network: str, device: torch.device) -> list[float]:
    """A training of few steps; the loss of each, as this process has it."""
    from napari_pgrd.engine.nets import Denoiser, build_prior
    from napari_pgrd.train.data import Batches
    from napari_pgrd.train.denoiser import Objective
    from napari_pgrd.train.folds import CasePriors, PriorProbabilities
    from napari_pgrd.train.loop import Trainer
    from napari_pgrd.train.losses import PriorLoss

    fixed = {"precision": "float32", "validate_every": 2, "warmup": 0, "ema": 0.5, "learning_rate": 1e-2}
    # Without decay, as the rate of a step then does not depend on how many there will be.
    o = Optimisation.model_validate({"steps": steps, "batch": batch, "decay": "none", **fixed})
    prior = PriorTraining(
        optimisation=o,
        prepare=PrepareSpec(patch=(8, 8, 8), stride=4),
        network=PriorConfig(filters=(4, 8, 8), deep_supervision=0),
        labels={0: "background", 1: "anterior", 2: "posterior"},
    )
    batches = Batches(cases(), 3, prior.prepare, batch, o.seed, (), share=share())
    torch.manual_seed(0)
    net = build_prior(prior.network)
    if network == "prior":
        dice = PriorLoss()

        def loss(model: torch.nn.Module, parts: tuple[torch.Tensor, ...], step: int) -> torch.Tensor:
            return dice(model(parts[0]), parts[1])

        model: torch.nn.Module = net
    else:
        shape = DenoiserConfig(widths=(8, 8), attention=(False, False), residual_std=0.3, supervised=(1,))
        config = DenoiserTraining(optimisation=o, network=shape)
        pi_of = CasePriors(PriorProbabilities(net.eval().requires_grad_(False), 1.0, device))
        from napari_pgrd.engine.netspec import ScheduleSpec

        loss = Objective(config, ScheduleSpec(T=config.T).rhobar, pi_of, batches.names)
        model = Denoiser(shape)
    trainer = Trainer(model, o, out, device, "few steps")
    seen: list[float] = []
    stepped = trainer._one_step

    def step(*given: object) -> float:
        seen.append(stepped(*given))  # type: ignore[arg-type]
        return seen[-1]

    trainer._one_step = step  # type: ignore[method-assign, assignment]
    said: list[str] = []
    trainer.fit(batches, loss, lambda averaged: {"measured": 1.0}, said.append)
    assert bool(said) == share().first
    return seen


if __name__ == "__main__":
    folder, meeting, rank, processes, steps, batch, network = sys.argv[1:]
    os.environ |= {MEETING: meeting, "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes}
    with joined("cpu") as place:
        losses = train(Path(folder), int(steps), int(batch), network, place)
    Path(folder, f"losses-{rank}.json").write_text(json.dumps(losses), encoding="utf-8")
