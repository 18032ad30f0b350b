"""Calls and parameters of networks, counted while they run."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_pgrd.evaluate.counting import Calls


def test_whole_networks_count_and_their_parts_do_not() -> None:
    inner = nn.Linear(3, 3, bias=False)
    net = nn.Sequential(inner, nn.ReLU(), inner)
    with Calls() as counted:
        net(torch.zeros(4, 3))
        net(torch.zeros(2, 3))
        nn.Linear(3, 1)(torch.zeros(1, 3))
    assert (counted.calls, counted.parameters) == (7, 9 + 4)
    net(torch.zeros(5, 3))
    assert counted.calls == 7  # nothing is heard any more


def test_a_call_that_fails_does_not_hide_the_next() -> None:
    net = nn.Linear(3, 1)
    with Calls() as counted:
        with pytest.raises(RuntimeError):
            nn.Sequential(net)(torch.zeros(1, 2))
        net(torch.zeros(2, 3))
    assert counted.calls == 3


def test_what_is_not_to_be_heard_is_not_counted() -> None:
    net, other = nn.Linear(3, 1), nn.Linear(3, 2)
    with Calls([net]) as counted:
        net(torch.zeros(4, 3))
        other(torch.zeros(2, 3))
    assert (counted.calls, counted.parameters) == (2, 8)
