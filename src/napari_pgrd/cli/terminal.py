"""Reading options and showing progress."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.volume import Box

RANGES = re.compile(r"\s*x?(\d+):(\d+)\s*,\s*y?(\d+):(\d+)\s*,\s*z?(\d+):(\d+)\s*")
Show = Callable[[float, str], None]


def parse_box(text: str | None) -> Box | None:
    """``"10:50,0:56,4:44"`` as half-open voxel ranges on x, y, z."""
    if text is None:
        return None
    found = RANGES.fullmatch(text)
    if found is None:
        raise InputError(f"The box {text!r} is not understood; give voxel ranges as x0:x1,y0:y1,z0:z1.")
    a, b, c, d, e, f = (int(n) for n in found.groups())
    return (a, b), (c, d), (e, f)


@contextmanager
def progress() -> Iterator[Show]:
    """A bar on stderr, fed with ``show(fraction, text)``; nothing where stderr is no terminal."""
    console = Console(stderr=True)
    columns = (BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda fraction, text: bar.update(task, completed=fraction, description=text)


def tell(text: str) -> None:
    """A line on stderr, such as a training writes every few seconds."""
    Console(stderr=True, highlight=False, soft_wrap=True, markup=False).print(text)


def shown(path: Path) -> str:
    """A path as a committed record may state it: relative as it was given, or the last two parts of an absolute one."""
    return Path(*path.parts[-2:]).as_posix() if path.is_absolute() else path.as_posix()
