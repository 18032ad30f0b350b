"""The sample volumes, found in a package and in a checkout, and fit to be shown."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from npe2 import PluginManifest

from napari_pgrd.engine.errors import InputError
from napari_pgrd.io.nifti import read_volume
from napari_pgrd.io.samples import sample_cases, sample_folder

TOP = Path(__file__).resolve().parents[2]
ACKNOWLEDGEMENT = (
    "The authors acknowledge the National Cancer Institute and the Foundation for the National Institutes of Health, "
    "and their critical role in the creation of the free publicly available LIDC/IDRI Database used in this study."
)


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


def test_every_case_is_an_image_and_masks_on_one_grid() -> None:
    cases = sample_cases()
    assert len(cases) == len({c.title for c in cases}) == 5
    for case in cases:
        image, labels = nib.load(case.image), [nib.load(path) for path in case.labels]
        assert np.isfinite(image.get_fdata()).all()
        for label in labels:
            assert image.shape == label.shape
            np.testing.assert_array_equal(image.affine, label.affine)
        values = set().union(*(np.unique(np.asarray(label.dataobj)) for label in labels))
        assert (len(labels), values) == ((1, {0, 1, 2}) if case.contrast == "T1" else (4, {0, 1}))


def test_nodules_are_as_they_were_handed_out() -> None:
    """Grey values 0..255 as they are, no voxel size, and radiologists who part."""
    nodules = [case for case in sample_cases() if case.contrast == "CT"]
    for case in nodules:
        volume = read_volume(case.image)
        assert not volume.spacing_known and np.array_equal(volume.affine, np.eye(4))
        assert volume.shape[:2] == (128, 128)
        assert (volume.data.min(), volume.data.max()) == (0, 255)
    empty = [[not np.asarray(nib.load(path).dataobj).any() for path in case.labels] for case in nodules]
    assert [sum(e) for e in empty] == [0, 1, 2]


def test_no_case_was_trained_on() -> None:
    for split in ("hippocampus", "lidc"):
        blocks = json.loads((TOP / f"benchmarks/splits/{split}.json").read_text(encoding="utf-8"))
        mine = {c.name for c in sample_cases() if (c.contrast == "CT") == (split == "lidc")}
        assert mine and mine <= set(blocks["validation"])


def test_the_licence_lies_beside_the_copies() -> None:
    addresses = {"CC-BY-SA-4.0": "by-sa/4.0", "CC-BY-3.0": "by/3.0"}
    for case in sample_cases():
        folder = case.image.parents[1]
        text = (folder / "LICENSE").read_text(encoding="utf-8")
        assert case.licence.rsplit("-", 1)[0] in text
        assert f"https://creativecommons.org/licenses/{addresses[case.licence]}/" in text
        if case.contrast == "CT":
            words = " ".join((folder / "README.md").read_text(encoding="utf-8").split())
            assert ACKNOWLEDGEMENT in words and ACKNOWLEDGEMENT in " ".join(text.split())


def test_the_menu_offers_the_cases_in_their_order() -> None:
    offered = PluginManifest.from_file(TOP / "napari.yaml").contributions.sample_data
    assert [s.display_name for s in offered or ()] == [c.title for c in sample_cases()]
