"""Cases on disk: every layout is found, every fault is named."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_pgrd.engine.errors import InputError
from napari_pgrd.io.cases import contiguous_split, find_cases, label_names, load_pair, pair, read_names, read_split


def fill(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.nii.gz").touch()
    return folder


def test_nnunets_layout_with_two_channels(tmp_path: Path) -> None:
    fill(tmp_path / "imagesTr", "b_0000", "b_0001", "a_0001", "a_0000", ".hidden")
    fill(tmp_path / "labelsTr", "a", "b")
    cases = find_cases(tmp_path)
    assert [c.name for c in cases] == ["a", "b"]
    assert [p.name for p in cases[0].images] == ["a_0000.nii.gz", "a_0001.nii.gz"]
    assert pair(tmp_path / "imagesTr", tmp_path / "labelsTr") == cases  # found out without being told


def test_a_plain_pair_of_folders_may_have_numbers_at_the_end(tmp_path: Path) -> None:
    fill(tmp_path / "images", "case_0001", "case_0002")
    fill(tmp_path / "labels", "case_0001", "case_0002")
    assert [c.name for c in find_cases(tmp_path)] == ["case_0001", "case_0002"]
    assert len(pair(tmp_path / "images", tmp_path / "labels")) == 2


def test_faults_of_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither imagesTr/ and labelsTr/ nor images/ and labels/"):
        find_cases(tmp_path)
    images, labels = fill(tmp_path / "images", "a", "b"), fill(tmp_path / "labels", "b", "c")
    with pytest.raises(InputError, match="2 cases lack an image or a label: a, c"):
        find_cases(tmp_path)
    with pytest.raises(InputError, match="There is no folder nowhere"):
        pair(images, labels / "nowhere")
    with pytest.raises(InputError, match="empty holds no"):
        pair(fill(tmp_path / "empty"), fill(tmp_path / "void"))
    fill(tmp_path / "i", "a_0000", "a_0001", "b_0000")
    with pytest.raises(InputError, match="different numbers of channels"):
        pair(tmp_path / "i", fill(tmp_path / "l", "a", "b"))


@pytest.mark.parametrize("labels", [{"0": "background", "2": "liver"}, {"background": 0, "liver": 2}])
def test_label_names_of_both_versions(tmp_path: Path, labels: dict[str, object]) -> None:
    assert label_names(tmp_path) is None
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}), encoding="utf-8")
    assert label_names(tmp_path) == {0: "background", 2: "liver"}
    (tmp_path / "dataset.json").write_text('{"labels": [1, 2]}', encoding="utf-8")
    with pytest.raises(InputError, match="no readable table of labels"):
        label_names(tmp_path)


def test_values_become_class_indices(tmp_path: Path) -> None:
    for folder, data in (("images", np.ones((3, 3, 3), np.float32)), ("labels", np.full((3, 3, 3), 7, np.uint8))):
        (tmp_path / folder).mkdir()
        nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / folder / "a.nii.gz")
    (case,) = find_cases(tmp_path)
    _, truth = load_pair(case, {0: 0, 7: 1})
    assert (truth == 1).all()
    with pytest.raises(InputError, match=r"a: the label map holds the values \[7\], but only \[0, 1\] are known"):
        load_pair(case, {0: 0, 1: 1})


def test_lists_of_names(tmp_path: Path) -> None:
    split = {"train": ["a"], "calibration": ["b"], "validation": ["c", "d"], "description": "kept apart"}
    for name, text in (("s.json", json.dumps(split)), ("l.json", '["x", "y"]'), ("t.txt", "x\n\ny\n"), ("e.txt", " ")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_names(tmp_path / "s.json") == ["c", "d"]
    assert read_names(tmp_path / "s.json", "calibration") == ["b"]
    assert read_names(tmp_path / "l.json") == read_names(tmp_path / "t.txt") == ["x", "y"]
    assert read_split(tmp_path / "s.json") == {k: v for k, v in split.items() if k != "description"}
    with pytest.raises(InputError, match="There is no block 'test'; choose one of train, calibration, validation"):
        read_names(tmp_path / "s.json", "test")
    with pytest.raises(InputError, match=r"e.txt lists no case"):
        read_names(tmp_path / "e.txt")
    with pytest.raises(InputError, match=r"gone.txt is no readable list"):
        read_names(tmp_path / "gone.txt")


@pytest.mark.parametrize("n", [3, 4, 10, 137])
def test_a_split_made_here_keeps_every_case_once_and_in_order(tmp_path: Path, n: int) -> None:
    names = [f"c{i:03d}" for i in range(n)]
    fill(tmp_path / "images", *names)
    fill(tmp_path / "labels", *names)
    split = contiguous_split(find_cases(tmp_path))
    assert [name for block in split.values() for name in block] == names
    assert all(split.values())


def test_two_cases_cannot_be_split(tmp_path: Path) -> None:
    fill(tmp_path / "images", "a", "b")
    fill(tmp_path / "labels", "a", "b")
    with pytest.raises(InputError, match="at least 3"):
        contiguous_split(find_cases(tmp_path))
