"""What the kernel says of files in folders, where it does: a thin layer over watchdog (inotify).

A hint, never a promise: events may be lost, come late, or not at all (NFS, a limit that is reached), so
whoever follows a folder looks at it from time to time, too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent
    from watchdog.observers.api import BaseObserver, ObservedWatch

RETRY: Final = 30.0
"""Seconds until a folder that could not be watched is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something happened to `path`; `moved` that it is there under this name now, `gone` that it is not."""

    path: str
    kind: Literal["created", "written", "closed", "moved", "gone"]


class FolderEvents:
    """Hands each change in the folders that are followed to `put`, from a thread of watchdog's.

    `closed` says that a writer closed a file; `writes=True` also asks for `written`, each time that one is
    written to, which costs 12 % of a core beside 500 commits a second into a database of the same folder
    (measured).  `note` says why folders are not watched, or is empty.
    """

    def __init__(self, put: Callable[[Change], None], *, writes: bool = False) -> None:
        self._put = put
        self._writes = writes
        self._observer: BaseObserver | None = None
        self._watches: dict[str, tuple[tuple[int, int], ObservedWatch]] = {}
        self._retry = 0.0
        self.note = ""

    @property
    def followed(self) -> frozenset[str]:
        """The folders that are watched."""
        return frozenset(self._watches)

    def follow(self, folders: Iterable[str]) -> bool:
        """Watch these folders, those that are there, and no others; whether one is newly watched.

        Paths must hold no link.  A folder that was deleted and made again is another one.
        """
        wanted = {folder: seen for folder in folders if (seen := _identity(folder)) is not None}
        for folder, (seen, watch) in list(self._watches.items()):
            if wanted.get(folder) != seen:
                self._drop(folder, watch)
        fresh = wanted.keys() - self._watches.keys()
        if not fresh or time.monotonic() < self._retry:
            return False
        try:
            for folder in sorted(fresh):
                self._watches[folder] = (wanted[folder], self._watch(folder))
        except OSError as error:
            self.note = f"files are looked at once a second: {error.strerror or error}"
            self._retry = time.monotonic() + RETRY
        else:
            self.note = ""
        return True

    def close(self) -> None:
        """End watchdog's threads."""
        self._watches.clear()
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
            self._observer = None

    def _watch(self, folder: str) -> ObservedWatch:
        handler: object = _Handler(self._put)
        return self._running().schedule(
            handler,  # type: ignore[arg-type]  # `dispatch` is all that an observer calls
            folder,
            recursive=False,
            event_filter=_asked_for(writes=self._writes),
        )

    def _running(self) -> BaseObserver:
        from watchdog.observers.inotify import InotifyObserver

        if self._observer is None:
            logging.getLogger("watchdog").setLevel(logging.CRITICAL)  # what it says is found by looking
            # Full events: a file that comes from an unwatched folder was moved here, not created.
            observer = InotifyObserver(generate_full_events=True)
            observer.start()
            self._observer = observer
        return self._observer

    def _drop(self, folder: str, watch: ObservedWatch) -> None:
        del self._watches[folder]
        with contextlib.suppress(KeyError, OSError):
            if self._observer is not None:
                self._observer.unschedule(watch)


class _Handler:
    """What watchdog calls for each event."""

    def __init__(self, put: Callable[[Change], None]) -> None:
        self._put = put

    def dispatch(self, event: FileSystemEvent) -> None:
        source, destination = os.fsdecode(event.src_path), os.fsdecode(event.dest_path)
        match event.event_type:
            case "moved":
                if source:
                    self._put(Change(path=source, kind="gone"))
                if destination:
                    self._put(Change(path=destination, kind="moved"))
            case "created":
                self._put(Change(path=source, kind="moved" if event.is_directory else "created"))
            case "modified":
                self._put(Change(path=source, kind="written"))
            case "closed":
                self._put(Change(path=source, kind="closed"))
            case "deleted":
                self._put(Change(path=source, kind="gone"))


def _asked_for(*, writes: bool) -> list[type[FileSystemEvent]]:
    from watchdog import events

    always: list[type[FileSystemEvent]] = [
        events.FileClosedEvent,
        events.FileCreatedEvent,
        events.FileDeletedEvent,
        events.FileMovedEvent,
        events.DirCreatedEvent,
        events.DirDeletedEvent,
        events.DirMovedEvent,
    ]
    return [*always, events.FileModifiedEvent] if writes else always


def _identity(folder: str) -> tuple[int, int] | None:
    try:
        seen = os.stat(folder)  # noqa: PTH116  # a stat and nothing else
    except OSError:
        return None
    return (seen.st_dev, seen.st_ino)
