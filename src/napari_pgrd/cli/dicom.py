"""What the command line asks of DICOM objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Option

from napari_pgrd.engine.errors import InputError, require

if TYPE_CHECKING:
    from napari_pgrd.session.dicom import DicomParts

Kinds = Annotated[
    str | None,
    Option(help="DICOM objects to write, too, of a DICOM image: seg, labelmap, fractional, rtstruct; with commas."),
]
Deidentify = Annotated[bool, Option("--deidentify", help="Leave patient and dates out of them and replace their UIDs.")]
Creator = Annotated[str, Option(help="Who is named as their creator; nobody unless given.")]


def dicom_parts(kinds: str | None, deidentify: bool, creator: str) -> DicomParts | None:
    """The options together; None if no DICOM is asked for.

    Raises
    ------
    InputError
        If a kind is unknown, or the options do not go together.
    """
    from napari_pgrd.io.dicom.belonging import Ownership
    from napari_pgrd.session.dicom import DicomParts

    require(
        kinds is not None or not (deidentify or creator),
        InputError,
        "--deidentify and --creator say something of DICOM objects, but none are asked for. Give --dicom seg, too.",
    )
    require(
        not (deidentify and creator),
        InputError,
        "--deidentify leaves out who made the objects, and --creator names them. Give one of the two.",
    )
    if kinds is None:
        return None
    named = tuple(dict.fromkeys(kind.strip() for kind in kinds.split(",") if kind.strip()))
    require(bool(named), InputError, "--dicom names nothing; give seg, labelmap, fractional or rtstruct.")
    return DicomParts(named, Ownership(deidentify, creator.strip()))
