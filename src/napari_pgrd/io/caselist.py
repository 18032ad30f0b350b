"""Images to be segmented one by one: those of a folder, or of a list in a text, CSV or JSON file.

The channels of one case are files whose names end in ``_0000``, ``_0001`` ... as nnU-Net names them, or stand beside
each other in a CSV or JSON file.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import reprlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.cases import CHANNEL
from napari_pgrd.io.channels import believed
from napari_pgrd.io.nifti import SUFFIXES, is_nifti, stem

CASE_COLUMN = "case"
IMAGE_COLUMN = re.compile(r"(?:images?|channels?)(?P<which>|[ _-]?\w[\w .+-]*)", re.IGNORECASE)
UNFIT = re.compile(r'[\x00-\x1f/\\:*?"<>|]')  # in a folder's name, on one system or another
LONGEST = 120
SHORT = reprlib.Repr()  # what stands in a list may be as long or as deep as it likes
SHORT.maxstring = SHORT.maxother = LONGEST
HOW = (
    'Give a text file with a path a line, a CSV file with the columns "case" and "image" (or "image_0", "image_1" ... '
    'or "image_t1", "image_t2" ... for channels), or a JSON list of paths or of {"case": name, "images": [paths]}.'
)


@dataclass(frozen=True)
class ImageFiles:
    """One case: its name, and a file a channel, or a folder with a DICOM series.

    ``columns`` are the heads of the list's columns that the images stood in, if it has such.
    """

    name: str
    images: tuple[Path, ...]
    columns: tuple[str, ...] = ()

    def digest(self, channels: Sequence[str]) -> str:
        """SHA-256 over the contents of all that is read of it, in the order of the model's channels.

        No name is in it. Of a DICOM series all files count, also where one of them stands for it in a list, and no file
        that lies beside them.

        Raises
        ------
        InputError
            If one cannot be read, or a folder does not say which series is meant.
        """
        from napari_pgrd.io.images import files_of  # pydicom, which takes a while

        state = hashlib.sha256()
        for path, files in files_of(self.images, channels, self.columns):
            try:
                each = sorted(map(_hashed, files))
            except OSError as error:
                raise InputError(f"{path.name} cannot be read ({error.strerror}). Check the path.") from error
            state.update(b"".join(each) + b"channel")
        return state.hexdigest()


def _hashed(file: Path) -> bytes:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def find_images(
    where: str | Path,
    channels: Sequence[str] = ("image",),
    leave_out: Sequence[Path] = (),
    say: Callable[[str], None] = lambda text: None,
    taken: Sequence[str] = (),
) -> list[ImageFiles]:
    """The cases of a folder or of a list, in its order.

    Parameters
    ----------
    where : path
        In a folder every image counts, and every folder in it that holds no NIfTI file but others, as a DICOM series
        does. Paths in a list are relative to the list.
    channels : sequence of str
        What those of the model are called. How many there are decides whether ``_0000`` is a channel's number or part
        of a name.
    leave_out : sequence of paths
        Folders that are not looked into, such as that of the results.
    say : callable
        Hears of columns that name no channel of the model.
    taken : sequence of str
        Names that something else among the results has.

    Raises
    ------
    InputError
        If there is no such file or folder, it lists nothing, a line cannot be understood, two cases bear one name, or
        one bears a taken name.
        A file that is missing is left for its case to say.
    """
    path = Path(where)
    require(path.exists(), InputError, f"There is no file or folder {path.name}. Check the path.")
    if path.is_dir():
        found = grouped(_inside(path, leave_out), len(channels))
        require(
            bool(found),
            InputError,
            f"{path.name} holds no {' or '.join(SUFFIXES)} file and no folder with a series. Check the path.",
        )
    else:
        found = _listed(path, channels, say)
        require(bool(found), InputError, f"{path.name} lists no image. {HOW}")
    names = [case.name.casefold() for case in found]  # Windows and macOS tell no capitals apart
    twice = sorted({case.name for case in found if names.count(case.name.casefold()) > 1})
    require(
        not twice,
        InputError,
        f"{len(twice)} names stand for several cases ({', '.join(twice[:3])}), whose results would lie in one folder. "
        'Name each case, in the column "case" of a CSV file or in a JSON file.',
    )
    for case in found:
        require(
            0 < len(case.name) <= LONGEST and not UNFIT.search(case.name) and not case.name.startswith("."),
            InputError,
            f"{SHORT.repr(case.name)} cannot be the name of a folder for results. "
            'Give a name without / \\ : * ? " < > |, '
            f"that does not begin with a full stop and has at most {LONGEST} letters.",
        )
        require(
            case.name.casefold() not in {name.casefold() for name in taken},
            InputError,
            f"A case is named {case.name}, where the results of all cases belong. Give it another name, in the column "
            '"case" of a CSV file or in a JSON file.',
        )
    return found


def open_image(
    case: ImageFiles,
    channels: Sequence[str],
    resample: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Volume:
    """The image of a case, as ``pgrd predict`` reads it: a file or DICOM series a channel, in the model's order.

    ``resample`` and ``say`` are those of :func:`~napari_pgrd.io.images.read_image`.
    """
    from napari_pgrd.io.images import read_image  # pydicom, which takes a while

    return read_image(case.images, (), channels, resample, say, case.columns)


def grouped(paths: Iterable[Path], channels: int) -> list[ImageFiles]:
    """Files as cases: by nnU-Net's channel numbers if all names end in one and they fit, else each by itself."""
    files = list(paths)
    by_case: dict[str, list[tuple[int, Path]]] = {}
    for path in files:
        found = CHANNEL.search(stem(path))
        if found is None or os.path.isdir(path):  # False, not an error, of what no path can be
            return [ImageFiles(stem(p), (p,)) for p in files]
        by_case.setdefault(CHANNEL.sub("", stem(path)), []).append((int(found[0][1:]), path))
    ordered = {name: sorted(parts) for name, parts in by_case.items()}
    numbers = [[n for n, _ in parts] for parts in ordered.values()]
    # A year at the end of a name is no channel: some case must have all of them, and none one that there is not.
    if list(range(channels)) not in numbers or any(n >= channels for each in numbers for n in each):
        return [ImageFiles(stem(p), (p,)) for p in files]
    return [ImageFiles(name, tuple(p for _, p in parts)) for name, parts in ordered.items()]


def _inside(folder: Path, leave_out: Sequence[Path]) -> list[Path]:
    left = {p.resolve() for p in leave_out}
    seen = [p for p in sorted(folder.iterdir()) if not p.name.startswith(".") and p.resolve() not in left]
    images = [p for p in seen if p.is_file() and is_nifti(p)]
    return images + [p for p in seen if p.is_dir() and _may_be_series(p)]


def _may_be_series(folder: Path) -> bool:
    files = [p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")]
    return bool(files) and not any(is_nifti(p) for p in files)


def _listed(path: Path, channels: Sequence[str], say: Callable[[str], None]) -> list[ImageFiles]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        kind = path.suffix.lower()
        if kind == ".json":
            return _from_json(json.loads(text), path, len(channels))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path.name} is no readable list of images. {HOW}") from error
    if kind in (".csv", ".tsv"):
        return _from_csv(text, path, channels, say)
    lines = (line.strip() for line in text.splitlines())
    return grouped([_at(path, line) for line in lines if line and not line.startswith("#")], len(channels))


def _from_csv(text: str, path: Path, channels: Sequence[str], say: Callable[[str], None]) -> list[ImageFiles]:
    first = text.partition("\n")[0]
    mark = max("\t;,", key=first.count)
    try:
        rows = [row for row in csv.reader(text.splitlines(), delimiter=mark) if any(cell.strip() for cell in row)]
    except csv.Error as error:  # a field longer than any path, most often after a quotation mark that nothing closes
        raise InputError(f"{path.name} is no readable table of images. {HOW}") from error
    head = [cell.strip() for cell in rows[0]] if rows else []
    columns = _in_order(head, path, channels, say)
    require(bool(columns), InputError, f"{path.name} has no column named image (its columns: {', '.join(head)}). {HOW}")
    named = [i for i, name in enumerate(head) if name.lower() == CASE_COLUMN]
    entries: list[tuple[str, list[Path]]] = []
    heads: list[tuple[str, ...]] = []
    for number, row in enumerate(rows[1:], 2):
        filled = [i for i in columns if i < len(row) and row[i].strip()]
        require(bool(filled), InputError, f"{path.name}, row {number}, names no image. {HOW}")
        name = row[named[0]].strip() if named and named[0] < len(row) else ""
        entries.append((name, [_at(path, row[i].strip()) for i in filled]))
        heads.append(tuple(head[i] for i in filled))
    cases = _entries(entries, len(channels))
    if len(cases) != len(heads):  # single files, put together by their names
        return cases
    return [replace(case, columns=words) for case, words in zip(cases, heads, strict=True)]


def _in_order(head: Sequence[str], path: Path, channels: Sequence[str], say: Callable[[str], None]) -> list[int]:
    """Which columns hold images, those with numbers in their order; what names no channel is said."""
    found = {i: which["which"].lstrip(" _-") for i, name in enumerate(head) if (which := IMAGE_COLUMN.fullmatch(name))}
    if all(which.isdecimal() for which in found.values()):
        return sorted(found, key=lambda i: int(found[i]))
    columns = list(found)
    sure = believed([head[i] for i in columns], channels).values()
    vain = [head[i] for n, i in enumerate(columns) if n not in sure and found[i] and not found[i].isdecimal()]
    if vain:
        say(
            f"{path.name}: no channel of the model ({', '.join(channels)}) is named by {', '.join(vain)} alone; such "
            "files become channels by their own names, else by their order."
        )
    return columns


def _from_json(content: Any, path: Path, channels: int) -> list[ImageFiles]:
    if isinstance(content, dict):
        content = [{"case": name, "images": images} for name, images in content.items()]
    require(isinstance(content, list), InputError, f"{path.name} is no list of images. {HOW}")
    return _entries([_json_entry(entry, path) for entry in content], channels)


def _json_entry(entry: Any, path: Path) -> tuple[str, list[Path]]:
    name: Any = ""
    images = entry
    if isinstance(entry, dict):
        name, images = entry.get("case", ""), entry.get("images", entry.get("image"))
    images = [images] if isinstance(images, str) else images
    good = isinstance(images, list) and bool(images) and all(isinstance(p, str) and p for p in images)
    require(good and isinstance(name, str), InputError, f"{path.name}: {SHORT.repr(entry)} is no image. {HOW}")
    return name, [_at(path, p) for p in images]


def _entries(entries: Sequence[tuple[str, list[Path]]], channels: int) -> list[ImageFiles]:
    """Named cases as they are; single files without names are looked at together, as those of a folder."""
    if all(not name and len(paths) == 1 for name, paths in entries):
        return grouped([paths[0] for _, paths in entries], channels)
    return [
        ImageFiles(name or CHANNEL.sub("", stem(paths[0])) if len(paths) > 1 else name or stem(paths[0]), tuple(paths))
        for name, paths in entries
    ]


def _at(path: Path, text: str) -> Path:
    return path.parent / Path(text).expanduser()
