"""The command line as a user types it: in this process where nothing but the words matter."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pytest

from napari_pgrd.cli import main
from tests.tiny import blob_volume, make_tiny_bundle


class Result(NamedTuple):
    """What the shell sees."""

    code: int
    out: str
    err: str


Pgrd = Callable[..., Result]


@pytest.fixture
def pgrd(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pgrd:
    """Run ``pgrd`` with these words."""

    def run(*words: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["pgrd", *map(str, words)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle's folder."""
    return make_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


def write(path: Path, data: np.ndarray, affine: np.ndarray | None = None) -> Path:
    """A NIfTI file in mm, by nibabel alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(data, np.eye(4) if affine is None else affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A blob image that the tiny bundle takes."""
    return write(tmp_path / "blobs.nii.gz", blob_volume()[0].data[0])


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven cases in nnU-Net's raw layout."""
    root = tmp_path_factory.mktemp("data")
    for seed in range(7):
        volume, truth = blob_volume((16, 18, 14), seed=seed)
        write(root / "imagesTr" / f"blob_{seed:03d}_0000.nii.gz", volume.data[0])
        write(root / "labelsTr" / f"blob_{seed:03d}.nii.gz", truth)
    names = '{"labels": {"background": 0, "anterior": 1, "posterior": 2}}'
    (root / "dataset.json").write_text(names, encoding="utf-8")
    return root
