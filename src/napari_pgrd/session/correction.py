"""A correction: a mask that only the reader changes, watched, and every change logged before the next.

napari tells of strokes, but not of undo and redo, and of some strokes before it writes them. So the log is driven by
the data: whatever the viewer hears, it asks :meth:`Correction.observe` to compare and to log the difference, if any.

What the viewer does, with ``array = lambda: display.hide(np.asarray(layer.data))`` (a view, so nothing is copied)::

    layer.events.paint.connect(lambda e: correction.observe(array(), new=True))
    for event in (layer.events.labels_update, layer.events.set_data):
        event.connect(lambda e: layer._block_history or correction.observe(array()))
    QTimer, each second: the same as the line above

    with correction.operation("smooth"), layer.block_history():
        layer.data_setitem(where, values)

    with correction.operation("", "undo"):  # of a button; by Ctrl+Z it is told from the data
        layer.undo()

- ``paint`` comes once a stroke or ``block_history``, after the data changed; for a fill, a polygon or a lone
  ``data_setitem`` it comes *before*, and ``labels_update`` after: both are needed.
- ``labels_update`` also comes at every move of the brush; while ``_block_history`` is set the stroke is not finished.
- ``set_data`` comes after undo and redo, and after a change of slice, where nothing differs and nothing is logged.
- Of a hidden layer napari sends nothing at all when it is undone: hence the timer.
- ``layer.data`` must be uint8 and should lie dense in memory, as new arrays do (comparing 256^3 takes about 10 ms).
- Setting ``layer.data``, or ``layer.editable`` to False, empties napari's undo history; the log stays right.
- napari's undo reaches back ``Labels._history_limit`` = 100 history items, an operation being one if it is made in one
  ``block_history``. Nothing need be set for 100; after a resume, :meth:`Correction.history` fills it again.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.session.editlog import Change, EditLog, Entry, Mask

HISTORY = 100  # edits that undo reaches back, as in napari


class Correction:
    """A watched mask and its log.

    Attributes
    ----------
    log : EditLog
        Where every change goes.
    name : str
        What the reader calls it.
    done, undone : deque of Change
        The edits that undo and redo would reach, the next one last; at most ``HISTORY``.
    """

    def __init__(self, log: EditLog, mask: NDArray[np.uint8], name: str = "Correction") -> None:
        self.log, self.name = log, name
        self.done: deque[Change] = deque(maxlen=HISTORY)
        self.undone: deque[Change] = deque(maxlen=HISTORY)
        self._mask = _laid_out(mask, mask)
        self._operation: tuple[str, str] | None = None
        self._announced = False  # a new edit whose voxels have not changed yet
        self._lock = threading.Lock()

    @classmethod
    def begin(
        cls,
        path: str | os.PathLike[str],
        mask: NDArray[np.integer],
        source: str = "consensus",
        name: str = "Correction",
    ) -> Correction:
        """Start with a copy of a mask of label values ``(x, y, z)``, on the grid of the volume or its box.

        Raises
        ------
        InputError
            If the mask holds anything but whole numbers from 0 to 255.
        ExportError
            If the log cannot be written.
        """
        mask = np.asarray(mask)
        bytes_only = mask.dtype == np.uint8 or (
            mask.dtype.kind in "biu" and mask.size > 0 and 0 <= mask.min() and mask.max() <= 255
        )
        require(
            bytes_only and mask.size > 0,
            InputError,
            f"A correction holds label values from 0 to 255, but this mask of {mask.dtype} with shape {mask.shape} "
            "does not. Start from another mask.",
        )
        values = mask.astype(np.uint8, copy=False)
        return cls(EditLog.create(Path(path), values, source), values, name)

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], name: str = "Correction", image: tuple[int, ...] | None = None
    ) -> Correction:
        """Take up a correction, of an image of this shape if one is given, where its log ends; it goes on there.

        Raises
        ------
        InputError
            If the log cannot be read or does not fit itself.
        """
        log = EditLog.open(Path(path), image)
        correction = cls(log, log.start(), name)
        for entry, change in log.changes():
            if change is not None:
                correction._take(entry.kind, _fitting(correction._mask, change, log.path))
        return correction

    @property
    def mask(self) -> Mask:
        """The present label values ``(x, y, z)``, a copy."""
        return self.state()[1]

    def state(self) -> tuple[int, Mask]:
        """How many entries there are, and the mask after the last of them; safe beside a painting reader."""
        with self._lock:
            return len(self.log.entries), np.array(self._mask, order="C")

    def observe(self, array: NDArray[np.uint8], new: bool = False) -> Entry | None:
        """Log how the data differ from what was last seen.

        Parameters
        ----------
        array : numpy.ndarray
            ``(x, y, z)`` uint8, any view of the layer's data.
        new : bool
            The viewer knows that this is a new edit. Else a difference that takes back the last edit counts as an
            undo, and one that brings back what was last undone as a redo. Where it is both, or an edit by chance, the
            guess may be wrong; the mask never is.

        Returns
        -------
        Entry or None
            None if nothing differs.

        Raises
        ------
        InputError
            If the array has another shape or type.
        ExportError
            If the log cannot be written: the difference is then still outstanding and part of the next entry.
        """
        require(
            array.shape == self._mask.shape and array.dtype == np.uint8,
            InputError,
            f"The correction has shape {self._mask.shape} and whole numbers up to 255, but it is now {array.shape} of "
            f"{array.dtype}. Start a new correction from it.",
        )
        with self._lock:
            if array.strides != self._mask.strides:
                self._mask = _laid_out(self._mask, array)
            indices = differing(self._mask, array)
            if not indices.size:
                self._announced = new
                return None
            where = np.unravel_index(indices, array.shape)
            change = Change(indices, self._mask[where], array[where])
            kind, name = self._classify(change, new or self._announced)
            entry = self.log.append(kind, change, name)
            self._take(kind, change)
            self._announced = False
        return entry

    @contextmanager
    def operation(self, name: str, kind: str = "operation") -> Iterator[None]:
        """What changes meanwhile is logged under this name and kind, such as "accept" for a new sampling taken over."""
        before, self._operation = self._operation, (kind, name)
        try:
            yield
        finally:
            self._operation = before

    def record(self, kind: str, name: str = "", **info: Any) -> Entry:
        """Log something that changes no voxel, such as the state of a place."""
        with self._lock:
            return self.log.append(kind, None, name, **info)

    def history(self) -> Iterator[Mask]:
        """Masks, new arrays, with which a viewer gets its undo history back after a resume.

        The first is the oldest that undo still reaches: make the layer of it. Put each further one into the layer as
        one edit, then undo ``len(undone)`` times, all before the first :meth:`observe`.
        """
        flat = self.mask.reshape(-1)
        for change in reversed(self.done):
            flat[change.indices] = change.old
        yield flat.reshape(self._mask.shape).copy()
        for change in (*self.done, *reversed(self.undone)):
            flat[change.indices] = change.new
            yield flat.reshape(self._mask.shape).copy()

    def close(self) -> None:
        """Let go of the log's file."""
        self.log.close()

    def _classify(self, change: Change, new: bool) -> tuple[str, str]:
        if self._operation is not None:
            return self._operation
        if new:
            return "stroke", ""
        if self.done and change.same(self.done[-1].reversed):
            return "undo", ""
        if self.undone and change.same(self.undone[-1]):
            return "redo", ""
        return "edit", ""

    def _take(self, kind: str, change: Change) -> None:
        """Bring the known state and the undo history to where the data are."""
        self._mask[np.unravel_index(change.indices, self._mask.shape)] = change.new
        if kind == "undo":
            self.undone.append(self.done.pop() if self.done else change.reversed)
        elif kind == "redo":
            self.done.append(self.undone.pop() if self.undone else change)
        else:
            self.done.append(change)
            self.undone.clear()


def replay(log: EditLog | str | os.PathLike[str], entries: int | None = None) -> Mask:
    """The mask after the first ``entries`` entries of a log, or after all of them.

    Raises
    ------
    InputError
        If the log cannot be read, or an entry changes voxels that the entries before did not leave so.
    """
    log = log if isinstance(log, EditLog) else EditLog.open(Path(log))
    mask = log.start()
    for entry, change in log.changes():
        if change is not None and (entries is None or entry.sequence < entries):
            mask.reshape(-1)[change.indices] = _fitting(mask, change, log.path).new
    return mask


def differing(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Flat C-order indices, ascending, where two arrays of one shape differ.

    They are compared in the order in which ``after`` lies in memory, eight voxels at a time: a strided comparison of
    256^3 voxels takes several times as long.
    """
    axes, flip = _layout(after)
    x, y = (np.ascontiguousarray(a[flip].transpose(axes)) for a in (before, after))
    here = np.unravel_index(_differing_bytes(x.reshape(-1), y.reshape(-1)), y.shape)
    there = [np.empty(0, np.intp)] * after.ndim
    for axis, index in zip(axes, here, strict=True):
        there[axis] = index if flip[axis].step is None else after.shape[axis] - 1 - index
    indices: NDArray[np.int64] = np.ravel_multi_index(tuple(there), after.shape).astype(np.int64)
    return np.sort(indices)


def _differing_bytes(x: NDArray[np.uint8], y: NDArray[np.uint8]) -> NDArray[np.int64]:
    whole = x.size - x.size % 8
    words = np.flatnonzero(x[:whole].view(np.uint64) != y[:whole].view(np.uint64))
    candidates = np.concatenate([(words[:, None] * 8 + np.arange(8)).reshape(-1), np.arange(whole, x.size)])
    return candidates[x[candidates] != y[candidates]]


def _layout(array: NDArray[Any]) -> tuple[tuple[int, ...], tuple[slice, ...]]:
    """The axes from slowest to fastest, and the flips after which no stride is negative."""
    axes = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    return tuple(axes), tuple(slice(None, None, -1) if step < 0 else slice(None) for step in array.strides)


def _laid_out(values: NDArray[np.uint8], like: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A copy that lies in memory as ``like`` does, so that comparing the two is one pass."""
    axes, flip = _layout(like)
    dense = values[flip].transpose(axes).copy(order="C")
    return dense.transpose(np.argsort(axes))[flip]


def _fitting(mask: Mask, change: Change, path: Path) -> Change:
    before = mask[np.unravel_index(change.indices, mask.shape)]
    require(
        np.array_equal(before, change.old),
        InputError,
        f"The entries of {path.name} do not follow from each other: the file was altered. "
        "Copy the whole review folder again.",
    )
    return change
