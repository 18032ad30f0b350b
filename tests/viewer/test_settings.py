"""What is remembered, in napari's own store, through damage and homes that cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from napari.settings import _clear_plugin_settings_cache, get_plugin_settings, get_settings
from qtpy.QtWidgets import QLabel

from napari_pgrd.engine.request import MAX_SAMPLES
from napari_pgrd.session.state import ReviewState
from napari_pgrd.viewer import settings
from napari_pgrd.viewer.sample_panel import DEVICES, SOLVERS
from napari_pgrd.viewer.settings import PLUGIN, Remembered
from napari_pgrd.viewer.views import HEATS


@pytest.fixture
def store(tmp_path, monkeypatch) -> Path:
    """A fresh folder in the place of napari's own."""
    monkeypatch.setattr("napari.settings._CFG_PATH", tmp_path / "napari.yaml")
    monkeypatch.setattr(get_settings(), "config_path", tmp_path / "napari.yaml")
    _clear_plugin_settings_cache()
    yield tmp_path / f"{PLUGIN}.yaml"
    _clear_plugin_settings_cache()


def opened_again() -> Remembered:
    """What another start of napari would read."""
    _clear_plugin_settings_cache()
    return settings.load()


def test_nothing_is_remembered_at_first(store):
    assert settings.load() == Remembered()
    assert not store.exists()


def test_what_is_saved_is_there_at_the_next_start(store):
    assert settings.save(bundle="/models/mine", samples=5, initials="ab", planes=True, heat="entropy")
    assert settings.save(device="cpu")  # the rest stays
    expected = Remembered("/models/mine", "cpu", "", 5, "ab", True, "entropy")
    assert settings.load() == opened_again() == expected


def test_another_process_reads_it(tmp_path):
    env = {**os.environ, "NAPARI_CONFIG": str(tmp_path / "napari.yaml")}
    code = "from napari_pgrd.viewer import settings; "
    for line in (code + "settings.save(samples=7, heat='variance')", code + "assert settings.load().samples == 7"):
        done = subprocess.run([sys.executable, "-c", line], env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "content",
    [
        "remembered",
        "- a\n- b\n",
        "42",
        "remembered: {samples: [",
        "\x00\x01",
        "remembered: {samples: many}",
        "other: 1",
    ],
)
def test_a_damaged_file_costs_the_memory_and_nothing_else(store, content):
    store.write_text(content)
    assert opened_again() == Remembered()
    assert settings.save(samples=3)
    assert opened_again().samples == 3


def test_one_bad_value_does_not_take_the_good_ones_along(store):
    store.write_text("remembered: {samples: 5, device: toaster}")
    assert opened_again() == Remembered(samples=5)


def test_a_home_that_cannot_be_written_keeps_values_until_the_window_closes(store):
    store.mkdir()  # a folder where the file would be: no user, root included, can write it
    assert not settings.save(samples=4)
    assert settings.load().samples == 4


def test_an_unknown_name_is_not_stored(store):
    assert not settings.save(patient="somebody")
    assert not store.exists()


def test_the_manifest_the_class_and_the_panels_speak_of_the_same(store):
    section = type(get_plugin_settings(PLUGIN).remembered)
    for name, field in section.model_fields.items():
        assert field.default == getattr(Remembered(), name)
        assert field.title
        assert field.description
    assert set(section.model_fields) == set(Remembered.__dataclass_fields__)
    choices = {n: section.model_fields[n].json_schema_extra["enum"] for n in ("device", "solver", "heat")}
    assert choices["device"] == [value for value, _ in DEVICES]
    assert choices["solver"] == [value for value, _ in SOLVERS]
    assert choices["heat"] == [value for value, _ in HEATS]
    assert settings.save(samples=MAX_SAMPLES)
    state = ReviewState()
    assert (state.device, state.solver) == (Remembered().device, Remembered().solver)


def test_napari_shows_them_in_its_preferences(make_window, store):
    dialog = make_window().window._open_preferences_dialog()
    pages = [dialog._list.item(i).text() for i in range(dialog._list.count())]
    assert "PGRD" in pages
    page = dialog._stack.widget(pages.index("PGRD"))
    texts = " ".join(label.text() for label in page.findChildren(QLabel))
    for field in type(get_plugin_settings(PLUGIN).remembered).model_fields.values():
        assert field.title in texts
    dialog.close()
