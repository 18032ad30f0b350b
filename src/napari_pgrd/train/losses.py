"""The two training losses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from monai.losses import DiceCELoss
from torch import Tensor


class PriorLoss:
    """Dice, times its weight, plus cross-entropy, halved at each coarser head of deep supervision."""

    def __init__(self, dice_weight: float = 1.0) -> None:
        self.loss = DiceCELoss(
            softmax=True, include_background=False, squared_pred=False, batch=True, lambda_dice=dice_weight
        )

    def __call__(self, logits: Tensor, y: Tensor) -> Tensor:
        """``logits (B, K, ...)`` or, with deep supervision, ``(B, heads, K, ...)``; ``y (B, K, ...)`` one-hot."""
        heads = torch.unbind(logits.float(), 1) if logits.ndim == y.ndim + 1 else [logits.float()]
        weights = [0.5**i for i in range(len(heads))]
        total: Tensor = sum(w * self.loss(h, y) for w, h in zip(weights, heads, strict=True)) / sum(weights)
        return total


def diffusion_loss(raw: Tensor, target: Tensor) -> Tensor:
    """Mean squared error between the network's raw output and its preconditioned target.

    With ``residual_std = 1`` this is the paper's mean squared error on v; otherwise each time's error on v is divided
    by ``c_out(t)^2``, which keeps every noise level in the same units.
    """
    return F.mse_loss(raw.float(), target)


def deep_diffusion_supervision(logits: Sequence[Tensor], y: Tensor, supervised: Tensor, tau: float) -> Tensor:
    """Cross-entropy of ``softmax(psi / tau)`` to the truth, averaged over heads.

    Each head is compared at its own resolution with the area-averaged truth, so a coarse voxel is asked for the
    fractions it contains. ``supervised (B,)`` is 1 where the drawn time lies in the supervised set.
    """
    total = y.new_zeros(())
    for psi in logits:
        ratio = [n // m for n, m in zip(y.shape[2:], psi.shape[2:], strict=True)]
        pool = F.avg_pool3d if y.ndim == 5 else F.avg_pool2d
        soft = pool(y, ratio)
        ce = -(soft * F.log_softmax(psi.float() / tau, 1)).sum(1).flatten(1).mean(1)  # (B,)
        total = total + (ce * supervised).sum() / supervised.sum().clamp_min(1)
    return total / max(len(logits), 1)
