"""napari-pgrd: see, settle and correct the uncertainty of a segmentation.

The public names load torch only when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Bundle": "napari_pgrd.engine.bundle",
    "PgrdError": "napari_pgrd.engine.errors",
    "Prediction": "napari_pgrd.engine.aggregate",
    "Request": "napari_pgrd.engine.request",
    "Volume": "napari_pgrd.engine.volume",
    "predict": "napari_pgrd.engine.predict",
    "read_volume": "napari_pgrd.io.nifti",
}
__all__ = ["__version__", *_HOME]

if TYPE_CHECKING:
    from napari_pgrd.engine.aggregate import Prediction as Prediction
    from napari_pgrd.engine.bundle import Bundle as Bundle
    from napari_pgrd.engine.errors import PgrdError as PgrdError
    from napari_pgrd.engine.predict import predict as predict
    from napari_pgrd.engine.request import Request as Request
    from napari_pgrd.engine.volume import Volume as Volume
    from napari_pgrd.io.nifti import read_volume as read_volume


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
