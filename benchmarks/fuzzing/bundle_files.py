"""Hostile bundles: descriptions and weights, signed anew so that a checksum refuses nothing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import pickle
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests.tiny import blob_volume, make_tiny_bundle

from fuzzing import mutators
from fuzzing.absurd import ABSURD
from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.grid import padded_shape, target_shape
from napari_pgrd.engine.predict import predict
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.spec import EMBEDDED, BundleSpec, read_spec
from napari_pgrd.engine.volume import Reorder, Volume

JSON = "bundle.json"
DRAWN = 2**18  # voxels that samples are drawn on
TYPES = ("F64", "F32", "F16", "BF16", "I64", "I8", "U8", "BOOL", "F8_E5M2", "F8_E4M3", "F4", "C64", "", "f32")
SIZES = (0, 1, -1, 2, 2**31, 2**32, 2**53, 2**63 - 1, 2**64, 10**30, 0.5, "4", None)


class Family:
    """A small bundle with real networks, and the descriptions of the embedded ones."""

    name = "bundle"

    def __init__(self, folder: Path, canary: Path, linked: Path, data: Path | None) -> None:
        torch.set_num_threads(1)
        tiny = make_tiny_bundle(folder / "tiny", prepare={"patch": (8, 8, 8)})
        wide = make_tiny_bundle(folder / "wide", further=("multi-head",), hints=True)
        flat = make_tiny_bundle(folder / "flat", dims=2)
        self.seeds = [{path.name: path.read_bytes() for path in one.iterdir()} for one in (tiny, tiny, wide, flat)]
        self.others = [path.read_bytes() for path in EMBEDDED.glob(f"*/{JSON}")]
        self.values, self.canary = mutators.pool(), canary
        blobs, _ = blob_volume((10, 12, 9))
        self.volume = Volume(blobs.data, blobs.affine)

    def make(self, rng: random.Random, folder: Path) -> tuple[str, Callable[[], Any]]:
        """A folder, and what opens it."""
        files = dict(rng.choice(self.seeds))
        kind = rng.choice(list(WAYS) + ["description"] * 3 + ["tensors"])
        where = folder / "model"
        where.mkdir()
        WAYS[kind](rng, files, self)
        for name, raw in files.items():
            (where / name).write_bytes(raw)
        if kind == "elsewhere":
            _links(rng, where, self.canary)
        draw = rng.random() < 0.5
        return kind, lambda: self.use(where, draw)

    def use(self, where: Path, draw: bool) -> None:
        """List it, check it, load its networks and draw a sample."""
        spec = read_spec(where)
        assert spec.rhobar.shape == (spec.schedule.T + 1,), "a schedule of another length"
        bundle = Bundle.load(where)
        nets = bundle.networks()
        for net in nets:
            assert all(bool(torch.isfinite(p).all()) for p in net.parameters()), "weights that are no numbers"
        if draw and (self._seen(spec) <= DRAWN or self._seen(spec) > 2**27):
            for method in bundle.spec.offered[:2]:
                *_, last = predict(self.volume, bundle, Request(samples=1, steps=1, method=method, device="cpu"))
                assert last.prediction is not None and np.isfinite(last.prediction.probability).all(), (
                    "no probabilities"
                )

    def _seen(self, spec: BundleSpec) -> int:
        """Voxels that the networks would see: in a large volume they take long, shown and to be cancelled."""
        order = Reorder.between(self.volume.affine, spec.prepare.orientation)
        size = target_shape(order.affine(self.volume.affine, self.volume.shape), self.volume.shape, spec.prepare)
        return max(math.prod(size), math.prod(padded_shape(size, spec.prepare)))

    def sign(self, files: dict[str, bytes]) -> None:
        """Let the description state the checksums of the weights as they are."""
        content = json.loads(files[JSON])
        content["weights"] = {
            name: hashlib.sha256(raw).hexdigest() for name, raw in files.items() if name.endswith(".safetensors")
        }
        files[JSON] = mutators.dumps(content)


# ---- the ways


def _description(rng: random.Random, files: dict[str, bytes], family: Family) -> None:
    content = json.loads(files[JSON])
    files[JSON] = mutators.dumps(mutators.tree(rng, content, family.values))


def _absurd(rng: random.Random, files: dict[str, bytes], family: Family) -> None:
    """Shapes of networks and of images that fit together in the description, and nowhere else."""
    content = json.loads(files[JSON])
    for part, key, value in rng.choices(ABSURD, k=rng.choice((1, 1, 1, 2))):
        if key is None:
            content[part] = value
        else:
            holder = content.setdefault(part, {})
            if isinstance(holder, dict):
                holder[key] = value
        if key in ("channels", "classes") and isinstance(content.get("denoiser"), dict):
            content["denoiser"][key] = value
    files[JSON] = mutators.dumps(content)


def _text(rng: random.Random, files: dict[str, bytes], family: Family) -> None:
    files[JSON] = mutators.text(rng, rng.choice((files[JSON], *family.others)))


def _embedded(rng: random.Random, files: dict[str, bytes], family: Family) -> None:
    """A real description without its weights."""
    files[JSON] = mutators.dumps(mutators.tree(rng, json.loads(rng.choice(family.others)), family.values))


def _weights(rng: random.Random, files: dict[str, bytes], family: Family) -> None:
    name = rng.choice([name for name in files if name.endswith(".safetensors")])
    files[name] = mutators.bytes_of(rng, files[name])
    family.sign(files)


def _split(raw: bytes) -> tuple[dict[str, Any], bytes]:
    length = struct.unpack("<Q", raw[:8])[0]
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def _joined(head: Any, body: bytes, length: int | None = None) -> bytes:
    text = mutators.dumps(head)
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def _header(rng: random.Random, files: dict[str, bytes], family: Family) -> None:
    """What a file of weights says of its tensors."""
    name = rng.choice([name for name in files if name.endswith(".safetensors")])
    head, body = _split(files[name])
    how = rng.randrange(5)
    if how == 0:
        files[name] = _joined(head, body, rng.choice((0, 1, 2**32, 2**63, 2**64 - 1, 100_000_001)))
    elif how == 1:
        files[name] = _joined(mutators.tree(rng, head, family.values), body)
    else:
        for tensor in rng.sample(sorted(head), k=min(len(head), rng.choice((1, 1, 3)))):
            if tensor == "__metadata__":
                continue
            key = rng.choice(("dtype", "shape", "data_offsets"))
            if key == "dtype":
                head[tensor][key] = rng.choice(TYPES)
            else:
                head[tensor][key] = [rng.choice(SIZES) for _ in range(rng.choice((0, 1, 2, 3, 5)))]
        files[name] = _joined(head, body)
    family.sign(files)


def _tensors(rng: random.Random, files: dict[str, bytes], family: Family) -> None:
    """Well-formed files whose tensors are missing, extra, of another kind or shape, or no numbers."""
    from safetensors.torch import load, save

    name = rng.choice([name for name in files if name.endswith(".safetensors")])
    tensors = load(files[name])
    key = rng.choice(sorted(tensors))
    how = rng.randrange(8)
    if how == 0:
        del tensors[key]
    elif how == 1:
        tensors[rng.choice(("extra", "", "../x", "heads.x", "a" * 5000, "\n"))] = torch.zeros(3)
    elif how == 2:
        tensors[key] = tensors[key].to(
            rng.choice((torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.bool, torch.complex64))
        )
    elif how == 3:
        tensors[key] = tensors[key][None]
    elif how <= 5:
        for some in rng.sample(sorted(tensors), k=rng.choice((1, 1, len(tensors)))):
            flat = tensors[some].reshape(-1)
            flat[rng.randrange(len(flat))] = rng.choice((float("nan"), float("inf"), -float("inf"), 3e38, -3e38, 1e30))
    elif how == 6:
        tensors[key] = torch.zeros(0)
    else:
        tensors = {some: tensor * rng.choice((0, 1e20, 1e38, -1)) for some, tensor in tensors.items()}
    with contextlib.suppress(ValueError, RuntimeError):
        files[name] = save(tensors)
    family.sign(files)


def _names(rng: random.Random, files: dict[str, bytes], family: Family) -> None:
    """Weights named where they are not, or where they must not be."""
    content = json.loads(files[JSON])
    raw = (family.canary / "prior.safetensors").read_bytes()
    for _ in range(rng.choice((1, 2))):
        name = rng.choice(
            (
                "../canary/prior.safetensors",
                "../../canary/prior.safetensors",
                str(family.canary / "prior.safetensors"),
                "",
                ".",
                "..",
                "prior.safetensors\0",
                "/dev/zero",
                "x" * 5000,
                "a\nb",
                "PRIOR.safetensors",
                "prior.pt",
            )
        )
        content["weights"][name] = hashlib.sha256(raw).hexdigest()
        if rng.random() < 0.5:
            content["weights"].pop("prior.safetensors", None)
    content["name"] = rng.choice((content["name"], "..", "../../canary", ".", "a" * 5000, "x\x1b[2J"))
    if rng.random() < 0.3:
        content["methods"] = {
            rng.choice(("../x", "multi-head", "dropout", "ensemble", "")): rng.choice(({}, {"network": {}}, None, []))
        }
    files[JSON] = mutators.dumps(content)


def _elsewhere(rng: random.Random, files: dict[str, bytes], family: Family) -> None:
    """Signed with what the links, made when the files are written, lead to."""
    content = json.loads(files[JSON])
    digest = hashlib.sha256((family.canary / "prior.safetensors").read_bytes()).hexdigest()
    content["weights"] = dict.fromkeys(content["weights"], digest)
    files[JSON] = mutators.dumps(content)


def _links(rng: random.Random, where: Path, canary: Path) -> None:
    """In place of a file a link, a pipe or a folder."""
    path = where / rng.choice((JSON, "prior.safetensors", "prior.safetensors", "denoiser.safetensors"))
    path.unlink(missing_ok=True)
    how = rng.randrange(6)
    if how <= 1:
        path.symlink_to(canary / path.name if rng.random() < 0.5 else Path("../../canary") / "prior.safetensors")
    elif how == 2:
        path.symlink_to(
            rng.choice(("/dev/zero", "/dev/stdin", "/proc/self/mem", path.name, "nowhere", "/proc/self/environ"))
        )
    elif how == 3:
        os.mkfifo(path)
    elif how == 4:
        path.mkdir()
    else:
        path.symlink_to("MODEL_CARD.md")


class _Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch owned",)


def _pickles(rng: random.Random, files: dict[str, bytes], family: Family) -> None:
    """Weights that run code when opened, under any name."""
    raw = pickle.dumps(_Runs())
    zipped = b"PK\3\4" + raw
    name = rng.choice(
        (
            "prior.safetensors",
            "denoiser.safetensors",
            JSON,
            "model.pt",
            "x.PTH",
            "weights.npy",
            "a.bin",
            "b.ckpt",
            ".pkl",
            "c.txt",
        )
    )
    files[name] = rng.choice((raw, zipped))
    if name != JSON:
        with contextlib.suppress(ValueError):
            family.sign(files)


WAYS: dict[str, Callable[[random.Random, dict[str, bytes], Family], None]] = {
    "description": _description,
    "absurd shapes": _absurd,
    "text": _text,
    "embedded": _embedded,
    "weights": _weights,
    "header": _header,
    "tensors": _tensors,
    "names": _names,
    "elsewhere": _elsewhere,
    "pickles": _pickles,
    "as it is": lambda rng, files, family: None,
}
