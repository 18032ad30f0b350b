"""Cases on disk: images and label maps found in folders, matched by name and checked one by one.

A case has one label map, or one of each of several readers. The maps of one reader then lie in a folder of their own
inside the folder of labels, whose name is up to you: ``labels/reader1/CASE.nii.gz``, ``labels/reader2/CASE.nii.gz``. An
empty map is an answer, too; a missing one is a fault.
"""

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
    """One case on disk: a file per channel, and a label map per reader, in the order of the readers' folders."""

    name: str
    images: tuple[Path, ...]
    labels: tuple[Path, ...]


def find_cases(folder: str | Path) -> list[CaseFiles]:
    """Find the cases of nnU-Net's raw layout or of a plain ``images/`` + ``labels/`` pair, of one or several readers.

    Raises
    ------
    InputError
        Naming cases without an image, or without the label map of a reader.
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
    files = _files(images)
    readers = _readers(labels)
    maps = [{stem(p): p for p in _files(folder)} for folder in readers]
    known = set().union(*maps)
    if channel_suffix is None:
        channel_suffix = all(CHANNEL.search(stem(p)) and stem(p) not in known for p in files)
    by_case: dict[str, list[Path]] = {}
    for path in files:
        by_case.setdefault(CHANNEL.sub("", stem(path)) if channel_suffix else stem(path), []).append(path)
    lonely = sorted(set(by_case) ^ known)
    require(
        not lonely,
        InputError,
        f"{len(lonely)} cases lack an image or a label: {_first(lonely)}. "
        "Every image needs a label file of the same name.",
    )
    for folder, by_label in zip(readers, maps, strict=True):
        missing = sorted(known - set(by_label))
        require(
            not missing,
            InputError,
            f"{len(missing)} cases lack the label map of {folder.name}: {_first(missing)}. Every reader needs one of "
            "every case; write an empty map where a reader marked nothing.",
        )
    require(bool(by_case), InputError, f"{images.name} holds no {' or '.join(SUFFIXES)} file.")
    counts = {len(v) for v in by_case.values()}
    require(
        len(counts) == 1, InputError, f"Cases have different numbers of channels ({sorted(counts)}); give all the same."
    )
    return [CaseFiles(name, tuple(files), tuple(m[name] for m in maps)) for name, files in by_case.items()]


def _files(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.iterdir()) if p.is_file() and is_nifti(p) and not p.name.startswith(".")]


def _readers(labels: Path) -> list[Path]:
    """The folders of label maps, one a reader; the folder of labels itself where there is one reader."""
    inside = [p for p in sorted(labels.iterdir()) if p.is_dir() and not p.name.startswith(".")]
    folders = [p for p in inside if _files(p)]
    require(
        not (folders and _files(labels)),
        InputError,
        f"{labels.name} holds label maps beside folders of label maps ({_first([p.name for p in folders])}). Give a "
        "folder to every reader, or to none.",
    )
    empty = [p.name for p in inside if p not in folders]
    require(
        not (folders and empty),
        InputError,
        f"{_first(empty)} in {labels.name} holds no {' or '.join(SUFFIXES)} file, unlike the folders of other "
        "readers. Add that reader's maps or remove the folder.",
    )
    return folders or [labels]


def _first(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + " ..." * (len(names) > most)


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
    """Read and check one case of one reader: the image, and its label map as class indices on the image's grid."""
    require(
        len(case.labels) == 1,
        InputError,
        f"{case.name} has the label maps of {len(case.labels)} readers, but one truth is needed here. Give the folder "
        "of one reader as labels.",
    )
    volume, labels = load_readers(case, values)
    return volume, labels[0]


def load_readers(case: CaseFiles, values: Mapping[int, int]) -> tuple[Volume, NDArray[np.int64]]:
    """Read and check one case: the image, and ``(readers, x, y, z)`` class indices on its grid.

    Raises
    ------
    InputError
        Naming the case, and with several readers whose map it is.
    """
    volume = read_volume(case.images)
    maps = [_load_label(case, path, volume, values) for path in case.labels]
    return volume, np.stack(maps)


def _load_label(case: CaseFiles, path: Path, volume: Volume, values: Mapping[int, int]) -> NDArray[np.int64]:
    whose = f" of {path.parent.name}" if len(case.labels) > 1 else ""
    try:
        labels, grid = read_labels(path)
    except InputError as error:
        raise InputError(f"{case.name}, label map{whose}: {error}") from error
    require(
        labels.shape == volume.shape,
        InputError,
        f"{case.name}: the label map{whose} has shape {labels.shape}, its image {volume.shape}. They must be equal.",
    )
    require(
        bool(np.allclose(grid.affine, volume.affine, atol=1e-2)),
        InputError,
        f"{case.name}: image and label map{whose} have different affines, so they do not lie on each other. "
        "Repair one of them.",
    )
    return to_indices(labels, values, case.name, whose)


def to_indices(labels: NDArray[np.int32], values: Mapping[int, int], name: str, whose: str = "") -> NDArray[np.int64]:
    """Label values to class indices, refusing a value the model does not know."""
    unknown = sorted(set(np.unique(labels).tolist()) - set(values))
    require(
        not unknown,
        InputError,
        f"{name}: the label map{whose} holds the values {_few(unknown)}, but only {sorted(values)} are known. "
        "Correct the map or name the label.",
    )
    out = np.zeros(labels.shape, np.int64)
    for value, index in values.items():
        out[labels == value] = index
    return out


def _few(values: list[int], most: int = 8) -> str:
    return f"[{', '.join(map(str, values[:most]))}{', ...' * (len(values) > most)}]"
