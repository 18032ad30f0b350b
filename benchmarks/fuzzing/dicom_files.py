"""Hostile DICOM folders, made of real series and of the same pixels in every transfer syntax that is read."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tests.dicoms import write_enhanced, write_series

from fuzzing import mutators, syntaxes
from fuzzing.dicom_ways import WAYS, Element, bytes_alone, elements_of
from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.spec import read_spec
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.dicom import apart
from napari_pgrd.io.dicom.belonging import Ownership
from napari_pgrd.io.dicom.files import holds_dicom
from napari_pgrd.io.dicom.listing import choose, list_series
from napari_pgrd.io.dicom.seg import Making, write_seg
from napari_pgrd.io.dicom.series import load_series, read_series
from napari_pgrd.io.masks import read_mask

MADE = Making("AUTOMATIC", "fuzz")
MANY = 4000  # frames; if each were looked for from the first one on, they would take longer than an input may


@dataclass(frozen=True)
class Seed:
    """The files of a series, and where the elements of each stand; for a segmentation, the image that it lies on."""

    name: str
    files: tuple[bytes, ...]
    elements: tuple[tuple[Element, ...], ...]
    image: Volume | None = None


class Family:
    """Folders with one series or several, with segmentations, and with things that are neither."""

    name = "dicom"

    def __init__(self, folder: Path, canary: Path, linked: Path, data: Path | None) -> None:
        apart.kept = (
            contextlib.nullcontext
        )  # the decoder's process then goes on from series to series: starting it takes 1 s
        self.spec, self.linked = read_spec("hippocampus-mri"), linked
        grid = np.meshgrid(*[np.linspace(0, 3, n) for n in (33, 21, 3)], indexing="ij")
        pixels = (900 * np.sin(sum(grid)) + 30 * grid[0]).astype(np.int16)
        if data:
            real = read_series(data / "dicom/hippocrop/Study1_13_HCropVolume").data[0]
            pixels = np.ascontiguousarray(real[:33, :21, 10:13]).astype(np.int16)
        self.seeds: list[Seed] = []
        for name, written in syntaxes.folders(folder, pixels):
            self._add(name, sorted(written.rglob("*.dcm")))
        self._add("enhanced", [write_enhanced(folder / "enhanced" / "all.dcm", pixels)])
        plain = write_series(folder / "imaged", pixels)
        image = read_series(folder / "imaged")
        labels = np.zeros(image.shape, np.uint8)
        labels[8:20, 5:15, 1], labels[10:20, 5:15, 2] = 1, 2
        for kind, values in (("BINARY", labels), ("LABELMAP", labels), ("FRACTIONAL", _shares(labels))):
            write_seg(folder / f"{kind}.dcm", values, kind, image, self.spec, MADE)
            self._add(f"segmentation {kind}", [folder / f"{kind}.dcm"], image)
        self.plain = plain[0].read_bytes()
        self.slow = len(self.seeds)  # those that follow are slower, so chosen less often
        linked.joinpath("slice.dcm").write_bytes(self.plain)
        if data:
            self._add("many frames", [syntaxes.many_frames(folder / "many" / "all.dcm", MANY)])
            self._add_real(data / "dicom")

    def _add_real(self, data: Path) -> None:
        """Whole files as scanners and other programs write them."""
        self._add("hippocrop", sorted((data / "hippocrop/Study1_13_HCropVolume").glob("*.dcm"))[:3])
        self._add("JPEG 2000 CT", sorted((data / "ct_jpeg2000").iterdir())[:2])
        self._add("liver CT", sorted((data / "dcmqi_ct3_liver_seg").glob("0*.dcm"))[:2])
        liver = read_series(data / "dcmqi_ct3_liver_seg/01.dcm")
        for path in sorted((data / "dcmqi_ct3_liver_seg").glob("[lp]*.dcm")):
            self._add(f"segmentation {path.stem}", [path], liver)
        image = read_series(data / "highdicom/ct_image.dcm")
        for path in sorted((data / "highdicom").glob("seg*.dcm")):
            self._add(f"segmentation {path.stem}", [path], image)

    def _add(self, name: str, files: list[Path], image: Volume | None = None) -> None:
        raws = tuple(path.read_bytes() for path in files)
        self.seeds.append(Seed(name, raws, tuple(elements_of(path) for path in files), image))

    def make(self, rng: random.Random, folder: Path) -> tuple[str, Callable[[], Any]]:
        """A folder or a file, and what reads it."""
        real = len(self.seeds) > self.slow and rng.random() < 0.06
        seed = rng.choice(self.seeds[self.slow :] if real else self.seeds[: self.slow])
        way = rng.choice(list(WAYS) + ["values"] * 4 + ["bytes"] * 2)
        files = list(seed.files)
        for at in rng.sample(range(len(files)), k=rng.choice((1, 1, len(files)))):
            files[at] = (WAYS[way] if seed.elements[at] else bytes_alone)(rng, files[at], seed.elements[at])
        for at, raw in enumerate(files):
            (folder / f"{at}.dcm").write_bytes(raw)
        mixed = rng.random() < 0.15
        if mixed:
            self._mix(rng, folder)
        if seed.image is not None:
            image = seed.image
            return f"segmentation: {way}", lambda: self._use_seg(folder / "0.dcm", image)
        where = folder if mixed or rng.random() < 0.7 else folder / "0.dcm"
        return f"{seed.name}{', mixed' * mixed}: {way}", lambda: self._use(rng, where)

    def _mix(self, rng: random.Random, folder: Path) -> None:
        """Among the files something that does not belong there."""
        for _ in range(rng.choice((1, 2, 4))):
            name = rng.choice(
                ("x", "x.dcm", ".hidden", "a\nb.dcm", "\udcff.dcm", "\x1b[2J.dcm", "DICOMDIR", "n" * 200, "seg.dcm")
            )
            path = folder / f"{rng.randrange(9)}{name}"[:255]
            how = rng.randrange(11)
            if path.is_fifo():  # which would be written to for ever
                path.unlink()
            with contextlib.suppress(OSError):
                if how == 0:
                    os.mkfifo(path)
                elif how == 1:
                    path.symlink_to(
                        rng.choice((folder, self.linked / "slice.dcm", "/dev/zero", path, "nowhere", "/proc/self/mem"))
                    )
                elif how == 2:
                    deep = folder.joinpath(*("d" for _ in range(rng.choice((1, 30, 300)))))
                    deep.mkdir(parents=True, exist_ok=True)
                    (deep / "y.dcm").write_bytes(self.plain)
                elif how == 3:
                    path.write_bytes(
                        rng.choice((b"", b"DICM", bytes(128) + b"DICM", bytes(132), b"\x08\0\x05\0CS\0\0" + bytes(20)))
                    )
                elif how <= 6:
                    path.write_bytes(rng.choice(rng.choice(self.seeds[: self.slow]).files))
                elif how == 7:
                    path.mkdir()
                else:
                    path.write_bytes(mutators.bytes_of(rng, self.plain))

    def _use(self, rng: random.Random, where: Path) -> None:
        """List and read as a window does: every series that is listed."""
        holds_dicom(where)
        listed = list_series(where)
        for one in listed:
            assert one.text.isprintable() and one.title.isprintable() and len(one.text) < 500, "a line that is none"
        errors = []
        for key in [None, *(one.key for one in listed)][: 1 if len(listed) == 1 else 5]:
            try:
                volume = load_series(choose(where, key))
            except InputError as error:
                errors.append(error)
                continue
            assert volume.data.dtype == np.float32 and np.isfinite(volume.data).all(), "voxels that are no numbers"
            assert np.isfinite(volume.affine).all() and min(volume.spacing) > 0, "no place"
            assert volume.name.isprintable(), "a name that is none"
            if rng.random() < 0.03:  # exports take the patient along
                labels = np.zeros(volume.shape, np.uint8)
                labels[0, 0, 0] = 1
                out = Path(os.environ["TMPDIR"]) / "out.dcm"
                write_seg(out, labels, "BINARY", volume, self.spec, MADE, Ownership(rng.random() < 0.5))
                out.unlink()
        if errors:
            raise errors[0]

    def _use_seg(self, path: Path, image: Volume) -> None:
        taken = read_mask(path, image, self.spec)
        assert taken.values.shape == image.shape and taken.values.dtype == np.uint8, "a mask on another grid"
        assert set(np.unique(taken.values).tolist()) <= set(self.spec.values.tolist()), "values of no label"
        if not taken.note.isprintable() or len(taken.note) > 2000:
            raise AssertionError("a note that is none")


def _shares(labels: np.ndarray) -> np.ndarray:
    return np.stack([(labels == k).astype(np.float32) for k in range(3)])
