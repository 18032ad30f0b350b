"""The two U-Nets that nnU-Net v2 trains, so that networks trained there can be a bundle's prior.

Written from the published architecture (Isensee et al., Nat Methods 18:203, 2021; residual encoder: Isensee et al.,
MICCAI 2024). Modules have the names under which nnU-Net saves them, also the second names of those that it registers
twice, so that its weights load strictly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from napari_pgrd.engine.netspec import UNetConfig

_CONV: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
_UP: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_NORM: dict[int, Any] = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
_POOL: dict[int, Any] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
Sizes = Sequence[int]


class UNet(nn.Module):
    """``X (B, C, *spatial) -> logits (B, K, *spatial)``, float32 in any autocast, as nnU-Net computes on a CPU."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.encoder = _Encoder(config) if config.kind == "plain" else _ResidualEncoder(config)
        self.decoder = _Decoder(config, self.encoder)

    def forward(self, x: Tensor) -> Tensor:
        """Logits at full resolution; the coarser heads served nnU-Net's training alone."""
        with torch.autocast(x.device.type, enabled=False):
            out: Tensor = self.decoder(self.encoder(x.float()))
        return out


class _Unit(nn.Module):
    """Convolution, instance normalisation and, but before a sum, leaky ReLU."""

    def __init__(
        self,
        config: UNetConfig,
        inputs: int,
        outputs: int,
        kernel: Sizes,
        stride: Sizes | int = 1,
        bias: bool | None = None,
        last: bool = False,
    ) -> None:
        super().__init__()
        at = tuple(stride) if not isinstance(stride, int) else stride
        padding = tuple(k // 2 for k in kernel)
        bias = config.bias if bias is None else bias
        self.conv = _CONV[config.dims](inputs, outputs, tuple(kernel), at, padding, bias=bias)
        self.norm = _NORM[config.dims](outputs, eps=config.eps, affine=config.affine)
        steps = [self.conv, self.norm]
        if not last:
            self.nonlin = nn.LeakyReLU(config.slope)
            steps.append(self.nonlin)
        self.all_modules = nn.Sequential(*steps)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.all_modules(x)
        return out


class _Stack(nn.Module):
    """Some units in a row; the first has the stride."""

    def __init__(
        self, config: UNetConfig, count: int, inputs: int, outputs: int, kernel: Sizes, stride: Sizes | int = 1
    ) -> None:
        super().__init__()
        units = [_Unit(config, inputs, outputs, kernel, stride)]
        units += [_Unit(config, outputs, outputs, kernel) for _ in range(count - 1)]
        self.convs = nn.Sequential(*units)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.convs(x)
        return out


class _Encoder(nn.Module):
    """Every stage a stack, the stride in its first unit."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        inputs = (config.channels, *config.filters)
        rows = zip(config.encoder, inputs, config.filters, config.kernels, config.strides, strict=False)
        self.stages = nn.Sequential(*(nn.Sequential(_Stack(config, *row)) for row in rows))

    def forward(self, x: Tensor) -> list[Tensor]:
        """The output of every stage, finest first."""
        return _each(self.stages, x)


class _ResidualEncoder(nn.Module):
    """A stem, then every stage some residual blocks, the stride in the first."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.stem = _Stack(config, 1, config.channels, config.filters[0], config.kernels[0])
        inputs = (config.filters[0], *config.filters)
        rows = zip(config.encoder, inputs, config.filters, config.kernels, config.strides, strict=False)
        self.stages = nn.Sequential(*(_Blocks(config, *row) for row in rows))

    def forward(self, x: Tensor) -> list[Tensor]:
        """The output of every stage, finest first."""
        return _each(self.stages, self.stem(x))


class _Blocks(nn.Module):
    """Some residual blocks in a row."""

    def __init__(self, config: UNetConfig, count: int, inputs: int, outputs: int, kernel: Sizes, stride: Sizes) -> None:
        super().__init__()
        blocks = [_Block(config, inputs, outputs, kernel, stride)]
        blocks += [_Block(config, outputs, outputs, kernel, (1,) * config.dims) for _ in range(count - 1)]
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.blocks(x)
        return out


class _Block(nn.Module):
    """Two units and a way around them: ResNet-D's, which averages before it projects (He et al., CVPR 2019)."""

    def __init__(self, config: UNetConfig, inputs: int, outputs: int, kernel: Sizes, stride: Sizes) -> None:
        super().__init__()
        self.conv1 = _Unit(config, inputs, outputs, kernel, stride)
        self.conv2 = _Unit(config, outputs, outputs, kernel, last=True)
        self.nonlin2 = nn.LeakyReLU(config.slope)
        around: list[nn.Module] = []
        if any(s > 1 for s in stride):
            around.append(_POOL[config.dims](tuple(stride), tuple(stride)))
        if inputs != outputs:
            around.append(_Unit(config, inputs, outputs, (1,) * config.dims, bias=False, last=True))
        self.skip = nn.Sequential(*around)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.nonlin2(self.conv2(self.conv1(x)) + self.skip(x))
        return out


class _Decoder(nn.Module):
    """Transposed convolutions up to every stage of the encoder, each followed by a stack."""

    def __init__(self, config: UNetConfig, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder  # nnU-Net's decoder holds it, too, and so does its file
        up: list[nn.Module] = []
        stages: list[nn.Module] = []
        heads: list[nn.Module] = []
        for level in reversed(range(len(config.filters) - 1)):
            below, here, stride = config.filters[level + 1], config.filters[level], config.strides[level + 1]
            up.append(_UP[config.dims](below, here, tuple(stride), tuple(stride), bias=config.bias))
            count = config.decoder[len(stages)]
            stages.append(_Stack(config, count, 2 * here, here, config.kernels[level]))
            heads.append(_CONV[config.dims](here, config.classes, 1))
        self.stages = nn.ModuleList(stages)
        self.transpconvs = nn.ModuleList(up)
        self.seg_layers = nn.ModuleList(heads)

    def forward(self, skips: list[Tensor]) -> Tensor:
        x = skips[-1]
        for up, stage, skip in zip(self.transpconvs, self.stages, reversed(skips[:-1]), strict=True):
            x = stage(torch.cat((up(x), skip), 1))
        out: Tensor = self.seg_layers[-1](x)
        return out


def _each(stages: nn.Sequential, x: Tensor) -> list[Tensor]:
    out = []
    for stage in stages:
        x = stage(x)
        out.append(x)
    return out
