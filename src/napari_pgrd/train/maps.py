"""Training beside a prior of another kind: a network of nnU-Net's, or maps of probabilities without a network."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.spec import PrepareSpec, PriorConfig
from napari_pgrd.engine.volume import times
from napari_pgrd.io.cases import CaseFiles
from napari_pgrd.train.config import DenoiserTraining, PriorTraining
from napari_pgrd.train.data import TrainCase


def described(config: DenoiserTraining, cases: Sequence[CaseFiles]) -> PriorTraining:
    """What a prior would say of itself, where maps of probabilities stand in for it."""
    require(
        config.labels is not None and config.prior_temperature == 1 and bool(cases),
        InputError,
        "Where maps of probabilities stand in for a prior, the configuration or dataset.json names the labels, and "
        "prior_temperature stays 1: maps are taken as they are.",
    )
    assert config.labels is not None
    prepare = config.prepare or PrepareSpec()
    shape = {"dims": prepare.dims, "channels": len(cases[0].images), "classes": len(config.labels)}
    return PriorTraining(prepare=prepare, labels=config.labels, network=PriorConfig(**shape))


def check_size(config: DenoiserTraining, first: PriorTraining) -> None:
    """A sentence if what the prior is shown cannot be halved as often as the denoiser halves it."""
    halvings, prepare = 2 ** (len(config.network.widths) - 1), first.prepare
    strides = prepare.strides
    sizes = zip(prepare.patch, strides, range(prepare.dims), strict=False)
    fits = prepare.nnunet is None or all(p % halvings == 0 and s % halvings == 0 for p, s, _ in sizes)
    require(
        fits,
        InputError,
        f"The denoiser halves its image {len(config.network.widths) - 1} times, but the prior's patch is "
        f"{times(prepare.patch[: prepare.dims])} voxels, in steps of {times(strides[: prepare.dims])}. Give fewer "
        "widths (and as many entries of attention) under [network].",
    )


def digest_of(cases: Sequence[TrainCase]) -> str:
    """Hash of the maps that cases were given."""
    state = hashlib.blake2b(digest_size=16)
    for case in cases:
        assert case.pi is not None
        state.update(case.pi.numpy().tobytes())
    return state.hexdigest()
