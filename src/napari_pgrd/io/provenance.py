"""Which versions made a result."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from napari_pgrd import __version__

LIBRARIES = ("torch", "monai", "numpy", "scipy", "nibabel")
RESEARCH_USE = "For research use; not a medical device"


def versions() -> dict[str, str]:
    """Versions of this program, of Python and of the libraries that compute, without importing those."""
    out = {"napari-pgrd": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            out[name] = "unknown"
    return out


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
