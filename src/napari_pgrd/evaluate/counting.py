"""How much a system computes, counted while it runs and so the same for every method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle


class Calls:
    """Counts whole networks: modules that no other module called.

    Parameters
    ----------
    unheard : sequence of Module
        Networks whose calls do not count.

    Attributes
    ----------
    calls : int
        Network evaluations; a batch of m counts m times.
    parameters : int
        Of all networks that were called, each counted once.
    """

    def __init__(self, unheard: Sequence[nn.Module] = ()) -> None:
        self.calls, self._unheard = 0, [id(net) for net in unheard]
        self._depth = 0
        self._sizes: dict[int, int] = {}  # by parameter, so that shared ones count once
        self._hooks: list[RemovableHandle] = []

    @property
    def parameters(self) -> int:
        """Numbers learnt, in the networks that were called."""
        return sum(self._sizes.values())

    def __enter__(self) -> Self:
        self._hooks = [
            register_module_forward_pre_hook(self._begin),
            register_module_forward_hook(self._end, always_call=True),
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _begin(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if self._depth == 0 and id(module) not in self._unheard:
            self.calls += next((len(x) for x in inputs if isinstance(x, Tensor) and x.ndim), 1)
            self._sizes |= {id(p): p.numel() for p in module.parameters()}
        self._depth += 1

    def _end(self, *_: object) -> None:
        self._depth -= 1
