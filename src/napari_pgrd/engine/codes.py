"""Coded names: what a label is, in words that other programs know."""

from __future__ import annotations

from pydantic import BaseModel, Field

from napari_pgrd.engine.netspec import Frozen


class Code(BaseModel):
    """An entry of a terminology, as DICOM writes it (PS3.3, section 8): SCT is SNOMED CT."""

    model_config = Frozen

    scheme: str = Field(min_length=1, max_length=16)
    value: str = Field(min_length=1, max_length=16)
    meaning: str = Field(min_length=1, max_length=64)

    @property
    def key(self) -> tuple[str, str]:
        """What makes two codes the same; the meaning is for the eye."""
        return self.scheme.upper(), self.value


class Coded(BaseModel):
    """What a label is: its kind, the thing itself, and what narrows it down, such as a side or a part."""

    model_config = Frozen

    category: Code
    type: Code
    modifiers: tuple[Code, ...] = ()

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two coded names the same."""
        return (self.type.key, frozenset(code.key for code in self.modifiers))


_TISSUE = Code(scheme="SCT", value="85756007", meaning="Tissue")
UNCODED = Coded(category=_TISSUE, type=_TISSUE)
"""For a label whose bundle states no code: it claims nothing but tissue, and the label's name stands beside it."""
