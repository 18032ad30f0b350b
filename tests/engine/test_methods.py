"""Every method through the same door: what a bundle offers, what it may be asked, samples that stay."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.errors import BundleError, InputError
from napari_pgrd.engine.locks import Locks
from napari_pgrd.engine.methods import METHODS
from napari_pgrd.engine.predict import predict, sampling_key
from napari_pgrd.engine.prediction import Prediction
from napari_pgrd.engine.request import Request
from napari_pgrd.engine.spec import embedded, read_spec
from tests.tiny import LABELS, SHAPE, blob_volume, make_tiny_bundle

VOLUME, _ = blob_volume()
ALONE = ("deterministic", "thresholded", "tta")  # what a prior can do without another network
FURTHER = [name for name, row in METHODS.items() if row.entry is not None]
SEVERAL = [name for name, row in METHODS.items() if row.most is None]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.load(make_tiny_bundle(tmp_path_factory.mktemp("methods") / "tiny", further=FURTHER))


def _run(bundle: Bundle, so_far: Prediction | None = None, **fields: Any) -> Prediction:
    asked = {"samples": 5, "device": "cpu", "batch": 2, **fields}
    *_, last = predict(VOLUME, bundle, Request(**asked), so_far)
    assert last.kind == "done" and last.prediction is not None
    return last.prediction


def test_what_a_bundle_offers_follows_from_what_it_holds(bundle: Bundle, tmp_path: Path) -> None:
    assert bundle.spec.offered == ("pgrd", *ALONE, *FURTHER) == tuple(METHODS)
    assert read_spec(make_tiny_bundle(tmp_path / "plain")).offered == ("pgrd", *ALONE)
    prior = make_tiny_bundle(tmp_path / "prior", denoiser=None, method="thresholded")
    assert read_spec(prior).offered == ALONE
    assert not (prior / "denoiser.safetensors").exists()
    for name in embedded():
        spec = read_spec(name)
        assert spec.method == "pgrd" and set(spec.offered) >= {"pgrd", *ALONE}


def test_a_description_without_methods_is_that_of_pgrd(bundle: Bundle, tmp_path: Path) -> None:
    """As bundles were written before there were others."""
    folder = make_tiny_bundle(tmp_path / "old")
    content = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    del content["method"], content["methods"]
    (folder / "bundle.json").write_text(json.dumps(content), encoding="utf-8")
    old = Bundle.load(folder)
    assert old.spec.method == "pgrd"
    assert np.array_equal(_run(old).probability, _run(bundle).probability)


@pytest.mark.parametrize("name", SEVERAL)
def test_samples_depend_on_neither_number_nor_batch(bundle: Bundle, name: str) -> None:
    few, many = _run(bundle, method=name, samples=3, batch=1), _run(bundle, method=name, samples=5, batch=2)
    assert (np.stack(few.masks) == np.stack(many.masks[:3])).mean() >= 0.999
    grown = _run(bundle, few, method=name, samples=5, batch=1)
    assert all(a is b for a, b in zip(grown.masks, few.masks, strict=False)), "what was drawn is kept"
    np.testing.assert_allclose(grown.probability, many.probability, atol=5e-3)
    np.testing.assert_allclose(grown.probability.sum(0), 1, atol=1e-5)
    assert max(many.mutual_information.max(), many.variance.max()) > 1e-6, "samples differ"


@pytest.mark.parametrize("name", METHODS)
def test_progress_never_steps_back_and_ends_at_one(bundle: Bundle, name: str) -> None:
    row = METHODS[name]
    updates = list(predict(VOLUME, bundle, Request(samples=row.most or 3, device="cpu", batch=2, method=name)))
    fractions = [u.fraction for u in updates]
    assert fractions == sorted(fractions) and fractions[-1] == 1
    assert updates[0].kind == "prior" and updates[-1].kind == "done"
    assert all(u.seconds_left is None or u.seconds_left >= 0 for u in updates)


def test_the_deterministic_answer_is_the_scaled_prior(tmp_path: Path) -> None:
    bundle = Bundle.load(make_tiny_bundle(tmp_path / "warm", prior_temperature=2.0))
    p = _run(bundle, method="deterministic", samples=None)
    assert p.samples == 1
    np.testing.assert_allclose(p.probability, p.prior, atol=1e-6)
    assert np.array_equal(p.masks[0], p.prior.argmax(0))
    assert p.mutual_information.max() < 1e-5


def test_the_map_of_a_cut_prior_is_the_prior(bundle: Bundle) -> None:
    p = _run(bundle, method="thresholded", samples=31)
    np.testing.assert_allclose(p.probability, p.prior, atol=1e-5)
    assert np.abs(1 - p.agreement(0) - (1 - p.prior[0])).max() <= 1 / 32 + 1e-5


def test_every_method_has_a_key_of_its_own(bundle: Bundle) -> None:
    keys = {sampling_key(VOLUME, bundle, Request(method=name)) for name in bundle.spec.offered}
    assert len(keys) == len(bundle.spec.offered)
    assert sampling_key(VOLUME, bundle, Request(method="pgrd")) == sampling_key(VOLUME, bundle, Request())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"method": "oracle"}, "tiny cannot do 'oracle'; choose one of pgrd, deterministic"),
        ({"method": "thresholded", "steps": 8}, "prior, thresholded comes at once.*Leave them out"),
        ({"method": "tta", "solver": "ddim"}, "no steps, solver|there are no steps"),
        ({"method": "deterministic", "eta": 0.5}, "there are no steps"),
        ({"method": "deterministic", "samples": 2}, "no more than 1"),
    ],
)
def test_what_a_method_cannot_do_is_a_sentence(bundle: Bundle, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        next(predict(VOLUME, bundle, Request(**fields)))


def test_one_step_may_be_said_where_there_are_none(bundle: Bundle) -> None:
    r = Request(method="thresholded", steps=1).resolved(bundle.spec)
    assert (r.method, r.steps, r.solver, r.eta, r.samples) == ("thresholded", 1, None, None, 4)
    assert r.resolved(bundle.spec) == r


def test_locks_are_for_methods_that_can_keep_them(bundle: Bundle) -> None:
    mask = np.zeros(SHAPE, bool)
    mask[10] = True
    locks = Locks(mask, np.ones(SHAPE, int))
    for name in bundle.spec.offered:
        request = Request(samples=1, device="cpu", locks=locks, method=name)
        if METHODS[name].lock_methods:
            assert request.resolved(bundle.spec).lock_method == "guidance"
            *_, last = predict(VOLUME, bundle, request)
            assert last.prediction is not None
            assert (last.prediction.masks[0][mask] == 1).all()
            continue
        with pytest.raises(InputError, match=r"cannot be drawn around what is locked.*: pgrd, ddpm, no-pgr, no-dds"):
            request.resolved(bundle.spec)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"method": "oracle"}, "method is 'oracle', but the bundle holds what pgrd, deterministic"),
        ({"methods": {"oracle": {}}}, "no networks of oracle"),
        ({"methods": {"thresholded": {}}}, "no networks of thresholded"),
        ({"denoiser": None}, "method is 'pgrd', but"),
        ({"further": ["dropout"], "methods": {"dropout": {"network": {"dropout": 2}}}}, "dropout.network.dropout: "),
        ({"further": ["dropout"], "methods": {"dropout": {"network": {"classes": 5}}}}, "a network has 5 classes"),
    ],
)
def test_a_bundle_that_cannot_do_what_it_says_is_refused(tmp_path: Path, content: dict[str, Any], words: str) -> None:
    with pytest.raises(BundleError, match=words):
        make_tiny_bundle(tmp_path / "wrong", **content)


def test_networks_are_read_when_they_are_asked_for(bundle: Bundle, tmp_path: Path) -> None:
    fresh = Bundle.load(bundle.folder)
    fresh.networks(method="thresholded")
    assert {name for name, _ in fresh._nets} == {"prior.safetensors"}
    assert len(fresh.networks(method="ensemble")) == 6
    assert fresh.networks(method="ensemble")[3] is fresh.networks("cpu", "ensemble")[3]


@pytest.mark.parametrize("name", FURTHER)
def test_a_missing_weight_of_any_method_is_named(bundle: Bundle, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(bundle.folder, tmp_path / "copy"))
    gone = METHODS[name].files[-1]
    (folder / gone).unlink()
    with pytest.raises(BundleError, match=f"lacks {gone}"):
        Bundle.load(folder)


def test_stacks_of_slices_are_drawn_by_every_method(tmp_path: Path) -> None:
    prepared = {"normalisation": "unit", "spacing": None}
    folder = make_tiny_bundle(
        tmp_path / "flat", dims=2, labels=LABELS[:2], patch=(16, 16, 1), prepare=prepared, further=FURTHER
    )
    flat, (volume, _) = Bundle.load(folder), blob_volume((16, 20, 4), classes=2)
    for name in METHODS:
        request = Request(samples=METHODS[name].most or 2, device="cpu", batch=2, method=name)
        *_, last = predict(volume, flat, request)
        assert last.prediction is not None
        assert last.prediction.probability.shape == (2, 16, 20, 4)
        first = volume.crop(((0, 16), (0, 20), (0, 1)))
        *_, alone = predict(first, flat, request)
        assert alone.prediction is not None
        np.testing.assert_allclose(
            alone.prediction.probability[..., 0], last.prediction.probability[..., 0], atol=1e-3, err_msg=name
        )


def test_a_bundle_of_a_prior_alone_is_used_like_any_other(tmp_path: Path, bundle: Bundle) -> None:
    alone = Bundle.load(make_tiny_bundle(tmp_path / "prior", denoiser=None, method="thresholded"))
    p = _run(alone)
    assert np.array_equal(np.stack(p.masks), np.stack(_run(bundle, method="thresholded").masks))
    with pytest.raises(InputError, match="cannot do 'pgrd'"):
        _run(alone, method="pgrd")
