"""The table of methods: for each its networks, what they are stored in, and how samples are drawn from them.

The window reads it to know what a bundle can do, so it loads torch only inside the functions that build something. How
a network is trained stands in :mod:`napari_pgrd.train.methods` under the name that a row gives here as ``training``;
nothing else in the package asks for a method by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_pgrd.engine.entries import Diffusion, Dropout, Entry, Heads, Latent, Segmenter
from napari_pgrd.engine.locks import LockMethod

if TYPE_CHECKING:
    from torch import Tensor, nn

    from napari_pgrd.engine.request import Request
    from napari_pgrd.engine.sampler import Sampler

PRIOR = "prior.safetensors"
ALONE = "thresholded"  # what a bundle of a prior alone does: of all that it can, this shows most
FIRST = "pgrd"  # the method that a bundle describes by fields of its own, and does where it says nothing else


class Map(NamedTuple):
    """How a sample's estimates become its probabilities: see :mod:`napari_pgrd.engine.aggregate`.

    ``tau`` is None where the last estimate is a probability already; ``mean_weight`` is the weight of the first one.
    """

    tau: float | None
    mean_weight: float = 0.0


@dataclass(frozen=True)
class Kit:
    """What a sampler is made of, all of it on one device.

    Attributes
    ----------
    entry : Entry
        What the bundle says of the method.
    request : Request
        Resolved.
    prior : callable
        ``image -> pi``.
    nets : sequence of callables
        The method's own networks, in the order of its files, run in the device's precision; float32 comes back.
    """

    entry: Any
    request: Request
    prior: Callable[[Tensor], Tensor]
    nets: Sequence[Callable[..., Tensor]]


@dataclass(frozen=True)
class Method:
    """One row.

    Attributes
    ----------
    title : str
        As tables and the window call it.
    about : str
        One line for whoever chooses.
    sampler : callable
        ``Kit -> Sampler``.
    map : callable
        ``Entry -> Map``.
    files : tuple of str
        Its own weight files, beside the prior's, which every bundle holds.
    entry : type, optional
        What a bundle must say of it under ``methods``; None if it needs nothing beyond the bundle's own fields.
    build : callable, optional
        ``Entry -> nn.Module``: the network of each of its files.
    training : str
        Key of the training that makes its weights.
    settings : mapping
        What of that training's configuration makes this method.
    stepwise : bool
        Whether a sample is refined in as many steps as one likes.
    lock_methods : tuple of str
        How its samples can be made to agree with locks; empty if they cannot.
    most : int, optional
        More samples than this would say nothing new.
    asks_again : bool
        Whether it asks the prior's network of more than the image itself.
    """

    title: str
    about: str
    sampler: Callable[[Kit], Sampler]
    map: Callable[[Any], Map]
    files: tuple[str, ...] = ()
    entry: type[Entry] | None = None
    build: Callable[[Any], nn.Module] | None = None
    training: str = "prior"
    settings: Mapping[str, Any] = field(default_factory=dict)
    stepwise: bool = False
    lock_methods: tuple[LockMethod, ...] = ()
    most: int | None = None
    asks_again: bool = False


def _probability(entry: Any) -> Map:
    return Map(None)


def _prior_alone(entry: Any) -> Map:
    return Map(None, 1.0)


def _fitted(entry: Diffusion) -> Map:
    return Map(entry.tau, entry.mean_weight)


def _once(kit: Kit) -> Sampler:
    from napari_pgrd.engine.samplers.prior import DeterministicSampler

    return DeterministicSampler()


def _cut(kit: Kit) -> Sampler:
    from napari_pgrd.engine.samplers.prior import ThresholdSampler

    return ThresholdSampler()


def _augmented(kit: Kit) -> Sampler:
    from napari_pgrd.engine.samplers.augmentation import AugmentationSampler

    return AugmentationSampler(kit.prior, flat=kit.entry.network.dims == 2)


def _dropout(kit: Kit) -> Sampler:
    from napari_pgrd.engine.samplers.segmenters import DropoutSampler

    return DropoutSampler(kit.nets[0], kit.entry.temperature)


def _ensemble(kit: Kit) -> Sampler:
    from napari_pgrd.engine.samplers.segmenters import EnsembleSampler

    return EnsembleSampler(kit.nets, kit.entry.temperature)


def _heads(kit: Kit) -> Sampler:
    from napari_pgrd.engine.samplers.segmenters import HeadsSampler

    return HeadsSampler(kit.nets[0], kit.entry.temperature)


def _latent(kit: Kit) -> Sampler:
    from napari_pgrd.engine.samplers.segmenters import LatentSampler

    network = kit.entry.network
    return LatentSampler(kit.nets[0], network.latent, network.dims == 2, kit.entry.temperature)


def _residual(kit: Kit) -> Sampler:
    return _stepwise(kit, kit.nets[0])


def _noise(kit: Kit) -> Sampler:
    from napari_pgrd.engine.samplers.noise import from_noise

    return _stepwise(kit, from_noise(kit.nets[0]))


def _stepwise(kit: Kit, denoise: Callable[..., Tensor]) -> Sampler:
    from napari_pgrd.engine.samplers.residual import ResidualSampler

    r, schedule = kit.request, kit.entry.schedule
    options: dict[str, Any] = {"solver": r.solver, "eta": r.eta, "lock_method": r.lock_method or "replacement"}
    return ResidualSampler(
        denoise,
        schedule.rhobar,
        r.steps or 1,
        scale=schedule.residual_scale,
        prior_guided=schedule.prior_guided,
        zeta=kit.entry.sampling.zeta,
        **options,
    )


def _denoiser(entry: Diffusion) -> nn.Module:
    from napari_pgrd.engine.nets import build_denoiser

    return build_denoiser(entry.network.model_copy(update={"supervised": ()}))


def _plain_net(entry: Segmenter) -> nn.Module:
    from napari_pgrd.engine.nets import build_prior

    return build_prior(entry.network.model_copy(update={"deep_supervision": 0}))


def _dropout_net(entry: Dropout) -> nn.Module:
    from napari_pgrd.engine.segmenters import DropoutNet

    return DropoutNet(entry.network.model_copy(update={"deep_supervision": 0}))


def _heads_net(entry: Heads) -> nn.Module:
    from napari_pgrd.engine.segmenters import MultiHeadNet

    return MultiHeadNet(entry.network.model_copy(update={"deep_supervision": 0}))


def _latent_net(entry: Latent) -> nn.Module:
    from napari_pgrd.engine.segmenters import LatentNet

    return LatentNet(entry.network)


MEMBERS = 5
METHODS: Mapping[str, Method] = MappingProxyType(
    {
        FIRST: Method(
            "PGRD",
            "Prior-guided residual diffusion",
            _residual,
            _fitted,
            ("denoiser.safetensors",),
            build=_denoiser,
            training="denoiser",
            stepwise=True,
            lock_methods=("replacement", "guidance", "hint"),
        ),
        "deterministic": Method(
            "deterministic U-Net",
            "The prior alone: one segmentation",
            _once,
            _probability,
            most=1,
        ),
        "thresholded": Method(
            "prior, thresholded",
            "The prior's probability, cut at evenly spread levels",
            _cut,
            _prior_alone,
        ),
        "tta": Method(
            "test-time augmentation",
            "The prior's answers to the image as it might have been taken",
            _augmented,
            _probability,
            asks_again=True,
        ),
        "dropout": Method(
            "MC dropout",
            "A network whose deep units are silenced at random",
            _dropout,
            _probability,
            ("dropout.safetensors",),
            Dropout,
            _dropout_net,
            training="dropout",
        ),
        "ensemble": Method(
            "deep ensemble",
            f"{MEMBERS} networks, trained from different beginnings",
            _ensemble,
            _probability,
            tuple(f"ensemble-{k}.safetensors" for k in range(1, MEMBERS + 1)),
            Segmenter,
            _plain_net,
            training="ensemble",
        ),
        "multi-head": Method(
            "multi-head",
            "One network with several answers, of which the best learns",
            _heads,
            _probability,
            ("multi-head.safetensors",),
            Heads,
            _heads_net,
            training="multi-head",
        ),
        "probunet": Method(
            "Probabilistic U-Net",
            "A network steered by a draw from a Gaussian latent",
            _latent,
            _probability,
            ("probunet.safetensors",),
            Latent,
            _latent_net,
            training="probunet",
        ),
        "ddpm": Method(
            "DDPM",
            "Diffusion of the mask itself, without a prior",
            _noise,
            _fitted,
            ("ddpm.safetensors",),
            Diffusion,
            _denoiser,
            training="ddpm",
            settings={
                "prior_guided": False,
                "dds_weight": 0.0,
                "hint_share": 0.0,
                "residual_std": 1.0,  # the network sees the state as it is
                "residual_scale": 2.0,  # a mask in {0, 2}, which is one in {-1, 1} beside its middle
                "shift": 1.0,
            },
            stepwise=True,
            lock_methods=("replacement", "guidance"),
        ),
        "no-pgr": Method(
            "w/o PGR",
            "PGRD without its prior",
            _residual,
            _fitted,
            ("no-pgr.safetensors",),
            Diffusion,
            _denoiser,
            training="denoiser",
            settings={"prior_guided": False, "residual_std": None},  # measured: the residual is the mask itself
            stepwise=True,
            lock_methods=("replacement", "guidance", "hint"),
        ),
        "no-dds": Method(
            "w/o DDS",
            "PGRD without deep diffusion supervision",
            _residual,
            _fitted,
            ("no-dds.safetensors",),
            Diffusion,
            _denoiser,
            training="denoiser",
            settings={"dds_weight": 0.0},
            stepwise=True,
            lock_methods=("replacement", "guidance", "hint"),
        ),
    }
)


def files_of(denoiser: bool, further: Iterable[str], prior: bool = True) -> tuple[str, ...]:
    """The weight files of a bundle with or without a denoiser and a prior, and with these further methods."""
    own = [METHODS[FIRST].files] if denoiser else []
    own += [METHODS[name].files for name in further if name in METHODS]
    return (*([PRIOR] if prior else []), *(file for files in own for file in files))
