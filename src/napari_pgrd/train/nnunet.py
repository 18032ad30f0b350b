"""A bundle from a trained nnU-Net v2: its network becomes the prior.

Its checkpoint is read by :mod:`napari_pgrd.train.checkpoint`, which runs nothing of it.
"""

from __future__ import annotations

import colorsys
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from napari_pgrd.engine.bundle import Bundle, save
from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.methods import ALONE, PRIOR
from napari_pgrd.engine.nets import SliceWise, build_prior, named_weights
from napari_pgrd.engine.spec import SCHEMA_VERSION
from napari_pgrd.engine.volume import orientation as directions
from napari_pgrd.io.nifti import is_nifti, read_volume, write_atomically
from napari_pgrd.io.provenance import now, versions
from napari_pgrd.train.checkpoint import read_checkpoint
from napari_pgrd.train.nnunet_plans import Plan, read_plan
from napari_pgrd.train.prior import digest

Say = Callable[[str], None]
COLOURS = ("#19E0FF", "#FFE14D", "#E69F00", "#CC79A7", "#009E73", "#56B4E9", "#D55E00", "#F0E442")
MOST_JSON = 10**8  # plans repeat the data set's fingerprint; no more than that


def import_nnunet(
    folder: Path,
    out: Path,
    fold: str | None = None,
    checkpoint: str = "checkpoint_final.pth",
    orientation: str | None = None,
    name: str | None = None,
    say: Say = lambda text: None,
) -> Bundle:
    """Make a bundle whose prior is the network of a trained nnU-Net v2; it does what a prior can do alone.

    Parameters
    ----------
    folder : Path
        nnU-Net's folder of a training: ``plans.json``, ``dataset.json``, ``fold_X``.
    fold : str, optional
        Which, where there are several.
    orientation : str, optional
        The directions of the axes of the training images as stored, "RAS"; nnU-Net keeps them. None reads them from
        what it wrote of its validation cases.
    name : str, optional
        Of the bundle; by default that of its folder.

    Raises
    ------
    PgrdError
        If something is missing or unsafe, or says what no bundle can.
    """
    require(folder.is_dir(), InputError, f"There is no folder {folder.name}. Give nnU-Net's folder of a training.")
    plans, dataset = (_json(folder / file) for file in ("plans.json", "dataset.json"))
    where = _fold(folder, fold) / checkpoint
    content = read_checkpoint(where)
    configuration = _configuration_of(content)
    plan = read_plan(plans, dataset, configuration)
    network = build_prior(plan.network)
    _load(network, content["network_weights"], plan)
    letters = _orientation(orientation, plan, where.parent)
    out.mkdir(parents=True, exist_ok=True)
    weights = {key: value.detach().contiguous() for key, value in named_weights(network).items()}
    write_atomically(out / PRIOR, lambda path: save_file(weights, path))
    made = {
        "program": "nnU-Net v2",
        "data": str(plans.get("dataset_name", "")),
        "configuration": configuration,
        "trainer": str(content.get("trainer_name", "")),
        "fold": where.parent.name.removeprefix("fold_"),
        "epochs": int(content.get("current_epoch", 0)),
        "parameters": sum(value.numel() for value in weights.values()),
        "sha256": digest(where),
    }
    bundle = save(out, describe(plan, letters, name or out.name, made))
    write_atomically(out / "MODEL_CARD.md", lambda path: path.write_text(card(bundle, made), encoding="utf-8"))
    say(f"{configuration}, {', '.join(plan.channels)}; {', '.join(plan.labels[1:])}; axes as {letters}")
    return bundle


def _configuration_of(content: Mapping[str, Any]) -> str:
    given = content.get("init_args")
    name = given.get("configuration") if isinstance(given, dict) else None
    require(isinstance(name, str), InputError, "The checkpoint does not say which configuration it is of.")
    return str(name)


def _json(path: Path) -> dict[str, Any]:
    require(
        path.is_file(),
        InputError,
        f"{path.parent.name} holds no {path.name}. Give nnU-Net's folder of a training, which holds plans.json, "
        "dataset.json and fold_0.",
    )
    require(path.stat().st_size < MOST_JSON, InputError, f"{path.name} is absurdly large.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path.name} is no readable JSON file. Copy it again.") from error
    require(isinstance(content, dict), InputError, f"{path.name} must hold an object. Copy it again.")
    return dict(content)


def _fold(folder: Path, fold: str | None) -> Path:
    found = sorted(path.name.removeprefix("fold_") for path in folder.glob("fold_*") if path.is_dir())
    require(bool(found), InputError, f"{folder.name} holds no fold_0 or other fold. Finish a training first.")
    chosen = found[0] if fold is None and len(found) == 1 else fold
    require(
        chosen in found,
        InputError,
        f"{folder.name} holds the folds {', '.join(found)}, of which one becomes the prior. Name it with --fold.",
    )
    return folder / f"fold_{chosen}"


def _load(network: nn.Module, weights: Mapping[str, Any], plan: Plan) -> None:
    """Strictly, once channels and classes are known to fit."""
    inner = network.net if isinstance(network, SliceWise) else network
    assert isinstance(inner, nn.Module)
    tensors = {str(key).removeprefix("module.").removeprefix("_orig_mod."): value for key, value in weights.items()}
    require(all(isinstance(value, Tensor) for value in tensors.values()), InputError, "The weights are no tensors.")
    mine = inner.state_dict()
    stem = "encoder.stem.convs.0" if plan.network.kind == "residual" else "encoder.stages.0.0.convs.0"
    last = f"decoder.seg_layers.{len(plan.network.filters) - 2}.weight"
    for key, axis, what, there in (
        (f"{stem}.conv.weight", 1, "channels", len(plan.channels)),
        (last, 0, "classes", len(plan.labels)),
    ):
        given = tensors.get(key)
        require(
            given is None or given.ndim != mine[key].ndim or given.shape[axis] == there,
            InputError,
            f"The network has {given.shape[axis] if given is not None else 0} {what}, but dataset.json names {there}. "
            "Give the files that belong together.",
        )
    wrong = sorted(key for key in mine if key not in tensors or tensors[key].shape != mine[key].shape)
    extra = sorted(key for key in tensors if key not in mine)
    require(
        not wrong and not extra,
        InputError,
        f"The checkpoint holds another network than plans.json describes: {len(wrong)} weights are missing or of "
        f"another shape, {len(extra)} unknown (first: {(wrong + extra + [''])[0]!r}). Give the files that belong "
        "together.",
    )
    finite = all(bool(torch.isfinite(value).all()) for value in tensors.values())
    require(finite, InputError, "The checkpoint holds weights that are not finite: that training failed.")
    inner.load_state_dict({key: value.float() for key, value in tensors.items()}, strict=True)


def _orientation(given: str | None, plan: Plan, fold: Path) -> str:
    """How the training images were stored: nnU-Net takes axes as they come, and the network knows them so."""
    if plan.reoriented:
        return "RAS"
    if given is not None:
        letters = given.upper()
        pairs = [next((i for i, pair in enumerate(("LR", "PA", "IS")) if x in pair), -1) for x in letters]
        require(
            sorted(pairs) == [0, 1, 2],
            InputError,
            f"--orientation is {given!r}; give three letters such as RAS, the directions in which the indices of the "
            "training images grow.",
        )
        return letters
    files = sorted(path for path in (fold / "validation").glob("*") if is_nifti(path))[:20]
    found = sorted({directions(read_volume(path).affine) for path in files})
    require(
        len(found) == 1,
        InputError,
        f"nnU-Net takes the axes of files as they come, and {fold.name}/validation "
        f"{'holds images as ' + ' and '.join(found) if found else 'shows none'}. Say with --orientation how the "
        "training images are stored, such as RAS.",
    )
    return found[0]


def describe(plan: Plan, orientation: str, name: str, made: Mapping[str, Any]) -> dict[str, Any]:
    """``bundle.json`` but for checksums."""
    structures = ", ".join(plan.labels[1:])
    return {
        "schema_version": SCHEMA_VERSION,
        "name": "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in name) or "imported",
        "title": f"{structures} ({made['program']}, {made['configuration']})",
        "modality": ", ".join(plan.channels),
        "channels": list(plan.channels),
        "labels": [
            {"value": value, "name": label, "colour": colour_of(value)} for value, label in enumerate(plan.labels)
        ],
        "prepare": plan.prepare(orientation).model_dump(mode="json"),
        "scope": {"sentence": f"{name} segments {structures} on images like those that its nnU-Net was trained on."},
        "prior": plan.network.model_dump(mode="json"),
        "method": ALONE,
        "provenance": {"imported": dict(made), "versions": versions(), "date": now()},
    }


def colour_of(value: int) -> str:
    """A colour for a label: of a set that the colour-blind can tell apart, then ever further round the circle."""
    if value == 0:
        return "#000000"
    if value <= len(COLOURS):
        return COLOURS[value - 1]
    red, green, blue = colorsys.hsv_to_rgb(value * 0.618 % 1, 0.55 + 0.4 * (value % 2), 1.0)
    return f"#{round(red * 255):02X}{round(green * 255):02X}{round(blue * 255):02X}"


def card(bundle: Bundle, made: Mapping[str, Any]) -> str:
    """What is known of it; nothing has been measured here."""
    spec = bundle.spec
    return f"""# {spec.title}

For research use; not a medical device.

- Prior: {made["program"]}, {made["configuration"]}, data set {made["data"] or "unnamed"}, fold {made["fold"]}, \
{made["epochs"]} epochs, {made["parameters"]} parameters. Imported as it was trained; one fold alone,
  and no mirroring of the image at use.
- Checkpoint: sha256 {made["sha256"]}
- Channels: {", ".join(spec.channels)}. Labels: {", ".join(f"{x.value} {x.name}" for x in spec.labels)}.
- Input: as nnU-Net prepares it, axes {spec.prepare.orientation}.
- Not measured here. `pgrd evaluate`, then `pgrd bundle card`, write figures.
- Licence and data: those of the nnU-Net training; state them here before you pass this on.
"""
