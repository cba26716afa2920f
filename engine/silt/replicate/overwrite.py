"""An overwrite stream's cycle: each database's slice is replaced whole, and only when it changed.

The position holds an ordered digest of what the slice was filled with (DESIGN 7), so that a cold
process too can tell that nothing changed.  It is known before the write starts: one pass digests,
and where the rows do not fit into memory a second pass of the same snapshot writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from silt import target
from silt.observe import Standing, check_schema, check_slice, predicate, slice_columns
from silt.plan import formats
from silt.plan.model import Part
from silt.position import Position, advanced
from silt.replicate.cycle import Cycle
from silt.replicate.ledger import Draft, Txns, now_ms, reader
from silt.replicate.model import Committed, Progress
from silt.replicate.tally import Meter
from silt.source.digest import Digest
from silt.source.open import Connection, Snapshot, identity, machine_id
from silt.source.read import stream

if TYPE_CHECKING:
    import pyarrow as pa

DEFINITION = ("overwrite", "/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A table's rows, digested; `batches` None where they did not fit into memory."""

    digest: str
    rows: int
    batches: tuple[pa.RecordBatch, ...] | None


class OverwriteCycle(Cycle):
    """One pass over one table; one commit a database that changed."""

    def _finish(self) -> None:
        """Every slice was committed on its own."""

    def _advance(self, part: Part) -> None:
        origin = self._handles.manifest.source(self._stream.source)
        standing = self._ledger.standing(part)
        with self._handles.connection(origin, part.database.path) as connection, connection.snapshot():
            check_schema(part, connection.schema_version())
            check_slice(part, standing.position)
            content = self._digest(part, connection)
            if self._unchanged(standing, content):
                return
            draft = self._draft(part, connection, standing, content)
            self._commit(draft, lambda: self._rows(part, connection, content))

    def _unchanged(self, standing: Standing, content: Content) -> bool:
        return standing.position is not None and standing.position.digest == content.digest

    def _digest(self, part: Part, connection: Connection) -> Content:
        digest = Digest(part.extract)
        kept: list[pa.RecordBatch] | None = []
        held = rows = 0
        for batch in stream(_alone(connection), part.extract, None, None, None):
            digest.add(batch)
            rows += batch.num_rows
            held += batch.nbytes
            if kept is not None:
                kept.append(batch)
            if held > self._stream.batch.max_bytes:
                kept = None
        return Content(digest=digest.hex(), rows=rows, batches=None if kept is None else tuple(kept))

    def _draft(self, part: Part, connection: Connection, standing: Standing, content: Content) -> Draft:
        file = identity(part.database.path)
        old = standing.position
        # never on top of an append position: its key would outlive the rows that it counted
        base = old if old is not None and old.definition == DEFINITION else Position(definition=DEFINITION)
        position = advanced(
            base,
            slice=slice_columns(part),
            digest=content.digest,
            rows=content.rows,
            built_on=self._ledger.table.version,
            schema_version=connection.schema_version(),
            file=(file.device, file.inode, file.birth),
            machine=machine_id(),
            committed_at=now_ms(),
            formats=formats.of(part, base.formats),
        )
        return Draft(part=part, batch=standing.batch + 1, position=position, rows=content.rows)

    def _rows(self, part: Part, connection: Connection, content: Content) -> Iterator[pa.RecordBatch]:
        if content.batches is not None:
            yield from content.batches
            return
        rows = 0
        for batch in stream(_alone(connection), part.extract, None, None, content.rows):
            rows += batch.num_rows
            self._listen(Progress(stream=self._stream.name, rows=rows, expected=content.rows))
            yield batch

    def _commit(self, draft: Draft, batches: Callable[[], Iterator[pa.RecordBatch]]) -> None:
        started = self._clock()
        meter = Meter(draft.part.extract)

        def write(table: target.Table, txns: Txns, metadata: Mapping[str, str]) -> None:
            rows = reader(draft.part, table, meter.metered(batches()))
            table.replace(rows, predicate=predicate(draft.part.slice), txns=txns, metadata=metadata)

        version = self._ledger.commit([draft], write)
        if version is None:  # never: what it writes is always worth a commit
            return
        self._tally.commit([draft.part.database.name], draft.rows, meter.misfits)
        self._listen(
            Committed(
                stream=self._stream.name,
                into=self._stream.path_for(draft.part.database.name),
                rows=draft.rows,
                databases=1,
                version=version,
                bytes=meter.bytes,
                misfits=meter.misfits.total(),
                batch=draft.batch,
                seconds=self._clock() - started,
            )
        )


def _alone(connection: Connection) -> Snapshot:
    """One reader: the digest depends on the order of rows, which two would mix."""
    return Snapshot(readers=(connection,))
