"""Export from the window: written in a thread, shown back on the image."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels
from psygnal import Signal
from superqt.utils import FunctionWorker

from napari_pgrd.engine.errors import ExportError, PgrdError
from napari_pgrd.engine.request import Request
from napari_pgrd.io.dicom.planes import NOT_DICOM, source_of
from napari_pgrd.session.state import controls
from napari_pgrd.session.summary import ReviewSummary
from napari_pgrd.viewer import settings
from napari_pgrd.viewer.corrections import Corrections
from napari_pgrd.viewer.desk import Desk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_pgrd.engine.aggregate import Prediction
    from napari_pgrd.engine.volume import Volume
    from napari_pgrd.session.dicom import DicomParts


class Exports:
    """Where to write, and writing."""

    changed = Signal()

    def __init__(self, desk: Desk, corrections: Corrections) -> None:
        self.desk, self.corrections = desk, corrections
        desk.state.events.source.connect(self._other_image)
        self._image = desk.image
        self.folder = self._own_folder()  # where to write
        self.files: list[Path] = []  # what was written last
        self.worker: FunctionWorker[list[Path]] | None = None
        self._correction: NDArray[np.uint8] | None = None  # as it was written
        self._judged: tuple[Volume, str] | None = None  # an image, and why it cannot be exported as DICOM
        self.initials = settings.load().initials
        self.review: Callable[[str], ReviewSummary] = lambda initials: ReviewSummary(initials=initials)
        """What the reader did so far; set by whoever knows."""
        self.log: Callable[[], bytes | None] = lambda: None
        self.missing: Callable[[], str] = lambda: ""
        """What the record still lacks and will have in a moment, as "Looking for places ..."; "" if nothing."""
        corrections.edited.connect(self._edited)

    def tell(self) -> None:
        """Something that the panel shows has changed elsewhere."""
        self.changed.emit()

    def close(self) -> None:
        """Let files be written to the end, but tell no dock about it."""
        if self.worker is not None:
            self.worker.returned.disconnect()
            self.worker.errored.disconnect()

    def choose_folder(self, text: str) -> None:
        """Take a folder as the reader typed it; where nothing is typed, the image's own."""
        typed = os.path.expanduser(text.strip())
        self.folder = Path(typed).absolute() if typed else self._own_folder()

    def _own_folder(self) -> Path:
        """A new folder named after the image: images of two patients often share one name."""
        name = re.sub(r"[^\w .()-]", "_", self.desk.state.source).strip(" .") or "case"
        home = Path.home() / "pgrd-export"
        names = (name, *(f"{name} {i}" for i in range(2, 1000)))
        return next((home / n for n in names if not (home / n).exists()), home / name)

    @property
    def ready(self) -> bool:
        """Whether there is something to export: samples, or a correction without any."""
        c = controls(self.desk.state)
        return c.can_export or (c.can_take_mask and self.corrections.layer is not None)

    @property
    def no_dicom(self) -> str:
        """Why nothing can be exported as DICOM, in a sentence; "" if it can."""
        volume = self.desk.volume
        if volume is None:
            return NOT_DICOM
        if self._judged is None or self._judged[0] is not volume:
            try:
                source_of(volume)
                self._judged = (volume, "")
            except ExportError as error:
                self._judged = (volume, str(error))
        return self._judged[1]

    @property
    def busy(self) -> bool:
        """Whether files are being written."""
        return self.worker is not None

    def _other_image(self) -> None:
        """A folder chosen for one image is not another's: an export must not replace that of another case."""
        if self.desk.image is not self._image:  # else it was only renamed
            self._image = self.desk.image
            self.folder = self._own_folder()
            self.changed.emit()

    def _edited(self) -> None:
        """What was painted after an export is in no file yet, so nothing may say that it is."""
        now, then = self.corrections.values(), self._correction
        if self.desk.state.exported and now is not None and (then is None or not np.array_equal(now, then)):
            self.desk.state.exported = ""

    def sign(self, initials: str) -> None:
        """Whose review it is."""
        self.initials = initials.strip()
        settings.save(initials=self.initials)

    def write(self, parts: set[str], dicom: DicomParts | None = None) -> None:
        """Write the chosen parts, and those as DICOM if the image is; the state says where they went, or why not."""
        p, volume, s = self.desk.prediction, self.desk.volume, self.desk.state
        p = p if p is not None and p.samples else None
        if volume is None or not self.ready:
            s.sentence = "There is nothing to export yet. Draw samples, or start a correction from a mask."
            return
        if text := self.missing():
            s.sentence = f"{text} Export again in a moment."
            return
        s.sentence, s.exported = "", ""
        self._correction = self.corrections.values()
        self.worker = FunctionWorker(
            _write,
            self.folder,
            p,
            volume,
            s.bundle,
            self.desk.request or Request(),
            frozenset(parts),
            self._correction,
            self._files(),
            self.review(self.initials),
            self.log(),
            None if self.no_dicom else dicom,
        )
        self.worker.returned.connect(lambda files: self._written(files, volume))
        self.worker.errored.connect(self._failed)
        self.worker.start()
        self.changed.emit()

    def _files(self) -> tuple[str, ...]:
        """The image's own file, which no export may replace."""
        path = self.desk.viewer.layers[self.desk.state.source].source.path
        return (str(path),) if path else ()

    def _written(self, files: list[Path], volume: Volume) -> None:
        self.worker = None
        if volume is self.desk.volume:  # else the reader has gone on to another image
            self.files = files
            self.desk.state.exported = str(files[0].parent)
        self.changed.emit()

    def _failed(self, error: Exception) -> None:
        self.worker = None
        self.desk.state.sentence = str(error)
        self.changed.emit()

    def show(self) -> None:
        """Load the exported mask, the corrected one if there is one, back onto the image."""
        for name in ("corrected.nii.gz", "segmentation.nii.gz"):
            # Only what this export wrote: the folder may hold the mask of an earlier one.
            for file in (f for f in self.files if f.name == name and f.exists()):
                selected = set(self.desk.viewer.layers.selection)
                (layer,) = self.desk.viewer.open(str(file), plugin="napari-pgrd", name=f"Exported {name}")
                if isinstance(layer, Labels):
                    layer.colormap = self.desk.layers.colours()
                    layer.contour = 1
                self.desk.viewer.layers.selection = selected
                return
        self.desk.state.sentence = "This export holds no mask. Tick the masks and export again."


def _write(
    folder: Path,
    prediction: Prediction | None,
    volume: Volume,
    bundle: str,
    request: Request,
    parts: frozenset[str],
    correction: NDArray[np.uint8] | None,
    source: tuple[str, ...],
    review: ReviewSummary,
    log: bytes | None,
    dicom: DicomParts | None,
) -> list[Path]:
    from napari_pgrd.engine.bundle import Bundle
    from napari_pgrd.session.export import export

    try:
        return export(
            folder,
            prediction,
            volume,
            Bundle.load(bundle),
            request,
            what=parts,
            correction=correction,
            source=source,
            review=review,
            edit_log=log,
            dicom=dicom,
        )
    except PgrdError:
        raise
    except Exception as error:
        raise PgrdError(f"Export stopped: {type(error).__name__}: {error}") from error
