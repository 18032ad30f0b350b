"""A bundle: everything inference needs, in one folder, and nothing that could run code."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from napari_pgrd.engine.errors import BundleError, InputError, require
from napari_pgrd.engine.given import no_prior
from napari_pgrd.engine.inside import inside
from napari_pgrd.engine.methods import PRIOR, files_of
from napari_pgrd.engine.nets import build_prior, check_weights, load_weights
from napari_pgrd.engine.spec import BundleSpec, find, parse_spec, read_raw, refuse_pickles


@dataclass(frozen=True)
class Bundle:
    """A checked bundle; its networks are built when first asked for."""

    folder: Path
    spec: BundleSpec
    digest: str  # SHA-256 over bundle.json and, through its checksums, every weight
    _nets: dict[tuple[str, str], nn.Module] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def load(cls, where: str | os.PathLike[str]) -> Bundle:
        """Load an embedded bundle by name or any bundle by folder.

        Raises
        ------
        BundleError
            If a file is missing, altered, of an unknown schema version, a pickle, or does not make sense.
        """
        folder = find(where)
        refuse_pickles(folder)
        raw = read_raw(folder / "bundle.json")
        spec = parse_spec(raw, folder.name)
        for name, expected in spec.weights.items():
            there = inside(folder, name) is not None
            require(there, BundleError, f"Bundle {spec.name} lacks {name}. Copy the whole folder again.")
            try:
                actual = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            except OSError as error:
                raise BundleError(
                    f"Bundle {spec.name}: {name} cannot be read ({error.strerror}). Check the folder's rights."
                ) from error
            require(
                actual == expected,
                BundleError,
                f"Bundle {spec.name}: {name} has another checksum than bundle.json states, so it was "
                "altered or damaged. Copy the bundle again.",
            )
        return cls(folder, spec, hashlib.sha256(raw).hexdigest())

    def networks(self, device: str = "cpu", method: str | None = None) -> tuple[nn.Module, ...]:
        """The prior, then a method's own networks (None: the bundle's method), in float32 on a device, frozen.

        In place of a prior that the bundle does not hold stands a :class:`NoPrior`.

        Each file is loaded once a device, when first asked for.

        Raises
        ------
        PgrdError
            If the bundle does not offer the method, or a file does not hold the network described.
        """
        row, entry = self.spec.row(method), self.spec.entry(method)
        prior = self.spec.prior and self.spec.prior.model_copy(update={"deep_supervision": 0})
        nets = [self._network(PRIOR, device, partial(build_prior, prior)) if prior else NoPrior(self.spec.name)]
        for name in row.files:
            assert row.build is not None
            nets.append(self._network(name, device, partial(row.build, entry)))
        return tuple(nets)

    def _network(self, name: str, device: str, build: Callable[[], nn.Module]) -> nn.Module:
        if (name, device) not in self._nets:
            try:
                tensors = load_file(self.folder / name)
            except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
                raise BundleError(f"Bundle {self.spec.name}: {name} is no readable safetensors file.") from error
            try:
                with torch.device("meta"):  # so that a network takes memory only if the file holds as much
                    check_weights(build(), tensors)
                net = build()
            except (ValueError, RuntimeError, TypeError, IndexError, ZeroDivisionError) as error:
                raise BundleError(
                    f"Bundle {self.spec.name}: no network of {name} can be built as bundle.json describes it. "
                    "Correct bundle.json or pack the bundle again."
                ) from error
            load_weights(net, tensors)
            self._nets[name, device] = net.to(device).eval().requires_grad_(False)
        return self._nets[name, device]


class NoPrior(nn.Module):
    """What answers in place of a prior that a bundle does not hold: a sentence."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, image: Tensor) -> Tensor:
        """Say what to give instead."""
        raise InputError(no_prior(self.name))


def save(folder: Path, content: Mapping[str, Any]) -> Bundle:
    """Write ``bundle.json`` beside weights that are already in the folder, with their checksums, and load it back."""
    prior = content.get("prior") is not None
    names = files_of(content.get("denoiser") is not None, content.get("methods") or (), prior)
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    spec = parse_spec(json.dumps({**content, "weights": digests}).encode(), folder.name)
    temporary = folder / ".bundle.json.tmp"
    with open(temporary, "w", encoding="utf-8") as stream:
        stream.write(json.dumps(spec.model_dump(mode="json"), indent=1) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, folder / "bundle.json")
    return Bundle.load(folder)
