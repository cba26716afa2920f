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
from silt.source.open import Connection, connect

MAX_IDLE_CONNECTIONS = 64


@dataclass(slots=True)
class Lake:
    """A Delta table's resident handle and the lock that its users take turns by."""

    uri: str
    options: Mapping[str, str]
    lock: threading.RLock = field(default_factory=threading.RLock)
    table: target.Table | None = None
    checked: bool = False
    synced: int = -1
    notes: list[str] = field(default_factory=list)

    def sync(self) -> None:
        """On a local disk, whatever was committed since the last sync goes onto the disk (DESIGN 4.6)."""
        if self.table is not None and self.table.version > self.synced:
            target.sync(self.table, self.synced, self.table.version)
            self.synced = self.table.version


class Handles:
    """Connections to databases and handles of tables, kept while a process runs; `close()` frees all.

    Without `mend`, what a power cut tore is left as it is: nothing at all is written.
    """

    def __init__(self, manifest: Manifest, *, mend: bool = True) -> None:
        memory.settle()
        self.manifest = manifest
        self._mend = mend
        self._lock = threading.Lock()
        self._idle: dict[str, list[Connection]] = {}
        self._lakes: dict[str, Lake] = {}
        self.row_bytes: dict[str, int] = {}
        """Arrow bytes of a row as last seen, by app: what bounds the next window."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, {}
            self._lakes = {}
        for connections in idle.values():
            for connection in connections:
                connection.close()

    @contextmanager
    def connection(self, origin: Source, path: str) -> Iterator[Connection]:
        """A connection to `path` that nobody else uses meanwhile; after an error it is closed."""
        connection = self._take(path) or connect(
            path, busy_timeout=origin.busy_timeout, immutable=origin.immutable
        )
        try:
            connection.check_same_file()
            yield connection
        except BaseException:
            connection.close()
            raise
        self._give(path, connection)

    def _take(self, path: str) -> Connection | None:
        """An idle connection whose file is still the one that the path names."""
        while True:
            with self._lock:
                idle = self._idle.get(path)
                connection = idle.pop() if idle else None
            if connection is None or _is_current(connection):
                return connection
            connection.close()

    def _give(self, path: str, connection: Connection) -> None:
        with self._lock:
            if sum(map(len, self._idle.values())) < MAX_IDLE_CONNECTIONS:
                self._idle.setdefault(path, []).append(connection)
                return
        connection.close()

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

    def _lake(self, at: Target, into: str) -> Lake:
        uri = self.uri(at, into)
        with self._lock:
            return self._lakes.setdefault(uri, Lake(uri=uri, options=_revealed(at)))


def _is_current(connection: Connection) -> bool:
    """A resident connection would see a deleted file for ever (FACTS, positions)."""
    try:
        connection.check_same_file()
    except SiltError:
        return False
    return True


def _revealed(at: Target) -> dict[str, str]:
    pairs = at.storage_options.items()
    return {name: value.reveal() if isinstance(value, Secret) else value for name, value in pairs}
