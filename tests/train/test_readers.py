"""Cases that several readers marked: which of them a training item follows, and whom a score is against."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.transforms import Compose

from napari_pgrd.engine.spec import PrepareSpec
from napari_pgrd.io.cases import CaseFiles
from napari_pgrd.train.config import Optimisation, PriorTraining, read_config
from napari_pgrd.train.data import Batches, TrainCase, load_case
from napari_pgrd.train.prior import dice_scores

SLICES = PrepareSpec(dims=2, patch=(8, 8, 1), stride=4, spacing=None, normalisation="unit")


def marked(readers: int = 4, slices: int = 3) -> list[TrainCase]:
    """Two cases; reader j marks pixel (j, slice), so that an item tells whose it is and of which slice."""
    labels = torch.zeros((readers, 8, 8, slices), dtype=torch.uint8)
    for j in range(readers):
        for z in range(slices):
            labels[j, j, z, z] = 1
    return [TrainCase(name, torch.zeros(1, 8, 8, slices), labels) for name in "ab"]


def whole(cases: list[TrainCase], seed: int) -> Batches:
    """Batches of whole slices as they are."""
    batches = Batches(cases, 2, SLICES, 4, seed, ())
    batches.transform = Compose([])
    return batches


def drawn(batches: Batches, steps: int) -> list[tuple[int, int]]:
    """Reader and slice of every item."""
    items = [y for step in range(steps) for y in batches(step)[1]]
    return [tuple(np.argwhere(y[1].numpy())[0].tolist()) for y in items]


def test_an_item_is_one_reader_of_one_slice_by_chance_and_the_same_again() -> None:
    first = drawn(whole(marked(), 3), 150)
    assert first == drawn(whole(marked(), 3), 150)
    assert first != drawn(whole(marked(), 4), 150)
    counts = np.zeros((4, 3))
    np.add.at(counts, tuple(np.array(first).T), 1)
    assert counts.min() > 30  # of 600 in twelve equal parts, 50 +- 7


def test_an_epoch_shows_every_slice_once() -> None:
    """A case of many slices is met as often as it has slices, so that what is learnt is a slice like any other."""
    cases = [
        TrainCase(c, torch.full((1, 8, 8, n), float(k)), marked(1, n)[0].labels)
        for k, (c, n) in enumerate((("a", 3), ("b", 5)))
    ]
    for seed in (0, 1):
        batches, seen = whole(cases, seed), []
        for step in range(2):
            image, y = batches(step)
            assert batches.names(step) == ["ab"[int(one.mean())] for one in image]
            seen += [(float(one.mean()), int(np.argwhere(m[1].numpy())[0][1])) for one, m in zip(image, y, strict=True)]
        assert sorted(seen) == [(0, z) for z in range(3)] + [(1, z) for z in range(5)]


def test_patches_are_cut_as_far_from_the_middle_as_asked() -> None:
    image = torch.zeros(1, 64, 64, 1)
    image[0, 32, 32] = 1
    case = TrainCase("a", image, torch.zeros((1, 64, 64, 1), dtype=torch.uint8))
    spec = SLICES.model_copy(update={"patch": (40, 40, 1)})
    for translate, low, high in ((0.0, 0.0, 2.5), (16.0, 6.0, 26.0)):
        batches = Batches([case], 2, spec, 16, 0, (), translate)
        middles = [np.unravel_index(int(x[0].argmax()), (40, 40)) for x in batches(0)[0]]
        away = [max(abs(i - 19.5), abs(j - 19.5)) for i, j in middles]
        assert low <= max(away) <= high


def test_a_case_is_read_with_all_its_readers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image, truths = rng.integers(0, 256, (6, 10, 3)), rng.integers(0, 2, (4, 6, 10, 3))
    flipped = np.diag([-1.0, 1, 1, 1])  # along x, which is undone on reading
    for name, data in (("image", image), *((f"label{j}", truth) for j, truth in enumerate(truths))):
        nib.save(nib.Nifti1Image(data.astype(np.uint8), flipped), tmp_path / f"{name}.nii.gz")
    files = CaseFiles("a", (tmp_path / "image.nii.gz",), tuple(tmp_path / f"label{j}.nii.gz" for j in range(4)))
    case = load_case(files, SLICES, {0: 0, 1: 1})
    assert case.labels.dtype == torch.uint8 and case.labels.shape == (4, 8, 12, 3)
    assert np.array_equal(case.labels[:, 1:7, 1:11], truths[:, ::-1])
    assert np.allclose(case.image[0, 1:7, 1:11], image[::-1] / 127.5 - 1, atol=1e-6)


def test_what_is_learnt_from_stays_whole_where_networks_see_the_middle(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("image", "label"):
        nib.save(
            nib.Nifti1Image(rng.integers(0, 2, (40, 40, 2)).astype(np.uint8), np.eye(4)), tmp_path / f"{name}.nii.gz"
        )
    files = CaseFiles("a", (tmp_path / "image.nii.gz",), (tmp_path / "label.nii.gz",))
    spec = SLICES.model_copy(update={"middle_only": True, "patch": (16, 16, 1)})
    whole, middle = (load_case(files, spec, {0: 0, 1: 1}, whole) for whole in (True, False))
    assert whole.image.shape == (1, 40, 40, 2) and whole.labels.shape == (1, 40, 40, 2)
    assert torch.equal(middle.image, whole.image[:, 12:28, 12:28]) and middle.image.shape == (1, 16, 16, 2)
    assert torch.equal(middle.labels, whole.labels[:, 12:28, 12:28])


def test_dice_is_against_what_half_of_the_readers_marked() -> None:
    labels = torch.zeros((4, 1, 4, 1), dtype=torch.uint8)
    for j in range(4):
        labels[j, 0, : j + 1] = 1  # marked by 4, 3, 2 and 1
    case = TrainCase("a", torch.zeros(1, 1, 4, 1), labels)
    three = torch.tensor([1, 1, 1, 0])[None, :, None]
    assert dice_scores([three], [case], {0: "background", 1: "nodule"}) == {"dice_nodule": 1.0, "dice": 1.0}
    assert dice_scores([torch.zeros(1, 4, 1)], [case], {0: "background", 1: "nodule"})["dice"] == 0


def test_a_training_begun_before_there_was_a_translation_goes_on() -> None:
    assert "translate" not in Optimisation().model_dump(mode="json")
    assert Optimisation(translate=20.0).model_dump(mode="json")["translate"] == 20


def test_the_committed_settings_are_read() -> None:
    config = read_config(Path(__file__).parents[2] / "benchmarks" / "configs" / "lung-prior.toml", PriorTraining)
    assert config.prepare.spacing is None and config.prepare.dims == 2
    assert config.prepare.normalisation == "unit"
