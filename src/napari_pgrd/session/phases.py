"""How long a reader spends in each phase of a review, from the moments at which something was heard of them."""

from __future__ import annotations

from collections.abc import Mapping

PHASES = ("sample", "review", "correct", "export")  # as the tabs are named
SAMPLING = "sampling"  # beside them: what the computer took to draw the samples that stand
PAUSE = 180.0  # seconds without an input after which nobody is taken to be there
RULE = (
    "sampling: the computer's time for the samples that stand, the model loaded. sample, review, correct, export: the "
    "reader's time with that tab in sight and the window active, from each mouse or key input to the next; where no "
    f"input came for {PAUSE / 60:.0f} minutes or more, none of that time is counted."
)


class PhaseClock:
    """Adds up the reader's time; it is told every moment and reads no clock itself."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._phase, self._at = "", 0.0

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds in each phase that was entered, in the order of ``PHASES``, up to what was heard last."""
        return {phase: self._seconds[phase] for phase in PHASES if phase in self._seconds}

    def hear(self, now: float, phase: str) -> None:
        """An input, or another tab or window came to the front.

        Parameters
        ----------
        now : float
            Seconds of a clock that never steps back.
        phase : str
            One of ``PHASES``, in sight from now on; "" if none is.
        """
        if self._phase in PHASES and now - self._at < PAUSE:
            self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + now - self._at
        self._phase, self._at = phase, now

    def go_on_from(self, seconds: Mapping[str, float]) -> None:
        """Replace what was counted, as for another review; counting begins with what is heard next."""
        self._seconds = {phase: float(seconds[phase]) for phase in PHASES if phase in seconds}
        self._phase = ""
