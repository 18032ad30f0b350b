"""Files that a folder given by somebody else names, opened only if they lie in it."""

from __future__ import annotations

from pathlib import Path


def inside(folder: Path, name: str) -> Path | None:
    """A file of that name in the folder; None if it is none, is no file, or a link leads out of the folder.

    Pipes and devices are no files: reading them may never end.
    """
    try:
        real = (folder / name).resolve(strict=True)
        within = name == Path(name).name and real.parent == folder.resolve()
        return folder / name if within and real.is_file() else None
    except (OSError, RuntimeError, ValueError):  # missing, a link to itself, a name that no file can have
        return None
