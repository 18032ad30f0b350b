"""An image the bundle was not made for is met with a sentence and, where it helps, a box."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_pgrd.engine.scope import ScopeError, check_scope, middle_sentence, suggest_box
from napari_pgrd.engine.spec import BundleSpec, DenoiserConfig, PriorConfig, Scope
from napari_pgrd.engine.volume import Reorder, Volume
from tests.engine.test_volume import CODES, affine_of
from tests.tiny import LABELS

SMALL, LARGE, BOX = (30.0, 40.0, 30.0), (60.0, 76.0, 60.0), (40.0, 56.0, 40.0)


def _spec(channels: int = 1, prepare: dict[str, Any] | None = None, **scope: Any) -> BundleSpec:
    fields = {"field_of_view_mm": (SMALL, LARGE), "box_mm": BOX, "intensity": "mri", **scope}
    return BundleSpec.model_validate(
        {
            "schema_version": 1,
            "name": "heads",
            "title": "Heads",
            "modality": "T1 MRI",
            "channels": [f"T{i + 1}" for i in range(channels)],
            "labels": LABELS,
            "prepare": prepare or {},
            "scope": Scope(sentence="This bundle reads a crop around the hippocampus.", **fields).model_dump(),
            "prior": PriorConfig(channels=channels).model_dump(),
            "denoiser": DenoiserConfig(channels=channels).model_dump(),
            "weights": {"prior.safetensors": "", "denoiser.safetensors": ""},
        }
    )


def _volume(shape: tuple[int, ...] = (40, 56, 40), affine: Any = None, channels: int = 1, **fields: Any) -> Volume:
    data = np.random.default_rng(0).normal(100, 20, (channels, *shape)).astype(np.float32)
    return Volume(data, np.eye(4) if affine is None else affine, **fields)


def _refusal(volume: Volume, spec: BundleSpec) -> ScopeError:
    with pytest.raises(ScopeError) as refused:
        check_scope(volume, spec)
    return refused.value


def test_a_crop_of_the_right_kind_passes() -> None:
    check_scope(_volume(), _spec())


def test_ct_numbers_are_refused_by_an_mri_bundle() -> None:
    volume = _volume()
    volume.data[0, :3] = -1000
    assert "Values down to -1000 look like CT numbers" in str(_refusal(volume, _spec()))
    check_scope(volume, _spec(intensity="ct"))
    check_scope(volume, _spec(intensity="any"))


def test_small_negative_values_of_a_resampled_mri_are_no_ct() -> None:
    volume = _volume()
    volume.data[0, 0] = -15
    check_scope(volume, _spec())


def _ct_head() -> Volume:
    """Air, fat under the skin, bone, and brain in the middle, in HU."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in (100, 110, 90)], indexing="ij")
    radius = np.sqrt(sum(a**2 for a in axes))
    data = np.select([radius < 0.6, radius < 0.7, radius < 0.85], [35.0, 900.0, -90.0], -1000.0)
    return Volume((data + np.random.default_rng(0).normal(0, 4, data.shape))[None].astype(np.float32), np.eye(4))


def test_a_box_inside_a_ct_head_is_ct_all_the_same() -> None:
    head = _ct_head()
    inside = ((30, 70), (27, 83), (25, 65))
    assert head.crop(inside).data.min() > -200
    with pytest.raises(ScopeError, match="Values down to -10.. look like CT numbers"):
        check_scope(head, _spec(), inside)
    check_scope(head, _spec(intensity="ct"), inside)
    brain = ((35, 65), (35, 75), (30, 60))
    assert head.crop(brain).data.min() > 0
    check_scope(head, _spec(intensity="ct"), brain)


def test_a_crop_of_ct_without_air_is_told_by_its_fat() -> None:
    head = _ct_head()
    crop = head.crop(((0, 40), (27, 83), (25, 65)))
    soft = Volume(np.clip(crop.data, -150, 300), crop.affine)
    assert "Values down to -150 look like CT numbers" in str(_refusal(soft, _spec()))


def test_resampled_or_standardised_mri_is_no_ct() -> None:
    rng = np.random.default_rng(0)
    standard = Volume(rng.normal(0, 1, (1, 40, 56, 40)).astype(np.float32), np.eye(4))
    check_scope(standard, _spec())
    ringing = rng.uniform(400, 2500, (1, 40, 56, 40)).astype(np.float32)
    ringing[0, :8] = rng.normal(0, 40, (8, 56, 40))
    assert (ringing < -20).mean() > 0.03
    check_scope(Volume(ringing, np.eye(4)), _spec())


def test_the_range_is_that_of_finite_voxels() -> None:
    volume = _volume()
    volume.data[0, 0, 0, :3] = np.nan, np.inf, -7
    assert volume.finite_range == (-7, float(volume.data[np.isfinite(volume.data)].max()))
    volume = _volume((4, 4, 4))
    volume.data[...] = np.nan
    assert volume.finite_range == (0, 0)


def test_an_mri_is_refused_by_a_ct_bundle() -> None:
    assert "no CT numbers" in str(_refusal(_volume(), _spec(intensity="ct")))


@pytest.mark.parametrize(("have", "want"), [(1, 4), (2, 1)])
def test_the_number_of_channels_is_named(have: int, want: int) -> None:
    sentence = str(_refusal(_volume(channels=have), _spec(channels=want)))
    assert f"needs {want} channel" in sentence
    assert f"has {have}" in sentence
    assert "T1" in sentence


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_voxels_that_are_not_finite_are_refused(value: float) -> None:
    volume = _volume()
    volume.data[0, 3, 3, 3] = value
    assert "NaN or infinite" in str(_refusal(volume, _spec()))


def test_a_constant_image_is_refused() -> None:
    assert "constant" in str(_refusal(Volume(np.full((1, 40, 56, 40), 7.0), np.eye(4)), _spec()))


def test_an_unknown_spacing_is_refused_unless_the_bundle_needs_none() -> None:
    volume = _volume(spacing_known=False)
    assert "states no voxel size" in str(_refusal(volume, _spec()))
    check_scope(volume, _spec(field_of_view_mm=None))


def test_too_small_an_image_is_refused_with_what_is_needed() -> None:
    refused = _refusal(_volume((40, 56, 20)), _spec())
    assert "only 40 x 56 x 20 mm; at least 30 x 40 x 30 mm" in str(refused)
    assert refused.box is None


@pytest.mark.parametrize("code", CODES[::5])
def test_sizes_are_compared_along_the_prepared_axes(code: str) -> None:
    """58 x 75 x 42 mm fits only if each size meets its own axis."""
    straight = _volume((58, 75, 42))
    turn = Reorder.between(straight.affine, code)
    check_scope(Volume(turn.apply(straight.data), turn.affine(straight.affine, straight.shape)), _spec())


def test_a_whole_head_is_offered_a_box() -> None:
    head = _volume((180, 220, 180))
    refused = _refusal(head, _spec())
    assert "This image is 180 x 220 x 180 mm" in str(refused)
    assert "40 x 56 x 40 mm box" in str(refused)
    assert refused.box == ((70, 110), (82, 138), (70, 110))
    check_scope(head, _spec(), refused.box)
    check_scope(head.crop(refused.box), _spec())


def test_a_box_too_large_is_refused_as_the_image_was() -> None:
    with pytest.raises(ScopeError, match="100 x 56 x 40"):
        check_scope(_volume((180, 220, 180)), _spec(), ((0, 100), (0, 56), (0, 40)))


def test_only_the_box_has_to_be_finite() -> None:
    head = _volume((80, 90, 80))
    head.data[0, 0, 0, 0] = np.nan
    check_scope(head, _spec(), ((10, 50), (10, 66), (10, 50)))


@given(
    code=st.sampled_from(CODES),
    spacing=st.tuples(*[st.floats(0.3, 5.0)] * 3),
    extent=st.tuples(st.floats(61, 250), st.floats(77, 250), st.floats(61, 250)),
    tilt=st.floats(-0.4, 0.4),
)
@settings(max_examples=150, deadline=None)
def test_the_box_offered_on_any_head_passes(
    code: str, spacing: tuple[float, float, float], extent: tuple[float, float, float], tilt: float
) -> None:
    affine = affine_of(code, spacing, tilt)
    order = Reorder.between(affine, "RAS")
    shape = [0, 0, 0]
    for mm, axis in zip(extent, order.axes, strict=True):
        shape[axis] = int(np.ceil(mm / spacing[axis]))
    head = Volume(np.broadcast_to(np.float32(0), (1, *shape)), affine)
    box = suggest_box(head, _spec())
    assert box is not None
    part = head.crop(box)
    for axis, small, large in zip(order.axes, SMALL, LARGE, strict=True):
        lo, hi = box[axis]
        assert abs((lo + hi) - shape[axis]) <= 1, "the box is in the middle"
        assert small <= part.extent_mm[axis] <= large


def test_without_a_box_of_its_own_the_bundle_asks_for_a_crop() -> None:
    refused = _refusal(_volume((180, 220, 180)), _spec(box_mm=None))
    assert refused.box is None
    assert "Crop the image first" in str(refused)


def _grey(**scope: Any) -> BundleSpec:
    """A bundle of slices in grey values, of which no spacing is known."""
    sizes = {"field_of_view_voxels": ((30, 30, 1), (60, 60, 20)), "box_voxels": (40, 40, 20)}
    fields = {"field_of_view_mm": None, "box_mm": None, "intensity": "ct", **sizes, **scope}
    return _spec(prepare={"spacing": None, "normalisation": "unit"}, **fields)


def _stack(low: float = 0, high: float = 255, shape: tuple[int, int, int] = (40, 50, 6)) -> Volume:
    data = np.linspace(low, high, int(np.prod(shape)), dtype=np.float32).reshape(1, *shape)
    return Volume(data, np.eye(4), spacing_known=False)


def test_grey_values_as_they_are_pass() -> None:
    for volume in (_stack(), _stack(3, 180), _stack(-0.4, 255.3), _stack(shape=(40, 50, 1))):
        check_scope(volume, _grey())


@pytest.mark.parametrize(
    ("low", "high", "sentence"),
    [
        (-1024, 1871, "Values from -1024 to 1871 look like CT numbers .* Stretch each slice to 0 to 255 first, as the"),
        (0, 4095, "go from 0 to 4095, but heads reads grey values from 0 to 255"),
        (-100, 255, "go from -100 to 255"),
        (0, 1, "go from 0 to 1"),
    ],
)
def test_other_values_are_met_with_what_to_do(low: float, high: float, sentence: str) -> None:
    with pytest.raises(ScopeError, match=sentence):
        check_scope(_stack(low, high), _grey())


def test_without_a_spacing_sizes_are_in_voxels() -> None:
    refused = _refusal(_stack(shape=(512, 400, 30)), _grey())
    assert "This image is 512 x 400 x 30 voxels. Place a 40 x 40 x 20 voxel box on it." in str(refused)
    assert refused.box == ((236, 276), (180, 220), (5, 25))
    check_scope(_stack(shape=(512, 400, 30)), _grey(), refused.box)
    assert "only 20 x 50 x 6 voxels; at least 30 x 30 x 1 voxels" in str(_refusal(_stack(shape=(20, 50, 6)), _grey()))
    sized = Volume(_stack().data, np.diag([0.1, 0.1, 5, 1]))
    check_scope(sized, _grey())  # a spacing that is known changes nothing for a bundle that asks for none


def test_an_image_larger_than_what_networks_are_shown_is_met_with_a_sentence() -> None:
    prepare = {"spacing": None, "patch": (32, 32, 8), "stride": 8, "middle_only": True}
    spec, volume = _spec(prepare=prepare), _volume((40, 32, 5))
    assert "looks at the middle 32 x 32 x 8 voxels;" in middle_sentence(volume, spec)
    assert middle_sentence(volume, spec, ((0, 32), (0, 32), (0, 5))) == ""
    assert middle_sentence(_volume((30, 32, 5)), spec) == "", "all of it is shown, padded"
    assert middle_sentence(volume, _spec(prepare={**prepare, "middle_only": False})) == ""
