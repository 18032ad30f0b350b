"""Which DICOM objects an export holds, and what each says of how it was made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.dicom.belonging import Ownership
from napari_pgrd.io.dicom.seg import How, Making, write_seg
from napari_pgrd.io.dicom.source import DicomSource
from napari_pgrd.session.editlog import EditLog, Entry

if TYPE_CHECKING:
    from napari_pgrd.engine.aggregate import Prediction
    from napari_pgrd.engine.bundle import Bundle
    from napari_pgrd.engine.request import Request

FILES = {
    "seg": {"segmentation": "segmentation.dcm", "corrected": "corrected.dcm"},
    "labelmap": {"segmentation": "segmentation_labelmap.dcm", "corrected": "corrected_labelmap.dcm"},
    "fractional": {"probability": "probability.dcm"},
    "rtstruct": {"segmentation": "segmentation_rtstruct.dcm", "corrected": "corrected_rtstruct.dcm"},
}
EVERY = tuple(name for names in FILES.values() for name in names.values())
TITLES = {"segmentation": "PGRD consensus", "corrected": "PGRD corrected", "probability": "PGRD probabilities"}
GIVEN = ("mask file", "mask layer")  # how the edit log calls a start from a mask that was not made here
BY_HAND = ("outline",)  # operations that draw nothing but what the hand says


@dataclass(frozen=True)
class DicomParts:
    """What to write as DICOM.

    Attributes
    ----------
    kinds : tuple of str
        Among "seg" (masks, BINARY), "labelmap" (masks, LABELMAP), "fractional" (probabilities) and "rtstruct"
        (contours of the masks).
    ownership : Ownership
        Whose the objects are, and who made them.
    """

    kinds: tuple[str, ...] = ()
    ownership: Ownership = field(default_factory=Ownership)

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in FILES]
        require(
            not unknown,
            InputError,
            f"There is no kind of DICOM object called {', '.join(unknown)}; choose among {', '.join(FILES)}.",
        )

    def names(self, there: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Of what there is ("segmentation", "corrected", "probability"): file name to kind and content."""
        found = set(there)
        pairs = [(kind, key, name) for kind in FILES if kind in self.kinds for key, name in FILES[kind].items()]
        return {name: (kind, key) for kind, key, name in pairs if key in found}


def own_files(volume: Volume) -> tuple[Path, ...]:
    """The DICOM files that a volume was read from; none if it came from elsewhere."""
    return tuple(dict.fromkeys(volume.source.files)) if isinstance(volume.source, DicomSource) else ()


def write_part(
    path: Path, kind: str, data: NDArray[Any], volume: Volume, bundle: Bundle, making: Making, ownership: Ownership
) -> None:
    """Write one object: label values ``(x, y, z)`` or, as fractions, probabilities ``(x, y, z, K)``."""
    if kind == "rtstruct":
        from napari_pgrd.io.dicom.rtstruct import write_rtstruct  # scikit-image, which no window needs to open

        write_rtstruct(path, data, volume, bundle.spec, making, ownership)
    elif kind == "fractional":
        write_seg(path, data.transpose(3, 0, 1, 2), "FRACTIONAL", volume, bundle.spec, making, ownership)
    else:
        form = "BINARY" if kind == "seg" else "LABELMAP"
        write_seg(path, data, form, volume, bundle.spec, making, ownership)  # type: ignore[arg-type]  # one of two


def making_of(
    key: str, prediction: Prediction | None, bundle: Bundle, request: Request, log: Path | None = None
) -> Making:
    """How a result came to be.

    A consensus and its probabilities are AUTOMATIC, unless samples kept what a reader had locked. A correction is
    SEMIAUTOMATIC: a program's mask and a hand. It is MANUAL only where it began with a DICOM Segmentation that says so
    of every segment taken, and nothing but brush, fill, polygon and outline changed it since; of a mask that nobody
    speaks for, that must not be claimed.

    Parameters
    ----------
    key : str
        "segmentation", "probability" or "corrected".
    log : path, optional
        The correction's edit log.
    """
    resolved = request.resolved(bundle.spec)
    parameters = {"model_sha256": bundle.digest, "method": str(resolved.method)}
    if prediction is not None:
        parameters |= {"samples": str(prediction.samples), "steps": str(resolved.steps), "seed": str(resolved.seed)}
    model = f"napari-pgrd {bundle.spec.name}"
    if key != "corrected":
        how: How = "AUTOMATIC" if request.locks is None else "SEMIAUTOMATIC"
        return Making(how, model, parameters=parameters, title=TITLES[key])
    entries: Sequence[Entry] = EditLog.open(log).entries if log is not None else ()
    start = entries[0].name if entries else ""
    done = [entry.name for entry in entries if entry.kind in ("operation", "accept")]
    asked = any(name.startswith(("alternative", "threshold", "accept")) for name in done)  # the model for an answer
    if asked or (prediction is not None and not start.startswith(GIVEN)):
        return Making("SEMIAUTOMATIC", model, parameters=parameters, title=TITLES[key])
    if start == "mask file, manual" and all(name in BY_HAND for name in done):
        return Making("MANUAL", "", title=TITLES[key])
    return Making("SEMIAUTOMATIC", "napari-pgrd, correction of a given mask", title=TITLES[key])
