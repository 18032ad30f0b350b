"""Pictures of places: what is where, how large, in which colour, against the geometry of the file alone."""

from __future__ import annotations

import io

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from napari_pgrd.engine.prediction import Prediction
from napari_pgrd.engine.spec import BundleSpec, read_spec
from napari_pgrd.engine.volume import Volume
from napari_pgrd.session.display import PLANE_TEXT
from napari_pgrd.session.pictures import FIELD, LETTERS, PIXELS, Scene, before_after, overview
from tests.tiny import make_tiny_bundle

SHAPE = (24, 20, 16)  # R, A, S
SPACING = (1.0, 2.0, 1.5)
CENTRE = (11, 9, 7)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> BundleSpec:
    return read_spec(make_tiny_bundle(tmp_path_factory.mktemp("bundle"), scope={"start_plane": "sagittal"}))


def predicted(*masks: np.ndarray) -> Prediction:
    """A prediction whose maps are the mean of its masks."""
    votes = np.stack([sum((m == k).astype(np.uint16) for m in masks) for k in range(3)]).astype(np.uint16)
    p = (votes / len(masks)).astype(np.float32)
    return Prediction(p, votes, tuple(masks), p, p, np.zeros(p.shape[1:], np.float32))


def block(*slices: slice, value: int = 1) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[slices] = value
    return mask


def volume(ras: np.ndarray, codes: str = "RAS") -> tuple[Volume, nib.Nifti1Image]:
    image = nib.Nifti1Image(ras.astype(np.float32), np.diag([*SPACING, 1.0]))
    turned = reoriented(image, codes)
    return Volume(np.asarray(turned.dataobj)[None], turned.affine), turned


def reoriented(image: nib.Nifti1Image, codes: str) -> nib.Nifti1Image:
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(tuple(codes))
    )
    return image.as_reoriented(turn)


def pixels(png: bytes) -> np.ndarray:
    """``(rows, columns, 3)`` of 0 to 255."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


NOTHING = np.zeros(SHAPE, np.uint8)


def test_a_place_is_in_the_middle_and_to_scale(spec: BundleSpec) -> None:
    bright = block(slice(None), slice(7, 12), slice(6, 9)) * 1000.0  # 10 x 4.5 mm around the centre
    scene = Scene(predicted(NOTHING, NOTHING), volume(bright)[0], spec)
    picture = pixels(before_after(scene, CENTRE)[0])
    assert picture.shape == (PIXELS, PIXELS, 3)
    rows, columns = np.nonzero(picture[40:-60, 40:-40].sum(-1) > 3 * 127)  # without letters and bar
    per_mm = PIXELS / FIELD
    assert np.ptp(columns) == pytest.approx(10 * per_mm, abs=0.3 * per_mm)
    assert np.ptp(rows) == pytest.approx(4.5 * per_mm, abs=0.3 * per_mm)
    assert (rows.mean() + 40, columns.mean() + 40) == pytest.approx((PIXELS / 2, PIXELS / 2), abs=2)


@pytest.mark.parametrize(
    ("plane", "bright", "quarter"),
    [  # where a block far along two directions of the patient must lie: (lower half, right half) of the picture
        ("sagittal", (slice(None), slice(10, None), slice(8, None)), (0, 0)),  # anterior superior
        ("coronal", (slice(12, None), slice(None), slice(0, 7)), (1, 0)),  # right inferior
        ("axial", (slice(0, 11), slice(0, 9), slice(None)), (1, 1)),  # left posterior
    ],
)
def test_planes_lie_as_on_the_screen(spec: BundleSpec, plane: str, bright: tuple[slice, ...], quarter: object) -> None:
    turned = spec.model_copy(update={"scope": spec.scope.model_copy(update={"start_plane": plane})})
    scene = Scene(predicted(NOTHING), volume(block(*bright) * 1000.0)[0], turned)
    picture = pixels(before_after(scene, CENTRE)[0]).sum(-1)
    inner = {
        (i, j): picture[80 + 220 * i : 140 + 220 * i, 80 + 220 * j : 140 + 220 * j] for i in (0, 1) for j in (0, 1)
    }
    assert max(inner, key=lambda key: inner[key].mean()) == quarter


@pytest.mark.parametrize("codes", ["LPI", "SAR", "PIL", "IRP", "ASL"])
def test_the_same_head_in_another_axis_order_gives_the_same_pictures(spec: BundleSpec, codes: str) -> None:
    rng = np.random.default_rng(0)
    ras = rng.normal(size=SHAPE)
    masks = [block(slice(8, 14), slice(6, 12 + i), slice(5, 10)) for i in range(3)]
    corrected = block(slice(8, 14), slice(4, 12), slice(5, 10))
    pictures = []
    for c in ("RAS", codes):
        turned, image = volume(ras, c)
        parts = [
            np.asarray(reoriented(nib.Nifti1Image(m, np.diag([*SPACING, 1.0])), c).dataobj) for m in (*masks, corrected)
        ]
        scene = Scene(predicted(*parts[:3]), turned, spec, correction=parts[3])
        world = np.diag([*SPACING, 1.0]) @ [*CENTRE, 1]
        x, y, z, _ = np.linalg.inv(image.affine) @ world
        pictures.append((*before_after(scene, (x, y, z)), overview(scene, [(x, y, z)])))
    assert pictures[0] == pictures[1]


def test_a_box_lies_where_it_was_cut(spec: BundleSpec) -> None:
    mask = block(slice(8, 14), slice(6, 12), slice(5, 10))
    whole = volume(np.random.default_rng(0).normal(size=SHAPE))[0]
    box = ((6, 16), (5, 15), (4, 12))
    part = mask[6:16, 5:15, 4:12]
    pictures = [before_after(Scene(predicted(m), whole, spec, b), CENTRE) for m, b in ((mask, None), (part, box))]
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize("plane", LETTERS)
def test_letters_are_those_of_the_screen(plane: str) -> None:
    left, right, top, bottom = LETTERS[plane]
    assert PLANE_TEXT[plane].endswith(f"{left} left, {top} up")
    assert all({a, b} in ({"A", "P"}, {"R", "L"}, {"S", "I"}) for a, b in ((left, right), (top, bottom)))


def count(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((np.abs(picture - colour).max(-1) < 24).sum())


def test_colours_say_what_was_there_and_what_is_now(spec: BundleSpec) -> None:
    cyan, yellow, white = (0x19, 0xE0, 0xFF), (0xFF, 0xE1, 0x4D), (255, 255, 255)
    inside = (slice(8, 14), slice(7, 12), slice(5, 10))
    dark, _ = volume(np.zeros(SHAPE))
    found = predicted(block(*inside), block(*inside))
    same = Scene(found, dark, spec, correction=block(*inside))
    other = Scene(found, dark, spec, correction=block(slice(8, 14), slice(7, 10), slice(5, 9), value=2))
    (before, after), (before_too, changed) = (map(pixels, before_after(s, CENTRE)) for s in (same, other))
    assert np.array_equal(before, before_too)
    letters = count(before, white)
    assert count(before, cyan) > 500 and count(before, yellow) == 0
    assert count(after, cyan) > 500 and count(after, white) == pytest.approx(letters, abs=20)
    assert count(changed, yellow) > 500 and count(changed, white) > letters + 200  # the consensus, in white


def test_thin_lines_stand_where_samples_part(spec: BundleSpec) -> None:
    cyan = (0x19, 0xE0, 0xFF)
    dark, _ = volume(np.zeros(SHAPE))
    agreed = [block(slice(8, 14), slice(7, 12), slice(5, 10))] * 8
    parted = agreed[:5] + [block(slice(8, 14), slice(7, 13), slice(5, 10))] * 3  # 3 of 8 reach further
    pictures = [pixels(before_after(Scene(predicted(*m), dark, spec), CENTRE)[0]) for m in (agreed, parted)]
    beyond = slice(0, 95)  # further anterior than where eight samples that agree have any line
    drawn = [int((p[60:-60, beyond, 2] - p[60:-60, beyond, 0] > 60).sum()) for p in pictures]
    assert drawn[0] == 0 and drawn[1] > 100
    assert count(pictures[0], cyan) > 0


def test_a_single_slice_is_shown_flat(spec: BundleSpec) -> None:
    flat = Volume(np.random.default_rng(0).normal(size=(1, 30, 30, 1)).astype(np.float32), np.eye(4), False)
    mask = np.zeros((30, 30, 1), np.uint8)
    mask[10:20, 10:20] = 1
    scene = Scene(predicted(mask), flat, spec)
    assert (scene.plane, scene.slices) == ("axial", 1)
    index, png = overview(scene)
    assert index == 0 and pixels(png).std() > 10


def test_nothing_found_still_gives_a_picture_of_the_anatomy(spec: BundleSpec) -> None:
    scene = Scene(predicted(NOTHING), volume(np.random.default_rng(0).normal(size=SHAPE))[0], spec)
    assert pixels(overview(scene)[1]).std() > 10
