"""The noise that belongs to a sample."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch
from scipy.stats import kstest

from napari_pgrd.engine.sampler import noise, sample_rng

CPU = torch.device("cpu")


def test_noise_is_that_of_numpys_seed_sequence() -> None:
    expected = np.random.Generator(np.random.PCG64(np.random.SeedSequence([11, 4]))).standard_normal((2, 3), np.float32)
    assert np.array_equal(noise([sample_rng(11, 4)], (2, 3), CPU)[0].numpy(), expected)


def test_no_two_neighbouring_seeds_share_a_sample() -> None:
    """Adding seed and index would make sample 1 of seed 0 and sample 0 of seed 1 the same."""
    fields = [noise([sample_rng(seed, i)], (64,), CPU) for seed in range(4) for i in range(4)]
    assert not any(torch.equal(a, b) for a, b in combinations(fields, 2))


def test_the_noise_of_a_slice_is_its_own() -> None:
    def drawn(depth: int, times: int = 2) -> np.ndarray:
        rng = sample_rng(3, 1, stack=True)
        return np.stack([noise([rng], (2, 20, 20, depth), CPU)[0].numpy() for _ in range(times)])

    whole = drawn(7)
    assert np.array_equal(drawn(4), whole[..., :4])
    fields = np.moveaxis(whole, -1, 1).reshape(14, -1)  # two fields of seven slices
    off = np.corrcoef(fields)[~np.eye(14, dtype=bool)]
    assert np.abs(off).max() < 5 / np.sqrt(fields.shape[1])
    assert kstest(fields.ravel(), "norm").pvalue > 1e-3


def test_noise_is_standard_normal_and_independent_between_samples() -> None:
    z = noise([sample_rng(0, i) for i in range(4)], (3, 20, 20, 20), CPU)
    assert z.dtype == torch.float32
    assert kstest(z.numpy().ravel(), "norm").pvalue > 1e-3
    off = np.corrcoef(z.flatten(1).numpy())[~np.eye(4, dtype=bool)]
    assert np.abs(off).max() < 5 / np.sqrt(z[0].numel())
