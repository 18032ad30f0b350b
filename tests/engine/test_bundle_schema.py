"""The schema that is documented is what the models say, and every embedded bundle keeps to it."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from napari_pgrd.engine.bundle_schema import bundle_schema
from napari_pgrd.engine.spec import EMBEDDED, embedded
from tests.tiny import make_tiny_bundle

COMMITTED = Path(__file__).resolve().parents[2] / "docs" / "bundle.schema.json"


def test_the_committed_schema_is_what_the_models_say() -> None:
    assert json.loads(COMMITTED.read_text(encoding="utf-8")) == bundle_schema(), (
        "run: pgrd bundle schema > docs/bundle.schema.json"
    )


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(bundle_schema())
    return jsonschema.Draft202012Validator(bundle_schema())


@pytest.mark.parametrize("name", embedded())
def test_an_embedded_bundle_keeps_to_it(name: str, validator: jsonschema.Draft202012Validator) -> None:
    validator.validate(json.loads((EMBEDDED / name / "bundle.json").read_text(encoding="utf-8")))


def test_methods_are_described_and_faults_found(tmp_path: Path, validator: jsonschema.Draft202012Validator) -> None:
    folder = make_tiny_bundle(tmp_path / "tiny", further=("dropout", "ddpm"))
    content = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    validator.validate(content)
    for path, wrong in ((("tau",), 0), (("prepare", "dims"), 4), (("methods", "ddpm", "network"), 3), (("more",), 1)):
        faulty = json.loads(json.dumps(content))
        place = faulty
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = wrong
        assert not validator.is_valid(faulty), path
