"""Upkeep of a Delta table: small files become large ones, files that left it are removed, its log is cleaned.

Each goes through a handle of its own, so that it is never in the way of a commit: an append beside it is
fine, and where it loses a race it gives up.  When it was last done is a transaction of the table, like a
position: it survives checkpoints and clean-up, and a wiped device reads it there.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal, TypeAlias

from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

from silt.errors import UserError
from silt.target import durable
from silt.target.commits import HOOKS, clean_log, commit_properties, refuse_deletion_vectors
from silt.target.failures import translated
from silt.target.feed import writer_properties
from silt.target.log import LOG, Checkpoint, checkpoints, entry_path, entry_versions, read_entry
from silt.target.model import WriterHints
from silt.target.packing import Packing, packing
from silt.target.schema import arrow
from silt.target.store import LocalFiles, Store, locate
from silt.target.table import open_table

Task: TypeAlias = Literal["compact", "vacuum"]

MOST_ENTRIES: Final = 1_000
"""Log entries that a table on a local disk keeps, where nothing says how long.

At one in five minutes those of three days.  delta-rs lists the log twice for each commit, there from its
beginning: 4 us an entry (measured)."""

_HALF: Final = re.compile(r"\.(parquet|json)#\d+$")
"""Names under which delta-rs writes on a local disk, before it renames or links."""

_RETENTION: Final = "delta.logRetentionDuration"
_RETRIES: Final = 10
_PACKED: Final = 4
"""About how many times larger rows are in Arrow than in a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted:
    """`before` files became `after` ones, of `bytes` bytes; the version that did it, None where none did."""

    before: int = 0
    after: int = 0
    bytes: int = 0
    version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacuumed:
    """`files` files of `bytes` bytes (None: not known) were removed; the version that says so.

    None where none says so: half written files were never known to the table.
    """

    files: int = 0
    bytes: int | None = 0
    version: int | None = None


def last_done(txns: Mapping[str, int], task: Task) -> float | None:
    """When anybody's silt last did it, in seconds since the epoch; None where the table does not say."""
    return txns.get(_mark(task))


def _mark(task: Task) -> str:
    """The transaction that says when; none of a stream's (`silt.position.parse_app`)."""
    return f"silt-upkeep/{task}"


def open_upkeep(uri: str, options: Mapping[str, str]) -> Upkeep | None:
    """A handle for the upkeep of the table at `uri`; None where there is none.  Raises as `open_table`."""
    if open_table(uri, options) is None:
        return None
    store = locate(uri, options)
    with translated(uri, options):
        return Upkeep(store, DeltaTable(store.url, storage_options=store.writing()))


class Upkeep:
    """What can be done for one table; open one for each time, and let it go.

    Raises `Contended` where somebody else moved first: nothing was done, and it may be tried again later;
    `UserError` for a table that deltalake must not touch, `RetryLater` where the store does not answer.
    """

    def __init__(self, store: Store, delta: DeltaTable) -> None:
        self._store = store
        self._files = store.files()
        self._delta = delta

    @property
    def folder(self) -> Path | None:
        """The table's folder on a local disk; None for a remote table."""
        return self._store.folder

    @property
    def version(self) -> int:
        return self._delta.version()

    # --- files --------------------------------------------------------------------------------------

    def small(self, target_size: int) -> Packing | None:
        """Which files are worth writing together, now; None where there are not enough of them."""
        with self._translated():
            return packing(_sizes(self._delta), target_size)

    def compact(self, target_size: int, *, metadata: Mapping[str, str]) -> Compacted:
        """Write small files together, as `small` says; rows, their order and every position stay.

        On a local disk all is synced when this returns (DESIGN 4.6).
        """
        with self._translated():
            refuse_deletion_vectors(self._delta, on=self._store.uri)
            found = packing(_sizes(self._delta), target_size)
            return Compacted() if found is None else self._compact(found, metadata)

    def _compact(self, found: Packing, metadata: Mapping[str, str]) -> Compacted:
        before = self.version
        done = self._delta.optimize.compact(
            target_size=found.size,
            max_concurrent_tasks=1,  # the other cores are for the cycles, and memory stays flat
            writer_properties=self._writer(),
            commit_properties=commit_properties((), metadata, retries=_RETRIES),
            post_commithook_properties=HOOKS,
        )
        if not done["numFilesRemoved"]:
            return Compacted()
        version = self.version
        self._note("compact", metadata)
        self._delta.create_checkpoint()  # an entry that removes thousands of files is slow to read
        durable.sync(self, before, self.version)
        return Compacted(
            before=done["numFilesRemoved"], after=done["numFilesAdded"], bytes=found.bytes, version=version
        )

    def _writer(self) -> Any:
        """As a cycle writes."""
        rows = sum(n or 0 for n in _column(self._delta, "num_records"))
        size = sum(_column(self._delta, "size_bytes"))
        schema = arrow(self._delta.schema())
        return writer_properties(schema, WriterHints(), max(1, _PACKED * size // max(rows, 1)))

    def _note(self, task: Task, metadata: Mapping[str, str]) -> None:
        """When it was done, in a commit of its own: OPTIMIZE drops its transactions (FACTS).

        Lost to a rival, it is only done again sooner.
        """
        import pyarrow as pa

        with suppress(CommitFailedError):
            write_deltalake(
                self._delta,
                pa.RecordBatchReader.from_batches(arrow(self._delta.schema()), []),
                mode="append",
                commit_properties=commit_properties([_now(task)], metadata, retries=_RETRIES),
                post_commithook_properties=HOOKS,
            )

    # --- vacuum ---------------------------------------------------------------------------------------

    def expired(self, retain: float) -> tuple[str, ...]:
        """The files that `vacuum` would remove now, by their path below the table."""
        with self._translated():
            refuse_deletion_vectors(self._delta, on=self._store.uri)
            found = self._vacuum(retain, dry_run=True)
            self._refuse_nested(found)
        return (*found, *(str(path) for path in self._staged(retain)))

    def vacuum(self, retain: float, *, metadata: Mapping[str, str]) -> Vacuumed:
        """Remove what left the table, and what never was in it, more than `retain` seconds ago.

        And at least as long ago as the table's `delta.deletedFileRetentionDuration`, if it has one.  The
        vacuum is a full one: checkpoints forget after a week what left the table, and nothing ever knew of
        what a crash left behind.  Files of others below the table's folder go, too, but for hidden ones;
        raises `UserError` where another table lies there.
        """
        found = self.expired(retain)
        with self._translated():
            staged = self._remove_staged(retain)
            if len(found) == staged.files:
                return staged
            before = self.version
            removed = self._vacuum(retain, dry_run=False, metadata=metadata)
            durable.sync(self, before, self.version)
            size = self._said_bytes(before)
            return Vacuumed(
                files=len(removed) + staged.files,
                bytes=None if size is None else size + (staged.bytes or 0),
                version=self.version,
            )

    def _staged(self, retain: float) -> dict[Path, int]:
        """What a killed process left half written on a local disk, with sizes: delta-rs does not list it.

        What is being written now has its last name before it is looked at, perhaps: that is none of these.
        """
        root = self.folder
        if root is None:
            return {}
        oldest = (time.time() - retain) * 1e9
        halves = (Path(at, name) for at, _, names in os.walk(root) for name in names if _HALF.search(name))
        found = {path: self._files.stamp(str(path)) for path in (half.relative_to(root) for half in halves)}
        return {path: stamp[0] for path, stamp in found.items() if stamp and stamp[1] < oldest}

    def _remove_staged(self, retain: float) -> Vacuumed:
        found = self._staged(retain)
        for path in found:
            ((self.folder or Path()) / path).unlink(missing_ok=True)
        return Vacuumed(files=len(found), bytes=sum(found.values()))

    def _vacuum(
        self, retain: float, *, dry_run: bool, metadata: Mapping[str, str] | None = None
    ) -> tuple[str, ...]:
        own = "delta.deletedFileRetentionDuration" in self._delta.metadata().configuration
        hours = math.ceil(retain / 3600)
        try:
            return self._vacuumed(hours, enforce=own, dry_run=dry_run, metadata=metadata or {})
        except Exception as error:
            if not own or "Invalid retention period" not in str(error):
                raise
        return self._vacuumed(None, enforce=True, dry_run=dry_run, metadata=metadata or {})

    def _vacuumed(
        self, hours: int | None, *, enforce: bool, dry_run: bool, metadata: Mapping[str, str]
    ) -> tuple[str, ...]:
        return tuple(
            self._delta.vacuum(
                retention_hours=hours,
                enforce_retention_duration=enforce,
                dry_run=dry_run,
                full=True,
                commit_properties=commit_properties(
                    [_now("vacuum")],
                    metadata,
                    retries=_RETRIES,
                    promised=0,  # of its two entries the first has none
                ),
                post_commithook_properties=HOOKS,
            )
        )

    def _refuse_nested(self, found: Sequence[str]) -> None:
        """delta-rs takes the files of a table inside this one for litter."""
        for folder in sorted(_strangers(found)):
            if self._files.names(f"{folder}/{LOG}"):
                raise UserError(
                    "another Delta table lies inside this one, and vacuum would remove its files",
                    on=self._store.uri,
                    why=folder,
                    hint="write `vacuum: false` for this table, or move one of them",
                )

    def _said_bytes(self, before: int) -> int | None:
        """What VACUUM START says of the bytes; None where it does not."""
        for version in range(before + 1, self.version + 1):
            metrics = read_entry(self._files, version).info.get("operationMetrics") or {}
            if "sizeOfDataToDelete" in metrics:
                return int(metrics["sizeOfDataToDelete"])
        return None

    # --- the log --------------------------------------------------------------------------------------

    def clean_log(self) -> int:
        """Remove log entries that the table's retention lets go; how many, where the disk is a local one.

        Where nothing says how long they stay (`delta.logRetentionDuration`), a table on a local disk keeps
        the newest 1,000.  Those from the checkpoint before them on stay, too, so that every version among
        them can be read.
        """
        with self._translated():
            if not clean_log(self._delta) or self.folder is None:
                return 0
            if _RETENTION in self._delta.metadata().configuration:
                return 0
            return _trim(LocalFiles(self.folder))

    # --- inside ---------------------------------------------------------------------------------------

    def _translated(self) -> Any:
        return translated(self._store.uri, self._store.options)


def _now(task: Task) -> tuple[str, int]:
    return _mark(task), int(time.time())


def _column(delta: DeltaTable, name: str) -> list[Any]:
    import pyarrow as pa

    return pa.table(delta.get_add_actions(flatten=True)).column(name).to_pylist()  # type: ignore[no-any-return]


def _sizes(delta: DeltaTable) -> Iterable[Sequence[int]]:
    """The sizes of the files of each partition."""
    import pyarrow as pa

    files = pa.table(delta.get_add_actions(flatten=True))
    partitions = [files.column(f"partition.{name}") for name in delta.metadata().partition_columns]
    found: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for size, *values in zip(files.column("size_bytes"), *partitions, strict=True):
        found[tuple(value.as_py() for value in values)].append(size.as_py())
    return found.values()


def _strangers(paths: Iterable[str]) -> set[str]:
    """The folders of `paths` that are no partitions."""
    parents = {parent for path in paths for parent in PurePosixPath(path).parents}
    return {str(p) for p in parents if p.parts and not all("=" in part for part in p.parts)}


def _trim(files: LocalFiles) -> int:
    names = files.names(LOG)
    last = _expendable(names)
    if last is None:
        return 0
    versions = [version for version in entry_versions(names) if version < last.version]
    older = [path for found in checkpoints(names) if found.version < last.version for path in found.paths]
    for path in (*map(entry_path, versions), *older):
        (files.root / path).unlink(missing_ok=True)
    return len(versions)


def _expendable(names: Sequence[str]) -> Checkpoint | None:
    """The newest checkpoint that has enough entries after it: those before it may go."""
    versions = entry_versions(names)
    if len(versions) <= MOST_ENTRIES:
        return None
    return next((found for found in checkpoints(names) if found.version <= versions[-MOST_ENTRIES]), None)
