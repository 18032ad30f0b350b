"""What the plugin remembers from one day to the next: plugin settings of napari, shown in its Preferences.

The manifest declares them under ``configurations``; napari 0.9 keeps them in a YAML file of its own beside
its settings. napari writes that file in place and stops at one that holds no mapping, so both are guarded here: nothing
about a settings file may keep the dock from opening or a run from starting.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from napari.settings import get_plugin_settings, get_settings

PLUGIN, SECTION = "napari-pgrd", "remembered"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Remembered:
    """Values as the manifest declares them.

    Attributes
    ----------
    bundle : str
        Embedded name or folder; empty for the first embedded one.
    device, solver, cluster, heat : str
        As :class:`~napari_pgrd.session.state.ReviewState` and the heat combo name them.
    insecure : bool
        Whether a plain connection to that cluster was allowed.
    samples : int
        0: as many as the bundle proposes.
    initials : str
        Of the reader, for exports.
    planes : bool
        Whether the linked planes are shown.
    """

    bundle: str = ""
    device: str = "auto"
    solver: str = ""
    samples: int = 0
    initials: str = ""
    planes: bool = False
    heat: str = "off"
    cluster: str = ""
    insecure: bool = False


def load() -> Remembered:
    """What was remembered; the defaults where nothing was, or nothing that can be read."""
    stored = _stored()
    return Remembered(**{f.name: getattr(stored, f.name) for f in fields(Remembered)}) if stored else Remembered()


def save(**changes: Any) -> bool:
    """Remember some values; the others stay.

    Returns
    -------
    bool
        Whether they are on disk. Where they cannot be written (a home that is read-only, a full disk) they hold until
        the window closes.
    """
    stored, new = _stored(), asdict(Remembered())
    if stored is None or not changes.keys() <= new.keys():
        return False
    changed = {key: value for key, value in changes.items() if getattr(stored, key) != value}
    if not changed:
        return True
    try:
        stored.update(changed)
    except Exception as error:  # the event system of napari wraps what happens while it writes
        logger.warning("Settings could not be written: %s", type(error).__name__)
        return False
    return True


def _stored() -> Any:
    """The section of napari's plugin settings, or None."""
    for _ in range(2):
        try:
            return getattr(get_plugin_settings(PLUGIN), SECTION)
        except KeyError:  # the plugin is switched off in napari, or ran from no installation
            return None
        except Exception as error:  # whatever is wrong with a settings file, the dock opens
            logger.warning("Settings could not be read: %s", type(error).__name__)
            if not _set_aside():
                return None
    return None


def _set_aside() -> bool:
    """Rename a settings file that napari stops at, as a crash may leave it."""
    path = Path(get_settings().config_path or "").parent / f"{PLUGIN}.yaml"
    try:
        path.replace(path.with_suffix(".damaged.yaml"))
    except OSError:
        return False
    return True
