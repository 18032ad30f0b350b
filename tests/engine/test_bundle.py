"""Bundles: what is written comes back, and everything wrong with one is named."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from napari_pgrd.engine.bundle import Bundle, save
from napari_pgrd.engine.errors import BundleError
from napari_pgrd.engine.schedule import cosine_rhobar
from napari_pgrd.engine.spec import PICKLES, find, read_spec
from tests.tiny import LABELS


def _edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "bundle.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_what_is_saved_is_loaded(folder: Path) -> None:
    bundle = Bundle.load(folder)
    assert [label.name for label in bundle.spec.labels] == ["background", "anterior", "posterior"]
    assert bundle.spec.values.tolist() == [0, 1, 2]
    assert (bundle.spec.rhobar == cosine_rhobar(1000)).all()
    for name, digest in bundle.spec.weights.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert bundle.digest == hashlib.sha256((folder / "bundle.json").read_bytes()).hexdigest()
    assert not list(folder.glob(".*")), "a temporary file was left behind"


def test_the_networks_hold_the_files_weights_and_are_frozen(folder: Path) -> None:
    prior, denoiser = Bundle.load(folder).networks()
    for net, name in ((prior, "prior"), (denoiser, "denoiser")):
        held = dict(net.named_parameters())
        stored = load_file(folder / f"{name}.safetensors")
        assert set(held) == set(stored)
        assert all(torch.equal(held[k], v) for k, v in stored.items())
        assert not net.training
        assert not any(p.requires_grad for p in net.parameters())


def test_networks_are_built_once(folder: Path) -> None:
    bundle = Bundle.load(folder)
    assert bundle.networks()[1] is bundle.networks("cpu")[1]


def test_the_description_is_read_without_touching_the_weights(folder: Path) -> None:
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    assert read_spec(folder).name == "tiny"


@pytest.mark.parametrize("name", ["prior.safetensors", "denoiser.safetensors", "bundle.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=name):
        Bundle.load(folder)


@pytest.mark.parametrize("name", ["prior.safetensors", "denoiser.safetensors"])
def test_an_altered_weight_is_named(folder: Path, name: str) -> None:
    raw = bytearray((folder / name).read_bytes())
    raw[-1] ^= 1
    (folder / name).write_bytes(raw)
    with pytest.raises(BundleError, match=f"{name} has another checksum"):
        Bundle.load(folder)


@pytest.mark.parametrize("garbage", [b"", b"garbage", b"\xff" * 4096, b"\x08" + b"\x00" * 7 + b"not json"])
def test_garbage_with_a_matching_checksum_is_named(folder: Path, garbage: bytes) -> None:
    (folder / "denoiser.safetensors").write_bytes(garbage)
    digest = hashlib.sha256(garbage).hexdigest()
    _edit(folder, lambda c: c["weights"].update({"denoiser.safetensors": digest}))
    with pytest.raises(BundleError, match=r"denoiser\.safetensors is no readable safetensors file"):
        Bundle.load(folder).networks()


def test_weights_of_another_network_are_named(folder: Path) -> None:
    _edit(folder, lambda c: c["denoiser"].update(widths=[8, 16]))
    with pytest.raises(BundleError, match="do not fit the network"):
        Bundle.load(folder).networks()


@pytest.mark.parametrize("version", [0, 2, "1", None, 1.5])
def test_an_unknown_schema_version_is_named(folder: Path, version: object) -> None:
    _edit(folder, lambda c: c.update(schema_version=version))
    with pytest.raises(BundleError, match=f"schema version {version!r}"):
        Bundle.load(folder)


def test_a_missing_schema_version_is_named(folder: Path) -> None:
    _edit(folder, lambda c: c.pop("schema_version"))
    with pytest.raises(BundleError, match="schema version None"):
        Bundle.load(folder)


@pytest.mark.parametrize("suffix", PICKLES)
def test_a_pickle_in_the_folder_is_refused_and_never_opened(folder: Path, tmp_path: Path, suffix: str) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "exploded",)

    (folder / f"extra{suffix}").write_bytes(pickle.dumps(Bomb()))
    for load in (Bundle.load, read_spec):
        with pytest.raises(BundleError, match=rf"extra\{suffix}.*can run code"):
            load(folder)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("name", ["model.pt", "model.PTH", "checkpoint.ckpt", "model.pkl"])
def test_a_pickle_given_as_a_bundle_is_refused(tmp_path: Path, name: str, exists: bool) -> None:
    if exists:
        (tmp_path / name).write_bytes(pickle.dumps({}))
    with pytest.raises(BundleError, match=f"{name}.*can run code"):
        Bundle.load(tmp_path / name)


@pytest.mark.parametrize(
    "raw", [b"", b"{", b'{"schema_version": 1, "name"', b"\xff\xfe\x00", b"[" * 100_000, b"nonsense"]
)
def test_a_damaged_description_is_a_sentence(folder: Path, raw: bytes) -> None:
    (folder / "bundle.json").write_bytes(raw)
    with pytest.raises(BundleError, match=r"bundle\.json is not valid JSON"):
        Bundle.load(folder)


def test_a_truncated_description_is_a_sentence(folder: Path) -> None:
    path = folder / "bundle.json"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(BundleError, match="not valid JSON"):
        Bundle.load(folder)


def test_a_description_that_is_no_object_is_a_sentence(folder: Path) -> None:
    (folder / "bundle.json").write_text("[1, 2]")
    with pytest.raises(BundleError, match="must be an object"):
        Bundle.load(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["labels"][2].update(value=1), "two labels share one value"),
        (lambda c: c["labels"][0].update(value=3), "background"),
        (lambda c: c["labels"][1].update(value=300), r"labels\.1\.value"),
        (lambda c: c["labels"][1].update(colour="red"), r"labels\.1\.colour"),
        (lambda c: c["labels"].pop(), "names 2 labels"),
        (lambda c: c["channels"].append("T2"), "2 channels"),
        (lambda c: c["prepare"].update(dims=2), "2 dimensions"),
        (lambda c: c.update(tau=0), "tau"),
        (lambda c: c.update(prior_temperature=-1), "prior_temperature"),
        (lambda c: c["schedule"].update(T=1), r"schedule\.T"),
        (lambda c: c["weights"].update({"../../evil.safetensors": "0"}), "weights must name exactly"),
        (lambda c: c.update(surprise=1), "surprise"),
        (lambda c: c.pop("modality"), "modality"),
        (lambda c: c.update(name="../up"), "name"),
    ],
)
def test_a_description_that_contradicts_itself_is_a_sentence(folder: Path, change: Any, words: str) -> None:
    _edit(folder, change)
    with pytest.raises(BundleError, match=words):
        Bundle.load(folder)


@pytest.mark.parametrize("where", ["no-such-bundle", "", ".."])
def test_a_name_that_is_no_bundle_is_a_sentence(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError):
        Bundle.load(where)


def test_a_folder_is_found_by_path(folder: Path) -> None:
    assert find(folder) == folder
    assert find(str(folder)) == folder


def test_save_refuses_what_it_could_not_load(folder: Path) -> None:
    before = (folder / "bundle.json").read_bytes()
    content = {k: v for k, v in json.loads(before).items() if k != "weights"}
    content["labels"] = [dict(LABELS[0]), dict(LABELS[1]), dict(LABELS[1])]
    with pytest.raises(BundleError, match="share one value"):
        save(folder, content)
    assert (folder / "bundle.json").read_bytes() == before
