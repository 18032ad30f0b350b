"""The two networks a bundle holds, built from its description.

Both come from MONAI. What is ours is the preconditioning that turns the denoiser's raw output into a velocity, and the
light heads of deep diffusion supervision.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.networks.nets import DiffusionModelUNet, DynUNet
from monai.networks.nets.diffusion_model_unet import get_timestep_embedding
from torch import Tensor, nn

from napari_pgrd.engine.errors import BundleError, require, shown
from napari_pgrd.engine.netspec import UNetConfig
from napari_pgrd.engine.spec import DenoiserConfig, PriorConfig
from napari_pgrd.engine.unet import UNet


def stride_of(config: PriorConfig | DenoiserConfig) -> int:
    """Every spatial size fed to the network must be a multiple of this."""
    levels = config.filters if isinstance(config, PriorConfig) else config.widths
    return int(2 ** (len(levels) - 1))


def build_prior(config: PriorConfig | UNetConfig) -> nn.Module:
    """Prior ``X (B, C, *spatial) -> logits (B, K, *spatial)``, or ``(B, heads, K, ...)`` under deep supervision."""
    net = UNet(config) if isinstance(config, UNetConfig) else backbone(config, config.classes)
    return SliceWise(net) if config.dims == 2 else net


def backbone(config: PriorConfig, outputs: int) -> DynUNet:
    """The encoder and decoder that prior and competitors share, with so many output channels."""
    levels = len(config.filters)
    strides = [1] + [2] * (levels - 1)
    return DynUNet(
        spatial_dims=config.dims,
        in_channels=config.channels,
        out_channels=outputs,
        kernel_size=[3] * levels,
        strides=strides,
        upsample_kernel_size=strides[1:],
        filters=list(config.filters),
        deep_supervision=config.deep_supervision > 0,
        deep_supr_num=max(config.deep_supervision, 1),
        res_block=True,
    )


TRAINING_ONLY = ("heads.", "deep_supervision_heads.", "net.deep_supervision_heads.", "posterior.")


def named_weights(net: nn.Module) -> dict[str, Tensor]:
    """Every weight and buffer once; MONAI's DynUNet registers its blocks under two names."""
    return {**dict(net.named_parameters()), **dict(net.named_buffers())}


def load_weights(net: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load what :func:`named_weights` gave, heads that serve training only left out or not.

    Raises
    ------
    BundleError
        If names or shapes do not fit the network.
    """
    check_weights(net, tensors)
    needed = set(named_weights(net))
    net.load_state_dict({k: v.float() for k, v in tensors.items() if k in needed}, strict=False)


def check_weights(net: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """As :func:`load_weights`, nothing loaded; the network may lie on the meta device, where it takes no memory.

    Raises
    ------
    BundleError
        If names or shapes do not fit the network, or a weight is no finite real number.
    """
    needed = {k: v.shape for k, v in named_weights(net).items() if not k.startswith(TRAINING_ONLY)}
    wrong = sorted(k for k in needed if k not in tensors or tensors[k].shape != needed[k])
    extra = sorted(k for k in tensors if k not in needed and not k.startswith(TRAINING_ONLY))
    require(
        not wrong and not extra,
        BundleError,
        f"The weights do not fit the network described: {len(wrong)} missing or of another shape, {len(extra)} unknown "
        f"(first: {shown((wrong + extra + [''])[0])!r}). Use the weights that were trained with this description.",
    )
    bad = [k for k in needed if tensors[k].is_complex() or not bool(torch.isfinite(tensors[k].float()).all())]
    require(
        not bad,
        BundleError,
        f"{len(bad)} of the weights hold values that are NaN, infinite or complex (first: {(bad or [''])[0]!r}). The "
        "file is damaged, or its training failed; use another.",
    )


def build_denoiser(config: DenoiserConfig) -> Denoiser:
    """Denoiser with freshly initialised weights."""
    return Denoiser(config)


class Denoiser(nn.Module):
    """``f(s_t, X, pi, t) -> v``, the three concatenated on channels."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.config = config
        self.unet = DiffusionModelUNet(
            spatial_dims=config.dims,
            in_channels=config.channels + (2 + config.hints) * config.classes,
            out_channels=config.classes,
            num_res_blocks=config.blocks,
            channels=config.widths,
            attention_levels=config.attention,
            norm_num_groups=config.groups,
            num_head_channels=config.groups,
        )
        conv = nn.Conv3d if config.dims == 3 else nn.Conv2d
        up = list(reversed(config.widths))
        self.heads = nn.ModuleDict({str(i): conv(up[i], config.classes, 1) for i in config.supervised})

    def forward(
        self, s: Tensor, image: Tensor, pi: Tensor, t: Tensor, rb: Tensor, hint: Tensor | None = None
    ) -> Tensor:
        """Velocity, float32.

        Parameters
        ----------
        s, pi : Tensor
            ``(B, K, *spatial)``.
        image : Tensor
            ``(B, C, *spatial)``.
        t, rb : Tensor
            ``(B,)``: the times and their ``rhobar``.
        hint : Tensor, optional
            ``(1 or B, K, *spatial)``: one-hot where the mask is known, zero elsewhere; only for a network with hints.
        """
        raw, _ = self._run(s, image, pi, t, rb, hint, keep=False)
        return self.velocity(raw, s - pi, rb)

    def raw(
        self, s: Tensor, image: Tensor, pi: Tensor, t: Tensor, rb: Tensor, hint: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """The network's own output and the heads' logits, for training."""
        return self._run(s, image, pi, t, rb, hint, keep=True)

    def velocity(self, raw: Tensor, r_t: Tensor, rb: Tensor) -> Tensor:
        """Turn the raw output into v."""
        skip, out = self.preconditioning(rb, raw.ndim)
        return skip * r_t.float() + out * raw.float()

    def preconditioning(self, rb: Tensor, ndim: int) -> tuple[Tensor, Tensor]:
        """``(c_skip, c_out)``: the best linear guess of v from r_t, and the size of what it misses.

        For a residual of variance s: ``c_skip = (1 - s) sqrt(rb (1 - rb)) / w`` and ``c_out = sqrt(s / w)`` with
        ``w = rb s + 1 - rb``. At s = 1 they are 0 and 1.
        """
        rb = rb.float().reshape(-1, *[1] * (ndim - 1))
        s = self.config.residual_std**2
        w = rb * s + (1 - rb)
        return (1 - s) * (rb * (1 - rb)).sqrt() / w, (s / w).sqrt()

    def _run(
        self, s: Tensor, image: Tensor, pi: Tensor, t: Tensor, rb: Tensor, hint: Tensor | None, keep: bool
    ) -> tuple[Tensor, list[Tensor]]:
        w = rb.float() * self.config.residual_std**2 + (1 - rb.float())  # variance of r_t
        # Unit variance for the network; bounded, because near t = 0 few voxels carry all of it.
        scale = w.rsqrt().clamp(max=4).reshape(-1, *[1] * (s.ndim - 1)).to(s.dtype)
        parts = [pi + scale * (s - pi), image.expand(s.shape[0], *image.shape[1:]), pi.expand_as(s)]
        if self.config.hints:
            parts.append(torch.zeros_like(s) if hint is None else hint.to(s.dtype).expand_as(s))
        x = torch.cat(parts, 1)
        if self.config.dims == 2 and s.ndim == 5:
            return _slicewise(lambda z, n: self._unet(z, t.repeat_interleave(n), keep), x)
        return self._unet(x, t, keep)

    def _unet(self, x: Tensor, t: Tensor, keep: bool) -> tuple[Tensor, list[Tensor]]:
        """MONAI's forward pass, stopping at each decoder level to read the heads."""
        net = self.unet
        if not keep:
            return net(x, t), []
        emb = net.time_embed(get_timestep_embedding(t, net.block_out_channels[0]).to(x.dtype))
        h = net.conv_in(x)
        skips = [h]
        for down in net.down_blocks:
            h, more = down(hidden_states=h, temb=emb)
            skips += more
        h = net.middle_block(hidden_states=h, temb=emb)
        logits = []
        for level, up in enumerate(net.up_blocks):
            n = len(up.resnets)  # type: ignore[arg-type]
            skips, mine = skips[:-n], skips[-n:]
            h = up(hidden_states=h, res_hidden_states_list=mine, temb=emb)
            if str(level) in self.heads:
                logits.append(self.heads[str(level)](h))
        return net.out(h), logits


class SliceWise(nn.Module):
    """A 2D network that also takes volumes ``(B, C, x, y, z)``, each slice on its own."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Apply the network; volumes slice by slice."""
        if x.ndim == 4:
            out: Tensor = self.net(x)
            return out
        return _slicewise(lambda z, _: (self.net(z), []), x)[0]


def _slicewise(run: Any, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    b, _, _, _, depth = x.shape
    flat = x.movedim(-1, 1).flatten(0, 1)  # (B z, C, x, y)
    out, logits = run(flat, depth)
    return out.unflatten(0, (b, depth)).movedim(1, -1), logits
