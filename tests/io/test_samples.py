"""The sample volumes, found in a package and in a checkout, and fit to be shown."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from npe2 import PluginManifest

from napari_pgrd.engine.errors import InputError
from napari_pgrd.io.samples import sample_cases, sample_folder

TOP = Path(__file__).resolve().parents[2]


def test_the_package_is_searched_before_the_checkout(tmp_path: Path) -> None:
    package = tmp_path / "src" / "napari_pgrd"
    package.mkdir(parents=True)
    (tmp_path / "sample_data").mkdir()
    assert sample_folder(package) == tmp_path / "sample_data"
    (package / "sample_data").mkdir()
    assert sample_folder(package) == package / "sample_data"


def test_an_installed_package_does_not_search_its_neighbours(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "napari_pgrd"
    package.mkdir(parents=True)
    (tmp_path / "sample_data").mkdir()
    with pytest.raises(InputError, match="no sample data"):
        sample_folder(package)


def test_every_case_is_a_pair_on_one_grid_with_both_labels() -> None:
    cases = sample_cases()
    assert len(cases) == len({c.title for c in cases}) == 2
    for case in cases:
        image, label = nib.load(case.image), nib.load(case.label)
        assert image.shape == label.shape
        np.testing.assert_array_equal(image.affine, label.affine)
        assert np.isfinite(image.get_fdata()).all()
        assert set(np.unique(np.asarray(label.dataobj))) == {0, 1, 2}


def test_no_case_was_trained_on() -> None:
    blocks = json.loads((TOP / "benchmarks/splits/hippocampus.json").read_text(encoding="utf-8"))
    assert {c.name for c in sample_cases()} <= set(blocks["validation"])


def test_the_licence_lies_beside_the_copies() -> None:
    for case in sample_cases():
        text = (case.image.parents[1] / "LICENSE").read_text(encoding="utf-8")
        assert case.licence == "CC-BY-SA-4.0"
        assert case.licence.rsplit("-", 1)[0] in text
        assert "https://creativecommons.org/licenses/by-sa/4.0/" in text


def test_the_menu_offers_the_cases_in_their_order() -> None:
    offered = PluginManifest.from_file(TOP / "napari.yaml").contributions.sample_data
    assert [s.display_name for s in offered or ()] == [c.title for c in sample_cases()]
