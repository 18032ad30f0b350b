"""The training loop: resumable after a kill, averaged weights, honest progress."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from napari_pgrd.engine.duration import in_words
from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.nets import named_weights
from napari_pgrd.train.config import Optimisation
from napari_pgrd.train.processes import share, silent

Batch = tuple[Tensor, ...]  # image, one-hot truth and, where another model stands in for the prior, what it says
PRECISIONS = ("float32", "bfloat16")
LossOf = Callable[[nn.Module, Batch, int], Tensor]
Report = Callable[[str], None]


class Trainer:
    """A model, its optimiser and its running average, with everything a resumed run needs in one file.

    The random numbers of a step depend on the seed and the step alone, so a run that was killed continues with the
    sequence it would have had.

    Of several processes each steps alike on its share of every batch; the first one alone measures, writes and speaks.
    """

    def __init__(
        self, model: nn.Module, config: Optimisation, out: Path, device: torch.device, fingerprint: str
    ) -> None:
        self.config, self.out, self.device, self.fingerprint = config, out, device, fingerprint
        out.mkdir(parents=True, exist_ok=True)
        self.model = model.to(device)
        self.ema = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True)
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        self.step = 0
        self.seconds = 0.0
        self.precision = ""
        self.history: list[dict[str, float]] = []
        self.share = share()
        if self.checkpoint.exists():
            self._load()
        self.share.wait()  # before the first one writes another

    @property
    def checkpoint(self) -> Path:
        """Where the state lives."""
        return self.out / "checkpoint.safetensors"

    @property
    def averaged(self) -> nn.Module:
        """The model with averaged weights; what ships."""
        return self.ema.module

    def fit(
        self,
        batches: Callable[[int], Batch],
        loss: LossOf,
        validate: Callable[[nn.Module], dict[str, float]],
        say: Report,
    ) -> None:
        """Train to the configured number of steps; safe to call again after any interruption."""
        say = say if self.share.first else silent
        if not self.precision:
            if self.share.first:
                self.precision = choose_precision(self.model, batches, loss, self.config, self.device)
            known = PRECISIONS.index(self.precision or PRECISIONS[0])
            self.precision = PRECISIONS[self.share.told(known, self.device)]
            say(f"precision {self.precision} on {self.device.type}")
        running, count, saved, said = 0.0, 0, time.monotonic(), 0.0
        began, first = time.monotonic(), self.step
        while self.step < self.config.steps:
            tick = time.monotonic()
            value = self._one_step(batches(self.step), loss)
            self.step += 1
            self.seconds += time.monotonic() - tick
            running, count = running + value, count + 1
            left = (self.config.steps - self.step) * (time.monotonic() - began) / (self.step - first)
            if time.monotonic() - said > 20 or self.step == self.config.steps:
                said = time.monotonic()
                say(f"step {self.step}/{self.config.steps}  loss {running / count:.4f}  {in_words(left)} left")
            if self.step % self.config.validate_every == 0 or self.step == self.config.steps:
                scores = validate(self.averaged.eval()) if self.share.first else {}
                self.history.append({"step": self.step, "loss": running / count, **scores})
                say("  ".join([f"validation at step {self.step}", *(f"{k} {v:.4f}" for k, v in scores.items())]))
                running, count = 0.0, 0
                self.save()
            elif time.monotonic() - saved > self.config.checkpoint_seconds:
                self.save()
                saved = time.monotonic()

    def _one_step(self, batch: Batch, loss: LossOf) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * rate(self.step, self.config)
        self.model.train()
        self.optimiser.zero_grad(set_to_none=True)
        batch = tuple(part.to(self.device) for part in batch)
        with autocast(self.device, self.precision):
            value = loss(self.model, batch, self.step)
        over_all = self.share.mean(value)
        require(
            bool(torch.isfinite(over_all)),
            InputError,
            f"The loss is not finite at step {self.step}; lower the learning rate.",
        )
        value.backward()
        self.share.average_gradients(self.model)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimiser.step()
        self.ema.update_parameters(self.model)
        return float(over_all.detach())

    def save(self) -> None:
        """Write the whole state to a temporary file, then rename: a kill at any moment leaves a good file."""
        if not self.share.first:
            return
        tensors = {f"model.{k}": v.detach() for k, v in named_weights(self.model).items()}
        tensors |= {f"ema.{k}": v.detach() for k, v in named_weights(self.ema).items()}
        for i, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optim.{i}.{k}": v for k, v in state.items()}
        facts = {
            "step": self.step,
            "seconds": self.seconds,
            "precision": self.precision,
            "history": self.history,
            "fingerprint": self.fingerprint,
        }
        temporary = self.checkpoint.with_suffix(".tmp")
        save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, {"facts": json.dumps(facts)})
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, self.checkpoint)

    def _load(self) -> None:
        try:
            with safe_open(self.checkpoint, "pt", device=str(self.device)) as file:
                facts: dict[str, Any] = json.loads(file.metadata()["facts"])
                tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118  # not a mapping
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise InputError(f"{self.checkpoint} is damaged; move it away to start this training again.") from error
        require(
            facts["fingerprint"] == self.fingerprint,
            InputError,
            f"{self.checkpoint} belongs to a training with other settings; choose another --out or "
            "restore the settings.",
        )
        for net, prefix in ((self.model, "model."), (self.ema, "ema.")):
            mine = _under(prefix, tensors)
            require(mine.keys() == named_weights(net).keys(), InputError, f"{self.checkpoint} holds another network.")
            net.load_state_dict(mine, strict=False)  # not strict: blocks registered twice are saved once
        whole = self.optimiser.state_dict()
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in _under("optim.", tensors).items():
            index, name = key.split(".", 1)
            state.setdefault(int(index), {})[name] = value
        self.optimiser.load_state_dict({**whole, "state": state})
        self.step, self.seconds, self.history = facts["step"], facts["seconds"], facts["history"]
        self.precision = facts["precision"]


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}


def rate(step: int, config: Optimisation) -> float:
    """Factor on the learning rate: linear warm-up, then constant or a half cosine down to zero."""
    import math

    if step < config.warmup:
        return (step + 1) / config.warmup
    if config.decay == "none":
        return 1.0
    done = (step - config.warmup) / max(config.steps - config.warmup, 1)
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The autocast context of a chosen precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def choose_precision(
    model: nn.Module, batches: Callable[[int], Batch], loss: LossOf, config: Optimisation, device: torch.device
) -> str:
    """Time one training step in both precisions and take the faster; no weights change."""
    if config.precision != "auto":
        return config.precision
    batch = tuple(part.to(device) for part in batches(0))
    model.train()
    times: dict[str, float] = {}
    buffers = {k: v.clone() for k, v in model.named_buffers()}
    for precision in PRECISIONS:
        for _ in range(3):
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            tick = time.perf_counter()
            with autocast(device, precision):
                value = loss(model, batch, 0)
            value.backward()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times[precision] = min(times.get(precision, float("inf")), time.perf_counter() - tick)
    model.zero_grad(set_to_none=True)
    for name, value in model.named_buffers():
        value.copy_(buffers[name])
    return min(times, key=lambda k: times[k])
