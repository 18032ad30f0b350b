"""One training in several processes, a GPU or a part of the CPU each.

Every process has the whole network and a share of each batch. After its backward pass the gradients are averaged over
all, so each takes the same step. PyTorch's own collectives suffice: a wrapper around the network, such as that of
Accelerate or DistributedDataParallel, would change the names of its weights and hide the calls that losses make on it,
and at these sizes it hides no transfer that counts. ``torchrun``, ``accelerate launch`` and ``--processes`` start such
processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from napari_pgrd.engine.device import resolve
from napari_pgrd.engine.errors import DeviceError, InputError, require

MEETING = "PGRD_MEETING"  # a file by which the processes of --processes find each other
PATIENCE = timedelta(hours=12)  # while the first one measures, the others wait
Items = TypeVar("Items")  # whatever has a length and can be cut


@dataclass(frozen=True)
class Share:
    """Which part of a batch this process takes.

    Attributes
    ----------
    rank, processes : int
        Its number, from 0, and how many there are.
    """

    rank: int = 0
    processes: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that measures, writes and speaks."""
        return self.rank == 0

    def check(self, batch: int) -> None:
        """A sentence unless a batch can be shared out evenly."""
        require(
            batch % self.processes == 0,
            InputError,
            f"A batch of {batch} cannot be shared out among {self.processes} processes. Set optimisation.batch to a "
            f"multiple of {self.processes}, or start fewer processes.",
        )

    def of(self, items: Items) -> Items:
        """Its part of what belongs to a whole batch, in order."""
        whole: Any = items
        n = len(whole) // self.processes
        return cast(Items, whole[self.rank * n : (self.rank + 1) * n])

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all processes."""
        if self.processes == 1:
            return value
        total = value.detach().clone()
        dist.all_reduce(total)
        return total / self.processes

    def average_gradients(self, model: nn.Module) -> None:
        """Give every process the mean of all gradients; none where no process has one."""
        if self.processes == 1:
            return
        learnt = [p for p in model.parameters() if p.requires_grad]
        have = torch.tensor([float(p.grad is not None) for p in learnt], device=learnt[0].device)
        dist.all_reduce(have)
        used = [p for p, n in zip(learnt, have.tolist(), strict=True) if n]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in used])
        dist.all_reduce(flat)
        flat /= self.processes
        for p, part in zip(used, flat.split([p.numel() for p in used]), strict=True):
            p.grad = part.view_as(p).clone()

    def told(self, value: int, device: torch.device) -> int:
        """What the first process says."""
        said = torch.tensor([value], device=device)
        if self.processes > 1:
            dist.broadcast(said, 0)
        return int(said)

    def wait(self) -> None:
        """Until all are here."""
        if self.processes > 1:
            dist.barrier()


ALONE = Share()


def silent(text: str) -> None:
    """What processes say that are not the first."""


def share() -> Share:
    """The share of this process."""
    if not (dist.is_available() and dist.is_initialized()):
        return ALONE
    return Share(dist.get_rank(), dist.get_world_size())


@contextmanager
def joined(device: str) -> Iterator[torch.device]:
    """Meet the other processes of this training, if it was started in several; yields this one's device."""
    place, processes = resolve(device), int(os.environ.get("WORLD_SIZE", "1"))
    if processes == 1:
        yield place
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if place.type == "cuda":
        require(
            local < torch.cuda.device_count(),
            DeviceError,
            f"There are {torch.cuda.device_count()} GPUs here, but more processes. Start one for each GPU.",
        )
        place = torch.device("cuda", local)
        torch.cuda.set_device(place)
    meeting = os.environ.get(MEETING)
    where: dict[str, Any] = {"init_method": f"file://{meeting}"} if meeting else {}
    if meeting:
        where |= {"rank": int(os.environ["RANK"]), "world_size": processes}
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo", timeout=PATIENCE, **where)
    try:
        yield place
    finally:
        dist.destroy_process_group()


def start(processes: int, words: Sequence[str]) -> int:
    """Run ``pgrd`` with these words in several processes on this machine; the exit status of the first that fails.

    What the others write is shown only if the first process says nothing of why all stopped.
    """
    require(1 <= processes <= 1024, InputError, f"{processes} processes were asked for; choose between 1 and 1024.")
    with tempfile.TemporaryDirectory(prefix="pgrd-processes-") as folder:
        meeting = Path(folder) / "meeting"
        notes = [open(Path(folder) / f"{rank}.txt", "w+", encoding="utf-8") for rank in range(processes)]  # noqa: SIM115
        running = []
        for rank in range(processes):
            env = {**os.environ, MEETING: str(meeting), "WORLD_SIZE": str(processes)}
            env |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            if sys.platform == "linux":
                env.setdefault("GLOO_SOCKET_IFNAME", "lo")  # a machine without a network has no other
            env.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
            # -P: no modules of the working directory
            command = [sys.executable, "-P", "-c", "from napari_pgrd.cli import main; main()", *words]
            quiet = {} if rank == 0 else {"stdout": subprocess.DEVNULL, "stderr": notes[rank]}
            running.append(subprocess.Popen(command, env=env, **quiet))  # type: ignore[call-overload]
        try:
            return _watched(running, notes)
        finally:
            for process in running:
                process.kill()
                process.wait()
            for note in notes:
                note.close()


def _watched(running: Sequence[subprocess.Popen[bytes]], notes: Sequence[Any]) -> int:
    while True:
        codes = [process.poll() for process in running]
        failed = [rank for rank, code in enumerate(codes) if code]
        if failed and 0 not in failed and codes[0] is None:
            time.sleep(2)  # the first one may be about to say the same
            if running[0].poll() is None:
                notes[failed[0]].seek(0)
                print(notes[failed[0]].read(), file=sys.stderr, end="")
        if failed:
            code = codes[failed[0]] or 1
            return code if code > 0 else 1
        if all(code == 0 for code in codes):
            return 0
        time.sleep(0.1)
