"""Changes of a slice as they were found, in one commit: rows added, written again, deleted or marked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from silt import target
from silt.manifest.model import Batch
from silt.observe import Difference
from silt.plan.model import Part
from silt.replicate.cycle import Cycle
from silt.replicate.ledger import Draft, Txns, reader
from silt.replicate.model import Committed
from silt.replicate.tally import Meter
from silt.replicate.upsert import REWRITTEN, span, unlike
from silt.source.read import schema

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(slots=True, kw_only=True)
class Changes:
    """What waits for a commit: whole rows to be added and to be written again, keys of those that go."""

    added: list[pa.Table] = field(default_factory=list)
    changed: list[pa.Table] = field(default_factory=list)
    gone: list[pa.Table] = field(default_factory=list)

    def take(self, found: Difference) -> None:
        self.added.append(found.missing)
        self.changed.append(found.changed)
        self.gone.append(found.gone)

    @property
    def written(self) -> int:
        """Rows that are added or written again."""
        return _rows((*self.added, *self.changed))

    @property
    def deleted(self) -> int:
        return _rows(self.gone)

    def __bool__(self) -> bool:
        return bool(self.written or self.deleted)

    def fill(self, batch: Batch) -> bool:
        """Whether they are as much as one commit may hold."""
        tables = (*self.added, *self.changed, *self.gone)
        return _rows(tables) >= batch.max_rows or sum(t.nbytes for t in tables) >= batch.max_bytes


def _rows(tables: tuple[pa.Table, ...] | list[pa.Table]) -> int:
    return sum(table.num_rows for table in tables)


def apply(
    changes: Changes,
    table: target.Table,
    part: Part,
    meter: Meter,
    *,
    mark: tuple[str, datetime] | None,
    txns: Txns,
    metadata: Mapping[str, str],
) -> None:
    """Write `changes` in one commit; `mark` is the column that deleted rows are marked in, and the time.

    What only adds rows is appended.
    """
    import pyarrow as pa

    whole = schema(part.extract)
    batches = [batch for rows in (*changes.added, *changes.changed) for batch in rows.to_batches()]
    read = reader(part, table, meter.metered(batches))
    if not _rows(changes.changed) and not changes.deleted:
        table.append(read, txns=txns, metadata=metadata, writer=REWRITTEN)
        return
    rows = read.read_all()
    keys = part.extract.key_fields
    gone = pa.concat_tables([whole.empty_table().select(keys), *(t.select(keys) for t in changes.gone)])
    met = pa.concat_tables([rows.select(keys), gone])
    table.merge(
        target.Merge(
            rows=rows,
            keys=keys,
            unlike=unlike(part.extract, rows),
            within=target.Predicate(equals=part.slice.equals, between=span(met, keys[0])),
            gone=gone if gone.num_rows else None,
            mark=None if mark is None else mark[0],
            at=None if mark is None else mark[1],
        ),
        txns=txns,
        metadata=metadata,
    )


class ChangingCycle(Cycle):
    """A cycle that commits `Changes` of one database's slice."""

    def _apply(self, draft: Draft, changes: Changes, mark: str | None = None) -> None:
        """One commit: what changed, and the position that it leads to; that alone where nothing did."""
        started = self._clock()
        meter = Meter(draft.part.extract)
        at = None if mark is None else (mark, datetime.fromtimestamp(started, UTC))

        def write(table: target.Table, txns: Txns, metadata: Mapping[str, str]) -> None:
            if changes:
                apply(changes, table, draft.part, meter, mark=at, txns=txns, metadata=metadata)
            else:
                table.empty(txns=txns, metadata=metadata)

        version = self._ledger.commit([draft], write)
        if version is not None:
            self._report(draft, meter, version, self._clock() - started)

    def _report(self, draft: Draft, meter: Meter, version: int, seconds: float) -> None:
        name = draft.part.database.name
        self._tally.commit([name], draft.rows, meter.misfits, draft.deleted)
        self._listen(
            Committed(
                stream=self._stream.name,
                into=self._stream.path_for(name),
                rows=draft.rows,
                databases=1,
                version=version,
                bytes=meter.bytes,
                misfits=meter.misfits.total(),
                deleted=draft.deleted,
                batch=draft.batch,
                seconds=seconds,
            )
        )
