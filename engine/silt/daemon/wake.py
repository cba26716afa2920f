"""Wakes on writes: the kernel says that a database was written, or a look at its stamps does."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from silt.daemon.notify import Change, FolderEvents
from silt.observe.pulse import FileStamp, stamps

POLL: Final = 0.1
"""Seconds between looks at a database whose writes make no events (`watch: poll`): 12 us each (measured)."""

SAFETY: Final = 2.0
"""Seconds between looks at the others: a write from another machine makes no event here."""

_WAL: Final = "-wal"
_COMPANIONS: Final = (_WAL, "-journal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A database to watch; `poll` where its writes make no events."""

    path: str
    poll: bool = False


class Wake:
    """Calls `told` when a database of those that it follows was written; `drain` says which.

    `told` is called once until `drain` is, from threads of its own: at 500 writes a second whoever
    listens is not called 500 times.
    """

    def __init__(self, told: Callable[[], None]) -> None:
        self._told = told
        self._lock = threading.Lock()
        self._written: set[str] = set()
        self._names: dict[str, str] = {}
        self._watched: tuple[Watched, ...] = ()
        self._polled: set[str] = set()
        self._stamps: dict[str, tuple[FileStamp | None, ...]] = {}
        self._looked = 0.0
        self._folders = FolderEvents(self._event, writes=True)
        self._stop = threading.Event()
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None

    def follow(self, watched: Iterable[Watched]) -> None:
        """Watch these databases, and no others."""
        self._watched = tuple(watched)
        names = {name: each.path for each in self._watched if not each.poll for name in _names(each.path)}
        self._folders.follow({_folder(name) for name in names})
        self._names = names
        unwatched = {path for name, path in names.items() if _folder(name) not in self._folders.followed}
        self._polled = unwatched | {each.path for each in self._watched if each.poll}
        known, now = self._stamps, {each.path: stamps(each.path) for each in self._watched}
        self._stamps = {path: known.get(path, stamp) for path, stamp in now.items()}
        if self._watched and self._thread is None:
            self._thread = threading.Thread(target=self._poll, name="silt-wake", daemon=True)
            self._thread.start()
        self._changed.set()

    @property
    def is_pending(self) -> bool:
        """Whether `told` was called and nobody has asked since."""
        return bool(self._written)

    def drain(self) -> frozenset[str]:
        """The paths that were written since the last call."""
        with self._lock:
            written, self._written = self._written, set()
        return frozenset(written)

    def close(self) -> None:
        self._stop.set()
        self._changed.set()
        self._folders.close()

    def _event(self, change: Change) -> None:
        path = self._names.get(change.path)
        if path is None or (change.path.endswith(_WAL) and not _has_content(change.path)):
            return  # our own reading makes an empty -wal, and takes it away
        self._tell({path})

    def _tell(self, paths: set[str]) -> None:
        with self._lock:
            first = not self._written
            self._written |= paths
        if first:
            self._told()

    def _poll(self) -> None:
        while not self._stop.is_set():
            self._changed.clear()
            self._look()
            self._changed.wait(POLL if self._polled else SAFETY)

    def _look(self) -> None:
        """Compare stamps: those that are polled each time, all of them every `SAFETY` seconds."""
        now = time.monotonic()
        everything = now - self._looked >= SAFETY
        if everything:
            self._looked = now
        known = self._stamps
        paths = known if everything else self._polled & known.keys()
        moved = {path for path in paths if (stamp := stamps(path)) != known[path] and self._keep(path, stamp)}
        if moved:
            self._tell(moved)

    def _keep(self, path: str, stamp: tuple[FileStamp | None, ...]) -> bool:
        self._stamps[path] = stamp
        return True


def _has_content(name: str) -> bool:
    try:
        return os.stat(name).st_size > 0  # noqa: PTH116  # a stat and nothing else
    except OSError:
        return False


def _folder(path: str) -> str:
    return os.path.dirname(path)  # noqa: PTH120  # paths are texts here


def _names(path: str) -> Iterable[str]:
    """The names under which events of a database come, links followed: its own, and the one it leads to."""
    folder, name = os.path.split(path)
    for real in dict.fromkeys((f"{os.path.realpath(folder)}/{name}", os.path.realpath(path))):
        yield real
        yield from (real + end for end in _COMPANIONS)
