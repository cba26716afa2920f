"""A merge stream's cycle: rows past the position, each in the place of the one of the same key.

Windows, evidence and positions are append's (DESIGN 4.4); what is read again is written again, since a
row is there once whatever is sent.  Rows whose keys the slice lacks are appended; only where one is there
the files that hold it are written anew.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from silt import target
from silt.errors import UserError
from silt.observe import Look
from silt.plan.model import Part
from silt.replicate.append import AppendCycle
from silt.replicate.ledger import Draft, Txns
from silt.replicate.upsert import upsert
from silt.source import evidence as ev
from silt.source.open import Snapshot
from silt.source.read import stream

if TYPE_CHECKING:
    import pyarrow as pa


class MergeCycle(AppendCycle):
    """One pass over one table; `run` returns when every database is as far as it was at the start."""

    def _batches(self, part: Part, snapshot: Snapshot, look: Look) -> Generator[pa.RecordBatch, None, None]:
        with closing(super()._batches(part, snapshot, look)) as batches:
            yield from _keyed(part, snapshot, batches)

    def _lacking(self, part: Part, snapshot: Snapshot, look: Look) -> list[pa.RecordBatch]:
        """Rows of the lookback, to be written again."""
        read: list[pa.RecordBatch] = []
        for again in look.again:
            window = again.window
            with closing(stream(snapshot, part.extract, window.lo, window.hi, window.rows)) as batches:
                read += _keyed(part, snapshot, batches)
        return read

    def _write(
        self,
        drafts: Sequence[Draft],
        table: target.Table,
        rows: pa.RecordBatchReader,
        txns: Txns,
        metadata: Mapping[str, str],
    ) -> int | None:
        """Into an empty slice rows are appended as they come; else they are in memory, a batch at most."""
        parts = [draft.part for draft in drafts]
        if all(part.extract.distinct and self._ledger.standing(part).position is None for part in parts):
            return super()._write(drafts, table, rows, txns, metadata)
        written = upsert(table, parts, rows.read_all(), txns=txns, metadata=metadata)
        if written or not any(draft.needed for draft in drafts):
            return written or None
        table.empty(txns=txns, metadata=metadata)
        return 0


def _keyed(part: Part, snapshot: Snapshot, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """`batches`.  Raises `UserError` for a row without a key."""
    names = part.extract.key_fields
    for batch in batches:
        if any(batch.column(batch.schema.get_field_index(name)).null_count for name in names):
            raise _without_key(part, snapshot)
        yield batch


def _without_key(part: Part, snapshot: Snapshot) -> UserError:
    extract = part.extract
    return UserError(
        f"{ev.count_without_key(snapshot.first, extract):,} rows of {extract.table.name} have NULL in the "
        f"primary key ({', '.join(extract.key)}): nothing tells which row of the lake is theirs",
        on=part.database.path,
        hint="give them a key, leave them out with `where`, or declare another `primary_key`",
        setting="primary_key",
    )
