"""A folder as nnU-Net v2 leaves it after a training, with a small random network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from napari_pgrd.engine.netspec import UNetConfig
from napari_pgrd.engine.unet import UNet


def arguments(dims: int, kind: str = "plain") -> dict[str, Any]:
    """What plans say of a network of three stages, thick slices first."""
    first, second = ([1, 3, 3], [1, 2, 2]) if dims == 3 else ([3, 5], [2, 1])
    encoder = "n_conv_per_stage" if kind == "plain" else "n_blocks_per_stage"
    return {
        "n_stages": 3,
        "features_per_stage": [4, 8, 8],
        "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
        "kernel_sizes": [first, [3] * dims, [3] * dims],
        "strides": [[1] * dims, second, [2] * dims],
        encoder: [1, 2, 1],
        "n_conv_per_stage_decoder": [2, 1],
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }


def network(dims: int, kind: str = "plain", channels: int = 1, classes: int = 3) -> UNet:
    """The same network, here."""
    a = arguments(dims, kind)
    config = UNetConfig(
        kind=kind, dims=dims, channels=channels, classes=classes, filters=a["features_per_stage"],
        kernels=a["kernel_sizes"], strides=a["strides"], encoder=[1, 2, 1], decoder=[2, 1],
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return UNet(config).eval()


def make_nnunet(
    folder: Path,
    dims: int = 3,
    kind: str = "plain",
    channels: int = 1,
    *,
    plan: Mapping[str, Any] | None = None,
    dataset: Mapping[str, Any] | None = None,
    architecture: Mapping[str, Any] | None = None,
    top: Mapping[str, Any] | None = None,
    checkpoint: Mapping[str, Any] | None = None,
    axes: str = "LPS",
) -> Path:
    """Write plans.json, dataset.json, fold_0/checkpoint_final.pth and one validation case; returns the folder.

    ``plan``, ``dataset``, ``architecture``, ``top`` and ``checkpoint`` are put on top of what nnU-Net says.
    """
    name = "2d" if dims == 2 else "3d_fullres"
    full = {"PlainConvUNet": "plain", "ResidualEncoderUNet": "residual"}
    title = next(key for key, value in full.items() if value == kind)
    configuration = {
        "preprocessor_name": "DefaultPreprocessor",
        "patch_size": [16, 16, 16][-dims:],
        "spacing": [1.0, 1.0, 1.0][-dims:],
        "normalization_schemes": ["ZScoreNormalization"] * channels,
        "use_mask_for_norm": [False] * channels,
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
        "architecture": {
            "network_class_name": f"dynamic_network_architectures.architectures.unet.{title}",
            "arch_kwargs": {**arguments(dims, kind), **(architecture or {})},
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        **(plan or {}),
    }
    plans = {
        "dataset_name": "Dataset901_Blobs",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "configurations": {name: configuration},
        **(top or {}),
    }
    described = {
        "channel_names": {str(i): f"contrast {i}" for i in range(channels)},
        "labels": {"background": 0, "anterior": 1, "posterior": 2},
        "file_ending": ".nii.gz",
        **(dataset or {}),
    }
    fold = folder / "fold_0"
    (fold / "validation").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    (folder / "dataset.json").write_text(json.dumps(described), encoding="utf-8")
    content = {
        "network_weights": network(dims, kind, channels).state_dict(),
        "logging": {"mean_fg_dice": [np.float64(0.5), np.float32(0.25)], "lrs": [0.01]},
        "_best_ema": np.float64(0.5),
        "current_epoch": 2,
        "init_args": {"configuration": name, "fold": 0, "device": torch.device("cpu")},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2)[:dims],
        **(checkpoint or {}),
    }
    torch.save(content, fold / "checkpoint_final.pth")
    signs = [1 if letter in "RAS" else -1 for letter in axes]
    affine = np.diag([*signs, 1.0])
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), affine), fold / "validation" / "case.nii.gz")
    return folder
