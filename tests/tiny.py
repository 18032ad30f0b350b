"""A bundle small enough for any test, and images it can segment.

The networks have random weights, except that the prior's last layer is fitted in closed form to one synthetic image: it
then finds bright blobs, so every step after it has something to work on. Its samples differ voxel by voxel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from napari_pgrd.engine.bundle import save
from napari_pgrd.engine.methods import METHODS
from napari_pgrd.engine.nets import Denoiser, build_prior, named_weights
from napari_pgrd.engine.spec import DenoiserConfig, PrepareSpec, PriorConfig
from napari_pgrd.engine.volume import Affine, Volume

LABELS = ({"value": 0, "name": "background", "colour": "#000000"},
          {"value": 1, "name": "anterior", "colour": "#19E0FF"},
          {"value": 2, "name": "posterior", "colour": "#FFE14D"})  # fmt: skip
SHAPE = (20, 24, 18)
FURTHER: Mapping[str, Mapping[str, Any]] = {"multi-head": {"heads": 3}, "probunet": {"encoder": (4, 8)}}
FURTHER_SCHEDULES: Mapping[str, Mapping[str, Any]] = {
    "ddpm": {"kind": "linear", "residual_scale": 2.0, "prior_guided": False},
    "no-pgr": {"prior_guided": False},
}


def blob_volume(
    shape: tuple[int, int, int] = SHAPE,
    classes: int = 3,
    channels: int = 1,
    affine: Affine | None = None,
    seed: int = 0,
) -> tuple[Volume, NDArray[np.uint8]]:
    """Bright balls side by side along y on a dark, slightly noisy ground: the image and its true class indices."""
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"))
    truth = np.zeros(shape, np.uint8)
    step = shape[1] / classes
    for k in range(1, classes):
        centre = np.array([shape[0] / 2, k * step, shape[2] / 2])[:, None, None, None]
        scale = np.array([shape[0], step * 1.8, shape[2]])[:, None, None, None] / 3.6
        truth[(((grid - centre) / scale) ** 2).sum(0) < 1] = k
    noise = np.random.default_rng(seed).normal(0, 4, (channels, *shape))
    data = (40 + 60.0 * truth[None] + noise).astype(np.float32)
    return Volume(data, np.eye(4) if affine is None else affine, name="blobs"), truth


def make_tiny_bundle(
    folder: Path,
    dims: int = 3,
    channels: int = 1,
    labels: Sequence[Mapping[str, Any]] = LABELS,
    patch: tuple[int, int, int] = (16, 16, 16),
    *,
    scope: Mapping[str, Any] | None = None,
    prepare: Mapping[str, Any] | None = None,
    seed: int = 0,
    hints: bool = False,
    further: Sequence[str] = (),
    named: Sequence[str] = (),
    **content: Any,
) -> Path:
    """Write a bundle into ``folder`` (made if need be) and return the folder.

    Parameters
    ----------
    labels
        Each with ``value``, ``name`` and ``colour``; the background first.
    scope, prepare
        Fields to set beyond the defaults, which take any image in voxels of 1 mm.
    hints
        Whether the denoiser hears locks.
    further
        Names of methods to hold random networks for, too.
    named
        Of the channels.
    content
        Top-level fields of ``bundle.json`` to set: ``name``, ``tau``, ``schedule``, ``sampling`` ...; ``denoiser=None``
        leaves the denoiser out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    classes = len(labels)
    common = {"dims": dims, "channels": channels, "classes": classes}
    prior_config = PriorConfig(**common, filters=(8, 8, 8), deep_supervision=0)
    denoiser_config = DenoiserConfig(
        **common, widths=(8, 8), attention=(False, False), residual_std=0.3, supervised=(), hints=hints
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        prior = build_prior(prior_config).eval()
        denoiser = Denoiser(denoiser_config).eval()
        for parameter in denoiser.unet.out.parameters():  # MONAI starts it at zero: the network would see nothing
            nn.init.normal_(parameter, std=0.1)
    _fit_last_layer(prior, dims, classes, channels)
    held = [(prior, "prior"), *([] if content.get("denoiser", 1) is None else [(denoiser, "denoiser")])]
    for net, name in held:
        tensors = {k: v.detach().clone().contiguous() for k, v in named_weights(net).items()}
        save_file(tensors, folder / f"{name}.safetensors")
    entries = {}
    for name in further:
        row = METHODS[name]
        assert row.entry is not None and row.build is not None
        shape = denoiser_config if row.stepwise else prior_config
        network = {**shape.model_dump(), **FURTHER.get(name, {})}
        schedule = {"schedule": FURTHER_SCHEDULES[name]} if name in FURTHER_SCHEDULES else {}
        entry = row.entry.model_validate({"network": network, **schedule})
        for number, file in enumerate(row.files):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed + 100 * number)
                net = row.build(entry).eval()
                for parameter in net.unet.out.parameters() if row.stepwise else ():
                    nn.init.normal_(parameter, std=0.1)
            save_file({k: v.detach().clone().contiguous() for k, v in named_weights(net).items()}, folder / file)
        sampling = {"steps": 3 if row.stepwise else 1, "samples": 4}
        entries[name] = {**entry.model_dump(mode="json"), "sampling": sampling}
    written = {
        "schema_version": 1,
        "name": "tiny",
        "title": "Tiny bundle for tests",
        "modality": "synthetic MRI",
        "channels": list(named) or [f"channel {i}" for i in range(channels)],
        "labels": [dict(label) for label in labels],
        "prepare": PrepareSpec(dims=dims, patch=patch, stride=4).model_copy(update=dict(prepare or {})).model_dump(),
        "scope": {"sentence": "Tiny reads blobs.", **(scope or {})},
        "prior": prior_config.model_dump(),
        "denoiser": denoiser_config.model_dump(),
        "sampling": {"steps": 3, "samples": 4},
        "methods": entries,
        **content,
    }
    save(folder, written)
    (folder / "MODEL_CARD.md").write_text("# Tiny\n\nRandom weights, for tests only.\n", encoding="utf-8")
    return folder


def _fit_last_layer(prior: Any, dims: int, classes: int, channels: int) -> None:
    """Logistic regression (convex, so always the same) from the random features of a blob image to its classes."""
    net = prior.net if dims == 2 else prior
    volume, truth = blob_volume((32, 32, 32), classes, channels, seed=1)
    x = volume.data
    image, target = torch.from_numpy((x - x.mean()) / x.std())[None], torch.from_numpy(truth).long()[None]
    if dims == 2:
        image, target = image[..., 16], target[..., 16]
    features: list[torch.Tensor] = []
    last = net.output_block.conv.conv
    hook = last.register_forward_hook(lambda _module, inputs, _out: features.append(inputs[0].detach()))
    net(image)
    hook.remove()
    fit = torch.optim.LBFGS(last.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        fit.zero_grad()
        value = nn.functional.cross_entropy(last(features[0]), target) + 1e-4 * last.weight.square().sum()
        value.backward()
        return value

    fit.step(loss)
