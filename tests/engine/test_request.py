"""What may be asked of a run, and what is filled in."""

from __future__ import annotations

from typing import Any

import pytest

from napari_pgrd.engine.bundle import Bundle
from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.predict import predict
from napari_pgrd.engine.request import MAX_SAMPLES, Request
from tests.tiny import blob_volume, make_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.load(make_tiny_bundle(tmp_path_factory.mktemp("request") / "tiny"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"samples": 0}, f"0 samples.*between 1 and {MAX_SAMPLES}"),
        ({"samples": MAX_SAMPLES + 1}, f"{MAX_SAMPLES + 1} samples"),
        ({"steps": 0}, "0 steps.*between 1 and 1000"),
        ({"steps": 1001}, "1001 steps"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**32}, r"from 0 to 2\^32 - 1"),  # SeedSequence would give it samples of smaller seeds
        ({"eta": float("nan")}, "eta is nan"),
        ({"eta": 1.1}, r"eta is 1\.1"),
        ({"solver": "euler"}, "ddim, ddpm, dpmpp2m"),
        ({"batch": 0}, "0 samples at once"),
        ({"box": ((0, 99), (0, 24), (0, 18))}, "on x, but the image has 0 to 20"),
        ({"device": "tpu"}, "auto, cpu, cuda, mps"),
    ],
)
def test_a_request_out_of_range_is_a_sentence_before_anything_runs(
    bundle: Bundle, fields: dict[str, Any], words: str
) -> None:
    volume, _ = blob_volume()
    with pytest.raises(InputError, match=words):
        next(predict(volume, bundle, Request(**fields)))


def test_what_is_not_asked_for_is_the_bundles(bundle: Bundle) -> None:
    r = Request().resolved(bundle.spec)
    assert (r.samples, r.steps, r.solver, r.eta) == (4, 3, "ddim", 0.0)
