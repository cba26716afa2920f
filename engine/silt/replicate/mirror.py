"""A mirror stream's cycle: after it the slice is the source's table, and only what differed was written.

One read transaction holds the whole comparison (`observe.compare`), so the slice becomes what the table was
at one moment.  Changes that are more than a batch are several commits; where a process ends between two of
them, the next comparison finds the rest.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from silt import target
from silt.errors import Held
from silt.observe import (
    ROW_BYTES,
    Standing,
    check_schema,
    check_slice,
    differences,
    renamed_from,
    slice_columns,
    without_key,
)
from silt.plan import formats
from silt.plan.model import Part
from silt.plan.shaping import shaped
from silt.position import Position, advanced
from silt.replicate.append import LARGE_FILE
from silt.replicate.changes import Changes, ChangingCycle
from silt.replicate.ledger import Draft, Txns, now_ms, reader
from silt.replicate.model import Progress
from silt.replicate.tally import Meter
from silt.replicate.upsert import REWRITTEN
from silt.source import evidence as ev
from silt.source.open import Connection, Snapshot, identity, machine_id, pair
from silt.source.read import stream

if TYPE_CHECKING:
    import pyarrow as pa


class MirrorCycle(ChangingCycle):
    """One pass over one table, database by database."""

    def _finish(self) -> None:
        """Every slice was committed on its own."""

    def _advance(self, part: Part) -> None:
        origin = self._handles.manifest.source(self._stream.source)
        opened = self._handles.connection(origin, part.database.path)
        with opened as connection, _snapshot(connection) as snapshot:
            check_schema(part, connection.schema_version())
            self._ledger.check_foreign([part])
            standing = self._ledger.standing(part)
            check_slice(part, standing.position)
            if (hold := renamed_from(part, connection, standing)) is not None:
                raise Held(hold.why, rule=hold.rule, on=part.database.path, hint=hold.hint)
            if standing.position is None and part.extract.distinct:
                self._fill(part, snapshot, standing)
            else:
                self._follow(part, snapshot)
            connection.check_same_file()

    def _fill(self, part: Part, snapshot: Snapshot, standing: Standing) -> None:
        """Every row into an empty slice, as it streams."""
        connection = snapshot.first
        if nulls := ev.count_without_key(connection, part.extract):
            raise without_key(part, nulls)
        rows = ev.count_rows(connection, part.extract)
        draft = self._draft(part, connection, standing, rows=rows, written=rows)
        started = self._clock()
        meter = Meter(part.extract)

        def write(table: target.Table, txns: Txns, metadata: Mapping[str, str]) -> None:
            with closing(self._rows(part, snapshot, rows)) as batches:
                read = reader(part, table, meter.metered(batches))
                table.append(read, txns=txns, metadata=metadata, writer=REWRITTEN)

        version = self._ledger.commit([draft], write)
        if version is not None:
            self._report(draft, meter, version, self._clock() - started)

    def _rows(self, part: Part, snapshot: Snapshot, expected: int) -> Generator[pa.RecordBatch, None, None]:
        whole = replace(part.extract, order=None)
        with closing(stream(snapshot, whole, None, None, expected)) as batches:
            yield from self._reported(part, batches, expected)

    def _follow(self, part: Part, snapshot: Snapshot) -> None:
        """What differs, as it is found; a commit whenever it is a batch."""
        sizes = self._handles.row_bytes
        changes, rows = Changes(), 0
        for found in differences(
            part, snapshot, self._ledger.table, row_bytes=sizes.get(part.app, ROW_BYTES)
        ):
            rows += found.source_rows
            changes.take(found)
            self._listen(Progress(stream=self._stream.name, rows=rows))
            if changes.fill(self._stream.batch):
                self._commit(part, snapshot, changes, rows)
                changes = Changes()
                if self._is_stopped():
                    self._tally.midway = part.app
                    return
        if changes or self._ledger.standing(part).position is None:
            self._commit(part, snapshot, changes, rows)

    def _commit(self, part: Part, snapshot: Snapshot, changes: Changes, rows: int) -> None:
        standing = self._ledger.standing(part)
        draft = self._draft(
            part, snapshot.first, standing, rows=rows, written=changes.written, deleted=changes.deleted
        )
        self._apply(draft, changes)

    def _draft(
        self,
        part: Part,
        connection: Connection,
        standing: Standing,
        *,
        rows: int,
        written: int,
        deleted: int = 0,
    ) -> Draft:
        definition = ("mirror", "/", *part.extract.key)
        old = standing.position
        base = old if old is not None and old.definition == definition else Position(definition=definition)
        file = identity(part.database.path)
        position = advanced(
            base,
            slice=slice_columns(part),
            rows=rows,
            written=base.written + written,
            shaped=shaped(base, part.extract),
            built_on=self._ledger.table.version,
            schema_version=connection.schema_version(),
            file=(file.device, file.inode, file.birth),
            machine=machine_id(),
            committed_at=now_ms(),
            formats=formats.of(part, base.formats),
        )
        return Draft(part=part, batch=standing.batch + 1, position=position, rows=written, deleted=deleted)


@contextmanager
def _snapshot(connection: Connection) -> Iterator[Snapshot]:
    """One read transaction; of a large database two on one proved snapshot, to read with both."""
    if connection.size() >= LARGE_FILE:
        with pair(connection) as snapshot:
            yield snapshot
    else:
        with connection.snapshot():
            yield Snapshot(readers=(connection,))
