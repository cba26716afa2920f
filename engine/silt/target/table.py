"""A resident handle of one Delta table: refresh, positions, commits (DESIGN 4.1, 4.2, 4.5).

A handle belongs to one thread at a time.  The rule that everything here serves: a commit goes through
the very snapshot whose transactions the caller read, so that a rival's commit of the same application
conflicts (`Fenced`); after any exception nothing in memory is believed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from deltalake import DeltaTable, write_deltalake
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.table import TableAlterer

from silt.errors import Contended, Fenced, RetryLater, SiltError, UserError
from silt.position import unpack
from silt.target import durable, merger, query
from silt.target.commits import HOOKS, clean_log, commit_properties, refuse_deletion_vectors
from silt.target.failures import Unreachable, translated
from silt.target.feed import Feed, writer_properties
from silt.target.foreign import REPLACED
from silt.target.log import LAST_CHECKPOINT, LOG, checkpoints, entry_path, entry_versions, hinted
from silt.target.merger import Merge, Merged
from silt.target.model import ColumnSpec, Foreign, Owner, Predicate, WriterHints
from silt.target.schema import arrow, delta_field, missing, specs
from silt.target.stats import may_hold
from silt.target.store import Stamp, Store, locate
from silt.target.view import View

CHECKPOINT_EVERY = 20
"""Commits between checkpoints: a resident handle slows down beyond (FACTS, "Small cycle")."""

CLEAN_EVERY = 1_000
"""Versions between two clean-ups of the log: each lists and stats all of it (50 ms for 5,000 entries)."""

_INTERVAL = "delta.checkpointInterval"
_RETRIES = 3  # the library's own; the caller's, with jitter, are the ones that count (FACTS)


Change: TypeAlias = Callable[..., None]
"""A change of a table's metadata: a method of `TableAlterer` with its arguments."""


class Table:
    """An open Delta table.  `version` and all that is read from it belong to one snapshot."""

    def __init__(self, store: Store, delta: DeltaTable) -> None:
        self._store = store
        self._files = store.files()
        self._handle: DeltaTable | None = None
        self._view: View | None = None
        self._stamp: Stamp | None = None
        self._opened_at = self._checkpointed = 0
        self._stale = False
        self._adopt(delta)
        self._acknowledged = self.version
        self._known = self._shape()  # what the caller knows: it outlives a handle that was dropped

    # --- what it is -------------------------------------------------------------------------------

    @property
    def uri(self) -> str:
        return self._store.uri

    @property
    def folder(self) -> Path | None:
        """The table's folder on a local disk; None for a remote table."""
        return self._store.folder

    @property
    def version(self) -> int:
        return self._seen().version

    @property
    def last_seen(self) -> tuple[int, Mapping[str, int]] | None:
        """Version and transactions without I/O; None where the handle was dropped."""
        return (self._view.version, self._view.txns) if self._view else None

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        return specs(self._delta().schema())

    @property
    def schema(self) -> Any:
        """The table's pyarrow.Schema."""
        return arrow(self._delta().schema())

    @property
    def partition_by(self) -> tuple[str, ...]:
        return tuple(self._delta().metadata().partition_columns)

    @property
    def configuration(self) -> Mapping[str, str]:
        return dict(self._delta().metadata().configuration)

    @property
    def description(self) -> str:
        return self._delta().metadata().description or ""

    # --- reading the log --------------------------------------------------------------------------

    @property
    def txns(self) -> Mapping[str, int]:
        """Every transaction of the snapshot that a commit would go through (DESIGN 4.1)."""
        return self._seen().txns

    def position(self, app: str) -> tuple[int, bytes]:
        """Batch number and packed position of `app`, (0, b"") without (`silt.position.unpack`)."""
        return unpack(self.txns, app)

    def refresh(self) -> bool:
        """Go to the newest version; True when the table's metadata changed, or the table was replaced.

        A refresh that fails drops the handle and opens anew.  Raises `Held` for a torn log entry,
        `Contended` where the table is gone, `RetryLater` where the store does not answer.
        """
        self._renew()
        before, self._known = self._known, self._shape()
        return self._known != before

    @property
    def foreign(self) -> tuple[Foreign, ...]:
        """What others did since this handle was opened, or since `acknowledge`."""
        return self.foreign_since(self._acknowledged)

    def acknowledge(self) -> None:
        """What others did so far is settled."""
        self._acknowledged = self.version

    def foreign_since(self, version: int, *, mine: Owner | None = None) -> tuple[Foreign, ...]:
        """What others did after `version` (a position's `built_on`), oldest first (DESIGN 4.5).

        What other streams of silt's replaced counts where `mine` says which stream asks.
        """
        with self._translated():
            found = self._seen().since(version)
        return tuple(f for f in found if f.owner is None or (mine is not None and f.owner != mine))

    # --- commits ----------------------------------------------------------------------------------

    def append(
        self,
        reader: Any,
        *,
        txns: Sequence[tuple[str, int]],
        metadata: Mapping[str, str],
        writer: WriterHints = WriterHints(),  # noqa: B008 -- frozen
    ) -> int:
        """Add the rows of `reader` (a pyarrow.RecordBatchReader) in one commit; the new version.

        `txns` are `silt.position.pack`'s, each application exactly one past what `txns` says now.
        Raises `Fenced` where a rival was first, `Contended` for other contention, `UserError` for rows
        that do not fit the table; the reader's own exception comes out as it is.  After any exception
        read again: the commit may have happened.
        """
        return self._write(reader, txns, metadata, writer, {"mode": "append"})

    def replace(
        self,
        reader: Any,
        *,
        predicate: Predicate | None,
        txns: Sequence[tuple[str, int]],
        metadata: Mapping[str, str],
        writer: WriterHints = WriterHints(),  # noqa: B008 -- frozen
    ) -> int:
        """Put the rows of `reader` in the place of those that match (None: of all); else as `append`."""
        with self._translated():
            refuse_deletion_vectors(self._delta(), on=self.uri)
        how: dict[str, Any] = {"mode": "overwrite"}
        if predicate is not None and predicate.equals:
            how["predicate"] = query.predicate_sql(predicate)
        replaced = json.dumps(dict(predicate.equals) if predicate else {}, ensure_ascii=False)
        return self._write(reader, txns, {**metadata, REPLACED: replaced}, writer, how)

    def merge(self, merge: Merge, *, txns: Sequence[tuple[str, int]], metadata: Mapping[str, str]) -> Merged:
        """Carry `merge` out in one commit; what it came to: nothing makes no commit.  Raises as `append`."""
        delta = self._delta()
        with self._translated():
            refuse_deletion_vectors(delta, on=self.uri)
        self._fence(txns)
        schema = arrow(delta.schema())
        feed = Feed(merge.rows.to_reader(), schema, on=self.uri)
        replaced = json.dumps(dict(merge.within.equals), ensure_ascii=False)
        before = delta.version()
        try:
            with self._translated():
                done = merger.run(
                    delta,
                    replace(merge, rows=feed.reader().read_all()),
                    writer=writer_properties(schema, WriterHints(), feed.row_bytes),
                    commit=commit_properties(txns, {**metadata, REPLACED: replaced}, retries=_RETRIES),
                )
        except BaseException:
            self._forget()
            raise
        if delta.version() > before:
            self._committed(delta, txns)
        return done

    def empty(self, *, txns: Sequence[tuple[str, int]], metadata: Mapping[str, str]) -> int:
        """Advance positions without a row: an empty append does make a commit (FACTS); as `append`."""
        import pyarrow as pa

        nothing = pa.RecordBatchReader.from_batches(arrow(self._delta().schema()), [])
        return self.append(nothing, txns=txns, metadata=metadata)

    def add_columns(self, columns: Sequence[ColumnSpec], *, metadata: Mapping[str, str]) -> None:
        """Add those of `columns` that the table lacks, nullable; a rival's same addition is as good.

        Raises `UserError` where one is there with another type, `Contended` after three lost races.
        """

        def lacking() -> Change | None:
            new = missing(columns, self.columns, on=self.uri)
            return partial(TableAlterer.add_columns, fields=[delta_field(c) for c in new]) if new else None

        self._alter(lacking, metadata)

    def set_properties(self, properties: Mapping[str, str], *, metadata: Mapping[str, str]) -> None:
        """Set those of `properties` that the table has otherwise; raises as `add_columns`."""

        def differing() -> Change | None:
            have = self.configuration
            new = {name: value for name, value in properties.items() if have.get(name) != value}
            set_them = partial(TableAlterer.set_table_properties, properties=new, raise_if_not_exists=False)
            return set_them if new else None

        self._alter(differing, metadata)

    def describe(self, text: str, *, metadata: Mapping[str, str]) -> None:
        """Make `text` the table's comment, unless it is; raises as `add_columns`."""

        def differing() -> Change | None:
            told = partial(TableAlterer.set_table_description, description=text)
            return told if self.description != text else None

        self._alter(differing, metadata)

    def checkpoint(self) -> None:
        """Write a checkpoint; where it ends a thousand versions, clean up what the table's retention lets go.

        What clean-up leaves is read from the checkpoint, so on a local disk that is synced first.  The
        handle is opened anew by the next `refresh`: until then it stays at its own version, so that what
        was read from it stays true.
        """
        delta = self._delta()
        with self._translated():
            delta.create_checkpoint()
            before, self._checkpointed = self._checkpointed, delta.version()
            self._stale = True
            if before // CLEAN_EVERY != self._checkpointed // CLEAN_EVERY:
                durable.sync(self, self._checkpointed - 1, self._checkpointed)
                clean_log(delta)

    # --- reading rows -----------------------------------------------------------------------------

    def rows(self, columns: Sequence[str], predicate: Predicate | None = None) -> Any:
        """The matching rows as a pyarrow.RecordBatchReader, in no order."""
        return self._query(query.rows_sql(columns, predicate))

    def may_hold(self, predicate: Predicate) -> bool:
        """Whether the table can hold a row that matches, by the statistics of its files alone."""
        import pyarrow as pa

        with self._translated():
            return may_hold(pa.table(self._delta().get_add_actions(flatten=True)), predicate)

    def count(self, predicate: Predicate | None = None) -> int:
        """How many rows match."""
        (row,) = self._query(query.count_sql(predicate)).read_all().to_pylist()
        return int(row["n"])

    def distinct(self, column: str, predicate: Predicate | None = None) -> tuple[Any, ...]:
        """The distinct values of a column among the matching rows, ordered."""
        return tuple(self._query(query.distinct_sql(column, predicate)).read_all()[column].to_pylist())

    # --- inside -----------------------------------------------------------------------------------

    def _translated(self) -> Any:
        return translated(self.uri, self._store.options)

    def _delta(self) -> DeltaTable:
        if self._handle is None or self._view is None:
            with self._translated():
                self._adopt(_load(self._store))
        assert self._handle is not None
        return self._handle

    def _seen(self) -> View:
        self._delta()
        assert self._view is not None
        return self._view

    def _adopt(self, delta: DeltaTable) -> None:
        version = delta.version()
        with self._translated():
            self._view = View(self._files, version)
            self._stamp = self._files.stamp(entry_path(version))
            hint = hinted(self._files)
        self._handle = delta
        self._stale = False
        self._opened_at = version
        self._checkpointed = hint.version if hint else 0

    def _forget(self) -> None:
        self._handle = self._view = self._stamp = None

    def _shape(self) -> tuple[object, ...]:
        meta = self._delta().metadata()
        shape = (
            meta.id,
            meta.description,
            tuple(meta.partition_columns),
            tuple(sorted(meta.configuration.items())),
        )
        return (*shape, self._delta().schema().to_json())

    def _renew(self) -> None:
        try:
            self._catch_up()
        except (Unreachable, UserError):
            self._forget()
            raise
        except (SiltError, OSError):
            self._forget()
            self._delta()

    def _catch_up(self) -> None:
        seen = self._seen()
        with self._translated():
            if self._files.stamp(entry_path(seen.version)) != self._stamp:
                self._replaced()
                return
            delta = self._delta()
            if self._files.stamp(entry_path(seen.version + 1)) is not None:
                delta.update_incremental()  # lists the log, which on a local disk costs more with every entry
                self._advance(delta.version())
            if self._stale or delta.version() - self._opened_at >= CHECKPOINT_EVERY:
                self._reopen()

    def _replaced(self) -> None:
        """The table was deleted and created again: delta-rs would stay at the old version for ever."""
        self._forget()
        self._acknowledged = self._seen().version

    def _advance(self, version: int) -> None:
        seen = self._seen()
        if version < seen.version:
            self._replaced()
        elif version > seen.version:
            seen.advance(version)
            self._stamp = self._files.stamp(entry_path(version))

    def _reopen(self) -> None:
        """A fresh handle, the transactions carried over: only newer entries are read."""
        self._handle = _load(self._store)
        self._stale = False
        self._opened_at = self._handle.version()
        self._advance(self._opened_at)

    def _write(
        self,
        reader: Any,
        txns: Sequence[tuple[str, int]],
        metadata: Mapping[str, str],
        hints: WriterHints,
        how: Mapping[str, Any],
    ) -> int:
        delta = self._delta()
        self._fence(txns)
        schema = arrow(delta.schema())
        feed = Feed(reader, schema, on=self.uri)
        try:
            with self._translated():
                write_deltalake(
                    delta,
                    feed.reader(),
                    target_file_size=hints.file_bytes,
                    writer_properties=writer_properties(schema, hints, feed.row_bytes, feed.distinct),
                    commit_properties=commit_properties(txns, metadata, retries=_RETRIES),
                    post_commithook_properties=HOOKS,
                    **how,
                )
        except BaseException:
            self._forget()
            if feed.error is not None:
                raise feed.error from None
            raise
        return self._committed(delta, txns)

    def _fence(self, txns: Sequence[tuple[str, int]]) -> None:
        """The handle may have been opened anew since the caller read it; then delta-rs sees no conflict."""
        for app, batch in txns:
            there = self.txns.get(app, 0)
            if "#" not in app and there != batch - 1:
                raise Fenced(
                    f"batch {batch} does not follow the table's batch {there}",
                    on=app,
                    why="another process committed",
                )

    def _committed(self, delta: DeltaTable, txns: Sequence[tuple[str, int]]) -> int:
        """Book a commit by what its entry says, not by what was sent (DESIGN 4.2).

        A store without conditional writes accepts two entries of one version.  What fails from here on
        only means that all is read again.
        """
        version = delta.version()
        try:
            with self._translated():
                self._advance(version)
                if any(self.txns.get(app) != number for app, number in txns):
                    self._forget()  # the handle believes in an entry that is not there
                else:
                    self._upkeep(version)
        except (SiltError, OSError):
            self._forget()
        return version

    def _upkeep(self, version: int) -> None:
        every = int(self.configuration.get(_INTERVAL, CHECKPOINT_EVERY))
        if version % every == 0 or version - self._checkpointed >= 2 * every:
            self.checkpoint()

    def _alter(self, change: Callable[[], Change | None], metadata: Mapping[str, str]) -> None:
        """Make the change that the table still needs, as `change` says anew after each lost race."""
        for _ in range(3):
            needed = change()
            if needed is None:
                return
            try:
                self._change(needed, metadata)
            except Contended:
                self._renew()
            else:
                return
        raise Contended("others keep changing the table's metadata", on=self.uri)

    def _change(self, change: Change, metadata: Mapping[str, str]) -> None:
        delta = self._delta()
        try:
            with self._translated():
                change(
                    delta.alter,
                    commit_properties=commit_properties((), metadata, retries=0),
                    post_commithook_properties=HOOKS,
                )
        except BaseException:
            self._forget()
            raise
        self._committed(delta, ())

    def _query(self, sql: str) -> Any:
        with self._translated():
            return query.execute(self._delta(), sql)


# --- opening and creating -------------------------------------------------------------------------


def open_table(uri: str, options: Mapping[str, str]) -> Table | None:
    """The Delta table at `uri`; None where there is none.

    Raises `UserError` for a place that holds something else, or refuses access; `RetryLater`, in less
    than 30 s, for a store that does not answer.  What only looks like "not found" is never None.
    """
    store = locate(uri, options)
    with translated(uri, options):
        return _open_local(store) if store.folder else _open_remote(store)


def _open_local(store: Store) -> Table | None:
    assert store.folder is not None
    if store.folder.exists() and not store.folder.is_dir():
        raise _no_table(store, "it is a file")
    names = store.files().names(LOG)
    if entry_versions(names) or checkpoints(names):
        return Table(store, _load(store))
    _refuse_others(store)
    return None


def _open_remote(store: Store) -> Table | None:
    store.files().stamp(LAST_CHECKPOINT)  # with the short bounds: says early that nobody answers
    try:
        return Table(store, _load(store))
    except TableNotFoundError as error:
        if "No files in log segment" not in str(error):
            raise
        _refuse_others(store)
        return None


def _refuse_others(store: Store) -> None:
    """Raise `UserError` where there is something else than a table."""
    others = [name for name in store.files().names("") if name != LOG]
    if others:
        raise _no_table(store, f"it holds {others[0]!r}{_and_more(len(others) - 1)}")


def _and_more(number: int) -> str:
    return f" and {number:,} more" if number else ""


def _no_table(store: Store, why: str) -> UserError:
    return UserError(
        "this is not a Delta table", on=store.uri, why=why, hint="choose an empty place for the table"
    )


def _load(store: Store) -> DeltaTable:
    return DeltaTable(store.url, storage_options=store.writing())


def create_table(
    uri: str,
    options: Mapping[str, str],
    *,
    columns: Sequence[ColumnSpec],
    partition_by: Sequence[str] = (),
    description: str = "",
    configuration: Mapping[str, str] | None = None,
) -> Table:
    """Create the table, or take the one that a rival created first: exactly one creator wins (DESIGN 4.2).

    All columns are nullable.  The caller compares `columns` of what it gets: a winner's may differ.
    Raises as `open_table`.
    """
    there = open_table(uri, options)
    if there is not None:
        return there
    store = locate(uri, options)
    with translated(uri, options):
        if store.folder:
            _make_folder(store.folder)
        _create(
            store,
            columns,
            partition_by,
            description,
            {_INTERVAL: str(CHECKPOINT_EVERY), **(configuration or {})},
        )
    made = open_table(uri, options)
    if made is None:
        raise RetryLater("the table was created, and is gone again", on=uri)
    return made


def _create(
    store: Store,
    columns: Sequence[ColumnSpec],
    partition_by: Sequence[str],
    description: str,
    configuration: Mapping[str, str],
) -> None:
    try:
        DeltaTable.create(
            store.url,
            DeltaSchema([delta_field(column) for column in columns]),
            mode="error",
            partition_by=list(partition_by),
            description=description or None,
            configuration=configuration,
            storage_options=store.writing(),
            commit_properties=commit_properties((), {}, retries=0),
            post_commithook_properties=HOOKS,
            raise_if_key_not_exists=False,
        )
    except CommitFailedError:
        return  # a rival created it between our look and our commit
    except DeltaError as error:
        if "already exists" not in str(error):
            raise


def _make_folder(folder: Path) -> None:
    """Make the folder and its parents, and sync each new one's entry in its parent (DESIGN 4.6)."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in reversed(new):
        durable.fsync_path(path.parent)
