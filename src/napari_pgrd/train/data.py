"""Training cases: loaded, prepared, augmented.

Where several readers marked a case, every training item takes the map of one of them, drawn at random: over many items
the networks meet each answer as often as it was given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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
from torch import Tensor

from napari_pgrd.engine.given import as_prepared
from napari_pgrd.engine.preprocess import prepare
from napari_pgrd.engine.spec import PrepareSpec
from napari_pgrd.io.cases import CaseFiles, load_readers
from napari_pgrd.io.probabilities import map_of, read_probabilities
from napari_pgrd.train.config import Optimisation
from napari_pgrd.train.processes import ALONE, Share

set_track_meta(False)  # plain tensors: geometry is ours


@dataclass(frozen=True)
class TrainCase:
    """One case in memory, padded to the patch and the stride.

    ``image (C, *spatial)`` is float32; ``labels (readers, *spatial)`` are class indices, uint8 to save memory; ``pi (K,
    *spatial)`` is what another model says of the case, if it stands in for a prior.
    """

    name: str
    image: Tensor
    labels: Tensor
    pi: Tensor | None = None


def load_case(
    case: CaseFiles, spec: PrepareSpec, values: Mapping[int, int], whole: bool = False, maps: Path | None = None
) -> TrainCase:
    """Read, check and prepare one case.

    ``whole`` keeps all of it also where networks are shown the middle alone: what they learn from is turned and moved
    before the patch is cut. ``maps`` is a folder with another model's probabilities of the case.
    """
    spec = spec.at_once.model_copy(update={"middle_only": spec.middle_only and not whole})
    volume, labels = load_readers(case, values)
    image, restore = prepare(volume, spec)
    target = torch.from_numpy(np.ascontiguousarray(restore.cropped(restore.reorder.apply(labels)), np.uint8))
    if restore.resampled != restore.original:
        target = torch.nn.functional.interpolate(target[None], restore.resampled, mode="nearest-exact")[0]
    pads = [p for lo, hi in reversed(restore.padding) for p in (lo, hi)]
    pi = None
    if maps is not None:
        given = read_probabilities(map_of(maps, case.name), volume, len(values))
        pi = as_prepared(given.values, restore)[0]
    return TrainCase(case.name, image[0], torch.nn.functional.pad(target, pads), pi)


def augmentation(
    classes: int,
    patch: Sequence[int],
    dims: int,
    mirror: Sequence[int],
    translate: float = 4.0,
    given: bool = False,
    grey_deviation: float = 1.0,
) -> Any:
    """MONAI transforms on ``{"image": (C, ...), "label": (K, ...) one-hot}`` that also cut the patch out.

    The patch comes from the middle, moved by up to ``translate`` voxels along each axis. With ``given`` probabilities,
    these are moved along, under ``"pi"``. What is added to grey values is a share of their standard deviation,
    ``grey_deviation``.
    """
    turn = 0.26 if dims == 3 else 3.14  # a head lies nearly straight, a slice patch any way round
    linear = "trilinear" if dims == 3 else "bilinear"
    both = ["image", "label", *(["pi"] if given else [])]
    spatial: list[Any] = [RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in mirror]
    spatial.append(
        RandAffined(
            both,
            prob=1.0,
            rotate_range=[turn] * (3 if dims == 3 else 1),
            scale_range=[0.12] * dims,
            shear_range=[0.05] * (dims * (dims - 1)),
            translate_range=[translate] * dims,
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
            OneOf(
                [
                    RandGaussianSmoothd(image, prob=0.3),
                    RandSimulateLowResolutiond(image, prob=0.3, zoom_range=(0.6, 1.0), upsample_mode=linear),
                ]
            ),
            RandGaussianNoised(image, prob=0.3, std=0.15 * grey_deviation),
            RandAdjustContrastd(image, prob=0.4, gamma=(0.7, 1.5), retain_stats=True),
            RandScaleIntensityd(image, prob=0.4, factors=0.2),
            RandShiftIntensityd(image, prob=0.4, offsets=0.2 * grey_deviation),
        ]
    )


class Batches:
    """Augmented batches that depend on ``(seed, step)`` alone, so a resumed training continues the same sequence.

    An item is a case, in 2D a slice of one; an epoch shows every item once. Of several readers one is drawn for each
    item. Where cases hold another model's probabilities, a batch holds them, too.

    Of several processes, each takes its ``share`` of every batch: together they have the batch that one would have.
    """

    def __init__(
        self,
        cases: Sequence[TrainCase],
        classes: int,
        spec: PrepareSpec,
        batch: int,
        seed: int,
        mirror: Sequence[int],
        translate: float = 4.0,
        share: Share = ALONE,
        streams: Literal["batch", "item"] = "batch",
        grey_deviation: float = 1.0,
    ) -> None:
        self.cases, self.classes, self.batch, self.seed = list(cases), classes, batch, seed
        self.share, self.streams = share, streams
        share.check(batch)
        self.given = all(case.pi is not None for case in self.cases)
        self.transform = augmentation(classes, spec.patch, spec.dims, mirror, translate, self.given, grey_deviation)
        slices: list[Sequence[int | None]] = [
            range(case.labels.shape[-1]) if spec.dims == 2 else [None] for case in self.cases
        ]
        self.items: list[tuple[int, int | None]] = [(i, z) for i, of_case in enumerate(slices) for z in of_case]

    @classmethod
    def told(
        cls, cases: Sequence[TrainCase], classes: int, spec: PrepareSpec, o: Optimisation, share: Share = ALONE
    ) -> Batches:
        """As a training's configuration says."""
        return cls(cases, classes, spec, o.batch, o.seed, o.mirror, o.translate, share, o.streams, o.grey_deviation)

    def names(self, step: int) -> list[str]:
        """Names of the cases that this process's share of a step's batch is cut from."""
        return [self.cases[i].name for i, _ in self.share.of(self._chosen(step))]

    def _chosen(self, step: int) -> list[tuple[int, int | None]]:
        chosen = []
        for i in range(self.batch):
            epoch, at = divmod(step * self.batch + i, len(self.items))
            order = np.random.default_rng((self.seed, 7, epoch)).permutation(len(self.items))
            chosen.append(self.items[int(order[at])])
        return chosen

    def __call__(self, step: int) -> tuple[Tensor, ...]:
        """``image (B, C, *patch)`` and one-hot ``y (B, K, *patch)``; after them given probabilities, of y's shape."""
        rng = np.random.default_rng((self.seed, step))
        self.transform.set_random_state(seed=int(rng.integers(2**31)))
        rows: list[tuple[Tensor, ...]] = []
        mine = self.share.of(range(self.batch))
        for at, (i, z) in enumerate(self._chosen(step)[: mine.stop]):
            if self.streams == "item":
                if at not in mine:
                    continue
                rng = np.random.default_rng((self.seed, step, 17, at))
                self.transform.set_random_state(seed=int(rng.integers(2**31)))
            # One stream for the whole batch: the items before this share are drawn to know where in it that begins.
            row = self._item(i, z, rng)
            if at in mine:
                rows.append(row)
        return tuple(torch.stack(parts) for parts in zip(*rows, strict=True))

    def _item(self, i: int, z: int | None, rng: np.random.Generator) -> tuple[Tensor, ...]:
        image, labels, pi = self.cases[i].image, self.cases[i].labels, self.cases[i].pi
        if z is not None:
            image, labels = image[..., z], labels[..., z]
            pi = None if pi is None else pi[..., z]
        reader = int(rng.integers(len(labels))) if len(labels) > 1 else 0
        hot = torch.nn.functional.one_hot(labels[reader].long(), self.classes).movedim(-1, 0).float()
        given = {"pi": pi} if self.given else {}
        out = self.transform({"image": image, "label": hot, **given})
        truth = torch.nn.functional.one_hot(out["label"].argmax(0), self.classes).movedim(-1, 0).float()
        return out["image"], truth, *(value / value.sum(0, keepdim=True) for value in (out[key] for key in given))
