"""Which device, in which precision, and how much memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from napari_pgrd.engine.errors import DeviceError, InputError, require

DEVICES = ("auto", "cpu", "cuda", "mps")


def resolve(name: str) -> torch.device:
    """``auto`` is CUDA, then Apple's MPS, then the CPU; a device asked for by name must be there."""
    require(name in DEVICES, InputError, f"There is no device {name!r}; choose one of {', '.join(DEVICES)}.")
    have = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(d for d in ("cuda", "mps", "cpu") if have[d])
    require(
        have[name],
        DeviceError,
        f"{name.upper()} was asked for, but this machine has no {name.upper()} device that PyTorch can use. "
        "Choose 'auto' or 'cpu'.",
    )
    return torch.device(name)


def precision(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it natively, else float32.

    A fixed rule, not a stopwatch, so that the same machine always gives the same mask. ``benchmarks/sampling.py``
    measures what it is worth.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu":
        caps = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        native = caps.get("avx512_bf16") or caps.get("amx_bf16") or caps.get("bf16")
        return torch.bfloat16 if native else torch.float32
    return torch.float32


@contextmanager
def autocast(device: torch.device) -> Iterator[None]:
    """Run in the device's precision. Enter and leave it within one call, never around a yield."""
    dtype = precision(device)
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        yield


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out, on whichever device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    signs = ("out of memory", "can't allocate memory", "not enough memory", "alloc failed", "alloc_failed", "bad_alloc")
    return isinstance(error, RuntimeError) and any(sign in text for sign in signs)


def free_memory(device: torch.device) -> int | None:
    """Free bytes, where they can be known without another dependency."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    if device.type == "cpu":
        try:
            with open("/proc/meminfo", encoding="ascii") as lines:
                return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
        except (OSError, StopIteration):
            return None
    return None
