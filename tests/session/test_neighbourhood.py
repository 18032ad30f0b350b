"""What is near, against distances computed one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_pgrd.engine.errors import InputError
from napari_pgrd.session.neighbourhood import near

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6))
SPACINGS = st.sampled_from([(1.0, 1.0, 1.0), (0.5, 2.0, 1.1), (3.0, 0.7, 0.7)])


@settings(max_examples=60, deadline=None)
@given(MASKS, st.floats(0, 8), SPACINGS)
def test_as_counted_voxel_by_voxel(mask, reach, spacing):
    where = np.argwhere(np.ones(mask.shape)) * spacing
    locked = np.argwhere(mask) * spacing
    distances = np.linalg.norm(where[:, None] - locked[None], axis=-1)
    wanted = (distances <= reach + 1e-9).any(1).reshape(mask.shape)
    np.testing.assert_array_equal(near(mask, reach, spacing), wanted)


def test_a_reach_of_whole_voxels_reaches_them():
    mask = np.zeros((1, 1, 21), bool)
    mask[0, 0, 10] = True
    for spacing in (0.1, 0.3, 0.7, 1.0):
        assert np.flatnonzero(near(mask, 3 * spacing, (1, 1, spacing))).tolist() == [*range(7, 14)]


@pytest.mark.parametrize("reach", [-1.0, np.nan, np.inf])
def test_what_is_no_length_is_refused(reach):
    with pytest.raises(InputError, match="is no length"):
        near(np.ones((2, 2, 2), bool), reach)
