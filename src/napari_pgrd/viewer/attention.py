"""Whether a reader is at the dock: which tab is in sight, whether the window is active, and when an input came."""

from __future__ import annotations

import time
from collections.abc import Callable

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject
from qtpy.QtGui import QGuiApplication, QWindow
from qtpy.QtWidgets import QTabWidget, QWidget

from napari_pgrd.session.phases import PhaseClock

_T = QEvent.Type
INPUTS = frozenset(
    (
        _T.MouseButtonPress,
        _T.MouseButtonRelease,
        _T.MouseMove,
        _T.Wheel,
        _T.KeyPress,
        _T.TouchBegin,
        _T.TouchUpdate,
        _T.TabletPress,
        _T.TabletMove,
    )
)


class Attention(QObject):
    """Tells a clock of the review's phases what it sees.

    It listens where input enters a window, before Qt hands it to a widget: a filter on the application would see every
    event of the program.
    """

    def __init__(self, window: QWidget, dock: QWidget, tabs: QTabWidget, clock: PhaseClock) -> None:
        super().__init__()
        self.now: Callable[[], float] = time.monotonic
        self._main, self._dock, self._tabs, self._clock = window, dock, tabs, clock
        self._window: QWindow | None = None  # the active one, if it is ours
        self._application = QGuiApplication.instance()
        assert isinstance(self._application, QGuiApplication)
        self._application.focusWindowChanged.connect(self._focused)
        tabs.currentChanged.connect(self.hear)
        self._focused(QGuiApplication.focusWindow())

    def close(self) -> None:
        """Count no more."""
        assert isinstance(self._application, QGuiApplication)
        self._application.focusWindowChanged.disconnect(self._focused)
        self._tabs.currentChanged.disconnect(self.hear)
        self._listen_to(None)
        self.hear()

    def hear(self, *_: object) -> None:
        """Something came from the reader, or something else came into sight."""
        seen = self._window is not None and not self._dock.visibleRegion().isEmpty()
        phase = self._tabs.tabText(self._tabs.currentIndex()).lower() if seen else ""
        self._clock.hear(self.now(), phase)

    def _focused(self, window: QWindow | None) -> None:
        self._listen_to(window if self._is_ours(window) else None)
        self.hear()

    def _is_ours(self, window: QWindow | None) -> bool:
        """The window of napari, a dock that floats, or a dialog of theirs."""
        main = self._main.windowHandle()
        while window is not None and window is not main:
            window = window.transientParent()
        return window is not None

    def _listen_to(self, window: QWindow | None) -> None:
        if self._window is not None and isalive(self._window):  # type: ignore[no-untyped-call]
            self._window.removeEventFilter(self)
        self._window = window
        if window is not None:
            window.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802  # Qt's name
        """Hear every input, and let it pass."""
        if event is not None and event.type() in INPUTS:
            self.hear()
        return False
