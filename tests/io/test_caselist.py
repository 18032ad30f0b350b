"""Lists of images: by what a case is known again, and lists that are none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest

from napari_pgrd.engine.errors import InputError
from napari_pgrd.io.caselist import ImageFiles, find_images
from tests.cli.conftest import write
from tests.io.dicom_scans import write_scan

ONE = ("image",)


def test_a_series_listed_by_one_of_its_files_is_known_by_all_of_them(tmp_path: Path) -> None:
    folder = write_scan(tmp_path / "scan").folder
    first, *_, last = sorted(folder.iterdir())
    by_file, by_folder = ImageFiles("a", (first,)), ImageFiles("a", (folder,))
    before = by_file.digest(ONE)
    assert by_folder.digest(ONE) == before
    other = sorted(write_scan(tmp_path / "other").folder.iterdir())
    shutil.copy(other[0], folder / "of another series.dcm")
    (folder / "report.txt").write_text("beside it", encoding="utf-8")
    assert by_file.digest(ONE) == before
    moved = last.rename(last.with_name("aa first by name"))
    assert by_file.digest(ONE) == before
    slice_ = pydicom.dcmread(moved)
    slice_.PixelData = np.full_like(slice_.pixel_array, 7).tobytes()
    slice_.save_as(moved)
    assert by_file.digest(ONE) != before
    moved.unlink()
    assert by_file.digest(ONE) != before


def test_which_file_is_which_channel_is_part_of_a_case(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 1, (2, 4, 4, 4)).astype(np.float32)
    t1, t2 = (write(tmp_path / f"{name}.nii.gz", data) for name, data in zip(("p_t1", "p_t2"), noise, strict=True))
    channels = ("T1", "T2")
    known = ImageFiles("p", (t1, t2)).digest(channels)
    assert ImageFiles("p", (t2, t1)).digest(channels) == known  # their names put them in order
    assert ImageFiles("p", (t1, t2), ("image_t2", "image_t1")).digest(channels) != known
    one, other = t1.rename(tmp_path / "a.nii.gz"), t2.rename(tmp_path / "b.nii.gz")
    assert ImageFiles("p", (one, other)).digest(channels) == known
    assert ImageFiles("p", (other, one)).digest(channels) != known


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("deep.json", "[" * 100_000 + "]" * 100_000),
        ("rather deep.json", "[" * 800 + "]" * 800),
        ("long.json", json.dumps(["x" * 200_000 + ".nii.gz"])),
        ("long.csv", "case,image\na," + "x" * 200_000 + "\n"),
        ("unclosed.csv", 'case,image\na,"x\n' + "b,y.nii.gz\n" * 20_000),
        ("long.txt", "x" * 200_000 + "_0000\n"),
    ],
)
def test_a_list_that_is_none_is_a_sentence(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        find_images(tmp_path / name)
    assert len(str(caught.value)) < 600 and (
        "Give a text file" in str(caught.value) or "Give a name" in str(caught.value)
    )


def test_a_path_that_no_path_can_be_is_left_for_its_case_to_say(tmp_path: Path) -> None:
    (tmp_path / "cases.json").write_text(json.dumps({"a": "x" * 5000, "b": "c\0d_0000"}), encoding="utf-8")
    assert [case.name for case in find_images(tmp_path / "cases.json")] == ["a", "b"]
