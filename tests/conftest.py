"""Every test runs on a real or virtual screen and never touches the user's own settings."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Set before anything imports Qt, napari or matplotlib, which read them once.
_HOME = tempfile.TemporaryDirectory(prefix="napari-pgrd-tests-", ignore_cleanup_errors=True)
os.environ.setdefault("QT_API", "pyqt6")
os.environ["MPLBACKEND"] = "Agg"
os.environ["NAPARI_CONFIG"] = str(Path(_HOME.name) / "napari.yaml")
for _variable in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "APPDATA", "LOCALAPPDATA"):
    os.environ[_variable] = str(Path(_HOME.name) / _variable.lower())


def pytest_configure(config: pytest.Config) -> None:
    """Say what is missing before Qt aborts the interpreter."""
    screens = ("DISPLAY", "WAYLAND_DISPLAY")
    offscreen = os.environ.get("QT_QPA_PLATFORM", "").startswith("offscreen")
    if sys.platform == "linux" and not offscreen and not any(os.environ.get(name) for name in screens):
        raise pytest.UsageError(
            "The tests open windows, and there is no screen. Run 'make test', or put "
            "xvfb-run -a -s '-screen 0 1280x800x24' before the command."
        )


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    """No test starts with the settings that another test used."""
    yield
    if (settings := sys.modules.get("napari.settings")) is not None:
        settings._clear_plugin_settings_cache()
        Path(os.environ["NAPARI_CONFIG"]).with_name("napari-pgrd.yaml").unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def _own_reviews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test is offered the unfinished reviews of another."""
    monkeypatch.setenv("NAPARI_PGRD_STATE", str(tmp_path / "reviews"))


@pytest.fixture(scope="session", autouse=True)
def _temporary_home() -> Iterator[None]:
    """Delete the temporary settings when the last test has run."""
    yield
    _HOME.cleanup()
