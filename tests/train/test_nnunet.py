"""A trained nnU-Net becomes a prior, with its own answer; what no bundle can say is refused by name."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.predict import predict
from napari_pgrd.engine.preprocess import prepare
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.volume import Volume
from napari_pgrd.train.nnunet import colour_of, import_nnunet
from tests.nnunet_folder import arguments, make_nnunet, network


class Evil:
    """What opening a pickle could do."""

    def __reduce__(self) -> Any:
        return print, ("this must not run",)


@pytest.mark.parametrize("kind", ["plain", "residual"])
@pytest.mark.parametrize("dims", [2, 3])
def test_the_prior_answers_as_the_network_that_was_trained(tmp_path: Path, dims: int, kind: str) -> None:
    folder = make_nnunet(tmp_path / "nn", dims, kind, channels=2)
    bundle = import_nnunet(folder, tmp_path / "bundle")
    assert Bundle.load(tmp_path / "bundle").digest == bundle.digest
    assert [label.name for label in bundle.spec.labels] == ["background", "anterior", "posterior"]
    assert bundle.spec.channels == ("contrast 0", "contrast 1")
    data = np.random.default_rng(0).normal(40, 9, (2, 14, 12, 10)).astype(np.float32)
    volume = Volume(data, np.diag([-1.0, -1, 1, 1]))  # stored as the training images are
    *_, last = predict(volume, bundle, Request(samples=1, device="cpu"))
    assert last.prediction is not None
    # By hand: arrays as z, y, x, each channel to mean 0 and deviation 1, zeros around up to the patch.
    x = np.stack([(c - c.mean()) / c.std() for c in data]).transpose(0, 3, 2, 1)
    sizes = x.shape[1:]
    wide = [(0, 0)] * (4 - dims) + [((16 - n) // 2, 16 - n - (16 - n) // 2) for n in sizes[-dims:]]
    fed = torch.from_numpy(np.pad(x, wide)).float()
    with torch.no_grad():
        net = network(dims, kind, 2)
        logits = net(fed.movedim(1, 0)).movedim(0, 1) if dims == 2 else net(fed[None])[0]
    cut = tuple(slice(lo, lo + n) for (lo, _), n in zip(wide[1:], sizes, strict=True))
    expected = torch.softmax(logits, 0).numpy()[(slice(None), *cut)].transpose(0, 3, 2, 1)
    assert np.abs(last.prediction.prior - expected).max() < 1e-5


def test_other_axes_of_a_file_change_nothing(tmp_path: Path) -> None:
    bundle = import_nnunet(make_nnunet(tmp_path / "nn", top={"transpose_forward": [2, 0, 1]}), tmp_path / "bundle")
    assert bundle.spec.prepare.orientation == "LSP"  # x first, then z and y of files stored as LPS
    data = np.random.default_rng(1).normal(0, 1, (1, 9, 8, 7)).astype(np.float32)
    seen = []
    for signs in ((-1, -1, 1), (1, 1, 1)):
        flips = tuple(slice(None, None, 1 if s == o else -1) for s, o in zip(signs, (-1, -1, 1), strict=True))
        image, _ = prepare(Volume(data[(slice(None), *flips)], np.diag([*signs, 1.0])), bundle.spec.prepare)
        seen.append(image)
    assert torch.equal(*seen)


def test_intensities_of_ct_are_scaled_by_the_foreground(tmp_path: Path) -> None:
    known = {"mean": 50.0, "std": 20.0, "percentile_00_5": 0.0, "percentile_99_5": 100.0}
    folder = make_nnunet(
        tmp_path / "nn",
        plan={"normalization_schemes": ["CTNormalization"]},
        top={"foreground_intensity_properties_per_channel": {"0": known}},
    )
    spec = import_nnunet(folder, tmp_path / "bundle").spec.prepare
    data = np.array([-1000.0, 50, 90, 3000], np.float32).reshape(1, 4, 1, 1)
    image, restore = prepare(Volume(data, np.diag([-1.0, -1, 1, 1])), spec)
    middle = image[0, 0][
        tuple(slice(lo, lo + n) for (lo, _), n in zip(restore.padding, restore.resampled, strict=True))
    ]
    assert np.allclose(np.ravel(middle), [-2.5, 0, 2, 2.5])


def test_what_is_zero_around_a_head_is_cut_off_and_comes_back_as_background(tmp_path: Path) -> None:
    folder = make_nnunet(tmp_path / "nn", channels=2, plan={"use_mask_for_norm": [True, False]})
    bundle = import_nnunet(folder, tmp_path / "bundle")
    data = np.zeros((2, 20, 18, 16), np.float32)
    data[:, 4:12, 5:15, 3:14] = np.random.default_rng(2).normal(9, 2, (2, 8, 10, 11))
    data[0, 6, 6, 6] = 0  # a hole in one channel is inside
    volume = Volume(data, np.diag([-1.0, -1, 1, 1]))
    image, restore = prepare(volume, bundle.spec.prepare)
    assert restore.original == (11, 10, 8)  # z, y, x
    inside = data[0, 4:12, 5:15, 3:14]
    cut = tuple(slice(lo, lo + n) for (lo, _), n in zip(restore.padding, restore.resampled, strict=True))
    assert np.allclose(image[0, 0][cut].numpy(), (inside.transpose(2, 1, 0) - inside.mean()) / inside.std(), atol=1e-5)
    pi = torch.softmax(torch.zeros(1, 3, *image.shape[2:]), 1)
    back = restore(pi)[0]
    assert back.shape == (3, 20, 18, 16)
    assert torch.equal(back[:, 0, 0, 0], torch.tensor([1.0, 0, 0])) and torch.allclose(
        back[0, 5, 6, 4], torch.tensor(1 / 3)
    )


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"dataset": {"labels": {"background": 0, "whole": [1, 2], "core": 2}}}, "trained on regions"),
        ({"plan": {"normalization_schemes": ["Magic"]}}, "intensities are scaled by Magic"),
        ({"plan": {"preprocessor_name": "Mine"}}, "images are prepared by Mine"),
        ({"plan": {"resampling_fn_data": "resample_torch_fornnunet"}}, "images are resampled by resample_torch"),
        ({"plan": {"previous_stage": "3d_lowres"}}, "refines the answer of 3d_lowres"),
        ({"architecture": {"norm_op": "torch.nn.BatchNorm3d"}}, "norm_op is BatchNorm3d"),
        ({"architecture": {"dropout_op": "torch.nn.Dropout3d"}}, "dropout_op is torch.nn.Dropout3d"),
        ({"architecture": {"squeeze_excitation": True}}, "the network has squeeze_excitation"),
        ({"architecture": {"features_per_stage": [4, 8, 16]}}, "another network than plans.json describes"),
        ({"architecture": {"strides": [[2, 2, 2], [2, 2, 2], [2, 2, 2]]}}, "first stage must have stride 1"),
        ({"dataset": {"channel_names": {"0": "T1", "1": "T2"}}, "plan": {
            "normalization_schemes": ["NoNormalization"] * 2, "use_mask_for_norm": [False] * 2,
        }}, "network has 1 channels, but dataset.json names 2"),
        ({"dataset": {"labels": {"background": 0, "all": 1}}}, "network has 3 classes, but dataset.json names 2"),
        ({"dataset": {"labels": {"background": 0, "all": 7}}}, r"label values \[0, 7\]"),
        ({"top": {"configurations": {}}}, "no configuration '3d_fullres'"),
        ({"top": {"transpose_forward": "x"}}, "do not describe 3d_fullres"),
        ({"top": {"image_reader_writer": "NaturalImage2DIO"}}, "files are read by NaturalImage2DIO"),
        ({"checkpoint": {"logging": Evil()}}, "could run code, so it is refused"),
        ({"checkpoint": {"logging": np.array([Evil()], object)[0:]}}, "could run code, so it is refused"),
        ({"checkpoint": {"network_weights": "none"}}, "no checkpoint that nnU-Net v2 writes"),
        ({"checkpoint": {"init_args": None}}, "does not say which configuration"),
    ],
)  # fmt: skip
def test_what_no_bundle_can_say_is_refused(
    tmp_path: Path, how: dict[str, Any], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_nnunet(tmp_path / "nn", **how)
    with pytest.raises(InputError, match=sentence):
        import_nnunet(folder, tmp_path / "bundle")
    assert "must not run" not in capsys.readouterr().out
    assert not (tmp_path / "bundle" / "bundle.json").exists()


def test_a_checkpoint_that_is_none_is_refused(tmp_path: Path) -> None:
    folder = make_nnunet(tmp_path / "nn")
    path = folder / "fold_0" / "checkpoint_final.pth"
    whole = path.read_bytes()
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.namelist():
            new.writestr(entry, old.read(entry))
    for damage in (b"", whole[: len(whole) // 2], b"no zip at all", packed.read_bytes()):
        path.write_bytes(damage)
        with pytest.raises(InputError, match=r"no checkpoint that nnU-Net v2 writes, or is damaged"):
            import_nnunet(folder, tmp_path / "bundle")
    path.unlink()
    with pytest.raises(InputError, match=r"holds no checkpoint_final\.pth"):
        import_nnunet(folder, tmp_path / "bundle")


def test_how_the_training_images_are_stored_must_be_known(tmp_path: Path) -> None:
    folder = make_nnunet(tmp_path / "nn")
    (folder / "fold_0" / "validation" / "case.nii.gz").unlink()
    with pytest.raises(InputError, match="Say with --orientation"):
        import_nnunet(folder, tmp_path / "bundle")
    with pytest.raises(InputError, match="three letters such as RAS"):
        import_nnunet(folder, tmp_path / "bundle", orientation="RAR")
    bundle = import_nnunet(folder, tmp_path / "bundle", orientation="ras")
    assert bundle.spec.prepare.orientation == "SAR"  # nnU-Net's arrays are z, y, x


def test_plans_of_before_version_2_4_and_an_ignored_label(tmp_path: Path) -> None:
    a = arguments(3)
    old = {
        "UNet_class_name": "PlainConvUNet", "UNet_base_num_features": 4, "unet_max_num_features": 8,
        "n_conv_per_stage_encoder": [1, 2, 1], "n_conv_per_stage_decoder": [2, 1],
        "conv_kernel_sizes": a["kernel_sizes"], "pool_op_kernel_sizes": a["strides"],
    }  # fmt: skip
    labels = {"background": 0, "anterior": 1, "posterior": 2, "ignore": 3}
    folder = make_nnunet(tmp_path / "nn", plan=old, dataset={"labels": labels})
    plans = folder / "plans.json"
    plans.write_text(plans.read_text().replace('"architecture"', '"unheard"'))
    bundle = import_nnunet(folder, tmp_path / "bundle")
    assert bundle.spec.prior is not None and bundle.spec.prior.filters == (4, 8, 8)
    assert len(bundle.spec.labels) == 3


def test_several_folds_must_be_chosen_from(tmp_path: Path) -> None:
    folder = make_nnunet(tmp_path / "nn")
    (folder / "fold_1").mkdir()
    with pytest.raises(InputError, match="holds the folds 0, 1"):
        import_nnunet(folder, tmp_path / "bundle")
    assert import_nnunet(folder, tmp_path / "bundle", fold="0").spec.provenance["imported"]["fold"] == "0"


def test_every_label_has_a_colour_of_its_own() -> None:
    assert len({colour_of(value) for value in range(120)}) == 120
