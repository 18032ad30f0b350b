"""The other commands: evaluate, bundle, demo, review, help."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from matplotlib.image import imread

from napari_pgrd.cli.pictures import picture
from napari_pgrd.cli.terminal import parse_box, shown
from napari_pgrd.engine.aggregate import Aggregate
from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.volume import Volume
from tests.cli.conftest import Pgrd, write
from tests.tiny import blob_volume, make_tiny_bundle

QUICK = ("--steps", 1, "--samples", 2, "--device", "cpu")


def test_help_needs_neither_torch_nor_napari() -> None:
    code = (
        "import sys; from napari_pgrd.cli import app; import typer.main\n"
        "typer.main.get_command(app)(['--help'], standalone_mode=False)\n"
        "print(sorted({'torch', 'monai', 'napari', 'nibabel'} & set(sys.modules)), file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr.strip() == "[]"
    assert all(name in run.stdout for name in ("predict", "evaluate", "train", "bundle", "demo", "review"))


def test_evaluate_takes_lists_of_cases(pgrd: Pgrd, tiny: Path, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("blob_002\nblob_000\n", encoding="utf-8")
    (tmp_path / "names.json").write_text('["blob_002", "blob_000"]', encoding="utf-8")
    folders = ("--images", dataset / "imagesTr", "--labels", dataset / "labelsTr")
    for name in ("names.txt", "names.json"):
        out = tmp_path / f"{name}.report.json"
        result = pgrd("evaluate", "--bundle", tiny, *folders, "--cases", tmp_path / name, *QUICK, "--out", out)
        assert result.code == 0, result.err
        report = json.loads(out.read_text(encoding="utf-8"))
        assert [row["case"] for row in report["methods"]["prior"]["per_case"]] == ["blob_002", "blob_000"]
        assert "prior_scaled" in result.out


def test_evaluate_refuses_what_it_cannot_measure(pgrd: Pgrd, tiny: Path, dataset: Path, tmp_path: Path) -> None:
    def refused(*words: object) -> str:
        result = pgrd("evaluate", "--bundle", tiny, *words, *QUICK)
        assert result.code == 2 and result.err.count("\n") == 1, result.err
        return result.err

    images, labels = dataset / "imagesTr", dataset / "labelsTr"
    out = ("--out", tmp_path / "report.json")
    assert "There is no folder nowhere" in refused("--images", tmp_path / "nowhere", "--labels", labels, *out)
    (tmp_path / "empty").mkdir()
    assert "lack an image or a label: blob_000" in refused("--images", images, "--labels", tmp_path / "empty", *out)
    (tmp_path / "cases.json").write_text('["nobody"]', encoding="utf-8")
    folders = ("--images", images, "--labels", labels)
    assert "not in the data: nobody" in refused(*folders, "--cases", tmp_path / "cases.json", *out)
    assert "is a folder" in refused(*folders, "--out", tmp_path / "empty")
    (tmp_path / "report.json").write_text("earlier", encoding="utf-8")
    write(tmp_path / "labels" / "a.nii.gz", np.full((20, 24, 18), 8, np.uint8))
    write(tmp_path / "images" / "a.nii.gz", blob_volume()[0].data[0])
    assert "a: the label map holds the values [8]" in refused(
        "--images", tmp_path / "images", "--labels", tmp_path / "labels", *out
    )
    assert (tmp_path / "report.json").read_text(encoding="utf-8") == "earlier"


def test_bundle_show_and_check(pgrd: Pgrd, tiny: Path) -> None:
    shown_text = pgrd("bundle", "show", tiny).out
    assert "Tiny bundle for tests" in shown_text and "label 2 posterior #FFE14D" in shown_text
    assert Bundle.load(tiny).digest in pgrd("bundle", "check", tiny).out
    result = pgrd("bundle", "check", "nowhere")
    assert result.code == 2 and "There is no bundle 'nowhere'" in result.err
    result = pgrd("bundle", "card", "--bundle", tiny, "--evaluation", tiny / "bundle.json")
    assert result.code == 2 and "not one that 'pgrd evaluate' wrote" in result.err


def test_bundle_list_names_what_is_embedded(pgrd: Pgrd) -> None:
    result = pgrd("bundle", "list")
    assert result.code == 0
    assert "hippocampus-mri" in result.out


def test_review_without_a_display_is_a_sentence(pgrd: Pgrd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    result = pgrd("review")
    assert result.code == 2 and "no display" in result.err
    result = pgrd("review", "missing.nii.gz")
    assert result.code == 2 and "There is no file missing.nii.gz" in result.err


def test_demo_without_a_display_leaves_pictures_and_files(
    pgrd: Pgrd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    result = pgrd("demo", "--out", tmp_path / "demo", "--steps", 1, "--samples", 2)
    assert result.code == 0, result.err
    assert str(tmp_path / "demo" / "uncertainty.png") in result.out
    assert nib.load(tmp_path / "demo" / "samples.nii.gz").shape[-1] == 2
    pixels = imread(tmp_path / "demo" / "uncertainty.png")
    assert pixels[..., :3].std() > 0.05  # not an empty page


def test_the_picture_shows_the_slice_with_most_votes(tiny: Path, tmp_path: Path) -> None:
    """Half of the samples hold a block on one axial slice: its outline appears on the left, in the label's colour."""
    import torch

    bundle = Bundle.load(tiny)
    volume, _ = blob_volume()
    y = torch.zeros((3, *volume.shape))
    y[0] = 1
    other = y.clone()
    other[:, 5:15, 6:18, 9] = torch.tensor([0.0, 1, 0])[:, None, None]
    aggregate = Aggregate(y.numpy(), tau=0.1)
    for sample in (y, other):
        aggregate.add(sample)
    path = tmp_path / "picture.png"
    picture(aggregate.snapshot(), volume, bundle.spec, path)
    rgb = imread(path)[..., :3]
    cyan = np.abs(rgb - np.array([0x19, 0xE0, 0xFF]) / 255).max(-1) < 0.12
    assert cyan[:, : rgb.shape[1] // 2].sum() > 100
    assert not cyan[:, rgb.shape[1] // 2 :].any()


@pytest.mark.parametrize("axes", ["RAS", "LPS", "SAL"])
def test_both_panels_have_the_patients_right_on_the_left(tiny: Path, tmp_path: Path, axes: str) -> None:
    """A volume that grows brighter towards the patient's right, stored in any order."""
    ramp = np.broadcast_to(np.arange(20.0, dtype=np.float32)[:, None, None], (20, 24, 18))
    change = nib.orientations.ornt_transform(nib.io_orientation(np.eye(4)), nib.orientations.axcodes2ornt(tuple(axes)))
    stored = nib.Nifti1Image(np.ascontiguousarray(ramp), np.eye(4)).as_reoriented(change)
    volume = Volume(np.asarray(stored.dataobj)[None], stored.affine)
    certain = np.zeros((3, *volume.shape), np.float32)
    certain[0] = 1
    picture(Aggregate(certain, tau=0.1).snapshot(), volume, Bundle.load(tiny).spec, tmp_path / "picture.png")
    row = imread(tmp_path / "picture.png")[273, :, :3].mean(-1)  # through the middle of both panels
    for panel in (row[200:380], row[800:980]):
        assert (np.diff(panel) <= 0.02).all() and panel[0] > panel[-1] + 0.2


def test_slices_of_unknown_orientation_stand_as_they_are_stored(tmp_path: Path) -> None:
    """A stack (column, row, slice) that grows brighter to the right and darker downwards."""
    spec = Bundle.load(make_tiny_bundle(tmp_path / "tiny", scope={"start_plane": "sagittal"})).spec
    column, row = np.meshgrid(np.arange(20.0), np.arange(24.0), indexing="ij")
    stack = np.repeat((column - row)[..., None], 6, -1).astype(np.float32)
    volume = Volume(stack[None], np.eye(4), spacing_known=False)
    certain = np.zeros((3, *volume.shape), np.float32)
    certain[0] = 1
    picture(Aggregate(certain, tau=0.1).snapshot(), volume, spec, tmp_path / "picture.png")
    grey = imread(tmp_path / "picture.png")[..., :3].mean(-1)
    across, down = grey[273, 200:380], grey[180:380, 290]
    assert across[-1] > across[0] + 0.2 and (np.diff(across) >= -0.02).all()
    assert down[0] > down[-1] + 0.2 and (np.diff(down) <= 0.02).all()


def test_boxes_and_paths_as_text() -> None:
    assert parse_box("x1:2,y3:4,z5:6") == parse_box(" 1:2 , 3:4 , 5:6 ") == ((1, 2), (3, 4), (5, 6))
    assert parse_box(None) is None
    with pytest.raises(InputError, match="x0:x1,y0:y1,z0:z1"):
        parse_box("1:2,3:4")
    assert shown(Path("a/b/c")) == "a/b/c"
    assert shown(Path(os.path.abspath("a/b/c"))) == "b/c"
