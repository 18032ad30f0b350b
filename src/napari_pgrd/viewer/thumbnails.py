"""Small pictures of the alternatives at a place, with the anatomy below."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap

OPACITY = 0.45
Rgb = tuple[float, float, float]


def picture(
    image: NDArray[np.floating], mask: NDArray[np.integer], colours: Mapping[int, Rgb], limits: tuple[float, float]
) -> NDArray[np.uint8]:
    """A grey slice under its labels, ``(rows, columns, 3)``.

    Parameters
    ----------
    image, mask : numpy.ndarray
        ``(rows, columns)`` of one slice; label values.
    colours : mapping
        Red, green, blue from 0 to 1 of each label value that is drawn.
    limits : (float, float)
        Values shown black and white.
    """
    low, high = limits
    grey = np.clip((image.astype(np.float32) - low) / max(high - low, 1e-12), 0, 1)
    rgb = np.repeat(grey[..., None], 3, -1)
    for value, colour in colours.items():
        where = mask == value
        rgb[where] = (1 - OPACITY) * rgb[where] + OPACITY * np.array(colour, np.float32)
    return np.round(rgb * 255).astype(np.uint8)


def window(shape: tuple[int, int], centre: tuple[int, int], size: tuple[int, int]) -> tuple[slice, slice]:
    """A part of a slice of ``size`` around a pixel, moved inwards at the edge and cut where the slice is smaller."""
    out = []
    for n, at, want in zip(shape, centre, size, strict=True):
        start = max(0, min(at - want // 2, n - want))
        out.append(slice(start, min(n, start + want)))
    return out[0], out[1]


def pixmap(rgb: NDArray[np.uint8], aspect: float, height: int) -> QPixmap:
    """As a picture on screen, ``height`` pixels high; ``aspect`` is a pixel's height over its width in mm."""
    rows, columns, _ = rgb.shape
    data = np.ascontiguousarray(rgb)
    image = QImage(data.tobytes(), columns, rows, 3 * columns, QImage.Format.Format_RGB888).copy()
    width = max(1, round(height * columns / (rows * aspect)))
    return QPixmap.fromImage(
        image.scaled(width, height, Qt.AspectRatioMode.IgnoreAspectRatio, Qt.TransformationMode.SmoothTransformation)
    )
