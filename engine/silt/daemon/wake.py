"""Wakes on writes: the kernel says that a database was written, or a look at its stamps does."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from silt.observe.pulse import FileStamp, stamps

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent
    from watchdog.observers.api import BaseObserver, ObservedWatch

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
        self._stamps: dict[str, tuple[FileStamp | None, ...]] = {}
        self._looked = 0.0
        self._folders = _Folders(self._event)
        self._stop = threading.Event()
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None

    def follow(self, watched: Iterable[Watched]) -> None:
        """Watch these databases, and no others."""
        self._watched = tuple(watched)
        names = {name: each.path for each in self._watched if not each.poll for name in _real(each.path)}
        unwatched = self._folders.follow({os.path.dirname(name) for name in names})  # noqa: PTH120
        self._names = names
        known, now = self._stamps, {each.path: stamps(each.path) for each in self._watched}
        self._polled = frozenset(e.path for e in self._watched if e.poll) | {
            path
            for name, path in names.items()
            if os.path.dirname(name) in unwatched  # noqa: PTH120
        }
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

    def _event(self, name: str) -> None:
        path = self._names.get(name)
        if path is None or (name.endswith(_WAL) and not _has_content(name)):
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

    _polled: frozenset[str] = frozenset()


def _has_content(name: str) -> bool:
    try:
        return os.stat(name).st_size > 0  # noqa: PTH116  # a stat and nothing else
    except OSError:
        return False


def _real(path: str) -> Iterable[str]:
    """The names under which events of a database come: its own, and the one that a link leads to."""
    for name in dict.fromkeys((path, os.path.realpath(path))):
        yield name
        yield from (name + end for end in _COMPANIONS)


class _Folders:
    """watchdog's observer over a changing set of folders: one inotify descriptor for all of them."""

    def __init__(self, event: Callable[[str], None]) -> None:
        self._event = event
        self._observer: BaseObserver | None = None
        self._watches: dict[str, ObservedWatch] = {}

    def follow(self, folders: set[str]) -> set[str]:
        """Watch these folders and no others; those that cannot be watched."""
        for folder in self._watches.keys() - folders:
            self._drop(folder)
        return {folder for folder in folders - self._watches.keys() if not self._add(folder)}

    def close(self) -> None:
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()
            observer.join(5)

    def dispatch(self, event: FileSystemEvent) -> None:
        """What watchdog calls, in a thread of its own."""
        self._event(os.fsdecode(event.src_path))
        if event.dest_path:
            self._event(os.fsdecode(event.dest_path))

    def _add(self, folder: str) -> bool:
        from watchdog.events import FileCreatedEvent, FileDeletedEvent, FileModifiedEvent, FileMovedEvent

        kinds = [FileModifiedEvent, FileCreatedEvent, FileDeletedEvent, FileMovedEvent]
        try:
            watch = self._started().schedule(self, folder, event_filter=kinds)  # type: ignore[arg-type]
        except OSError:  # no such folder yet, or as many watches as the kernel allows
            return False
        self._watches[folder] = watch
        return True

    def _drop(self, folder: str) -> None:
        watch = self._watches.pop(folder)
        with suppress(Exception):  # its folder may be gone, and its watch with it
            if self._observer is not None:
                self._observer.unschedule(watch)

    def _started(self) -> BaseObserver:
        if self._observer is None:
            from watchdog.observers import Observer

            self._observer = Observer()
            self._observer.start()
        return self._observer


def watched(paths: Mapping[str, bool]) -> tuple[Watched, ...]:
    """Databases by path, and whether each is polled."""
    return tuple(Watched(path=path, poll=poll) for path, poll in sorted(paths.items()))
