"""A correction that starts from a mask the reader has already: a file, or a layer of labels in the window."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from psygnal import Signal
from superqt.utils import FunctionWorker

from napari_pgrd.engine.errors import InputError, PgrdError, require
from napari_pgrd.io.masks import NEAR, Taken, read_mask, take_mask
from napari_pgrd.session.display import Display
from napari_pgrd.session.state import controls
from napari_pgrd.viewer.corrections import Corrections
from napari_pgrd.viewer.layers import ROLE
from napari_pgrd.viewer.reader import VOLUME

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_pgrd.engine.volume import Affine

# What the edit log, and every file made from it, says of the start: a name may be a patient's.
FILE, LAYER = "mask file", "mask layer"


class MaskStart:
    """Reads a mask in a thread, then starts the correction."""

    changed = Signal()

    def __init__(self, corrections: Corrections) -> None:
        self.corrections, self.desk = corrections, corrections.desk
        self.sentence = ""
        self.worker: FunctionWorker[Taken] | None = None
        events = self.desk.viewer.layers.events
        self._heard = (events.inserted, events.removed, events.renamed)
        for event in self._heard:
            event.connect(self._emit)
        self.desk.state.events.source.connect(self._forget)
        corrections.started.connect(self._forget)

    def close(self) -> None:
        """Wait for no file, and let go of the viewer."""
        self._forget()
        for event in self._heard:
            event.disconnect(self._emit)

    def sources(self) -> list[tuple[str, str]]:
        """The reader's own label layers: ``(value, text)``."""
        return [(str(layer.unique_id), f"Layer {layer.name}") for layer in reversed(self.layers())]

    def content(self, value: str) -> tuple[str, NDArray[Any], Affine]:
        """Name, labels ``(x, y, z)`` (a copy) and place of a layer of :meth:`sources`.

        Raises
        ------
        InputError
            If it is gone, or does not lie on the image voxel by voxel.
        """
        layer = next((x for x in self.layers() if str(x.unique_id) == value), None)
        if layer is None:
            raise InputError("That layer is gone. Choose another.")
        return (layer.name, *self._voxels(layer))

    def from_file(self, path: str | Path) -> None:
        """Start from a mask as NIfTI or a DICOM Segmentation."""
        self._read(Path(path).name, FILE, lambda volume, spec, box: read_mask(path, volume, spec, box))

    def from_layer(self, value: str) -> None:
        """Start from a layer of :meth:`sources`, as it is now."""
        layer = next((x for x in self.layers() if str(x.unique_id) == value), None)
        if layer is None:
            self._say("That layer is gone. Choose another start.")
            return
        try:
            labels, affine = self._voxels(layer)
        except PgrdError as error:
            self._say(str(error))
            return
        take = partial(take_mask, labels, affine, name=layer.name)
        self._read(layer.name, LAYER, lambda volume, spec, box: take(volume=volume, spec=spec, box=box))

    def layers(self) -> list[Labels]:
        """The reader's own label layers, lowest first."""
        return [x for x in self.desk.viewer.layers if isinstance(x, Labels) and self._is_the_readers(x)]

    # ---- inside

    def _is_the_readers(self, layer: Labels) -> bool:
        """Neither a result nor a correction that can be in hand.

        One that an earlier dock left may start a new one; so may one of the whole image in a box of it.
        """
        role, owner = layer.metadata.get(ROLE, ("", 0))
        if self.corrections.is_correction(layer):
            return layer in self.corrections.elsewhere
        return owner != id(layer) or role == "correction"

    def _voxels(self, layer: Labels) -> tuple[NDArray[Any], Affine]:
        """A copy of a layer's labels ``(x, y, z)`` and where they lie."""
        volume, shape = self.desk.volume, layer.data.shape
        require(
            layer.ndim == 3 and not layer.multiscale,
            InputError,
            f"{layer.name} is no mask of one volume: it has {layer.ndim} dimensions. Choose a layer with three.",
        )
        assert volume is not None
        own = layer.metadata.get(VOLUME)
        if own is not None and Display.of(own).show(own.data[0]).shape == shape:
            return np.array(Display.of(own).hide(np.asarray(layer.data))), own.affine
        box = self.desk.request.box if self.desk.request else None
        whole = Display.of(volume)
        grids = [(whole, volume)] + ([(whole.crop(box, volume.shape), volume.crop(box))] if box else [])
        for display, grid in grids:
            if display.show(grid.data[0]).shape == shape and _lies_on(layer, display):
                return np.array(display.hide(np.asarray(layer.data))), grid.affine
        raise InputError(
            f"{layer.name} does not lie on the image voxel by voxel, so it cannot be copied exactly. Choose a layer "
            "with the image's shape, scale and place, or open its file here."
        )

    def _read(self, name: str, source: str, read: Callable[..., Taken]) -> None:
        if self.worker is not None:
            return
        desk = self.desk
        if desk.volume is None or desk.spec is None or not controls(desk.state).can_take_mask:
            self._say("Open the image of this mask and choose a model first; while samples are drawn, wait.")
            return
        volume, grid = desk.volume, self.corrections.grid()
        box = desk.request.box if desk.request is not None else None
        self.worker = FunctionWorker(_reading, read, volume, desk.spec, box)
        self.worker.returned.connect(lambda taken: self._take(taken, grid, name, source))
        self.worker.errored.connect(self._failed)
        self._say(f"Reading {name} ...")
        self.worker.start()

    def _take(self, taken: Taken, grid: tuple[object, ...], name: str, source: str) -> None:
        self.worker = None
        if grid != self.corrections.grid() or not controls(self.desk.state).can_take_mask:
            self._say(f"Image, model or samples changed while {name} was read. Choose it again.")
            return
        # A DICOM Segmentation says how it was made, which what is made of it must not claim otherwise.
        self.corrections.add(taken.values, f"{source}, {taken.made.lower()}" if taken.made else source)
        left = f"{taken.outside} of its voxels lie outside the box and were left out." if taken.outside else ""
        self._say(" ".join(part for part in (f"Started from {name}.", taken.note, left) if part))

    def _failed(self, error: Exception) -> None:
        self.worker = None
        self._say(str(error))

    def _forget(self, *_: object) -> None:
        """Another image, or another start: a mask that is still being read is no longer wanted."""
        if self.worker is not None:
            worker, self.worker = self.worker, None
            worker.returned.disconnect()
            worker.errored.disconnect()
        self._say("")

    def _emit(self) -> None:
        self.changed.emit()

    def _say(self, text: str) -> None:
        self.sentence = text
        self.changed.emit()


def _reading(read: Callable[..., Taken], *grid: Any) -> Taken:
    try:
        return read(*grid)
    except PgrdError:
        raise
    except Exception as error:
        raise PgrdError(f"Reading the mask stopped: {type(error).__name__}: {error}") from error


def _lies_on(layer: Labels, display: Display) -> bool:
    """Whether every corner of a layer lies within a tenth of a voxel of where the display has it."""
    z, y, x = (n - 1 for n in layer.data.shape)
    corners = [(i * z, j * y, k * x) for i, j, k in np.ndindex(2, 2, 2)]
    off = np.subtract([layer.data_to_world(c) for c in corners], [display.world(c) for c in corners])
    return bool((np.abs(off) <= NEAR * np.asarray(display.scale)).all())
