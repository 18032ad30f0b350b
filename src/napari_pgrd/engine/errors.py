"""What can go wrong, said in one sentence a reader can act on.

Every message names what was given, what is allowed and what to do next. The window shows the
message; the command line prints it and exits with status 2.
"""

from __future__ import annotations


class PgrdError(Exception):
    """Base of every error that is meant to be read by the user."""


class InputError(PgrdError):
    """An image, a label map or a setting cannot be used as it is."""


class BundleError(PgrdError):
    """A model bundle is incomplete, altered, unsafe or does not fit the image."""


class DeviceError(PgrdError):
    """The computing device is missing or has too little memory."""


class ExportError(PgrdError):
    """A result could not be written; what stood there before is untouched."""


def require(condition: bool, error: type[PgrdError], sentence: str) -> None:
    """Raise ``error(sentence)`` unless the condition holds."""
    if not condition:
        raise error(sentence)


def shown(text: object, most: int = 60) -> str:
    """What a file says, fit for a sentence: one line, not too long, nothing that a terminal obeys."""
    clean = "".join(c if c.isprintable() else "?" for c in str(text)[: most + 1])
    return clean if len(clean) <= most else f"{clean[: most - 3]}..."
