"""Channels from several images: which is which, and one grid."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.volume import Reorder, Volume
from napari_pgrd.io.channels import join, lay_on, order_channels, same_grid

BRAIN = ("FLAIR", "T1", "T1 post", "T2")


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_names_say_which_image_is_which_channel(order: tuple[int, ...]) -> None:
    names = ["p19_flair", "p19-t1", "p19_T1_Post", "p19 t2"]
    given = [names[i] for i in order]
    assert [given[i] for i in order_channels(given, BRAIN)] == names


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a_t1ce", "a_t1", "a_t2w", "a_t2_flair"], [3, 1, 0, 2]),
        (["one", "two", "three", "four"], [0, 1, 2, 3]),
        (["x_t2", "one", "two", "three"], [1, 2, 3, 0]),
        (["t1_a", "t1_b", "flair", "t2"], [2, 0, 1, 3]),
        (["case_0000", "case_0001", "case_0002", "case_0003"], [0, 1, 2, 3]),
    ],
)
def test_what_no_name_settles_keeps_the_order_given(names: list[str], expected: list[int]) -> None:
    assert order_channels(names, BRAIN) == expected


def field(volume_of: Volume) -> np.ndarray:
    """A linear function of the place in the patient, at every voxel."""
    index = np.indices(volume_of.shape).reshape(3, -1)
    world = volume_of.affine[:3, :3] @ index + volume_of.affine[:3, 3:]
    return (np.array([1.0, 2.0, -1.5]) @ world + 100).reshape(1, *volume_of.shape).astype(np.float32)


def placed(shape: tuple[int, int, int], affine: np.ndarray) -> Volume:
    empty = Volume(np.zeros((1, *shape), np.float32), affine)
    return Volume(field(empty), affine)


def test_resampling_puts_every_place_of_the_patient_where_it_is() -> None:
    turn = np.array([[0.0, -1.1, 0.1, 30], [0.9, 0, 0, -5], [0, 0.05, 2.0, -10], [0, 0, 0, 1]])
    fine, like = placed((40, 44, 30), turn), placed((16, 18, 12), np.diag([1.0, 1.0, 1.5, 1]))
    out = lay_on(fine, like)
    assert same_grid(out, like)
    inside = np.linalg.inv(turn) @ like.affine
    at = (inside[:3, :3] @ np.indices(like.shape).reshape(3, -1) + inside[:3, 3:]).reshape(3, *like.shape)
    reached = np.all([(a >= 1) & (a <= n - 2) for a, n in zip(at, fine.shape, strict=True)], axis=0)
    assert reached.mean() > 0.3
    np.testing.assert_allclose(out.data[0][reached], like.data[0][reached], atol=0.1)
    beyond = np.any([(a < -0.01) | (a > n - 0.99) for a, n in zip(at, fine.shape, strict=True)], axis=0)
    assert (out.data[0][beyond] == fine.data.min()).all()


@pytest.mark.parametrize("code", ["LPI", "SAR"])
def test_another_order_of_the_axes_is_laid_on_exactly(code: str) -> None:
    like = placed((8, 9, 7), np.diag([1.0, 2.0, 3.0, 1]))
    reorder = Reorder.between(like.affine, code)
    turned = Volume(reorder.apply(like.data), reorder.affine(like.affine, like.shape))
    np.testing.assert_allclose(lay_on(turned, like).data, like.data, atol=1e-3)


def test_channels_are_joined_on_the_grid_of_the_first() -> None:
    a, b = placed((8, 8, 8), np.eye(4)), placed((8, 8, 8), np.eye(4))
    whole = join([a, b], ["T1", "T2"])
    assert np.array_equal(whole.data, np.concatenate([a.data, b.data]))
    coarse = placed((5, 5, 5), np.diag([2.0, 2.0, 2.0, 1]))
    with pytest.raises(InputError, match=r"T2 has another grid \(5 x 5 x 5 voxels of 2 x 2 x 2 mm\).*--resample"):
        join([a, coarse], ["T1", "T2"])
    assert join([a, coarse], ["T1", "T2"], resample=True).data.shape == (2, 8, 8, 8)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (Volume(np.ones((1, 4, 4, 4)), np.eye(4), spacing_known=False), "voxel size is not stated"),
        (placed((4, 4, 4), np.array([[1.0, 0, 0, 500], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])), "do not overlap"),
        (Volume(np.ones((2, 8, 8, 8)), np.eye(4)), "holds 2 channels itself"),
    ],
)
def test_what_cannot_be_joined_is_a_sentence(other: Volume, words: str) -> None:
    with pytest.raises(InputError, match=words):
        join([placed((8, 8, 8), np.eye(4)), other], ["T1", "T2"], resample=True)


def test_every_channel_needs_an_image() -> None:
    with pytest.raises(InputError, match="2 channels are needed"):
        join([placed((8, 8, 8), np.eye(4))], ["T1", "T2"])
