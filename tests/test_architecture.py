"""The rules of the house that a reader of one file cannot see."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

TOP = Path(__file__).resolve().parents[1]
SOURCE = TOP / "src" / "napari_pgrd"
FILES = sorted(SOURCE.rglob("*.py"))
MAX_LINES = 350
HEAVY = {"torch", "monai"}
CHECKPOINT = SOURCE / "train" / "checkpoint.py"  # nnU-Net keeps its weights in one; nothing but numbers is made of it
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def modules_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_imports_go_down_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(TOP)
    assert lint_imports(config_filename="pyproject.toml", no_cache=True) == 0


def test_opening_the_dock_loads_neither_torch_nor_monai() -> None:
    loaded = modules_after("import napari_pgrd.viewer.dock")
    assert "napari" in loaded, "the module was imported at all"
    assert not loaded & HEAVY


def test_the_package_itself_loads_nothing_foreign() -> None:
    assert not modules_after("import napari_pgrd") & {"torch", "monai", "napari", "qtpy", "numpy"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_file_is_short_enough_to_read(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_nothing_is_read_or_written_as_a_pickle(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not PICKLES & {a.name.partition(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {a.name for a in node.names} - ({"UnpicklingError"} if path == CHECKPOINT else set())
            assert (node.module or "").partition(".")[0] not in PICKLES or not names
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            allowed = {("torch", "load")} if path == CHECKPOINT else set()
            assert (node.value.id, node.attr) not in {("torch", "load"), ("torch", "save")} - allowed
        elif isinstance(node, ast.keyword):
            assert node.arg != "allow_pickle"


def test_the_one_reader_of_a_pickle_reads_weights_alone() -> None:
    calls = [node for node in ast.walk(ast.parse(CHECKPOINT.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    loads = [call for call in calls if ast.unparse(call.func) == "torch.load"]
    assert len(loads) == 1
    told = {word.arg: ast.unparse(word.value) for word in loads[0].keywords}
    assert told["weights_only"] == "True"
