"""Pictures of nodules to NIfTI, and the committed lists of cases and slices."""

from __future__ import annotations

import json
from pathlib import Path

import lidc
import numpy as np
from PIL import Image

from napari_pgrd.io.cases import find_cases, load_readers, read_split


def pictures(folder: Path, names: list[str], slices: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Nodules as they are handed out, all alike; grey values and masks ``(4, slices, rows, columns)``."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (slices, 128, 128)).astype(np.uint8)
    masks = rng.integers(0, 2, (4, slices, 128, 128)).astype(np.uint8)
    masks[2] = 0
    bits = sum(mask << j for j, mask in enumerate(masks))
    (folder / "nodules").mkdir(parents=True)
    table = "patient,nodule\n"
    for name in names:
        for kind, stack in (("img", image), ("raters", bits)):
            Image.fromarray(stack.reshape(-1, 128)).save(folder / "nodules" / f"{name}_{kind}.png")
        table += ",".join(name.split("_n")) + "\n"
    (folder / "nodules.csv").write_text(table, encoding="utf-8")
    return image, masks


def test_a_nodule_is_column_row_slice_with_four_opinions_and_no_geometry(tmp_path: Path) -> None:
    image, masks = pictures(tmp_path / "in", ["P-1_n0", "P-1_n1"])
    assert lidc.nodules(tmp_path / "in") == {"P-1": ["P-1_n0", "P-1_n1"]}
    lidc.convert(tmp_path / "in", tmp_path / "out", ["P-1_n1"])
    (case,) = find_cases(tmp_path / "out")
    assert [p.parent.name for p in case.labels] == [f"radiologist{j}" for j in range(1, 5)]
    volume, truths = load_readers(case, {0: 0, 1: 1})
    assert np.array_equal(volume.data[0], image.transpose(2, 1, 0))
    assert volume.data[0, 5, 9, 1] == image[1, 9, 5]
    assert np.array_equal(truths, masks.transpose(0, 3, 2, 1))
    assert not volume.spacing_known and np.array_equal(volume.affine, np.eye(4))


def test_no_patient_is_in_two_blocks_and_the_measured_slices_are_of_validation() -> None:
    blocks = read_split(lidc.SPLIT)
    patients = {name: {case.split("_n")[0] for case in cases} for name, cases in blocks.items()}
    assert sum(len(p) for p in patients.values()) == len(set().union(*patients.values())) == 711
    assert sum(len(cases) for cases in blocks.values()) == 2125
    chosen = json.loads(lidc.SLICES.read_text(encoding="utf-8"))["validation"]
    assert len({(c["case"], c["slice"]) for c in chosen}) == 100
    assert {c["case"] for c in chosen} <= set(blocks["validation"])


def test_slices_are_drawn_from_those_that_someone_marked(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(lidc, "PATIENTS", {"calibration": 1, "validation": 2})
    monkeypatch.setattr(lidc, "MEASURED", 4)
    pictures(tmp_path, [f"P-{i}_n0" for i in range(5)], slices=4)
    read = lidc.read

    def only_the_middle(data: Path, case: str) -> tuple[np.ndarray, np.ndarray]:
        image, masks = read(data, case)
        masks[:, [0, 3]] = 0
        masks[1:] = 0
        return image, masks

    monkeypatch.setattr(lidc, "read", only_the_middle)
    blocks, slices = lidc.split(tmp_path)
    assert [len(blocks[name]) for name in ("train", "calibration", "validation")] == [2, 1, 2]
    assert sorted((c["case"], c["slice"]) for c in slices["validation"]) == [
        (case, z) for case in sorted(blocks["validation"]) for z in (1, 2)
    ]
    assert lidc.split(tmp_path) == (blocks, slices)
