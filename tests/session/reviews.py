"""A small review with everything in it, and what must be equal after reading it back."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_pgrd.engine.locks import Locks
from napari_pgrd.engine.prediction import Prediction
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.volume import Volume
from napari_pgrd.session.correction import Correction
from napari_pgrd.session.review import ImageMark, Review

SHAPE = (6, 5, 4)
BOX = ((1, 5), (0, 5), (1, 4))
GRID = (4, 5, 3)
VIEW = {"plane": "sagittal", "slice": 3, "zoom": 4.25, "heat": "entropy", "sample": 2, "place": "2 posterior"}


def make_volume(seed: int = 0) -> Volume:
    """Noise on an oblique grid, named as no file may be named."""
    affine = np.array([[-0.8, 0.1, 0, 7.123456789], [0.1, 1.1, 0, -3], [0, 0, 2.5, 0.1], [0, 0, 0, 1]])
    data = np.random.default_rng(seed).normal(size=(1, *SHAPE)).astype(np.float32)
    return Volume(data, affine, name="DOE_JANE")


def make_prediction(samples: int = 3, seed: int = 0) -> Prediction:
    """Random arrays of the right types, under a key such as ``sampling_key`` makes."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet((1, 1, 1), GRID).astype(np.float32).transpose(3, 0, 1, 2).copy()
    masks = tuple(rng.integers(0, 3, GRID).astype(np.uint8) for _ in range(samples))
    votes = np.stack([sum((m == k).astype(np.uint16) for m in masks) for k in range(3)])
    affine = make_volume().affine.tobytes()
    key = ("bundle's digest", "image's", SHAPE, affine, 8, 0, "dpmpp2m", 0.1, BOX, None)
    return Prediction(p, votes, masks, p[::-1].copy(), p * samples, rng.random(GRID, np.float32), key)


def make_review(folder: Path, edits: int = 3) -> Review:
    """With locks, a box, two corrections and a little of everything else."""
    rng = np.random.default_rng(1)
    corrections = []
    for i in range(2):
        mask = rng.integers(0, 3, GRID).astype(np.uint8)
        folder.mkdir(exist_ok=True)
        name = ("Correction", "Correction [1]")[i]
        corrections.append(Correction.begin(folder / f"edits-{i}.log", mask, f"sample {i + 1}", name))
        for _ in range(edits):
            mask[tuple(rng.integers(0, GRID))] += 1
            corrections[-1].observe(mask, new=True)
    locks = Locks(rng.random(GRID) < 0.3, rng.integers(0, 3, GRID), rng.random(GRID) < 0.5, make_prediction(seed=2))
    return Review(
        ImageMark.of(make_volume()),
        "hippocampus-mri",
        "a" * 64,
        Request(3, 8, 7, "ddim", 0.1, "cpu", BOX, 2, locks, "guidance"),
        make_prediction(),
        tuple(corrections),
        places={"1": "accepted", "2": "deferred"},
        seen={"sagittal": [1, 2, 5], "axial": []},
        phases={"review": 12.5, "correct": 90.25},
        notes="second look needed \u2013 left",
        initials="AB",
        view=VIEW,
    )


def assert_same(a: Review, b: Review) -> None:
    """Every attribute, the arrays voxel by voxel and by type."""
    assert_same_prediction(a.prediction, b.prediction)
    assert replace(a.request, locks=None) == replace(b.request, locks=None)
    assert a.request.locks == b.request.locks
    if a.request.locks is not None:
        assert_same_prediction(a.request.locks.earlier, b.request.locks.earlier)
    assert len(a.corrections) == len(b.corrections)
    for c, d in zip(a.corrections, b.corrections, strict=True):
        assert c.name == d.name
        np.testing.assert_array_equal(c.mask, d.mask)
        assert c.log.describe() == d.log.describe()
        np.testing.assert_array_equal(c.log.start(), d.log.start())
    for name in ("image", "bundle", "bundle_digest", "places", "seen", "phases", "notes", "initials", "view"):
        assert getattr(a, name) == getattr(b, name), name


def assert_same_prediction(a: Prediction | None, b: Prediction | None) -> None:
    """Arrays, their types, and a key that compares equal."""
    assert (a is None) == (b is None)
    if a is None or b is None:
        return
    assert a.key == b.key
    assert hash(a.key) == hash(b.key)
    for f in fields(Prediction):
        x: Any = getattr(a, f.name)
        y: Any = getattr(b, f.name)
        if f.name != "key":
            np.testing.assert_array_equal(x, y)
            assert np.asarray(x).dtype == np.asarray(y).dtype
    assert type(a.masks) is type(b.masks)
