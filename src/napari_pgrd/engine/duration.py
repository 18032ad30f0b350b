"""Times as people read them."""

from __future__ import annotations


def in_words(seconds: float) -> str:
    """``75`` -> ``1 min 15 s``; whole seconds, never less than one."""
    minutes, rest = divmod(max(1, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def and_left(seconds: float | None) -> str:
    """What follows a progress: ``", 1 min 15 s left"``, or nothing while the time is unknown."""
    return "" if seconds is None else f", {in_words(seconds)} left"
