"""What a wheel holds, and that it works where nothing else of the project is."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from npe2 import PluginManifest

import napari_pgrd

TOP = Path(__file__).resolve().parents[1]
MAX_BYTES = 10_000_000  # of a file, and of a whole bundle
PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib", ".npy", ".npz")
# Python runs it before anything else of a process, and it speaks when all is done.
WITNESS = """
import atexit, sys
def tell():
    named = [m for n, m in sorted(sys.modules.items()) if n.partition(".")[0] == "napari_pgrd"]
    print(*[m.__file__ for m in named], sep="\\n", file=sys.stderr)
atexit.register(tell)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive and the wheel that was built from it."""
    out = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(TOP)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def unpacked(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, as an installer would lay it out."""
    folder = tmp_path_factory.mktemp("site-packages")
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as pip puts it into a folder, with its command in ``bin``; its dependencies are this environment's."""
    folder = tmp_path_factory.mktemp("installed")
    (wheel,) = built.glob("*.whl")
    options = ("--no-deps", "--no-index", "--no-cache-dir", "--disable-pip-version-check", "--target", str(folder))
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, str(wheel)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def files(folder: Path) -> dict[str, str]:
    """Relative path to SHA-256 of every file that belongs to the project."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_the_package_bundles_and_sample_data_unchanged(unpacked: Path) -> None:
    package = files(unpacked / "napari_pgrd")
    samples = {f"sample_data/{name}": digest for name, digest in files(TOP / "sample_data").items()}
    assert package == files(TOP / "src" / "napari_pgrd") | samples
    assert {"napari.yaml", "py.typed", "sample_data/hippocampus/LICENSE", "sample_data/lung/LICENSE"} <= set(package)


def test_every_bundle_in_the_wheel_has_its_weights(unpacked: Path) -> None:
    bundles = sorted((unpacked / "napari_pgrd" / "bundles").glob("*/bundle.json"))
    assert bundles
    for path in bundles:
        for name, digest in json.loads(path.read_text(encoding="utf-8"))["weights"].items():
            assert hashlib.sha256((path.parent / name).read_bytes()).hexdigest() == digest
        assert sum(each.stat().st_size for each in path.parent.rglob("*")) < MAX_BYTES, path.parent.name


def test_no_file_is_a_pickle_or_too_large(unpacked: Path) -> None:
    for path in unpacked.rglob("*"):
        assert path.suffix not in PICKLES, path.name
        if path.is_file():
            assert path.stat().st_size <= MAX_BYTES, path.name
            # A pickle of protocol 2 or later begins with 0x80, and torch.save writes a zip of one.
            assert not path.read_bytes().startswith((b"\x80\x02", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")), path.name


def test_the_source_archive_has_what_a_packager_needs(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "src/napari_pgrd/napari.yaml", "tests/test_package.py"} <= names


def test_the_unpacked_wheel_finds_its_own_data(unpacked: Path, tmp_path: Path) -> None:
    code = (
        "import napari_pgrd; from napari_pgrd.io.samples import sample_cases;"
        "from napari_pgrd.engine.spec import embedded;"
        "print(napari_pgrd.__file__, *[c.image for c in sample_cases() if c.image.is_file()], *embedded(), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(unpacked)!r}); {code}"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    where, *images_and_bundles = done.stdout.splitlines()
    assert Path(where).is_relative_to(unpacked)
    assert [Path(line).is_relative_to(unpacked) for line in images_and_bundles[:2]] == [True, True]
    assert images_and_bundles[2:]


def test_the_installed_command_segments_a_sample_with_nothing_of_the_checkout(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "witness").mkdir()
    (tmp_path / "witness" / "sitecustomize.py").write_text(WITNESS, encoding="utf-8")
    image = installed / "napari_pgrd" / "sample_data" / "hippocampus" / "images" / "hippocampus_375.nii.gz"
    words = ("--bundle", "hippocampus-mri", "--steps", "1", "--samples", "1", "--device", "cpu", "--out", "out")
    done = subprocess.run(
        [str(installed / "bin" / "pgrd"), "predict", str(image), *words],
        # Before this environment's own packages, among which the checkout may be.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (tmp_path / "witness", installed)))},
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "anterior: " in done.stdout and "Traceback" not in done.stderr
    modules = [Path(line) for line in done.stderr.splitlines() if line.endswith(".py")]
    assert installed / "napari_pgrd" / "__init__.py" in modules
    assert installed / "napari_pgrd" / "engine" / "predict.py" in modules
    assert [path for path in modules if not path.is_relative_to(installed)] == []
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["request"]["samples"] == manifest["request"]["steps"] == 1
    source = nib.load(image)
    for name in ("segmentation", "samples", "probability", "variance", "entropy"):
        assert nib.load(tmp_path / "out" / f"{name}.nii.gz").shape[:3] == source.shape, name
    mask = np.asarray(nib.load(tmp_path / "out" / "segmentation.nii.gz").dataobj)
    assert np.unique(mask).tolist() == [0, 1, 2]
    assert (tmp_path / "out" / "volumes.csv").is_file()


def test_the_metadata_names_the_version_the_command_and_the_manifest(unpacked: Path) -> None:
    (info,) = unpacked.glob("*.dist-info")
    assert f"Version: {napari_pgrd.__version__}\n" in (info / "METADATA").read_text(encoding="utf-8")
    entries = (info / "entry_points.txt").read_text(encoding="utf-8")
    assert "pgrd = napari_pgrd.cli:main" in entries
    assert "[napari.manifest]\nnapari-pgrd = napari_pgrd:napari.yaml" in entries


def test_the_manifest_names_only_what_exists() -> None:
    manifest = PluginManifest.from_file(TOP / "napari.yaml")
    assert manifest.name == "napari-pgrd"
    manifest.validate_imports()
