"""Python's garbage collector, kept from holding the window up.

With napari and PyTorch loaded a full collection visits a million objects: for 0.3 s nothing else runs, in no thread,
and napari asks for one whenever a layer leaves. What is there when the first run on an image begins stays for the whole
review, so it is set aside, and collections visit what came after it alone. Later runs set nothing aside: the layers
that one run made may leave in the next, and napari's layers and their widgets hold each other, so that only a
collection frees them. When another image is chosen, everything is looked at again.
"""

from __future__ import annotations

import gc

_reviewing = False  # whether a review has set aside what was there before it


def set_aside() -> None:
    """Leave what there is now out of collections, once a review; takes no time."""
    global _reviewing
    if not _reviewing:
        _reviewing = True
        gc.freeze()


def set_aside_what_was_loaded() -> None:
    """Leave what there is now out of collections, as programs were loaded that stay."""
    gc.freeze()


def take_back() -> None:
    """Let the next full collection look at everything."""
    global _reviewing
    _reviewing = False
    gc.unfreeze()
