"""All samples as one array for a slider, made of the masks that are there already: nothing is copied but the slice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]


class Stack:
    """``(M + 1, ..., z, y, x)`` label values of M samples, read as they are asked for.

    The first is empty, so that the number on a slider is the number of the sample, and 0 shows none.

    Parameters
    ----------
    masks : sequence of numpy.ndarray
        Class indices ``(x, y, z)`` of each sample.
    show : callable
        Brings a mask to the screen's axes ``(z, y, x)``, as a view.
    values : numpy.ndarray
        ``(K,)`` uint8: the label value of each class, 0 for the background.
    lead : sequence of int
        Sizes of axes that the image has before its last three, along which samples do not change: its channels.
    """

    dtype = np.dtype(np.uint8)

    def __init__(
        self, masks: Sequence[Mask], show: Callable[[Mask], Mask], values: Mask, lead: Sequence[int] = ()
    ) -> None:
        self._masks, self._show, self._values = tuple(masks), show, values
        self._empty = np.zeros((1, 1, 1), np.uint8)
        self.shape = (len(self._masks) + 1, *lead, *show(self._masks[0]).shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of voxels, over all samples."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        """What is asked for, as numpy indexes; only the samples that it lies in are read."""
        keys = key if isinstance(key, tuple) else (key,)
        if Ellipsis in [k for k in keys if not isinstance(k, np.ndarray)]:
            at = next(i for i, k in enumerate(keys) if k is Ellipsis)
            keys = (*keys[:at], *[slice(None)] * (self.ndim - len(keys) + 1), *keys[at + 1 :])
        first, rest = (keys[0], keys[1:]) if keys else (slice(None), ())
        if isinstance(first, (int, np.integer)):
            return self._values[self._sample(int(first))[rest]]
        if isinstance(first, slice) and not any(isinstance(k, (list, np.ndarray)) for k in rest):
            chosen = [self._values[self._sample(i)[rest]] for i in range(len(self))[first]]
            return np.stack(chosen) if chosen else np.zeros((0, *self._sample(0)[rest].shape), np.uint8)
        return np.asarray(self)[key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All of it, for whoever needs it so."""
        whole = np.stack([self._values[self._sample(i)] for i in range(len(self))])
        return whole if dtype is None else whole.astype(dtype)

    def _sample(self, number: int) -> Mask:
        """Class indices ``(..., z, y, x)``; a view."""
        number = range(len(self))[number]
        mask = self._show(self._masks[number - 1]) if number else self._empty
        return np.broadcast_to(mask, self.shape[1:])
