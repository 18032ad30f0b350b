"""Training cases: found, checked one by one, loaded, augmented."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.meta_obj import set_track_meta
from monai.transforms import (
    Compose,
    OneOf,
    RandAdjustContrastd,
    RandAffined,
    RandBiasFieldd,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandScaleIntensityd,
    RandShiftIntensityd,
    RandSimulateLowResolutiond,
)
from numpy.typing import NDArray
from torch import Tensor

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.preprocess import prepare
from napari_pgrd.engine.spec import PrepareSpec
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.nifti import SUFFIXES, is_nifti, read_labels, read_volume, stem

set_track_meta(False)  # plain tensors: geometry is ours


@dataclass(frozen=True)
class CaseFiles:
    """One case on disk: a file per channel, and its label map."""

    name: str
    images: tuple[Path, ...]
    label: Path


@dataclass(frozen=True)
class TrainCase:
    """One case in memory: ``image (C, *spatial)`` float32, ``label (*spatial)`` class indices, prepared but not padded."""

    name: str
    image: Tensor
    label: Tensor


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
        f"{root.name} holds neither imagesTr/ and labelsTr/ nor images/ and labels/. Arrange the data in one of these ways."
    )


def pair(images: Path, labels: Path, channel_suffix: bool = False) -> list[CaseFiles]:
    """Match image and label files of two folders by name."""
    for folder in (images, labels):
        require(folder.is_dir(), InputError, f"There is no folder {folder.name}. Check the path.")
    by_case: dict[str, list[Path]] = {}
    for path in sorted(p for p in images.iterdir() if is_nifti(p) and not p.name.startswith(".")):
        by_case.setdefault(stem(path)[:-5] if channel_suffix else stem(path), []).append(path)
    by_label = {stem(p): p for p in sorted(labels.iterdir()) if is_nifti(p) and not p.name.startswith(".")}
    lonely = sorted(set(by_case) ^ set(by_label))
    require(
        not lonely,
        InputError,
        f"{len(lonely)} cases lack an image or a label: {', '.join(lonely[:5])}{' ...' if len(lonely) > 5 else ''}. "
        "Every image needs a label file of the same name.",
    )
    require(bool(by_case), InputError, f"{images.name} holds no {' or '.join(SUFFIXES)} file.")
    counts = {len(v) for v in by_case.values()}
    require(len(counts) == 1, InputError, f"Cases have different numbers of channels ({sorted(counts)}); give all the same.")
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
    names = ("train", "calibration", "validation")
    require(
        isinstance(blocks, dict) and all(isinstance(blocks.get(n), list) for n in names),
        InputError,
        f"{Path(path).name} must hold the lists {', '.join(names)}.",
    )
    lists = {n: [str(c) for c in blocks[n]] for n in names}
    twice = [c for i, n in enumerate(names) for c in lists[n] for m in names[i + 1 :] if c in lists[m]]
    require(not twice, InputError, f"{Path(path).name} puts {', '.join(twice[:5])} into more than one block.")
    return lists


def choose(cases: Sequence[CaseFiles], names: Sequence[str]) -> list[CaseFiles]:
    """The named cases, in that order."""
    by_name = {c.name: c for c in cases}
    missing = [n for n in names if n not in by_name]
    require(
        not missing, InputError, f"{len(missing)} listed cases are not in the data: {', '.join(missing[:5])}."
    )
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
        f"{case.name}: image and label map have different affines, so they do not lie on each other. Repair one of them.",
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


def load_case(case: CaseFiles, spec: PrepareSpec, values: Mapping[int, int]) -> TrainCase:
    """Read, check and prepare one case for training."""
    volume, labels = load_pair(case, values)
    image, restore = prepare(volume, spec)
    index = restore.reorder.apply(labels[None])[0]
    target = torch.from_numpy(np.ascontiguousarray(index))
    if restore.resampled != restore.original:
        target = torch.nn.functional.interpolate(target[None, None].float(), restore.resampled, mode="nearest-exact")[
            0, 0
        ].long()
    pads = [p for lo, hi in reversed(restore.padding) for p in (lo, hi)]
    return TrainCase(case.name, image[0], torch.nn.functional.pad(target, pads))


def augmentation(classes: int, patch: Sequence[int], dims: int, mirror: Sequence[int]) -> Any:
    """MONAI transforms on ``{"image": (C, ...), "label": (K, ...) one-hot}`` that also cut the patch out."""
    turn = 0.26 if dims == 3 else 3.14  # a head lies nearly straight, a slice patch any way round
    both = ["image", "label"]
    spatial: list[Any] = [RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in mirror]
    spatial.append(
        RandAffined(
            both,
            prob=1.0,
            rotate_range=[turn] * (3 if dims == 3 else 1),
            scale_range=[0.12] * dims,
            shear_range=[0.05] * (dims * (dims - 1)),
            translate_range=[4.0] * dims,
            spatial_size=list(patch)[:dims],
            mode="bilinear",
            padding_mode="border",
            cache_grid=True,
        )
    )
    image = ["image"]
    return Compose(
        [
            *spatial,
            RandBiasFieldd(image, prob=0.2, coeff_range=(0.0, 0.15)),
            OneOf([RandGaussianSmoothd(image, prob=0.3), RandSimulateLowResolutiond(image, prob=0.3, zoom_range=(0.6, 1.0))]),
            RandGaussianNoised(image, prob=0.3, std=0.15),
            RandAdjustContrastd(image, prob=0.4, gamma=(0.7, 1.5), retain_stats=True),
            RandScaleIntensityd(image, prob=0.4, factors=0.2),
            RandShiftIntensityd(image, prob=0.4, offsets=0.2),
        ]
    )


class Batches:
    """Augmented batches that depend on ``(seed, step)`` alone, so that a resumed training continues the same sequence."""

    def __init__(
        self, cases: Sequence[TrainCase], classes: int, spec: PrepareSpec, batch: int, seed: int, mirror: Sequence[int]
    ) -> None:
        self.cases, self.classes, self.batch, self.seed = list(cases), classes, batch, seed
        self.transform = augmentation(classes, spec.patch, spec.dims, mirror)
        self.dims = spec.dims

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """``image (B, C, *patch)`` and one-hot ``y (B, K, *patch)``."""
        rng = np.random.default_rng((self.seed, step))
        self.transform.set_random_state(seed=int(rng.integers(2**31)))
        images, labels = [], []
        for i in range(self.batch):
            epoch, at = divmod(step * self.batch + i, len(self.cases))
            order = np.random.default_rng((self.seed, 7, epoch)).permutation(len(self.cases))
            case = self.cases[int(order[at])]
            image, label = case.image, case.label
            if self.dims == 2:
                z = int(rng.integers(label.shape[-1]))
                image, label = image[..., z], label[..., z]
            hot = torch.nn.functional.one_hot(label, self.classes).movedim(-1, 0).float()
            out = self.transform({"image": image, "label": hot})
            images.append(out["image"])
            labels.append(torch.nn.functional.one_hot(out["label"].argmax(0), self.classes).movedim(-1, 0).float())
        return torch.stack(images), torch.stack(labels)
