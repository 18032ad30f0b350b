"""Opening images from the dock: NIfTI at once, DICOM in a thread, for a series can be hundreds of files."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from superqt.utils import FunctionWorker

from napari_pgrd.engine.errors import PgrdError
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.dicom.listing import SeriesInfo, SeveralSeriesError, choose
from napari_pgrd.io.dicom.series import load_series
from napari_pgrd.io.nifti import is_nifti
from napari_pgrd.session.dicom import own_files
from napari_pgrd.session.state import Phase
from napari_pgrd.viewer.desk import Desk
from napari_pgrd.viewer.reader import VOLUME, layer_data
from napari_pgrd.viewer.series_choice import ask

LOOKING = "Looking through the DICOM files ..."


class Opening:
    """Opens what is dropped, one after the other; what cannot be opened becomes a sentence."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.worker: FunctionWorker[Any] | None = None
        self._waiting: deque[str] = deque()
        self._opened: set[tuple[Path, ...]] = set()  # series of this drop, each of whose files may have been dropped
        self._path = Path()  # what is being opened
        self._refusals: list[str] = []
        self._closed = False

    def open(self, *paths: str | Path) -> None:
        """Open NIfTI files and DICOM folders or files; of a series every file may be named."""
        for path in paths:
            if is_nifti(path):
                self._try(partial(self.desk.open, path))
            else:
                self._waiting.append(str(path))
        self._next()

    def close(self) -> None:
        """Let a read come to its end, but tell no dock about it."""
        self._closed = True
        self._waiting.clear()
        if self.worker is not None:
            self.worker.returned.disconnect()
            self.worker.errored.disconnect()
            self.worker = None

    def _next(self) -> None:
        if self.worker is not None:
            return
        while self._waiting and any(Path(self._waiting[0]) in files for files in self._opened):
            self._waiting.popleft()
        if not self._waiting:
            if self._refusals:
                self._tell(" ".join(self._refusals))
            self._opened.clear()
            self._refusals.clear()
            return
        self._tell(LOOKING)
        self._path = Path(self._waiting.popleft())
        self._run(_find, self._path, then=self._found)

    def _found(self, found: tuple[SeriesInfo, ...]) -> None:
        info = ask(found) if len(found) > 1 else found[0]
        if self._closed:  # while the reader was asked
            return
        if info is None or info.files in self._opened:
            self._tell("")
            self._next()
            return
        self._opened.add(info.files)
        if (name := self._shown(info)) is not None:
            self._tell("")
            if not self.desk.state.drawn and self.desk.state.phase is not Phase.RUNNING:
                self.desk.choose_source(name)
            self._refusals.append(f"{name} is open already. {self.desk.state.unfit}".rstrip())
            self._next()
            return
        self._tell(f"Reading {info.title}: {info.images} images ...")
        self._run(load_series, info, then=self._loaded)

    def _shown(self, info: SeriesInfo) -> str | None:
        """The layer that shows these very files, if one does."""
        for name in self.desk.sources():
            volume = self.desk.viewer.layers[name].metadata.get(VOLUME)
            if volume is not None and set(own_files(volume)) == set(info.files):
                return name
        return None

    def _loaded(self, volume: Volume) -> None:
        self._tell("")
        self._try(lambda: self.desk.viewer._add_layer_from_data(*layer_data(volume)))
        self._next()

    def _run(self, work: Callable[..., Any], *words: Any, then: Callable[[Any], None]) -> None:
        self.worker = FunctionWorker(work, *words)
        self.worker.returned.connect(lambda result: self._ended(lambda: then(result)))
        self.worker.errored.connect(lambda error: self._ended(lambda: self._refused(error)))
        self.worker.start()

    def _ended(self, then: Callable[[], None]) -> None:
        self.worker = None
        then()

    def _refused(self, error: Exception) -> None:
        known = isinstance(error, PgrdError)
        self._refusals.append(str(error) if known else f"The series could not be opened ({type(error).__name__}).")
        # The other files of its folder would be refused for the same reason.
        self._waiting = deque(p for p in self._waiting if Path(p).parent != self._path.parent)
        self._next()

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except PgrdError as error:
            self._refusals.append(str(error))

    def _tell(self, text: str) -> None:
        self.desk.state.sentence = text


def _find(path: Path) -> tuple[SeriesInfo, ...]:
    """The series meant by a path, or those to choose from."""
    try:
        return (choose(path),)
    except SeveralSeriesError as several:  # not returned itself: the worker would take it for a failure
        return several.series
