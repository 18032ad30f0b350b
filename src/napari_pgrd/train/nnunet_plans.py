"""What nnU-Net v2's plans and data set say, as a bundle says it; anything a bundle cannot say is refused by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from pydantic import ValidationError

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.netspec import Foreground, NnUNetPreparation, UNetConfig
from napari_pgrd.engine.spec import PrepareSpec

KINDS = {"PlainConvUNet": "plain", "ResidualEncoderUNet": "residual"}
SCHEMES = {
    "ZScoreNormalization": "zscore",
    "CTNormalization": "ct",
    "NoNormalization": "none",
    "RescaleTo01Normalization": "rescale",
    "RGBTo01Normalization": "colour",
}
RESAMPLING, AS_IT_IS = "resample_data_or_seg_to_shape", "no_resampling_data_or_seg_to_shape"
READERS = ("SimpleITKIO", "NibabelIO", "NibabelIOWithReorient")
OWN_WORDS = {  # of a network's arguments, those that are heard here
    "n_stages", "features_per_stage", "conv_op", "kernel_sizes", "strides", "n_conv_per_stage", "n_blocks_per_stage",
    "n_conv_per_stage_decoder", "conv_bias", "norm_op", "norm_op_kwargs", "dropout_op", "dropout_op_kwargs", "nonlin",
    "nonlin_kwargs", "deep_supervision",
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """A configuration of nnU-Net as a bundle sees it.

    Attributes
    ----------
    network : UNetConfig
        Its shape.
    labels, channels : tuple of str
        Names of classes, background first, and of channels.
    transpose : tuple of int
        Which axis of the array as nnU-Net reads it becomes each of its axes.
    reoriented : bool
        Whether its reader brings every file to RAS, or takes the axes as they come.
    """

    network: UNetConfig
    labels: tuple[str, ...]
    channels: tuple[str, ...]
    configuration: Mapping[str, Any]
    transpose: tuple[int, int, int]
    reoriented: bool
    foreground: Mapping[str, Any]

    def prepare(self, orientation: str) -> PrepareSpec:
        """Its preprocessing, for training files whose axes ran in these directions: "RAS"."""
        dims, of = self.network.dims, self.configuration
        # nnU-Net reads arrays as z, y, x. In 2D its first axis holds the slices, which are our last.
        ours = [orientation[2 - axis] for axis in self.transpose]
        ours = [*ours[1:], ours[0]] if dims == 2 else ours
        patch = [int(n) for n in of["patch_size"]]
        strides = self.network.strides_in_all
        rest = [1] * (3 - dims)
        kept = of.get("resampling_fn_data", RESAMPLING) == AS_IT_IS
        spacing = None if kept else tuple([float(x) for x in of["spacing"]] + [1.0] * (3 - dims))
        return PrepareSpec(
            dims=dims,
            orientation="".join(ours),
            spacing=spacing,  # three of each
            patch=tuple(patch + rest),
            stride=max(strides),
            window=tuple(patch) if dims == 3 else None,
            nnunet=self._intensities((*strides, *rest)),
        )

    def _intensities(self, strides: Sequence[int]) -> NnUNetPreparation:
        schemes, foreground = [], []
        inside = self.configuration.get("use_mask_for_norm") or [False] * len(self.channels)
        names = self.configuration["normalization_schemes"]
        require(
            len(names) == len(self.channels) == len(inside),
            InputError,
            f"plans.json scales {len(names)} channels, but dataset.json names {len(self.channels)}. Give the two files "
            "that belong together.",
        )
        for number, (name, masked) in enumerate(zip(names, inside, strict=True)):
            scheme = SCHEMES.get(name) or _refuse("intensities are scaled by", name, SCHEMES)
            schemes.append("zscore-inside" if scheme == "zscore" and masked else scheme)
            foreground.append(_foreground(self.foreground, number) if scheme == "ct" else None)
        return NnUNetPreparation.model_validate(
            {"schemes": schemes, "foreground": foreground, "strides": tuple(strides)}
        )


def read_plan(plans: Mapping[str, Any], dataset: Mapping[str, Any], name: str) -> Plan:
    """The plan of one configuration.

    Raises
    ------
    InputError
        If the plans are not as nnU-Net v2 writes them, or say what no bundle can.
    """
    try:
        return _read(plans, dataset, name)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        what = error.errors()[0]["msg"] if isinstance(error, ValidationError) else f"{type(error).__name__}: {error}"
        raise InputError(
            f"plans.json and dataset.json do not describe {name} as nnU-Net v2 does ({what}). Give the folder of a "
            "finished nnU-Net v2 training."
        ) from error


def _read(plans: Mapping[str, Any], dataset: Mapping[str, Any], name: str) -> Plan:
    of = _configuration(plans, name)
    require(
        not of.get("previous_stage"),
        InputError,
        f"{name} refines the answer of {of.get('previous_stage')}, which a prior cannot wait for. Give a 2d or "
        "3d_fullres training.",
    )
    maker = of.get("preprocessor_name", "DefaultPreprocessor")
    require(
        maker == "DefaultPreprocessor", InputError, _sentence("images are prepared by", maker, ["DefaultPreprocessor"])
    )
    resampling, how = of.get("resampling_fn_data", RESAMPLING), of.get("resampling_fn_data_kwargs", {})
    usual = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    require(
        resampling == AS_IT_IS or (resampling == RESAMPLING and {**usual, **how} == usual),
        InputError,
        _sentence("images are resampled by", f"{resampling} {dict(how)}", [RESAMPLING, AS_IT_IS]),
    )
    reader = dataset.get("overwrite_image_reader_writer") or plans.get("image_reader_writer", READERS[0])
    require(reader in READERS, InputError, _sentence("files are read by", reader, READERS))
    labels = _labels(dataset["labels"])
    names = dataset.get("channel_names") or dataset["modality"]
    channels = tuple(str(names[str(i)]) for i in range(len(names)))
    a, b, c = (int(i) for i in plans["transpose_forward"])
    require(sorted((a, b, c)) == [0, 1, 2], InputError, f"plans.json has the transpose_forward {(a, b, c)}.")
    known = plans.get("foreground_intensity_properties_per_channel") or {}
    network = _network(of, len(channels), len(labels))
    return Plan(network, labels, channels, of, (a, b, c), reader == "NibabelIOWithReorient", known)


def _configuration(plans: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A configuration with everything it inherits."""
    known = plans["configurations"]
    require(name in known, InputError, f"plans.json has no configuration {name!r}; it has {', '.join(known)}.")
    chain = [known[name]]
    while "inherits_from" in chain[-1] and len(chain) <= len(known):
        chain.append(known[chain[-1]["inherits_from"]])
    out: dict[str, Any] = {}
    for content in reversed(chain):
        out |= content
    return out


def _labels(labels: Mapping[str, Any]) -> tuple[str, ...]:
    """Names in the order of the network's classes."""
    regions = sorted(name for name, value in labels.items() if isinstance(value, (list, tuple)))
    require(
        not regions,
        InputError,
        f"{', '.join(regions[:3])}: this nnU-Net was trained on regions, which overlap; a prior answers with classes, "
        "of which every voxel has one. Give a training on plain labels.",
    )
    by_value = {int(value): str(name) for name, value in labels.items() if name != "ignore"}
    require(
        sorted(by_value) == list(range(len(by_value))) and 2 <= len(by_value) <= 256,
        InputError,
        f"dataset.json has the label values {sorted(by_value)}; they must be 0, 1, 2 and so on, up to 255.",
    )
    return tuple(by_value[value] for value in sorted(by_value))


def _network(of: Mapping[str, Any], channels: int, classes: int) -> UNetConfig:
    name, given = _architecture(of)
    kind = KINDS.get(name) or _refuse("the network is", name, KINDS)
    dims = len(of["patch_size"])
    unknown = sorted(key for key, value in given.items() if key not in OWN_WORDS and value is not None)
    require(not unknown, InputError, _sentence("the network has", ", ".join(unknown), sorted(OWN_WORDS)))
    for key, word in (("conv_op", f"Conv{dims}d"), ("norm_op", f"InstanceNorm{dims}d"), ("nonlin", "LeakyReLU")):
        what = str(given.get(key)).rsplit(".", 1)[-1]
        require(what == word, InputError, _sentence(f"the network's {key} is", what, [word]))
    require(
        given.get("dropout_op") is None,
        InputError,
        _sentence("the network's dropout_op is", str(given.get("dropout_op")), ["none"]),
    )
    n = int(given["n_stages"])
    each = {
        "kernels": given["kernel_sizes"],
        "strides": given["strides"],
        "filters": given["features_per_stage"],
        "encoder": given["n_conv_per_stage" if kind == "plain" else "n_blocks_per_stage"],
        "decoder": given["n_conv_per_stage_decoder"],
    }
    stages = {key: _for_each(value, n - (key == "decoder")) for key, value in each.items()}
    norm, slope = given.get("norm_op_kwargs") or {}, given.get("nonlin_kwargs") or {}
    return UNetConfig.model_validate(
        {
            "kind": kind,
            "dims": dims,
            "channels": channels,
            "classes": classes,
            **stages,
            "kernels": [_for_each(size, dims) for size in stages["kernels"]],
            "strides": [_for_each(size, dims) for size in stages["strides"]],
            "bias": bool(given.get("conv_bias", False)),
            "eps": float(norm.get("eps", 1e-5)),
            "affine": bool(norm.get("affine", False)),
            "slope": float(slope.get("negative_slope", 0.01)),
        }
    )


def _architecture(of: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The network's class and its arguments; plans of before version 2.4 say them in other words."""
    if "architecture" in of:
        made = of["architecture"]
        return str(made["network_class_name"]).rsplit(".", 1)[-1], made["arch_kwargs"]
    name, dims, n = of["UNet_class_name"], len(of["patch_size"]), len(of["n_conv_per_stage_encoder"])
    first, most = int(of["UNet_base_num_features"]), int(of["unet_max_num_features"])
    convolutions = "n_conv_per_stage" if name == "PlainConvUNet" else "n_blocks_per_stage"
    return str(name), {
        "n_stages": n,
        "features_per_stage": [min(first * 2**i, most) for i in range(n)],
        "conv_op": f"Conv{dims}d",
        "kernel_sizes": of["conv_kernel_sizes"],
        "strides": of["pool_op_kernel_sizes"],
        convolutions: of["n_conv_per_stage_encoder"],
        "n_conv_per_stage_decoder": of["n_conv_per_stage_decoder"],
        "conv_bias": True,
        "norm_op": f"InstanceNorm{dims}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": "LeakyReLU",
    }


def _for_each(value: Any, n: int) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value] * n


def _foreground(known: Mapping[str, Any], number: int) -> Foreground:
    row = known[str(number)]
    names = {"low": "percentile_00_5", "high": "percentile_99_5", "mean": "mean", "std": "std"}
    return Foreground(**{ours: float(row[theirs]) for ours, theirs in names.items()})


def _sentence(what: str, given: str, allowed: Sequence[str] | Mapping[str, str]) -> str:
    return (
        f"In this nnU-Net {what} {given}, which is not known here; known: {', '.join(allowed)}. It cannot be imported."
    )


def _refuse(what: str, given: str, allowed: Sequence[str] | Mapping[str, str]) -> NoReturn:
    raise InputError(_sentence(what, given, allowed))
