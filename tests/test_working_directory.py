"""A folder of images that somebody else filled may hold Python files; whoever works in it runs none of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import numpy as np
import pytest

from napari_pgrd.cluster.surroundings import scratch
from tests.dicoms import compress, write_series

MODULES = ("json", "multiprocessing", "torch", "numpy", "pydicom", "distributed", "napari_pgrd", "logging", "dask")
PLANTED = "import sys\nopen(r'{witness}', 'a').write(__name__ + ' by ' + ' '.join(sys.orig_argv[1:]) + '\\n')\n"
LOSSLESS = """
from napari_pgrd.io.dicom.series import read_series

print(read_series(".").data.sum())
"""
PROCESSES = """
from napari_pgrd.train.processes import start

raise SystemExit(start(2, ["--help"]))
"""
CLUSTER = """
import os, sys

if __name__ == "__main__":
    from napari_pgrd.cluster.connection import local_cluster

    before = dict(os.environ)
    with local_cluster(1, "cpu") as client:
        os.kill(next(iter(client.run(os.getpid).values())), 9)  # another is started in its place
        client.submit(abs, -1).result()
        folders = [p for p in sys.path if "dask-scratch-space" in p]
        assert folders, sys.path
        for folder in folders:
            private = folder[: folder.index("dask-scratch-space")]
            assert os.name == "nt" or os.stat(private).st_mode & 0o077 == 0, folder
    assert os.environ.get("PYTHONSAFEPATH") == before.get("PYTHONSAFEPATH")
    assert not any(os.path.exists(p) for p in folders if "scheduler-" in p), "it is cleaned up"
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder with modules whose names are those of well-known ones."""
    folder = tmp_path / "study"
    folder.mkdir()
    for name in MODULES:
        code = PLANTED.format(witness=tmp_path / "witness")
        (folder / f"{name}.py").write_text(code, encoding="utf-8")
    (folder / "multiprocessing.py").unlink()
    (folder / "multiprocessing").mkdir()
    (folder / "multiprocessing" / "__init__.py").write_text(PLANTED.format(witness=tmp_path / "witness"))
    return folder


def ran(study: Path, *words: object) -> tuple[subprocess.CompletedProcess[str], str]:
    """A program started in the folder, and what of the folder was run."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    env["OMP_NUM_THREADS"] = "1"
    command = [*map(str, words)]
    done = subprocess.run(command, cwd=study, env=env, capture_output=True, encoding="utf-8", check=False)
    witness = study.parent / "witness"
    return done, witness.read_text() if witness.exists() else ""


def script(study: Path, text: str) -> Path:
    """In a folder of its own, as ``pgrd`` is: Python puts the folder of a script first."""
    path = study.parent / "program" / "program.py"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_planted_is_run_where_nothing_prevents_it(study: Path) -> None:
    _, witness = ran(study, sys.executable, "-c", "import json")
    assert witness.startswith("json by")


def test_the_command_line_takes_nothing_from_where_it_is_started(study: Path) -> None:
    pgrd = shutil.which("pgrd", path=sysconfig.get_path("scripts"))
    assert pgrd
    done, witness = ran(study, pgrd, "predict", ".", "--device", "cpu", "--out", study.parent / "out")
    assert done.returncode == 2 and "pgrd: " in done.stderr, "there is no image"
    assert not witness


def test_the_decoder_takes_nothing_from_a_folder_of_images(study: Path) -> None:
    data = np.arange(960, dtype=np.int16).reshape(16, 20, 3)

    for path in write_series(study, data, elements={"modality": "CT", "number": 3}):
        compress(path, "JPEG")  # lossless, which is decoded in a process of its own
    done, witness = ran(study, sys.executable, script(study, LOSSLESS))
    assert not witness
    assert done.returncode == 0 and float(done.stdout) == data.sum(), done.stderr


def test_processes_of_a_training_take_nothing_from_the_working_directory(study: Path) -> None:
    done, witness = ran(study, sys.executable, script(study, PROCESSES))
    assert not witness
    assert done.returncode == 0 and "predict" in done.stdout, done.stderr


def test_workers_take_nothing_from_the_working_directory_nor_from_a_folder_open_to_all(study: Path) -> None:
    done, witness = ran(study, sys.executable, script(study, CLUSTER))
    assert not witness
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.name == "nt", reason="temporary files are everybody's own there")
def test_a_folder_that_somebody_else_laid_ready_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    first = scratch()
    assert scratch() == first, "what was left by a process that was killed is found again"
    os.chmod(first, 0o777)
    assert scratch() != first and os.stat(scratch()).st_mode & 0o077 == 0
    shutil.rmtree(first)
    os.symlink("/nowhere", first)
    assert scratch() != first
