"""Coded names of labels: checked, kept, and silent where a bundle states none."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError
from pydicom.sr.codedict import codes

from napari_pgrd.engine.codes import UNCODED, Code
from napari_pgrd.engine.spec import Label, read_spec


def test_the_embedded_bundle_names_its_labels_in_snomed_ct() -> None:
    names = {label.name: label.coded for label in read_spec("hippocampus-mri").labels}
    assert names["background"] is None
    for name, part in (("anterior", codes.SCT.Anterior), ("posterior", codes.SCT.Posterior)):
        coded = names[name]
        assert coded is not None and coded.type.key == ("SCT", codes.SCT.Hippocampus.value)
        assert coded.category.value == codes.SCT.AnatomicalStructure.value
        assert [code.key for code in coded.modifiers] == [("SCT", part.value)]


def test_what_is_not_stated_is_not_written() -> None:
    label = Label(value=1, name="cyst", colour="#FFFFFF")
    assert "coded" not in json.loads(label.model_dump_json())
    assert UNCODED.type.value == codes.SCT.Tissue.value


def test_a_code_must_fit_into_dicom() -> None:
    with pytest.raises(ValidationError):
        Code(scheme="SCT", value="1" * 17, meaning="too long")


def test_codes_are_the_same_whatever_their_meaning() -> None:
    assert Code(scheme="sct", value="1", meaning="a").key == Code(scheme="SCT", value="1", meaning="b").key
