"""Cases on disk: images and label maps found in folders, matched by name and checked one by one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.nifti import SUFFIXES, is_nifti, read_labels, read_volume, stem

CHANNEL = re.compile(r"_\d{4}$")  # nnU-Net's channel number
BLOCKS = ("train", "calibration", "validation")


@dataclass(frozen=True)
class CaseFiles:
    """One case on disk: a file per channel, and its label map."""

    name: str
    images: tuple[Path, ...]
    label: Path


def find_cases(folder: str | Path) -> list[CaseFiles]:
    """Find the cases of nnU-Net's raw layout or of a plain ``images/`` + ``labels/`` pair.

    Raises
    ------
    InputError
        Naming every image without a label and every label without an image.
    """
    root = Path(folder)
    for images, labels, nnunet in (("imagesTr", "labelsTr", True), ("images", "labels", False)):
        if (root / images).is_dir() and (root / labels).is_dir():
            return pair(root / images, root / labels, nnunet)
    raise InputError(
        f"{root.name} holds neither imagesTr/ and labelsTr/ nor images/ and labels/. Arrange the data in "
        "one of these ways."
    )


def pair(images: Path, labels: Path, channel_suffix: bool | None = None) -> list[CaseFiles]:
    """Match image and label files of two folders by name.

    ``channel_suffix`` says whether image names end in nnU-Net's ``_0000``; None finds out.
    """
    for folder in (images, labels):
        require(folder.is_dir(), InputError, f"There is no folder {folder.name}. Check the path.")
    files, maps = (
        [p for p in sorted(f.iterdir()) if is_nifti(p) and not p.name.startswith(".")] for f in (images, labels)
    )
    by_label = {stem(p): p for p in maps}
    if channel_suffix is None:
        channel_suffix = all(CHANNEL.search(stem(p)) and stem(p) not in by_label for p in files)
    by_case: dict[str, list[Path]] = {}
    for path in files:
        by_case.setdefault(CHANNEL.sub("", stem(path)) if channel_suffix else stem(path), []).append(path)
    lonely = sorted(set(by_case) ^ set(by_label))
    require(
        not lonely,
        InputError,
        f"{len(lonely)} cases lack an image or a label: {', '.join(lonely[:5])}{' ...' if len(lonely) > 5 else ''}. "
        "Every image needs a label file of the same name.",
    )
    require(bool(by_case), InputError, f"{images.name} holds no {' or '.join(SUFFIXES)} file.")
    counts = {len(v) for v in by_case.values()}
    require(
        len(counts) == 1, InputError, f"Cases have different numbers of channels ({sorted(counts)}); give all the same."
    )
    return [CaseFiles(name, tuple(files), by_label[name]) for name, files in by_case.items()]


def label_names(folder: str | Path) -> dict[int, str] | None:
    """Label values and names from nnU-Net's ``dataset.json``, if there is one."""
    path = Path(folder) / "dataset.json"
    if not path.is_file():
        return None
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
        pairs = [(k, v) if str(k).isdigit() else (v, k) for k, v in labels.items()]  # version 1 maps "0" to a name
        return {int(value): str(name) for value, name in pairs}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError("dataset.json has no readable table of labels; see nnU-Net's documentation.") from error


def read_split(path: str | Path) -> dict[str, list[str]]:
    """Case lists by block, from a JSON file with ``train``, ``calibration`` and ``validation``."""
    try:
        blocks = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{Path(path).name} is no readable JSON file with case lists.") from error
    require(
        isinstance(blocks, dict) and all(isinstance(blocks.get(n), list) for n in BLOCKS),
        InputError,
        f"{Path(path).name} must hold the lists {', '.join(BLOCKS)}.",
    )
    lists = {n: [str(c) for c in blocks[n]] for n in BLOCKS}
    twice = [c for i, n in enumerate(BLOCKS) for c in lists[n] for m in BLOCKS[i + 1 :] if c in lists[m]]
    require(not twice, InputError, f"{Path(path).name} puts {', '.join(twice[:5])} into more than one block.")
    return lists


def contiguous_split(cases: Sequence[CaseFiles]) -> dict[str, list[str]]:
    """A split for data without one: 70, 15 and 15 % in the order of the names, so neighbours stay together."""
    names = [c.name for c in cases]
    require(len(names) >= 3, InputError, f"{len(names)} cases cannot be split into three blocks; give at least 3.")
    part = max(1, round(0.15 * len(names)))
    return {
        "train": names[: -2 * part],
        "calibration": names[-2 * part : -part],
        "validation": names[-part:],
    }


def read_names(path: str | Path, block: str = "validation") -> list[str]:
    """A list of case names: a block of a split, a JSON list, or a text file with a name a line."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix.lower() == ".json" else text.split()
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name} is no readable list of cases.") from error
    if isinstance(content, dict):
        require(block in BLOCKS, InputError, f"There is no block {block!r}; choose one of {', '.join(BLOCKS)}.")
        return read_split(path)[block]
    require(isinstance(content, list) and bool(content), InputError, f"{path.name} lists no case.")
    return [str(name) for name in content]


def choose(cases: Sequence[CaseFiles], names: Sequence[str]) -> list[CaseFiles]:
    """The named cases, in that order."""
    by_name = {c.name: c for c in cases}
    missing = [n for n in names if n not in by_name]
    require(not missing, InputError, f"{len(missing)} listed cases are not in the data: {', '.join(missing[:5])}.")
    return [by_name[n] for n in names]


def load_pair(case: CaseFiles, values: Mapping[int, int]) -> tuple[Volume, NDArray[np.int64]]:
    """Read and check one case; the label map comes back as class indices on the source grid."""
    volume = read_volume(case.images)
    labels, grid = read_labels(case.label)
    require(
        labels.shape == volume.shape,
        InputError,
        f"{case.name}: the label map has shape {labels.shape}, its image {volume.shape}. They must be equal.",
    )
    require(
        bool(np.allclose(grid.affine, volume.affine, atol=1e-2)),
        InputError,
        f"{case.name}: image and label map have different affines, so they do not lie on each other. "
        "Repair one of them.",
    )
    return volume, to_indices(labels, values, case.name)


def to_indices(labels: NDArray[np.int32], values: Mapping[int, int], name: str) -> NDArray[np.int64]:
    """Label values to class indices, refusing a value the model does not know."""
    unknown = sorted(set(np.unique(labels).tolist()) - set(values))
    require(
        not unknown,
        InputError,
        f"{name}: the label map holds the values {unknown}, but only {sorted(values)} are known. "
        "Correct the map or name the label.",
    )
    out = np.zeros(labels.shape, np.int64)
    for value, index in values.items():
        out[labels == value] = index
    return out
