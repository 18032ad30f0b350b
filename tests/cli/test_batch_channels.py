"""``pgrd batch`` on images of several channels: which file becomes which channel is what ``pgrd predict`` says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.conftest import Pgrd, write
from tests.clusters import near
from tests.tiny import blob_volume, make_tiny_bundle

__all__ = ["near"]

QUICK = ("--steps", 2, "--samples", 2, "--device", "cpu")
NAMES = ("segmentation.nii.gz", "samples.nii.gz", "probability.nii.gz", "volumes.csv")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of two channels that bear names."""
    return make_tiny_bundle(tmp_path_factory.mktemp("bundles") / "two", channels=2, named=("T1", "T2"))


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """One image of two channels: named after them, by nnU-Net's numbers, and by nothing."""
    data = blob_volume(channels=2)[0].data
    data[1] = 160 - data[1]
    for i, named in enumerate(("p1_t1w", "p1_t2w")):
        for path in (f"named/{named}", f"numbered/p1_{i:04d}", f"plain/{'ab'[i]}"):
            write(tmp_path / f"{path}.nii.gz", data[i])
    return tmp_path


def batch(pgrd: Pgrd, what: Path, bundle: Path, near: Any, out: Path, *more: object) -> Any:
    return pgrd("batch", what, "--bundle", bundle, *QUICK, "--scheduler", near.scheduler.address, "--out", out, *more)


def results(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in NAMES}


@pytest.fixture
def expected(pgrd: Pgrd, scans: Path, two: Path) -> dict[str, bytes]:
    """What ``pgrd predict`` writes."""
    files = (scans / "named" / "p1_t2w.nii.gz", scans / "named" / "p1_t1w.nii.gz")
    said = pgrd("predict", *files, "--bundle", two, *QUICK, "--out", scans / "alone")
    assert said.code == 0 and "Channels: T1 is p1_t1w, T2 is p1_t2w." in said.err, said.err
    return results(scans / "alone")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("case,image_0,image_1\np1,named/p1_t2w.nii.gz,named/p1_t1w.nii.gz\n", "T1 is p1_t1w, T2 is p1_t2w"),
        ("case,image_1,image_0\np1,plain/b.nii.gz,plain/a.nii.gz\n", "T1 is a, T2 is b"),
        ("case,image_t2,image_t1\np1,plain/b.nii.gz,plain/a.nii.gz\n", "T1 is a, T2 is b"),
        ("case;Image T2;image\np1;plain/b.nii.gz;plain/a.nii.gz\n", "T1 is a, T2 is b"),
        ("image_one,image_two,case\nnamed/p1_t2w.nii.gz,named/p1_t1w.nii.gz,p1\n", "T1 is p1_t1w, T2 is p1_t2w"),
    ],
)
def test_columns_in_any_order_become_the_channels_that_predict_makes_of_them(
    pgrd: Pgrd, scans: Path, two: Path, near: Any, expected: dict[str, bytes], table: str, said: str
) -> None:
    (scans / "cases.csv").write_text(table, encoding="utf-8")
    result = batch(pgrd, scans / "cases.csv", two, near, scans / "out")
    assert result.code == 0, result.err
    assert f"p1: Channels: {said}." in result.err
    assert ("(T1, T2) is named by image_one, image_two alone" in result.err) == ("image_one" in table)
    assert results(scans / "out" / "p1") == expected


def test_a_folder_of_numbered_files_is_what_predict_makes_of_them(
    pgrd: Pgrd, scans: Path, two: Path, near: Any, expected: dict[str, bytes]
) -> None:
    result = batch(pgrd, scans / "numbered", two, near, scans / "out")
    assert result.code == 0 and "p1: Channels: T1 is p1_0000, T2 is p1_0001." in result.err, result.err
    assert results(scans / "out" / "p1") == expected


def test_a_column_counts_for_more_than_a_file_name(pgrd: Pgrd, scans: Path, two: Path, near: Any) -> None:
    """And a list that says so later is another case, though no file has changed."""
    table = "case,image_{}\np1,named/p1_t2w.nii.gz,named/p1_t1w.nii.gz\n"
    (scans / "cases.csv").write_text(table.format("t2,image_t1"), encoding="utf-8")
    assert "T1 is p1_t1w, T2 is p1_t2w" in batch(pgrd, scans / "cases.csv", two, near, scans / "out").err
    before = results(scans / "out" / "p1")
    (scans / "cases.csv").write_text(table.format("t1,image_t2"), encoding="utf-8")
    result = batch(pgrd, scans / "cases.csv", two, near, scans / "out")
    assert "T1 is p1_t2w, T2 is p1_t1w" in result.err and "earlier" not in result.out
    assert results(scans / "out" / "p1") != before


def test_channels_on_other_grids_are_brought_onto_the_first(pgrd: Pgrd, scans: Path, two: Path, near: Any) -> None:
    coarse = blob_volume((10, 12, 9))[0].data[0]
    write(scans / "numbered" / "p1_0001.nii.gz", coarse, np.diag([2.0, 2, 2, 1]))
    failed = batch(pgrd, scans / "numbered", two, near, scans / "out")
    assert failed.code == 1 and "T2 has another grid" in failed.err and "--resample" in failed.err
    files = sorted((scans / "numbered").iterdir())
    assert pgrd("predict", *files, "--bundle", two, *QUICK, "--resample", "--out", scans / "alone").code == 0
    assert batch(pgrd, scans / "numbered", two, near, scans / "out", "--resample").code == 0
    assert results(scans / "out" / "p1") == results(scans / "alone")
    assert batch(pgrd, scans / "numbered", two, near, scans / "out").code == 1  # not taken for what was asked


def test_a_result_of_another_version_is_not_kept(
    pgrd: Pgrd, scans: Path, two: Path, near: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert batch(pgrd, scans / "numbered", two, near, scans / "out").code == 0
    assert "1 of them earlier" in batch(pgrd, scans / "numbered", two, near, scans / "out").out
    monkeypatch.setattr("napari_pgrd.cluster.results.__version__", "0.0.9")
    result = batch(pgrd, scans / "numbered", two, near, scans / "out")
    assert result.code == 0 and "earlier" not in result.out
