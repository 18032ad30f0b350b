"""Inputs that coverage guides (atheris): bytes straight into the parsers that are written in Python.

atheris is no dependency of anything here: ``pip install atheris`` where there is a wheel of it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fuzzing import mutators

TARGETS = ("nifti", "bundle", "safetensors", "session", "edits", "dicom")
DECISIONS = [bytes(range(start, start + 64)) for start in range(0, 192, 16)]
VALUES = [0, -1, 1.5, "", "x", None, True, [], {}, [1, 2, 3], {"a": 1}, 2**40, 1e300]
MEGABYTES = 2048  # resident; atheris itself holds a few hundred
LONGEST = 4096  # bytes of an input


def campaign(minutes: float, out: Path) -> int:
    """Every target in a process of its own; the counts go into the results."""
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed: pip install atheris", file=sys.stderr)
        return 2
    found: dict[str, Any] = {"atheris": version("atheris"), "seconds_a_target": round(minutes * 60), "targets": {}}
    for target in TARGETS:
        found["targets"][target] = run(target, minutes)
        print(target, found["targets"][target], flush=True)
    found["inputs"] = sum(row["inputs"] for row in found["targets"].values())
    found["findings"] = sum(bool(row["finding"]) for row in found["targets"].values())
    whole = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    out.write_text(json.dumps({**whole, "guided": found}, indent=1) + "\n", encoding="utf-8")
    return int(found["findings"] > 0)


def run(target: str, minutes: float) -> dict[str, Any]:
    """One target; what libFuzzer says of it at its end."""
    with tempfile.TemporaryDirectory(prefix="pgrd-guided-") as name:
        corpus = Path(name, "corpus")
        corpus.mkdir()
        command = [sys.executable, str(Path(__file__).parents[1] / "fuzz.py"), "target", target, str(corpus)]
        command += [f"-max_total_time={round(minutes * 60)}", "-timeout=10", f"-rss_limit_mb={MEGABYTES}"]
        command += [f"-max_len={LONGEST}", "-print_final_stats=1", f"-artifact_prefix={name}/", "-seed=1"]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=name, check=False)
        said = done.stdout + done.stderr
        inputs = re.findall(r"number_of_executed_units:\s*(\d+)", said)
        covered = re.findall(r"\bcov: (\d+)", said)
        finding = "" if done.returncode == 0 else said[-1500:]
        return {
            "inputs": int(inputs[-1]) if inputs else 0,
            "covered": int(covered[-1]) if covered else 0,
            "finding": finding,
        }


def target(name: str, words: list[str]) -> None:
    """In the process of a target: never returns."""
    import atheris

    with atheris.instrument_imports(include=["napari_pgrd", "nibabel", "pydicom", "pydantic", "json"]):
        run, seeds = _target(name, Path(tempfile.mkdtemp(prefix="pgrd-input-")))
    corpus = Path(next(word for word in words if not word.startswith("-")))
    for at, seed in enumerate(seeds):
        (corpus / f"seed-{at}").write_bytes(seed[:LONGEST])

    def one(data: bytes) -> None:
        from napari_pgrd.engine.errors import PgrdError

        try:
            run(data)
        except PgrdError as error:
            if not str(error).isprintable():
                raise AssertionError("a sentence that a terminal obeys") from error

    atheris.Setup([sys.argv[0], *words], one)
    atheris.Fuzz()


def _target(name: str, folder: Path) -> tuple[Callable[[bytes], Any], list[bytes]]:
    """What takes bytes, and what it takes them from first."""
    os.environ["NAPARI_PGRD_STATE"] = str(folder)
    if name == "nifti":
        import nibabel as nib
        import numpy as np

        from napari_pgrd.io.nifti import read_volume

        image = nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(5, 4, 3), np.diag([0.5, 1, 2, 1]))
        second = nib.Nifti2Image(np.asarray(image.dataobj), image.affine)
        return lambda data: read_volume(_put(folder / "scan.nii", data)), [image.to_bytes(), second.to_bytes()]
    if name == "bundle":
        from napari_pgrd.engine.spec import EMBEDDED, parse_spec

        content = json.loads(next(EMBEDDED.glob("hippocampus*/bundle.json")).read_bytes())
        return lambda data: parse_spec(_spoilt(data, content), "model"), DECISIONS
    if name == "safetensors":
        return _safetensors(folder)
    if name == "session":
        from napari_pgrd.session.folder import SESSION, read_session

        content = json.loads((_review(folder) / SESSION).read_bytes())
        return lambda data: read_session(_put(folder / "x.pgrd" / SESSION, _spoilt(data, content)).parent), DECISIONS
    if name == "edits":
        from napari_pgrd.session.correction import Correction

        logs = [path.read_bytes() for path in _review(folder).glob("edits-*")]
        return lambda data: Correction.open(_put(folder / "edits-0.log", _framed(data)), image=(6, 5, 4)), logs
    from tests.dicoms import ramp, write_series

    from napari_pgrd.io.dicom.series import read_series

    files = [path.read_bytes() for path in write_series(folder / "seeds", ramp())]
    return lambda data: read_series(_put(folder / "one" / "0.dcm", data)), files


class Drawn(random.Random):
    """Chance that is read from an input, so that coverage guides what a mutator does."""

    def __init__(self, data: bytes) -> None:
        super().__init__(0)
        self._data, self._at = data, 0

    def random(self) -> float:
        return self.getrandbits(16) / 2**16

    def getrandbits(self, k: int, /) -> int:
        size = (k + 7) // 8
        part = self._data[self._at : self._at + size]
        self._at += size
        return int.from_bytes(part.ljust(size, b"\0"), "little") & ((1 << k) - 1)


def _spoilt(data: bytes, content: Any) -> bytes:
    """A description with what an input decides changed: spoilt as bytes, next to nothing would be JSON any more."""
    return mutators.dumps(mutators.tree(Drawn(data), content, VALUES))


def _put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def _safetensors(folder: Path) -> tuple[Callable[[bytes], Any], list[bytes]]:
    import hashlib

    from tests.tiny import make_tiny_bundle

    from napari_pgrd.engine.bundle import Bundle

    where = make_tiny_bundle(folder / "tiny", denoiser=None, method="deterministic")
    content = json.loads((where / "bundle.json").read_text())
    raw = (where / "prior.safetensors").read_bytes()

    def run(data: bytes) -> None:
        whole = data + raw[len(data) :] if len(data) < len(raw) else data
        (where / "prior.safetensors").write_bytes(whole)
        content["weights"] = {"prior.safetensors": hashlib.sha256(whole).hexdigest()}
        (where / "bundle.json").write_text(json.dumps(content))
        Bundle.load(where).networks()

    return run, [raw[:LONGEST]]


def _review(folder: Path) -> Path:
    from tests.session.reviews import make_review

    from napari_pgrd.session.review import save

    return save(folder / "seed.pgrd", make_review(folder / "logs"))


def _framed(data: bytes) -> bytes:
    """Records whose checksums are right: else no input would come past them."""
    import struct
    import zlib

    from napari_pgrd.session.editlog import MAGIC

    out, at, rest = MAGIC, 0, data.removeprefix(MAGIC)
    while at + 8 < len(rest):
        length = min(struct.unpack_from("<I", rest, at)[0] % 2048, len(rest) - at - 8)
        payload = rest[at + 8 : at + 8 + length]
        out += struct.pack("<II", len(payload), zlib.crc32(payload)) + payload
        at += 8 + length
    return out
