"""The keys of the dock: the one table that binds them, labels the buttons and fills the help.

A new key is a new line here: its key, what it does, and the method it calls, as a path below the dock.
``tests/viewer/test_keys.py`` fails if napari uses the key itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.components import ViewerModel


@dataclass(frozen=True)
class Key:
    """One key, what it does, and the method that does it."""

    key: str
    text: str
    action: str
    arguments: tuple[Any, ...] = ()


KEYS = (
    Key(",", "Previous place", "places.previous"),
    Key(".", "Next place", "places.next"),
    Key("N", "Settle this place, on to the next", "places.settle"),
    Key("J", "Previous answer at this place", "places.cycle", (-1,)),
    Key("K", "Next answer at this place", "places.cycle", (1,)),
    Key("G", "Previous sample", "views.step", (-1,)),
    Key("H", "Next sample", "views.step", (1,)),
    Key("U", "Heat: off, entropy, variance", "views.next_heat"),
    Key("W", "Linked planes: show or hide", "planes.toggle"),
    Key("F1", "Show or hide this list", "help.toggle"),
)
MOUSE = (
    ("Drag the middle button, or Shift + right", "Window (sideways), level (up: brighter)"),
    ("Double-click the middle button", "Usual window again"),
    ("Click or drag in a small plane", "Go to that point"),
    ("Wheel over a small plane", "Through its slices"),
    ("Click the image (pan and zoom mode)", "Move the small planes there"),
)
# Those of napari that a correction needs; the help shows the keys that napari has for them now.
NAPARI = (
    ("napari:activate_labels_paint_mode", "Brush"),
    ("napari:activate_labels_erase_mode", "Eraser"),
    ("napari:activate_labels_polygon_mode", "Polygon"),
    ("napari:activate_labels_fill_mode", "Fill"),
    ("napari:decrease_brush_size", "Smaller brush"),
    ("napari:increase_brush_size", "Larger brush"),
    ("napari:toggle_preserve_labels", "Keep other labels"),
    ("napari:hold_for_pan_zoom", "Move the image while held"),
)


def key_of(action: str, *arguments: Any) -> str:
    """The key bound to an action, for the text of its button; "" if there is none."""
    return next((k.key for k in KEYS if (k.action, k.arguments) == (action, arguments)), "")


def tip(text: str, action: str, *arguments: Any) -> str:
    """A tooltip that ends with the action's key."""
    key = key_of(action, *arguments)
    return f"{text}  (key {key})" if key else text


def bind(viewer: ViewerModel, dock: Any) -> Callable[[], None]:
    """Bind every key to its method of the dock; returns what unbinds them."""
    for key in KEYS:
        method = attrgetter(key.action)(dock)
        viewer.bind_key(key.key, lambda _, run=method, given=key.arguments: run(*given), overwrite=True)

    def unbind() -> None:
        for key in KEYS:
            viewer.bind_key(key.key, None)

    return unbind
