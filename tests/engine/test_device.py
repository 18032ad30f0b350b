"""Devices by name, and which exceptions mean that memory ran out."""

from __future__ import annotations

import pytest
import torch

from napari_pgrd.engine import device as devices
from napari_pgrd.engine.errors import DeviceError, InputError


def test_the_cpu_is_always_there() -> None:
    assert devices.resolve("cpu") == torch.device("cpu")


def test_auto_finds_one_that_works() -> None:
    assert float(torch.ones(2, device=devices.resolve("auto")).sum()) == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_asked_for_where_there_is_none_is_a_sentence() -> None:
    with pytest.raises(DeviceError, match="CUDA was asked for.*'auto' or 'cpu'"):
        devices.resolve("cuda")


@pytest.mark.parametrize("name", ["tpu", "", "cuda:7"])
def test_a_device_that_does_not_exist_is_a_sentence(name: str) -> None:
    with pytest.raises(InputError, match="auto, cpu, cuda, mps"):
        devices.resolve(name)


def test_a_real_allocation_that_fails_counts_as_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    assert devices.is_out_of_memory(caught.value)


def test_other_errors_do_not() -> None:
    for ask in (lambda: torch.ones(2) @ torch.ones(3), lambda: [][1], lambda: 1 / 0):
        with pytest.raises(Exception) as caught:  # noqa: PT011  # three kinds, on purpose
            ask()
        assert not devices.is_out_of_memory(caught.value)


def test_autocast_uses_the_devices_precision_and_ends_with_its_block() -> None:
    cpu = torch.device("cpu")
    a = torch.ones(4, 4)
    with devices.autocast(cpu):
        assert (a @ a).dtype == devices.precision(cpu)
    assert (a @ a).dtype == torch.float32


def test_free_memory_of_the_cpu_is_less_than_the_machine_has() -> None:
    free = devices.free_memory(torch.device("cpu"))
    assert free is None or 0 < free < 2**50
