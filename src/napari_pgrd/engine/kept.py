"""What runs on one image share: how the networks see it, and the prior's answer, which need to be found out once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from napari_pgrd.engine.prediction import Floats
from napari_pgrd.engine.preprocess import Restore
from napari_pgrd.engine.windows import Size


@dataclass(eq=False)
class Kept:
    """Filled by the first run that it is given to; another key empties it.

    Samples that are asked for one group at a time, as on a cluster, would otherwise each begin with the prior, which on
    a whole brain takes a third of their time.
    """

    _key: tuple[object, ...] | None = field(default=None, repr=False)
    _prepared: tuple[Tensor, Restore] | None = field(default=None, repr=False)
    _prior: tuple[torch.device, Size | None, Tensor, Floats] | None = field(default=None, repr=False)

    def under(self, key: tuple[object, ...]) -> Kept:
        """The same, without what belongs to another :func:`~napari_pgrd.engine.predict.sampling_key`."""
        if self._key != key:
            self._key, self._prepared, self._prior = key, None, None
        return self

    def prepared(self, prepare: Callable[[], tuple[Tensor, Restore]]) -> tuple[Tensor, Restore]:
        """The image for the networks, and its way back."""
        if self._prepared is None:
            self._prepared = prepare()
        return self._prepared

    def prior(
        self, device: torch.device, size: Size | None, ask: Callable[[], tuple[Tensor, Floats]]
    ) -> tuple[Tensor, Floats]:
        """The prior for the networks, and ``(K, x, y, z)`` on the grid of the source, by windows of that size."""
        if self._prior is None or self._prior[:2] != (device, size):
            self._prior = None  # before its successor takes memory
            self._prior = (device, size, *ask())
        return self._prior[2:]

    def without_prior(self) -> None:
        """Let its memory go."""
        self._prior = None
