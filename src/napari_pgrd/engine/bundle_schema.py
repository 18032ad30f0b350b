"""The JSON schema of ``bundle.json``, made of the models that read it."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from napari_pgrd.engine.methods import METHODS
from napari_pgrd.engine.spec import SCHEMA_VERSION, BundleSpec


def bundle_schema() -> dict[str, Any]:
    """The schema, in the 2020-12 dialect.

    It says what each field may be. That weights have the checksums stated, and that networks have the classes and
    channels that the bundle names, is checked by ``pgrd bundle check``.
    """
    entries = {name: row.entry for name, row in METHODS.items() if row.entry is not None}
    models: list[Any] = [BundleSpec, *dict.fromkeys(entries.values())]
    names, definitions = models_json_schema([(model, "validation") for model in models])
    whole = definitions["$defs"].pop("BundleSpec")
    methods = {name: names[entry, "validation"] for name, entry in entries.items()}
    whole["properties"]["methods"] |= {"properties": methods, "additionalProperties": False}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **whole,
        "title": f"bundle.json of napari-pgrd, schema version {SCHEMA_VERSION}",
        "$defs": definitions["$defs"],
    }
