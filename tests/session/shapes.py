"""Small label maps and what must hold for every edit of one."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

SPACINGS = st.sampled_from([None, (1.0, 1.0, 1.0), (3.0, 0.7, 1.1), (0.5, 2.0, 0.5)])
SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6)


@st.composite
def maps(draw, labels=3):
    """Label maps that hold label 1 somewhere; labels up to ``labels - 1`` beside it."""
    array = draw(hnp.arrays(np.uint8, SHAPES, elements=st.integers(0, labels - 1)))
    array.flat[draw(st.integers(0, array.size - 1))] = 1
    return array


def centres(shape, spacing):
    """Distance in mm of every voxel from the middle of an array."""
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing, strict=True)]
    return np.sqrt(sum(a**2 for a in np.meshgrid(*axes, indexing="ij")))


def assert_is_an_edit(labels, label, change, preserve=True):
    """Indices ascend, each voxel changes, to the label or from it to the background; no neighbour is eaten."""
    assert change.indices.dtype == np.int64
    assert change.values.dtype == labels.dtype
    assert (np.diff(change.indices) > 0).all()
    before = labels.reshape(-1)[change.indices]
    gained, lost = change.values == label, change.values == 0
    assert (gained | lost).all()
    assert (before[lost] == label).all()
    assert (before[gained] != label).all()
    if preserve:
        assert (before[gained] == 0).all()


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))
