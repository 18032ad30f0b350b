"""Locks from a correction and a mask on disk."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.spec import read_spec
from napari_pgrd.io.locks import read_locks
from napari_pgrd.io.nifti import read_volume
from tests.tiny import make_tiny_bundle

COLOURS = ("#000000", "#19E0FF", "#FFE14D")
VALUES = (0, 7, 40)  # label values that are not class indices
AFFINE = np.array([[0, -1.5, 0, 30], [0, 0, 1.0, -5], [2.0, 0, 0, 2], [0, 0, 0, 1]])


def _write(path: Path, data: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


def test_values_become_class_indices_where_the_mask_is_set(tmp_path: Path) -> None:
    labels = [{"value": v, "name": f"label {v}", "colour": c} for v, c in zip(VALUES, COLOURS, strict=True)]
    spec = read_spec(make_tiny_bundle(tmp_path / "tiny", labels=labels))
    rng = np.random.default_rng(0)
    volume = read_volume(_write(tmp_path / "image.nii.gz", rng.normal(size=(5, 6, 4)).astype(np.float32)))
    truth = rng.integers(0, 3, (5, 6, 4))
    mask = (rng.random((5, 6, 4)) < 0.5) * rng.integers(1, 5, (5, 6, 4))  # any value but 0
    values = np.where(mask > 0, np.array(VALUES)[truth], 3).astype(np.uint8)
    correction = _write(tmp_path / "correction.nii.gz", values)
    locks = read_locks(correction, _write(tmp_path / "locked.nii.gz", mask.astype(np.int16)), volume, spec)
    assert np.array_equal(locks.mask, mask > 0)
    assert np.array_equal(locks.labels[locks.mask], truth[mask > 0])
    moved = _write(tmp_path / "moved.nii.gz", values, AFFINE @ np.diag([1, 1, 1.1, 1]))
    with pytest.raises(InputError, match="moved.nii.gz has another grid"):
        read_locks(moved, tmp_path / "locked.nii.gz", volume, spec)
