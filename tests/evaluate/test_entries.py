"""Entries as they are typed, and lists of cases and slices as they are committed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from napari_pgrd.engine.errors import InputError
from napari_pgrd.evaluate.entries import Entry, parse_entries, parse_entry
from napari_pgrd.evaluate.items import file_name, read_items
from napari_pgrd.io.cases import pair
from tests.cli.conftest import write
from tests.tiny import blob_volume


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("PGRD=hippocampus-mri", Entry("PGRD", "hippocampus-mri")),
        ("w/o PGR = runs/a.b ", Entry("w/o PGR", "runs/a.b")),
        ("A=runs/a:thresholded", Entry("A", "runs/a", "thresholded")),
        ("A=runs/a:ddpm@50", Entry("A", "runs/a", "ddpm", 50)),
        ("A=runs/a@8", Entry("A", "runs/a", None, 8)),
        ("A=runs/a@steps=8,solver=dpmpp2m,eta=0.5", Entry("A", "runs/a", None, 8, "dpmpp2m", 0.5)),
        (r"A=C:\runs\a", Entry("A", r"C:\runs\a")),
        (r"A=C:\runs\a:ddpm", Entry("A", r"C:\runs\a", "ddpm")),
    ],
)
def test_an_entry_as_typed(text: str, entry: Entry) -> None:
    assert parse_entry(text) == entry


def test_a_folder_whose_name_holds_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("run@8", "a:b"):
        try:
            (tmp_path / name).mkdir()
        except OSError:
            pytest.skip("this file system has no such names")
        assert parse_entry(f"A={name}") == Entry("A", name)


@pytest.mark.parametrize("text", ["hippocampus-mri", "=x", "A=", "A", "", "A=:ddpm", "A\nB=x"])
def test_what_is_no_entry_is_a_sentence(text: str) -> None:
    with pytest.raises(InputError, match="NAME=BUNDLE"):
        parse_entry(text)


@pytest.mark.parametrize("asked", ["x", "8,", "samples=4", "eta=much", "steps=8.5"])
def test_options_that_are_not_understood_are_quoted(asked: str) -> None:
    with pytest.raises(InputError, match="after @ write"):
        parse_entry(f"A=runs/a@{asked}")


def test_names_are_each_their_own() -> None:
    with pytest.raises(InputError, match="Two entries are named A"):
        parse_entries(["A=x", "B=y", "A=z"])
    with pytest.raises(InputError, match="named prior, as a row that comes by itself"):
        parse_entries(["A=x", "prior=y"])
    with pytest.raises(InputError, match="nothing to compare"):
        parse_entries([])


def test_what_is_shown_holds_no_path_and_reads_back() -> None:
    assert parse_entry("A=/home/someone/runs/a:ddpm@8,eta=1").shown == "A=a:ddpm@steps=8,eta=1.0"
    for text in ("A=a", "A=a:b", "A=a@8", "A=a:b@solver=ddim,eta=0.5"):
        assert parse_entry(parse_entry(text).shown) == parse_entry(text)


def test_different_names_never_share_a_file() -> None:
    names = ["A", "a b", "a-b", "a/b", "../a", "GED²", "case, slice 3"]
    assert len({file_name(n) for n in names}) == len(names)
    assert file_name("PGRD") == "PGRD" and "/" not in file_name("../a")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        volume, truth = blob_volume((12, 10, 6))
        write(tmp_path / "images" / f"{name}.nii.gz", volume.data[0])
        write(tmp_path / "labels" / f"{name}.nii.gz", truth)
    return tmp_path


def read(data: Path, content: object, block: str = "validation") -> list[str]:
    (data / "list.json").write_text(json.dumps(content), encoding="utf-8")
    return [i.name for i in read_items(data / "list.json", block, pair(data / "images", data / "labels"))]


def test_lists_of_cases_and_slices(data: Path) -> None:
    assert read(data, ["b", "a"]) == ["b", "a"]
    split = {"train": ["a"], "calibration": ["b"], "validation": ["c"]}
    assert read(data, split) == ["c"] and read(data, split, "train") == ["a"]
    slices = ["b, slice 2", "b, slice 0"]
    for content in ([{"case": "b", "slice": 2}, {"case": "b", "slice": 0}], [["b", 2], ["b", 0]]):
        assert read(data, content) == slices
        assert read(data, {"description": "", "validation": content}) == slices
        assert read(data, {"slices": content}) == slices
    text = data / "names.txt"
    text.write_text("c a", encoding="utf-8")
    assert [i.name for i in read_items(text, "validation", pair(data / "images", data / "labels"))] == ["c", "a"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (["a", "nobody"], "not in the data: nobody"),
        ([["a", 1], ["nobody", 2]], "not in the data: nobody"),
        ([["a", -1]], "is no slice"),
        ([["a", 1.5]], "is no slice"),
        ([{"case": "a"}], "is no slice"),
        ([["a", 1], ["a", 1]], "lists a, slice 1 more than once"),
        (["a", "a"], "lists a more than once"),
        ([], "lists no case"),
        ({"other": []}, "has no list 'validation'"),
        (3, "lists no case"),
    ],
)
def test_a_list_that_cannot_be_used_is_a_sentence(data: Path, content: object, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read(data, content)


def test_a_slice_is_the_files_own(data: Path) -> None:
    (data / "list.json").write_text('[["a", 2], ["a", 9]]', encoding="utf-8")
    items = read_items(data / "list.json", "validation", pair(data / "images", data / "labels"))
    volume, truths = items[0].load({0: 0, 1: 1, 2: 2})
    whole, truth = blob_volume((12, 10, 6))
    assert (volume.data[0, :, :, 0] == whole.data[0, :, :, 2]).all() and volume.shape == (12, 10, 1)
    assert (truths == truth[None, :, :, 2:3]).all()
    with pytest.raises(InputError, match="slices 0 to 5, but slice 9"):
        items[1].load({0: 0, 1: 1, 2: 2})
