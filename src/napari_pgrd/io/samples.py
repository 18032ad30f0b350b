"""The real volumes that travel with the package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_pgrd.engine.errors import InputError

PACKAGE = Path(__file__).resolve().parents[1]
_HIPPOCAMPUS = (
    ("hippocampus_375", "Hippocampus A: long, sharp borders"),
    ("hippocampus_352", "Hippocampus B: broad, soft borders"),
)
_LUNG = (
    ("LIDC-IDRI-0921_n0", "Lung nodule A: four radiologists, four extents"),
    ("LIDC-IDRI-0825_n0", "Lung nodule B: the core, the whole, or nothing"),
    ("LIDC-IDRI-1007_n1", "Lung nodule C: two radiologists of four see it"),
)
RADIOLOGISTS = 4


@dataclass(frozen=True)
class SampleCase:
    """A volume and the masks that experts drew on it.

    Attributes
    ----------
    contrast : str
        What the image is, for the name of its layer.
    bundle : str
        Name of the embedded bundle that it is for.
    labels : tuple of Path
        One mask, or one of each of several readers.
    licence : str
        SPDX identifier.
    """

    name: str
    title: str
    contrast: str
    bundle: str
    image: Path
    labels: tuple[Path, ...]
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
    hippocampus, lung = (sample_folder() / name for name in ("hippocampus", "lung"))
    cases = [
        SampleCase(name, title, "T1", "hippocampus-mri", *_files(hippocampus, name, ("",)), licence="CC-BY-SA-4.0")
        for name, title in _HIPPOCAMPUS
    ]
    readers = [f"radiologist{j}" for j in range(1, RADIOLOGISTS + 1)]
    return cases + [
        SampleCase(name, title, "CT", "lung-nodule-ct", *_files(lung, name, readers), licence="CC-BY-3.0")
        for name, title in _LUNG
    ]


def _files(folder: Path, name: str, readers: Sequence[str]) -> tuple[Path, tuple[Path, ...]]:
    """The image and the masks of one case, a folder of masks a reader; "" where there is one reader."""
    file = f"{name}.nii.gz"
    return folder / "images" / file, tuple(folder / "labels" / reader / file for reader in readers)
