"""Python's garbage collector, kept from holding the window up.

With napari and PyTorch loaded a full collection visits a million objects: for 0.3 s nothing else runs, in no thread,
and napari asks for one whenever a layer leaves. What is there when a run begins stays for the whole review, so it is
set aside, and collections visit what came after it alone. When another image is chosen, everything is looked at again.
"""

from __future__ import annotations

import gc


def set_aside() -> None:
    """Leave what there is now out of collections; takes no time."""
    gc.freeze()


def take_back() -> None:
    """Let the next full collection look at everything."""
    gc.unfreeze()
