"""The comparison's script: everything trained by one line, which goes on where it was stopped."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import comparison
import pytest

from napari_pgrd.engine.spec import read_spec
from napari_pgrd.train import add as adding
from napari_pgrd.train import pack
from napari_pgrd.train.pack import draws
from tests.cli.conftest import Pgrd, dataset, pgrd, tiny
from tests.cli.test_training import DENOISER, META, PRIOR

__all__ = ["dataset", "pgrd", "tiny"]  # fixtures of the command line, shared


@pytest.fixture
def data(dataset: Path, tmp_path: Path) -> Path:
    """Pairs of folders, as the published data come."""
    for folder, source in (("images", "imagesTr"), ("labels", "labelsTr")):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for path in (dataset / source).iterdir():
            shutil.copyfile(path, tmp_path / "data" / folder / path.name.replace("_0000", ""))
    return tmp_path / "data"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings and split of a study of small networks and few steps."""
    noisy = 'weighting = "fingerprint"\ntimestep_weights = [0.2, 1.8]\n' + DENOISER
    texts = {"prior": PRIOR.format(steps=4), "denoiser": DENOISER, "denoiser-noisy": noisy, "bundle": META}
    for name, text in texts.items():
        path = tmp_path / "home" / "configs" / f"small-{name}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        labels = '[labels]\n0 = "background"\n1 = "anterior"\n2 = "posterior"\n' if name == "prior" else ""
        path.write_text(labels + text, encoding="utf-8")
    blocks = {"train": [0, 1, 2], "calibration": [3, 4], "validation": [5, 6]}
    named = {block: [f"blob_{i:03d}" for i in numbers] for block, numbers in blocks.items()}
    (tmp_path / "home" / "splits").mkdir()
    (tmp_path / "home" / "splits" / "blobs.json").write_text(json.dumps(named), encoding="utf-8")
    monkeypatch.setattr(comparison, "HERE", tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def asked(pgrd: Pgrd, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the script asks ``pgrd`` for; it runs in this process."""
    lines: list[str] = []

    def run(*words: object) -> None:
        lines.append(" ".join(map(str, words[:3])))
        result = pgrd(*words)
        assert result.code == 0, result.err

    monkeypatch.setattr(comparison, "pgrd", run)
    return lines


def compare(monkeypatch: pytest.MonkeyPatch, data: Path, runs: Path, *methods: str) -> None:
    words = ["blobs", "--data", data, "--runs", runs, "--samples", 2, "--methods", *methods]
    monkeypatch.setattr("sys.argv", ["comparison.py", *map(str, words)])
    comparison.main()


def test_pgrd_and_others_are_trained_compared_and_gone_on_with(
    home: Path, data: Path, asked: list[str], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = comparison.Study(
        "trained", "small", "blobs.json", "blobs.json", "1,2", ("blob_005",), packed=True, variants=("noisy",)
    )
    monkeypatch.setitem(comparison.TITLES, "noisy", "PGRD, noisier")
    monkeypatch.setitem(comparison.STUDIES, "blobs", study)
    runs = tmp_path / "runs"
    compare(monkeypatch, data, runs, "dropout")
    assert [line.split()[:2] for line in asked] == [
        ["train", "prior"], ["train", "denoiser"], ["bundle", "pack"], ["train", "denoiser"], ["bundle", "pack"],
        ["train", "--method"], ["bundle", "add"], ["compare", "--entry"],
    ]  # fmt: skip
    assert json.loads((runs / "split.json").read_text(encoding="utf-8"))["calibration"] == ["blob_003"]
    asked.clear()
    compare(monkeypatch, data, runs, "dropout", "no-pgr")
    assert [line.split()[:2] for line in asked] == [["train", "--method"], ["bundle", "add"], ["compare", "--entry"]]
    made = json.loads((runs / "table" / "comparison.json").read_text(encoding="utf-8"))
    systems = made["table"]["dice"]["systems"]
    assert {"PGRD", "PGRD, noisier", "MC dropout", "w/o PGR", "Augmentation", "prior, thresholded"} <= set(systems)
    assert read_spec(runs / "bundle-noisy").provenance["training"]["denoiser"]["weighting"]
    assert set(made["curve"]) == {"PGRD", "w/o PGR"} and made["measured"] == 2
    assert (runs / "table" / "case-blob_005.png").stat().st_size > 0


def test_an_embedded_bundle_is_copied_not_added_to(
    home: Path, data: Path, asked: list[str], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = comparison.Study(str(tiny), "small", "blobs.json", "blobs.json", "1", ())
    runs, before = tmp_path / "runs", (tiny / "bundle.json").read_bytes()
    runs.mkdir()
    comparison.prepare(study, data, runs)
    comparison.train("dropout", study, data, runs)
    comparison.add("dropout", study, data, runs)
    assert "dropout" in read_spec(runs / "bundle").offered
    assert (tiny / "bundle.json").read_bytes() == before
    comparison.prepare(study, data, runs)
    assert "dropout" in read_spec(runs / "bundle").offered, "made once"


def test_stopped_while_it_is_fitted_a_bundle_is_as_it_was(
    home: Path, data: Path, asked: list[str], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half added, with weights that nothing is fitted to, a method would pass for added when the script goes on."""

    def stopped(*args: object, **kwargs: object) -> Iterator[object]:
        yield from itertools.islice(draws(*args, **kwargs), 1)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    study = comparison.Study("trained", "small", "blobs.json", "blobs.json", "1", (), packed=True)
    runs = tmp_path / "runs"
    runs.mkdir()
    comparison.train("prior", study, data, runs)
    comparison.train("no-dds", study, data, runs)
    with monkeypatch.context() as patched:
        patched.setattr(pack, "draws", stopped)
        with pytest.raises((KeyboardInterrupt, AssertionError)):
            comparison.prepare(study, data, runs)
    assert not (runs / "bundle").exists() and (runs / "denoiser" / "training.json").exists()
    comparison.prepare(study, data, runs)
    before = {path.name: path.read_bytes() for path in (runs / "bundle").iterdir()}
    with monkeypatch.context() as patched:
        patched.setattr(adding, "draws", stopped)
        with pytest.raises((KeyboardInterrupt, AssertionError)):
            comparison.add("no-dds", study, data, runs)
    assert {path.name: path.read_bytes() for path in (runs / "bundle").iterdir()} == before
    comparison.add("no-dds", study, data, runs)
    spec = read_spec(runs / "bundle")
    assert "no-dds" in spec.offered and spec.entry("no-dds").provenance["map"]["cases"] == 1
