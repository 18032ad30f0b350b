"""pi as the denoiser meets it in training.

A prior is surer and righter on the cases it learnt from than on any other, so a denoiser trained beside it learns too
small a residual: it trusts pi, and its samples agree, where a new case would need neither. Priors trained on parts of
the cases (out-of-fold, as in stacking: Wolpert 1992) make the mistakes on these cases that the prior will make on new
ones.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.train.loop import autocast


class PriorProbabilities:
    """``image -> pi``: the frozen prior's softmax at one temperature."""

    def __init__(self, net: nn.Module, temperature: float, device: torch.device) -> None:
        self.net, self.temperature, self.device, self.precision = net, temperature, device, ""

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Tensor:
        """``(B, C, *spatial) -> (B, K, *spatial)`` float32."""
        with autocast(self.device, self.precision):
            logits = self.net(image)
        return torch.softmax(logits.float() / self.temperature, 1)


@dataclass(frozen=True)
class Fold:
    """A prior, and the names of the cases it was trained on."""

    pi_of: PriorProbabilities
    seen: frozenset[str]


class CasePriors:
    """``image, names -> pi``, each case's by a prior that has not seen it; without folds, by the prior itself.

    Where several folds have not seen a case, they share it out by its place in ``cases``.

    Parameters
    ----------
    cases : collection of str
        Names of all training cases.

    Raises
    ------
    InputError
        If every fold has seen one of the cases.
    """

    def __init__(self, prior: PriorProbabilities, folds: Sequence[Fold] = (), cases: Collection[str] = ()) -> None:
        self.prior, self.folds = prior, tuple(folds)
        self._of: dict[str, PriorProbabilities] = {}
        for place, name in enumerate(cases if folds else ()):
            unseen = [fold.pi_of for fold in folds if name not in fold.seen]
            require(
                bool(unseen),
                InputError,
                f"Every prior given with --out-of-fold was trained on {name}. Train one with --leave-out for each part "
                "of the cases and give them all.",
            )
            self._of[name] = unseen[place % len(unseen)]

    def use(self, precision: str) -> None:
        """Compute in this precision."""
        for pi_of in (self.prior, *(fold.pi_of for fold in self.folds)):
            pi_of.precision = precision

    def __call__(self, image: Tensor, names: Sequence[str]) -> Tensor:
        """``(B, C, *spatial)`` and the names of its B cases ``-> (B, K, *spatial)`` float32."""
        if not self._of:
            return self.prior(image)
        return torch.cat([self._of[name](one[None]) for one, name in zip(image, names, strict=True)])
