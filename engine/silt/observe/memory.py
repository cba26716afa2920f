"""The C allocator, told to keep less: one process replicates for months beside others on a small node."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from functools import lru_cache
from typing import Final

_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8


@lru_cache(maxsize=1)
def settle() -> None:
    """Two arenas instead of eight a core, and large buffers returned when freed (glibc; else nothing).

    Measured on 5M x 8: peak 313 MB without, 237 with, the same CPU.  Threads take arenas when they
    start, so this comes first.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 2)
        mallopt(_M_MMAP_THRESHOLD, 256 * 1024)
