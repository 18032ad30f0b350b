"""What a volume remembers of the DICOM objects that it was read from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True, eq=False)
class DicomSource:
    """The slices behind a volume, in the order of its third array axis, for whatever refers to them.

    It holds the patient's data as the files do, so it is never printed, logged or written to a manifest.

    Attributes
    ----------
    datasets : tuple of pydicom.Dataset
        Of every slice the header of its object, with file meta information, without pixel data. Slices of one
        multi-frame object share theirs. Not to be changed.
    frames : tuple of int
        Of every slice its frame number, counted from 1, in a multi-frame object; 0 for an object of one frame.
    series_uid, study_uid, frame_of_reference_uid : str
        As in the first slice's header; empty where the files name none.
    files : tuple of Path
        Of every slice its file, which no export may replace.
    """

    datasets: tuple[Dataset, ...] = field(repr=False)
    frames: tuple[int, ...] = field(repr=False)
    series_uid: str = field(default="", repr=False)
    study_uid: str = field(default="", repr=False)
    frame_of_reference_uid: str = field(default="", repr=False)
    files: tuple[Path, ...] = field(default=(), repr=False)
