"""Cases on disk: every layout is found, every fault is named."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_pgrd.engine.errors import InputError
from napari_pgrd.io.cases import (
    contiguous_split,
    find_cases,
    label_names,
    load_pair,
    load_readers,
    pair,
    read_names,
    read_split,
)


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


def save(path: Path, data: np.ndarray, affine: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.eye(4) if affine is None else affine), path)


@pytest.mark.parametrize("folders", [("images", "labels"), ("imagesTr", "labelsTr")])
def test_every_reader_has_a_folder_of_label_maps(tmp_path: Path, folders: tuple[str, str]) -> None:
    suffix = "_0000" if folders[0] == "imagesTr" else ""
    truths = np.random.default_rng(0).integers(0, 2, (3, 4, 5, 6)).astype(np.uint8)
    truths[1] = 0  # nothing marked is an answer
    for case in ("a", "b"):
        save(tmp_path / folders[0] / f"{case}{suffix}.nii.gz", np.ones((4, 5, 6), np.float32))
        for reader, truth in zip(("ann", "bob", "cem"), truths, strict=True):
            save(tmp_path / folders[1] / reader / f"{case}.nii.gz", 7 * truth)
    cases = find_cases(tmp_path)
    assert [c.name for c in cases] == ["a", "b"]
    assert [p.parent.name for p in cases[1].labels] == ["ann", "bob", "cem"]
    volume, read = load_readers(cases[0], {0: 0, 7: 1})
    assert volume.shape == (4, 5, 6)
    assert np.array_equal(read, truths)
    with pytest.raises(InputError, match="a has the label maps of 3 readers, but one truth is needed"):
        load_pair(cases[0], {0: 0, 7: 1})
    (tmp_path / folders[1] / "bob" / "b.nii.gz").unlink()
    with pytest.raises(InputError, match="1 cases lack the label map of bob: b. .*empty map where a reader marked not"):
        find_cases(tmp_path)


def test_faults_of_readers_are_named(tmp_path: Path) -> None:
    fill(tmp_path / "images", "a", "b")
    labels = fill(tmp_path / "labels", "a", "b")
    fill(labels / "ann", "a", "b")
    with pytest.raises(InputError, match=r"labels holds label maps beside folders of label maps \(ann\)"):
        find_cases(tmp_path)
    for path in labels.glob("*.nii.gz"):
        path.unlink()
    fill(labels / ".hidden")
    assert [len(c.labels) for c in find_cases(tmp_path)] == [1, 1]
    fill(labels / "bob")
    with pytest.raises(InputError, match="bob in labels holds no .nii"):
        find_cases(tmp_path)
    fill(labels / "bob", "b", "c")
    with pytest.raises(InputError, match="1 cases lack an image or a label: c"):
        find_cases(tmp_path)


@pytest.mark.parametrize(
    ("data", "affine", "sentence"),
    [
        (np.zeros((3, 3, 2), np.uint8), np.eye(4), r"a: the label map of bob has shape \(3, 3, 2\), its image"),
        (np.zeros((3, 3, 3), np.uint8), np.diag([2.0, 1, 1, 1]), "a: image and label map of bob have different"),
        (np.full((3, 3, 3), 2, np.uint8), np.eye(4), r"a: the label map of bob holds the values \[2\]"),
        (np.full((3, 3, 3), 0.5, np.float32), np.eye(4), "a, label map of bob: .*values between whole numbers"),
    ],
)
def test_a_bad_map_says_whose_it_is(tmp_path: Path, data: np.ndarray, affine: np.ndarray, sentence: str) -> None:
    save(tmp_path / "images" / "a.nii.gz", np.ones((3, 3, 3), np.float32))
    save(tmp_path / "labels" / "ann" / "a.nii.gz", np.zeros((3, 3, 3), np.uint8))
    save(tmp_path / "labels" / "bob" / "a.nii.gz", data, affine)
    (case,) = find_cases(tmp_path)
    with pytest.raises(InputError, match=sentence):
        load_readers(case, {0: 0, 1: 1})


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
