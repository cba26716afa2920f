"""Every connection and table handle of a process, kept while it runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from silt import target
from silt.errors import Secret, SiltError
from silt.manifest.model import Manifest, Source, Target
from silt.observe import memory
from silt.observe.pulse import FileStamp, Pulse, stamp, stamps
from silt.shapes import Table
from silt.source.open import Connection, connect

MAX_IDLE_CONNECTIONS = 64


@dataclass(slots=True)
class Lake:
    """A Delta table's resident handle and the lock that its users take turns by.

    `root` is the target's URI where the store must be asked before the first commit, else empty; `proved`
    holds the targets that were, for all tables of a process.
    """

    uri: str
    options: Mapping[str, str]
    root: str = ""
    proved: set[tuple[object, ...]] = field(default_factory=set, repr=False)
    lock: threading.RLock = field(default_factory=threading.RLock)
    table: target.Table | None = None
    checked: bool = False
    synced: int = -1
    notes: list[str] = field(default_factory=list)
    stood: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """By app, batch and position as they were last read: what is known while nobody answers."""

    def prove(self) -> None:
        """Once a process and target: the store refuses the second of two writers (`target.prove`)."""
        asked = (self.root, *sorted(self.options.items()))
        if self.root and asked not in self.proved:
            target.prove(self.root, self.options)
            self.proved.add(asked)

    def sync(self) -> None:
        """On a local disk, whatever was committed since the last sync goes onto the disk (DESIGN 4.6)."""
        if self.table is not None and self.table.version > self.synced:
            target.sync(self.table, self.synced, self.table.version)
            self.synced = self.table.version


@dataclass(frozen=True, slots=True, kw_only=True)
class _Idle:
    """A connection that nobody uses; `seen` is its file's stamp before its last user read a page."""

    connection: Connection
    seen: FileStamp | None

    def is_current(self) -> bool:
        """Whether its path still names its file, and what it keeps of that file's pages is still true.

        A resident connection would see a deleted file for ever (FACTS, positions), and takes its pages for
        true as long as the file's change counter is the same: another database that was copied over it may
        have that one.  Beside a -wal it is the checkpoints that write to the file, and SQLite that tells.
        """
        try:
            self.connection.check_same_file()
        except SiltError:
            return False
        file, wal, _ = stamps(self.connection.path)
        return file == self.seen or wal is not None


@dataclass(slots=True)
class _Kept:
    """What outlives an edit of the manifest: connections by path, tables by URI, and what was learned."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    idle: dict[str, list[_Idle]] = field(default_factory=dict)
    lakes: dict[str, Lake] = field(default_factory=dict)
    pulse: Pulse = field(default_factory=Pulse)
    row_bytes: dict[str, int] = field(default_factory=dict)
    tables: dict[str, tuple[Table, ...]] = field(default_factory=dict)
    patternable: dict[str, tuple[str, ...]] = field(default_factory=dict)
    proved: set[tuple[object, ...]] = field(default_factory=set, repr=False)


class Handles:
    """Connections to databases and handles of tables, kept while a process runs; `close()` frees all.

    Without `mend`, what a power cut tore is left as it is: nothing at all is written.
    """

    def __init__(self, manifest: Manifest, *, mend: bool = True, kept: _Kept | None = None) -> None:
        memory.settle()
        self.manifest = manifest
        self._mend = mend
        self._kept = kept or _Kept()

    def under(self, manifest: Manifest) -> Handles:
        """These handles as another manifest names them; cycles under the old one go on beside."""
        return Handles(manifest, mend=self._mend, kept=self._kept)

    def apart(self, manifest: Manifest) -> Handles:
        """Handles of its own for a look that waits for no cycle and mends nothing; what it learns stays."""
        kept = _Kept(tables=self._kept.tables, patternable=self._kept.patternable)
        return Handles(manifest, mend=False, kept=kept)

    @property
    def row_bytes(self) -> dict[str, int]:
        """Arrow bytes of a row as last seen, by app: what bounds the next window."""
        return self._kept.row_bytes

    @property
    def tables(self) -> dict[str, tuple[Table, ...]]:
        """By path, the tables of a database when it could last be read."""
        return self._kept.tables

    @property
    def patternable(self) -> dict[str, tuple[str, ...]]:
        """By a source's path, the tables that a pattern saw there last."""
        return self._kept.patternable

    @property
    def pulse(self) -> Pulse:
        return self._kept.pulse

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        with self._kept.lock:
            idle = [each for some in self._kept.idle.values() for each in some]
            self._kept.idle.clear()
            self._kept.lakes.clear()
        self._kept.pulse.close()
        for each in idle:
            each.connection.close()

    @contextmanager
    def connection(self, origin: Source, path: str) -> Iterator[Connection]:
        """A connection to `path` that nobody else uses meanwhile; after an error it is closed."""
        connection = self._take(path) or connect(
            path, busy_timeout=origin.busy_timeout, immutable=origin.immutable
        )
        try:
            connection.check_same_file()
            seen = stamp(path)
            yield connection
        except BaseException:
            connection.close()
            raise
        self._give(path, _Idle(connection=connection, seen=seen))

    def _take(self, path: str) -> Connection | None:
        """An idle connection to the file that the path names, if there is one."""
        while True:
            with self._kept.lock:
                some = self._kept.idle.get(path)
                idle = some.pop() if some else None
            if idle is None:
                return None
            if idle.is_current():
                return idle.connection
            idle.connection.close()

    def _give(self, path: str, idle: _Idle) -> None:
        with self._kept.lock:
            if sum(map(len, self._kept.idle.values())) < MAX_IDLE_CONNECTIONS:
                self._kept.idle.setdefault(path, []).append(idle)
                return
        idle.connection.close()

    def uri(self, at: Target, into: str) -> str:
        return f"{at.uri.rstrip('/')}/{into}"

    @contextmanager
    def lake(self, at: Target, into: str) -> Iterator[Lake]:
        """The table's resident handle, opened if there is a table, for this thread alone."""
        lake = self._lake(at, into)
        with lake.lock:
            first = not lake.checked
            if first and at.is_local and self._mend:
                lake.notes.extend(target.check_at_start(lake.uri))
            lake.checked = True  # only now: a check that held must hold the next cycle too
            if lake.table is None:
                lake.table = target.open_table(lake.uri, lake.options)
            if first and lake.table is not None:
                lake.synced = lake.table.version  # check_at_start synced the whole disk
            yield lake

    def stood(self, at: Target, into: str) -> Mapping[str, tuple[int, bytes]]:
        """By app, batch and position as a cycle last read them, without I/O."""
        return dict(self._lake(at, into).stood)

    def glance(self, at: Target, into: str) -> tuple[int, Mapping[str, int]] | None:
        """Version and transactions of a table as its last user saw them, without I/O.

        None where nobody has opened it, or somebody is at it now.
        """
        lake = self._lake(at, into)
        if not lake.lock.acquire(blocking=False):
            return None
        try:
            return lake.table.last_seen if lake.table is not None else None
        finally:
            lake.lock.release()

    def _lake(self, at: Target, into: str) -> Lake:
        """Opened anew where the options are others: a secret may have been renewed."""
        uri, options = self.uri(at, into), revealed(at)
        root = "" if at.is_local or at.allow_unsafe_store else at.uri
        with self._kept.lock:
            lake = self._kept.lakes.get(uri)
            if lake is None or (lake.options, lake.root) != (options, root):
                lake = Lake(uri=uri, options=options, root=root, proved=self._kept.proved)
                self._kept.lakes[uri] = lake
            return lake


def revealed(at: Target) -> dict[str, str]:
    """The storage options of a target, secrets opened: for the library, never for text."""
    pairs = at.storage_options.items()
    return {name: value.reveal() if isinstance(value, Secret) else value for name, value in pairs}
