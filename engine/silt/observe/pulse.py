"""Whether a database was written since: by `stat` and `PRAGMA data_version`, without reading a row."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from itertools import count
from typing import Final

from silt.errors import SiltError
from silt.manifest.model import Source
from silt.source.open import Connection, connect

MOST_RESIDENT: Final = 64
"""Databases whose `data_version` is asked, each by a connection of its own: three descriptors each.

Of the others the stamps tell.  No newcomer takes a place that is used: with 65 databases asked in turn, each
would be opened every time.
"""

_UNUSED: Final = 600.0
"""Seconds after which a connection that nobody asks makes room."""

_BUSY: Final = 0.1
"""Seconds to wait for a writer; where it takes longer, the files' stamps must tell."""

_GRAIN: Final = 2.0
"""Seconds within which two writes may leave the same stamp: the coarsest clock of a file system (FAT)."""

_COMPANIONS: Final = ("", "-wal", "-journal")

FileStamp = tuple[int, int, int, int, int]
"""Device, inode, size, mtime and ctime (ns)."""


@dataclass(frozen=True, slots=True)
class Beat:
    """What was seen of a database at one moment.

    `files` are the stamps of the file, its -wal and its -journal; `version` the connection that was asked
    and its `data_version` (None: it could not be asked); `steady` whether a later write must leave others.
    """

    files: tuple[FileStamp | None, ...]
    version: tuple[int, int] | None
    steady: bool

    def is_same(self, before: Beat) -> bool:
        """Whether nothing was committed since `before`.

        `data_version` decides where one connection said both, and the files are the same; or a checkpoint
        may have moved them, of a -wal that is still there (one that is truncated or removed is looked
        into).  Another database that was copied over the file may have the same counters.  Otherwise the
        stamps do, unless `before` was taken so soon after a write that another one may have left the same.
        """
        if self.version is not None and before.version is not None and self.version[0] == before.version[0]:
            return self.version == before.version and (self.files == before.files or self._has_wal)
        return before.steady and self.files == before.files

    @property
    def _has_wal(self) -> bool:
        return self.files[1] is not None


class Pulse:
    """Takes the beat of databases; safe in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._residents: OrderedDict[str, _Resident] = OrderedDict()
        self._serials = count()

    def close(self) -> None:
        with self._lock:
            residents, self._residents = tuple(self._residents.values()), OrderedDict()
        for resident in residents:
            resident.close()

    def take(self, origin: Source, path: str) -> Beat:
        """The beat of the database at `path` now.  Take it before reading, compare the next one with it."""
        files = stamps(path)
        resident = self._resident(path)
        version = resident.version(origin, path) if resident is not None else None
        return Beat(files=files, version=version, steady=is_steady(files))

    def _resident(self, path: str) -> _Resident | None:
        """The one of `path`; None where there are enough already."""
        gone = None
        with self._lock:
            resident = self._residents.get(path)
            if resident is None:
                gone, full = self._make_room()
                if full:
                    return None
                resident = self._residents[path] = _Resident(self._serials)
            resident.asked = time.monotonic()
            self._residents.move_to_end(path)
        if gone is not None:
            gone.close()
        return resident

    def _make_room(self) -> tuple[_Resident | None, bool]:
        """The one that was asked longest ago, where it is no longer used; and whether there is no room."""
        if len(self._residents) < MOST_RESIDENT:
            return None, False
        path, oldest = next(iter(self._residents.items()))
        if time.monotonic() - oldest.asked < _UNUSED:
            return None, True
        return self._residents.pop(path), False


class _Resident:
    """A connection that is only asked for `data_version`: it compares with itself alone."""

    def __init__(self, serials: count[int]) -> None:
        self._serials = serials
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._serial = -1
        self.asked = 0.0

    def version(self, origin: Source, path: str) -> tuple[int, int] | None:
        with self._lock:
            try:
                return self._asked(origin, path)
            except SiltError:  # another file, a writer, no file: the stamps and the cycle will tell
                self._drop()
                return None

    def _asked(self, origin: Source, path: str) -> tuple[int, int]:
        if self._connection is None:
            self._connection = connect(path, busy_timeout=_BUSY, immutable=origin.immutable)
            self._serial = next(self._serials)
        self._connection.check_same_file()
        return self._serial, self._connection.data_version()

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def stamps(path: str) -> tuple[FileStamp | None, ...]:
    """The stamps of a database's file, its -wal and its -journal; None for one that is not there.

    A stat and nothing else: opening and closing a file would drop SQLite's locks (DESIGN 5).  An empty -wal
    is none: whoever reads a database in WAL mode first makes one, and takes it away.
    """
    return tuple(_full(stamp(path + end)) if end else stamp(path) for end in _COMPANIONS)


def is_steady(files: tuple[FileStamp | None, ...]) -> bool:
    """Whether a later write must leave other stamps: the last one was not just now."""
    newest = max((max(stamp[3:]) for stamp in files if stamp is not None), default=0)
    return time.time() - newest / 1e9 > _GRAIN


def _full(found: FileStamp | None) -> FileStamp | None:
    return found if found is not None and found[2] else None


def stamp(path: str) -> FileStamp | None:
    """The stamp of one file; None where it cannot be looked at."""
    try:
        seen = os.stat(path)  # noqa: PTH116  # 2 us; pathlib's takes twice that
    except OSError:
        return None
    return (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
