"""Samples that a change of image or model takes off the screen go among the reviews that the dock offers again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from superqt.utils import FunctionWorker

from napari_pgrd.engine.errors import PgrdError
from napari_pgrd.session.autosave import Autosave
from napari_pgrd.viewer.desk import Desk
from napari_pgrd.viewer.saving import Saving

if TYPE_CHECKING:
    from napari_pgrd.session.review import Review


class Keeping:
    """Writes them in a thread; corrections are on disk already."""

    def __init__(self, desk: Desk, saving: Saving) -> None:
        self.desk, self.saving = desk, saving
        self.worker: FunctionWorker[None] | None = None
        desk.switching.connect(self.keep)

    def keep(self, what: str) -> None:
        """Keep the samples on screen, unless they were exported or lie beside a correction that ends with its image."""
        if self.desk.state.exported or (what == "image" and self.saving.running is not None):
            return
        try:
            review = replace(self.saving.snapshot(), corrections=())
        except PgrdError as error:
            self._failed(error)
            return
        self.worker = FunctionWorker(_write, review)
        self.worker.errored.connect(self._failed)
        self.worker.finished.connect(self._written)  # type: ignore[arg-type]
        self.worker.start()

    def _failed(self, error: Exception) -> None:
        self.saving.sentence = str(error)
        self.saving.changed.emit()

    def _written(self) -> None:
        self.worker = None
        self.saving.find()


def _write(review: Review) -> None:
    Autosave.begin(review).leave()
