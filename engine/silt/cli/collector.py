"""Python's garbage collector, kept from what imports leave: they make a million objects, and all stay.

It looks at them again and again while a verb starts, and once more when the process ends: an eighth of
a short run's CPU (measured).  Thresholds are Python's own again before rows are moved: what is collected
late holds batches.
"""

from __future__ import annotations

import gc
from typing import Final

_USUAL: Final = gc.get_threshold()
_STARTING: Final = (50_000, *_USUAL[1:])


def starting() -> None:
    """Look seldom."""
    gc.set_threshold(*_STARTING)


def started() -> None:
    """What is there stays, and is looked at no more; what comes is looked at as usual."""
    gc.freeze()
    gc.set_threshold(*_USUAL)


def ending() -> None:
    """Nothing is looked at any more: the process's memory goes with it."""
    gc.freeze()
