"""Several processes train as one does with the same batches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.spec import PrepareSpec
from napari_pgrd.train.data import Batches
from napari_pgrd.train.processes import ALONE, Share
from tests.train.two_processes import cases, train

TOP = Path(__file__).resolve().parents[2]


def in_two(out: Path, steps: int, batch: int, network: str) -> list[list[float]]:
    """Run the training in two processes; the losses that each saw."""
    out.mkdir(exist_ok=True)
    (out / "meeting").unlink(missing_ok=True)
    env = {**os.environ, "PYTHONPATH": str(TOP), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    words = [out, out / "meeting"], ["2", steps, batch, network]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.train.two_processes", *map(str, [*words[0], rank, *words[1]])],
            env=env, cwd=TOP, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    errors = [process.communicate(timeout=600)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], "\n".join(errors)
    return [json.loads((out / f"losses-{rank}.json").read_text(encoding="utf-8")) for rank in range(2)]


@pytest.mark.parametrize("streams", ["batch", "item"])
def test_shares_make_the_batch_that_one_process_has(streams: str) -> None:
    spec = PrepareSpec(patch=(8, 8, 8), stride=4)

    def batches(share: Share) -> Batches:
        return Batches(cases(), 3, spec, 4, 7, (0,), share=share, streams=streams)  # type: ignore[arg-type]

    whole = batches(ALONE)
    parts = [batches(Share(rank, 2)) for rank in range(2)]
    for step in (0, 5):
        for one, *shares in zip(whole(step), *(part(step) for part in parts), strict=True):
            assert torch.equal(one, torch.cat(shares))
        assert whole.names(step) == [name for part in parts for name in part.names(step)]
    assert not torch.equal(whole(0)[0], whole(1)[0])
    with pytest.raises(InputError, match="batch of 4 cannot be shared out among 3 processes"):
        batches(Share(0, 3))


def test_two_processes_learn_as_one_does_and_go_on_where_it_stopped(tmp_path: Path) -> None:
    alone = train(tmp_path / "one", 6, 4, "denoiser", torch.device("cpu"))
    half = in_two(tmp_path / "two", 3, 4, "denoiser")
    rest = in_two(tmp_path / "two", 6, 4, "denoiser")  # resumed
    assert half[0] == half[1] and rest[0] == rest[1], "every process has the mean over all"
    together = half[0] + rest[0]
    assert len(together) == 6
    # Deep supervision is averaged over what each process supervises, so the curves agree within that and rounding.
    assert np.allclose(together, alone, rtol=0.01)
    other = train(tmp_path / "other", 6, 2, "denoiser", torch.device("cpu"))
    assert not np.allclose(other, alone, rtol=0.1), "half of the batch gives another curve"
    weights = [load_file(tmp_path / name / "checkpoint.safetensors") for name in ("one", "two")]
    assert weights[0].keys() == weights[1].keys(), "the same file goes on in one process"
