"""Export from the window: written in a thread, shown back on the image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal
from superqt.utils import FunctionWorker

from napari_pgrd.engine.errors import PgrdError
from napari_pgrd.viewer.corrections import Corrections
from napari_pgrd.viewer.desk import Desk

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_pgrd.engine.aggregate import Prediction
    from napari_pgrd.engine.request import Request
    from napari_pgrd.engine.volume import Volume


class Exports:
    """Where to write, and writing."""

    changed = Signal()

    def __init__(self, desk: Desk, corrections: Corrections) -> None:
        self.desk, self.corrections = desk, corrections
        desk.state.events.source.connect(self._other_image)
        self._folder: Path | None = None
        self.worker: FunctionWorker[Path] | None = None

    @property
    def folder(self) -> Path:
        """Where to write: what the reader chose for this image, else a folder of the image's own."""
        return self._folder or Path.home() / "pgrd-export" / (self.desk.state.source or "case")

    @folder.setter
    def folder(self, folder: Path) -> None:
        self._folder = folder

    @property
    def busy(self) -> bool:
        """Whether files are being written."""
        return self.worker is not None

    def _other_image(self) -> None:
        """A folder chosen for one image is not another's: an export must not replace that of another case."""
        self._folder = None
        self.changed.emit()

    def write(self, parts: set[str]) -> None:
        """Write the chosen parts; the state says where they went, or why not."""
        p, volume, request, s = self.desk.prediction, self.desk.volume, self.desk.request, self.desk.state
        if p is None or volume is None or request is None or p.samples == 0:
            s.sentence = "There is nothing to export yet. Draw samples first."
            return
        s.sentence, s.exported = "", ""
        self.worker = FunctionWorker(
            _write,
            self.folder,
            p,
            volume,
            s.bundle,
            request,
            frozenset(parts),
            self.corrections.indices(),
            self._files(),
        )
        self.worker.returned.connect(self._written)
        self.worker.errored.connect(self._failed)
        self.worker.start()
        self.changed.emit()

    def _files(self) -> tuple[str, ...]:
        """The image's own file, which no export may replace."""
        path = self.desk.viewer.layers[self.desk.state.source].source.path
        return (str(path),) if path else ()

    def _written(self, folder: Path) -> None:
        self.worker = None
        self.desk.state.exported = str(folder)
        self.changed.emit()

    def _failed(self, error: Exception) -> None:
        self.worker = None
        self.desk.state.sentence = str(error)
        self.changed.emit()

    def show(self) -> None:
        """Load the exported mask, the corrected one if there is one, back onto the image."""
        folder = Path(self.desk.state.exported)
        for name in ("corrected.nii.gz", "segmentation.nii.gz"):
            if (folder / name).exists():
                active = self.desk.viewer.layers.selection.active
                (layer,) = self.desk.viewer.open(str(folder / name), plugin="napari-pgrd", name=f"Exported {name}")
                if self.desk.spec is not None and hasattr(layer, "colormap"):
                    layer.colormap = self.desk.layers.colours()
                    layer.contour = 1
                if active is not None:
                    self.desk.viewer.layers.selection.active = active
                return
        self.desk.state.sentence = f"{folder} no longer holds an exported mask. Export again."


def _write(
    folder: Path,
    prediction: Prediction,
    volume: Volume,
    bundle: str,
    request: Request,
    parts: frozenset[str],
    correction: NDArray[np.uint8] | None,
    source: tuple[str, ...],
) -> Path:
    from napari_pgrd.engine.bundle import Bundle
    from napari_pgrd.session.export import export

    try:
        export(
            folder, prediction, volume, Bundle.load(bundle), request, what=parts, correction=correction, source=source
        )
    except PgrdError:
        raise
    except Exception as error:
        raise PgrdError(f"Export stopped: {type(error).__name__}: {error}") from error
    return folder
