"""Notices that somebody edits the manifest, and says when that has settled (DESIGN 9).

Two ways lead here.  The kernel's events say at once that something happened in a folder, and once a second
`stat` says the same where no event arrives.  Either only means "look": what counts is what the files say,
so whoever touches one, or saves what was there, edits nothing.

Settled is what nobody has touched for `QUIET`, and nobody is writing: a writer that made a file, or was seen
writing one, is waited for until it closes it.  Where a change was seen by `stat` alone, that may be a slow
writer, or a file system without events: then writes are asked for, too, and quiet is two equal looks.
Nobody is waited for longer than `PATIENCE`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeAlias

from silt import manifest
from silt.daemon.notify import Change, FolderEvents
from silt.manifest import ManifestInvalid, folder

TICK: Final = 1.0
"""Seconds between looks where nothing happens."""

QUIET: Final = 0.1
"""Seconds without an event after which an edit has settled."""

PATIENCE: Final = 3.0
"""Seconds that an edit may take: then what is there counts."""

_BREATH: Final = 0.02
"""Seconds in which events are gathered before anything is looked at."""

_MAX_LINKS: Final = 40

Stamp: TypeAlias = tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a manifest is, links followed: the folders in which it may change, the files that make it.

    `parts` is the folder in which each file that looks like a recipe is one; empty for a single file.
    """

    folders: frozenset[str]
    files: frozenset[str]
    parts: str = ""

    def holds(self, path: str) -> bool:
        """Whether `path` is one of the manifest's files, or a link on the way to one."""
        if path in self.files:
            return True
        name = os.path.basename(path)  # noqa: PTH119  # paths are texts here
        return bool(self.parts) and path == f"{self.parts}/{name}" and folder.is_part(name)


@dataclass(slots=True)
class _Edit:
    """An edit that has not settled: moments by the monotonic clock.

    `told`: an event spoke of it, so that its end will be told, too.  `writing`: files with a writer.
    """

    first: float
    last: float
    told: bool = False
    writing: set[str] = field(default_factory=set)


class Edits:
    """A thread that calls `settled(seconds since it was noticed)` once for each content that settled.

    `digest` is that of the manifest that runs (`Manifest.digest`), or `content` of one that was refused: an
    edit that was made before the watch began is told, too.  `settled` runs in the thread, and should only
    pass it on.
    """

    def __init__(
        self, path: str, digest: str, settled: Callable[[float], None], *, patience: float = PATIENCE
    ) -> None:
        self._path = path
        self._here = str(Path(path).expanduser().absolute())
        self._handed_out = digest
        self._settled = settled
        self._patience = patience
        self._changes: queue.SimpleQueue[Change | None] = queue.SimpleQueue()
        self._events = FolderEvents(self._changes.put)
        self._writes: FolderEvents | None = None
        self._place = Place(folders=frozenset(), files=frozenset())
        self._stamp = _stamp(self._here)
        self._edit: _Edit | None = None
        self._again: float | None = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="silt-edits", daemon=True)

    @property
    def note(self) -> str:
        """Why no events are used, or nothing."""
        return self._events.note

    def __enter__(self) -> Self:
        """Begin to watch; a pipe, which can be read but once, is not."""
        if can_change(self._path):
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._changes.put(None)
        if self._thread.ident is not None:
            self._thread.join()

    # --- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._round()
            except Exception:  # noqa: BLE001  # whatever it is: the next look may succeed, no look never does
                self._stopped.wait(TICK)
        self._events.close()
        self._stop_asking()

    def _round(self) -> None:
        self._hear(self._wait())
        self._look()
        now = time.monotonic()
        if self._edit is not None and self._has_settled(self._edit, now):
            self._conclude(self._edit, now)
        elif self._edit is None and self._again is not None and now >= self._again:
            self._again = None
            if content(self._path) != self._handed_out:
                self._noticed(now).told = True

    def _wait(self) -> list[Change]:
        """The changes that come within a tick; sooner where an edit is under way."""
        timeout = TICK if self._edit is None else QUIET / 2
        found: list[Change | None] = []
        with contextlib.suppress(queue.Empty):
            found.append(self._changes.get(timeout=timeout))
            self._stopped.wait(_BREATH)
            while True:
                found.append(self._changes.get_nowait())
        return [change for change in found if change is not None]

    def _hear(self, changes: list[Change]) -> None:
        now = time.monotonic()
        for change in changes:
            if not self._place.holds(change.path):
                continue
            edit = self._noticed(now)
            edit.told = True
            if change.kind == "written" or (change.kind == "created" and _may_be_open(change.path)):
                edit.writing.add(change.path)
            elif change.kind != "created":
                edit.writing.discard(change.path)

    def _look(self) -> None:
        """Follow where the manifest is now, and notice what `stat` says of it."""
        self._place = place(self._here)
        if self._events.follow(self._place.folders):
            self._place = place(self._here)  # what came between is seen
        stamp = _stamp(self._here)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        edit = self._noticed(time.monotonic())
        if not edit.told and self._writes is None:
            self._writes = FolderEvents(self._changes.put, writes=True)
            self._writes.follow(self._place.folders)

    def _noticed(self, now: float) -> _Edit:
        if self._edit is None:
            self._edit = _Edit(first=now, last=now)
        self._edit.last = now
        return self._edit

    def _has_settled(self, edit: _Edit, now: float) -> bool:
        if now - edit.first >= self._patience:
            return True
        quiet = QUIET if edit.told else TICK
        return not edit.writing and now - edit.last >= quiet

    def _conclude(self, edit: _Edit, now: float) -> None:
        """Hand out what the files say, if they say something new; read once more a tick later.

        Two writes in one tick of the kernel's clock, of one size, leave one stamp.
        """
        digest = content(self._path)
        if _stamp(self._here) != self._stamp and now - edit.first < self._patience:
            return  # written while it was read: the next look sees it
        self._edit = None
        self._again = now + TICK
        self._stop_asking()
        if digest != self._handed_out:
            self._handed_out = digest
            self._settled(time.monotonic() - edit.first)

    def _stop_asking(self) -> None:
        if self._writes is not None:
            self._writes.close()
            self._writes = None


def content(path: str) -> str:
    """The digest of a manifest's bytes as they are now, or of what is wrong with reading them."""
    try:
        return manifest.digest(manifest.texts(path))
    except ManifestInvalid as error:
        return hashlib.sha256(repr(error.problems).encode(errors="surrogateescape")).hexdigest()


def can_change(path: str) -> bool:
    """Whether a manifest is, or may come to be, a file or a folder; a pipe is read once."""
    try:
        mode = Path(path).expanduser().stat().st_mode
    except OSError:
        return True
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


# --- where it is ----------------------------------------------------------------------------------


def place(here: str) -> Place:
    """Where the manifest at an absolute path is now: each link on the way may be exchanged."""
    links, real = _traced(here)
    files = {*links, real}
    if not os.path.isdir(real):  # noqa: PTH112  # paths are texts here
        return Place(folders=frozenset(map(os.path.dirname, files)), files=frozenset(files))
    for name in _names(real):
        more, file = _traced(f"{real}/{name}")
        files |= {*more, file}
    return Place(
        folders=frozenset({real, *map(os.path.dirname, files - {real})}), files=frozenset(files), parts=real
    )


def _traced(path: str) -> tuple[list[str], str]:
    """The links on the way to a path, and the path without any; neither holds a link in its folders."""
    links: list[str] = []
    while len(links) < _MAX_LINKS and (link := next(filter(os.path.islink, _prefixes(path)), None)):
        links.append(link)
        leads_to = os.readlink(link)  # noqa: PTH115  # paths are texts here
        parts = (os.path.dirname(link), leads_to, path[len(link) :].lstrip("/"))  # noqa: PTH120
        path = os.path.normpath(os.path.join(*parts))  # noqa: PTH118
    return links, path


def _prefixes(path: str) -> Iterator[str]:
    yield from (path[:end] for end, char in enumerate(path) if char == "/" and end)
    yield path


def _names(here: str) -> tuple[str, ...]:
    try:
        return folder.parts(here)
    except OSError:
        return ()


# --- what stat says -------------------------------------------------------------------------------


def _stamp(here: str) -> Stamp:
    """What changes when a file is written, exchanged, added, removed, renamed or made readable."""
    if not os.path.isdir(here):  # noqa: PTH112
        return (_stat(here),)
    return tuple((name, _stat(f"{here}/{name}")) for name in _names(here))


def _stat(path: str) -> Stamp | None:
    try:
        seen = os.stat(path)  # noqa: PTH116  # a stat and nothing else
    except OSError:
        return None
    return (seen.st_mtime_ns, seen.st_size, seen.st_dev, seen.st_ino, seen.st_mode, seen.st_uid, seen.st_gid)


def _may_be_open(path: str) -> bool:
    """Whether a file that came to be has a writer: a link of either kind has not."""
    try:
        seen = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(seen.st_mode) and seen.st_nlink == 1
