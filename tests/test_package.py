"""What a wheel holds, and that it works where nothing else of the project is."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from npe2 import PluginManifest

import napari_pgrd

TOP = Path(__file__).resolve().parents[1]
MAX_BYTES = 10_000_000
PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib", ".npy", ".npz")


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
