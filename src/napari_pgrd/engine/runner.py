"""A method's networks as plain callables, on one device and, where an image is large, through windows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.device import autocast
from napari_pgrd.engine.heartbeat import Beat
from napari_pgrd.engine.methods import Kit
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.sampler import Sampler, sample_rng
from napari_pgrd.engine.windows import Size, Windows


class Runner:
    """A method's networks on one device, as plain callables; None is the bundle's own method."""

    def __init__(self, bundle: Bundle, device: torch.device, method: str | None = None) -> None:
        self.device, self.spec = device, bundle.spec
        self.row, self.entry = bundle.spec.row(method), bundle.spec.entry(method)
        self.prior_net, *self.nets = bundle.networks(device.type, method)
        self.windows: Windows | None = None
        self._beat: Beat = lambda: None

    def over(self, image: Tensor, size: Size | None = None, beat: Beat = lambda: None) -> Runner:
        """The same for one prepared image, which is seen through windows where the bundle wants it, or of this size.

        ``beat`` is called after each.
        """
        out = copy(self)
        out.windows, out._beat = Windows.over(image, self.spec.prepare, size), beat
        return out

    def _ask(self, net: Callable[..., Tensor], *inputs: Any) -> Tensor:
        whole = self.windows is None or not any(self.windows.covers(x) for x in inputs)
        return net(*inputs) if self.windows is None or whole else self.windows.ask(net, *inputs, beat=self._beat)

    @torch.no_grad()
    def logits(self, image: Tensor) -> Tensor:
        """Prior logits ``(m, K, *spatial)``, float32."""
        return self._ask(self._logits, image)

    def _logits(self, image: Tensor) -> Tensor:
        with autocast(self.device):
            out: Tensor = self.prior_net(image)
        return out.float()

    def prior(self, image: Tensor) -> Tensor:
        """pi: the scaled softmax of the prior; certain background where no window looks."""
        return self.shown(torch.softmax(self.logits(image) / self.spec.prior_temperature, 1))

    def shown(self, y: Tensor) -> Tensor:
        """Estimates ``(m, K, *spatial)``, with background where no window looks."""
        return y if self.windows is None else self.windows.background_where_unseen(y)

    def call(self, net: nn.Module, *inputs: Any) -> Tensor:
        """One call in the device's precision, float32; whether gradients are kept is the sampler's to say.

        A number becomes a tensor of it, one for each hypothesis of the first input.
        """
        m = len(inputs[0])
        given = [torch.full((m,), x, device=self.device) if isinstance(x, (int, float)) else x for x in inputs]

        def once(*parts: Any) -> Tensor:
            with autocast(self.device):
                out: Tensor = net(*parts)
            return out.float()

        return self._ask(once, *given)

    def denoise(self, *inputs: Any) -> Tensor:
        """The first of the method's own networks, as :data:`~napari_pgrd.engine.sampler.Denoise`."""
        return self.call(self.nets[0], *inputs)

    def rngs(self, seed: int, indices: Iterable[int]) -> list[np.random.Generator]:
        """The randomness of these samples; in 2D, of each of their slices."""
        return [sample_rng(seed, i, self.spec.prepare.dims == 2) for i in indices]

    def sampler(self, r: Request) -> Sampler:
        """What a resolved request draws samples with."""
        return self.row.sampler(Kit(self.entry, r, self.prior, [partial(self.call, net) for net in self.nets]))
