"""The real volumes that travel with the package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_pgrd.engine.errors import InputError

PACKAGE = Path(__file__).resolve().parents[1]
_HIPPOCAMPUS = (
    ("hippocampus_375", "Hippocampus A: long, sharp borders"),
    ("hippocampus_352", "Hippocampus B: broad, soft borders"),
)


@dataclass(frozen=True)
class SampleCase:
    """A volume and the mask that an expert drew on it; ``licence`` is an SPDX identifier."""

    name: str
    title: str
    image: Path
    label: Path
    licence: str


def sample_folder(package: Path = PACKAGE) -> Path:
    """``sample_data`` inside the installed package, or at the top of the checkout of an editable install.

    Raises
    ------
    InputError
        If it is in neither place.
    """
    places = [package / "sample_data"]
    if package.parent.name == "src":
        places.append(package.parents[1] / "sample_data")
    for folder in places:
        if folder.is_dir():
            return folder
    raise InputError("This installation holds no sample data. Install napari-pgrd again, or open a NIfTI file instead.")


def sample_cases() -> list[SampleCase]:
    """Every case under File > Open Sample, in that order."""
    folder = sample_folder() / "hippocampus"
    return [
        SampleCase(
            name, title, folder / f"images/{name}.nii.gz", folder / f"labels/{name}.nii.gz", licence="CC-BY-SA-4.0"
        )
        for name, title in _HIPPOCAMPUS
    ]
