"""What `stat` says of files: an edited manifest, a source that somebody wrote."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from typing import Final

from silt.errors import SiltError
from silt.manifest.model import Manifest
from silt.plan.model import StreamPlan
from silt.report.events import Line

TICK: Final = 1.0
"""Seconds between looks at the manifest's files and at the sources' file sets."""

POLL: Final = 0.1
"""Seconds between looks at the files of streams that run `on_change`: 12 us a database (measured)."""

_COMPANIONS: Final = ("", "-wal", "-journal")


class FileWatch:
    """Says which `on_change` streams read a database that was written since the last look.

    A stat of each file and nothing else: opening one would drop SQLite's locks (DESIGN 5).  Whoever
    writes moves size or time of the database or of its -wal.
    """

    def __init__(self) -> None:
        self._paths: dict[str, tuple[str, ...]] = {}
        self._stamps: dict[str, tuple[object, ...]] = {}

    @property
    def is_empty(self) -> bool:
        return not self._paths

    def follow(self, plans: Iterable[StreamPlan]) -> None:
        """Watch the databases of these plans' `on_change` streams, and no others."""
        self._paths = {p.stream.name: _paths(p) for p in plans if p.stream.schedule.on_change is not None}
        paths = {path for each in self._paths.values() for path in each}
        self._stamps = {path: self._stamps.get(path) or _stamp(path) for path in paths}

    def look(self) -> Iterator[str]:
        """The streams whose databases changed since the last look, or since they are followed."""
        now = {path: _stamp(path) for path in self._stamps}
        changed = {path for path, stamp in now.items() if stamp != self._stamps[path]}
        self._stamps = now
        yield from (name for name, paths in self._paths.items() if not changed.isdisjoint(paths))


def _paths(plan: StreamPlan) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.database.path for table in plan.tables for part in table.parts))


def _stamp(path: str) -> tuple[object, ...]:
    return tuple(_file_stamp(path + end) for end in _COMPANIONS)


class ManifestWatch:
    """Says once per edit that the manifest on disk is not the one that runs."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._seen = self._stamp()
        self._looked = time.monotonic()

    def look(self) -> Line | None:
        """A stat of each file, at most once a second; a line when what they say has changed."""
        now = time.monotonic()
        if now - self._looked < TICK:
            return None
        self._looked = now
        stamp = self._stamp()
        if stamp == self._seen:
            return None
        self._seen = stamp
        return self._line()

    def _line(self) -> Line | None:
        from silt import manifest
        from silt.manifest import ManifestInvalid
        from silt.report import problems

        path = self._manifest.path
        try:
            digest = manifest.load(path).digest
        except ManifestInvalid as error:
            words = f"{problems.headline(error.problems[0])}; generation 1 runs on"
            return Line(kind="refused", text=words, level="error", fields={"manifest": path})
        except (SiltError, OSError) as error:
            words = f"{path} cannot be read ({error}); generation 1 runs on"
            return Line(kind="refused", text=words, level="error", fields={"manifest": path})
        if digest == self._manifest.digest:
            return None
        words = f"{path} was edited: restart silt to apply it; generation 1 runs on"
        return Line(kind="changed", text=words, level="warning", fields={"manifest": path})

    def _stamp(self) -> tuple[object, ...]:
        return tuple(_file_stamp(path) for path in self._manifest.files or (self._manifest.path,))


def _file_stamp(path: str) -> tuple[int, int, int] | None:
    try:
        seen = os.stat(path)  # noqa: PTH116  # a stat and nothing else
    except OSError:
        return None
    return (seen.st_mtime_ns, seen.st_size, seen.st_ino)
