"""A bundle: everything inference needs, in one folder, and nothing that could run code."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from napari_pgrd.engine.errors import BundleError, require
from napari_pgrd.engine.nets import Denoiser, build_prior, load_weights
from napari_pgrd.engine.spec import WEIGHTS, BundleSpec, find, parse_spec, read_raw, refuse_pickles


@dataclass(frozen=True)
class Bundle:
    """A checked bundle; its networks are built when first asked for."""

    folder: Path
    spec: BundleSpec
    digest: str  # SHA-256 over bundle.json and, through its checksums, every weight
    _nets: dict[str, tuple[nn.Module, Denoiser]] = field(default_factory=dict, repr=False, compare=False)

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
            path = folder / name
            require(path.is_file(), BundleError, f"Bundle {spec.name} lacks {name}. Copy the whole folder again.")
            actual = hashlib.sha256(path.read_bytes()).hexdigest()
            require(
                actual == expected,
                BundleError,
                f"Bundle {spec.name}: {name} has another checksum than bundle.json states, so it was "
                "altered or damaged. Copy the bundle again.",
            )
        return cls(folder, spec, hashlib.sha256(raw).hexdigest())

    def networks(self, device: str = "cpu") -> tuple[nn.Module, Denoiser]:
        """Prior and denoiser in float32 on a device, frozen; loaded once a device."""
        if device not in self._nets:
            prior = build_prior(self.spec.prior.model_copy(update={"deep_supervision": 0}))
            denoiser = Denoiser(self.spec.denoiser.model_copy(update={"supervised": ()}))
            for net, name in ((prior, WEIGHTS[0]), (denoiser, WEIGHTS[1])):
                try:
                    load_weights(net, load_file(self.folder / name))
                except (SafetensorError, OSError) as error:
                    raise BundleError(f"Bundle {self.spec.name}: {name} is no readable safetensors file.") from error
                net.to(device).eval().requires_grad_(False)
            self._nets[device] = (prior, denoiser)
        return self._nets[device]


def save(folder: Path, content: Mapping[str, Any]) -> Bundle:
    """Write ``bundle.json`` beside weights that are already in the folder, with their checksums, and load it back."""
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in WEIGHTS}
    spec = parse_spec(json.dumps({**content, "weights": digests}).encode(), folder.name)
    temporary = folder / ".bundle.json.tmp"
    with open(temporary, "w", encoding="utf-8") as stream:
        stream.write(json.dumps(spec.model_dump(mode="json"), indent=1) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, folder / "bundle.json")
    return Bundle.load(folder)
