"""Silt as a process that says where it is, and can kill itself there.

Every boundary that it passes is one line in the file `$FAULTS_LOG`.  `$FAULTS_AT=place:n` sends the
process SIGKILL the n-th time it is at that place.  Nothing else is changed: faults only.  A process that
`warm` starts with `$FAULTS_LOG` has the marks (`clirun.doomed`).
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import lru_cache
from typing import Any

PLACES = (
    "planned",  # the plan is made, nothing was read
    "before read",
    "mid-read",  # after a batch came from SQLite
    "mid-write",  # inside delta-rs, after it took a batch
    "before create",
    "created",  # the table is there, without a row
    "before commit",
    "committed",  # the log entry is there, silt does not know it yet
    "before sync",
    "synced",
    "checkpointed",  # before delta-rs cleans up, and before anything is synced
    "reported",  # the cycle is done, the process is not
)

_LOCK = threading.Lock()
_SEEN: Counter[str] = Counter()


def reach(place: str) -> None:
    """Note the place; die there when this is the time."""
    with _LOCK:
        _SEEN[place] += 1
        os.write(_log(), f"{place}\n".encode())
        wanted, _, count = os.environ.get("FAULTS_AT", "").partition(":")
        if wanted == place and _SEEN[place] == int(count or 1):
            os.kill(os.getpid(), signal.SIGKILL)
            threading.Event().wait()


@lru_cache(maxsize=1)
def _log() -> int:
    return os.open(os.environ["FAULTS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def _around(owner: Any, name: str, *, before: str = "", after: str = "") -> None:
    real: Callable[..., Any] = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if before:
            reach(before)
        answer = real(*args, **kwargs)
        if after:
            reach(after)
        return answer

    setattr(owner, name, wrapped)


def _reading(owner: Any) -> None:
    real = owner.stream

    def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:
        reach("before read")
        with closing(real(*args, **kwargs)) as batches:
            for batch in batches:
                reach("mid-read")
                yield batch

    owner.stream = stream


def _writing(owner: Any) -> None:
    real = owner.reader

    def taken(batches: Iterable[Any]) -> Iterator[Any]:
        for batch in batches:
            yield batch
            reach("mid-write")

    owner.reader = lambda part, table, batches: real(part, table, taken(batches))


def install() -> None:
    """Put the marks around silt's boundaries."""
    from silt import observe, replicate, target
    from silt.observe import compare
    from silt.replicate import aggregate, append, changes, interval, merge, mirror, overwrite
    from silt.target import merger, table

    _around(observe, "look", after="planned")
    _around(replicate, "run", after="reported")
    for module in (aggregate, append, compare, interval, merge, mirror, overwrite):
        _reading(module)
    for module in (append, changes, mirror, overwrite):
        _writing(module)
    _around(table, "_create", before="before create", after="created")
    _around(table, "write_deltalake", before="before commit", after="committed")
    _around(merger, "run", before="before commit", after="committed")
    _around(table.DeltaTable, "create_checkpoint", after="checkpointed")
    _around(target, "sync", before="before sync", after="synced")
