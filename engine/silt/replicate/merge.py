"""A merge stream's cycle: rows past the position, each in the place of the one of the same key.

Windows, evidence and positions are append's (DESIGN 4.4); what is read again is written again, since a
row is there once whatever is sent.  Rows whose keys the slice lacks are appended; only where one is there
the files that hold it are written anew.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from silt import target
from silt.manifest.model import Deletes
from silt.observe import (
    KEY_BYTES,
    Look,
    Standing,
    check_fraction,
    differences,
    examine,
    fetched,
    is_due,
    without_key,
)
from silt.plan.model import Part
from silt.plan.verdict import GoOn, ReRead, Wait, is_same_file
from silt.position import Position, advanced
from silt.replicate.append import GROUP_ROWS, AppendCycle
from silt.replicate.changes import Changes, ChangingCycle
from silt.replicate.ledger import Draft, Txns, now_ms
from silt.replicate.upsert import REWRITTEN, upsert
from silt.shapes import DELETED
from silt.source import evidence as ev
from silt.source.open import Snapshot
from silt.source.read import stream

if TYPE_CHECKING:
    import pyarrow as pa


class MergeCycle(ChangingCycle, AppendCycle):
    """One pass over one table; `run` returns when every database is as far as it was at the start."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._files = REWRITTEN
        self._reach: dict[str, target.Predicate | None] = {}
        """By app: where in the slice the keys of a large window lie; None where that was not asked."""

    def _advance(self, part: Part) -> None:
        super()._advance(part)
        rule = self._stream.deletes
        if rule is not None and not self._tally.stopped:
            self._flush()  # what the group holds has the next batch number
            self._sweep(part, rule)

    # --- rows that the source deletes ---

    def _sweep(self, part: Part, rule: Deletes) -> None:
        """Compare the keys of slice and source, where that is due."""
        position = self._ledger.standing(part).position
        if position is None:
            return
        if not is_due(rule, position, self._clock()):
            self._tally.deferred = True
            return
        with (
            self._handles.connection(self._origin(), part.database.path) as connection,
            connection.snapshot(),
        ):
            snapshot = Snapshot(readers=(connection,))
            if self._is_the_same(part, snapshot):
                self._commit_sweep(part, snapshot, rule)

    def _is_the_same(self, part: Part, snapshot: Snapshot) -> bool:
        """Whether the source is the one whose rows the slice holds; the very same file may be empty now."""
        standing = self._ledger.standing(part)
        look = examine(part, self._stream, snapshot, standing, now=self._clock(), max_rows=1)
        if isinstance(look.verdict, Wait) and standing.position is not None:
            return is_same_file(standing.position, look.evidence)
        return isinstance(look.verdict, GoOn | ReRead)

    def _commit_sweep(self, part: Part, snapshot: Snapshot, rule: Deletes) -> None:
        changes, rows = Changes(), 0
        live = DELETED if rule.mode == "soft" else None
        for found in differences(
            part, snapshot, self._ledger.table, row_bytes=KEY_BYTES, content=False, live=live
        ):
            rows += found.lake_rows
            changes.gone.append(found.gone)
            if self._stream.cursor.initial_value is None:  # rows before it are meant to be missing
                (changes.changed if live else changes.added).append(fetched(part, snapshot, found))
        check_fraction(part, changes.deleted, rows, rule)
        if changes or rule.every:
            standing = self._ledger.standing(part)
            self._apply(self._swept(part, standing, changes), changes, live)

    def _swept(self, part: Part, standing: Standing, changes: Changes) -> Draft:
        position = advanced(
            standing.position or Position(definition=()),
            built_on=self._ledger.table.version,
            committed_at=now_ms(),
            swept=round(self._clock() * 1000),
        )
        return Draft(
            part=part,
            batch=standing.batch + 1,
            position=position,
            rows=changes.written,
            deleted=changes.deleted,
        )

    # --- rows past the position ---

    def _batches(self, part: Part, snapshot: Snapshot, look: Look) -> Generator[pa.RecordBatch, None, None]:
        with closing(super()._batches(part, snapshot, look)) as batches:
            yield from keyed(part, snapshot, batches)

    def _lacking(self, part: Part, snapshot: Snapshot, look: Look) -> list[pa.RecordBatch]:
        """Rows of the lookback, to be written again."""
        read: list[pa.RecordBatch] = []
        for again in look.again:
            window = again.window
            with closing(stream(snapshot, part.extract, window.lo, window.hi, window.rows)) as batches:
                read += keyed(part, snapshot, batches)
        return read

    def _draft(self, part: Part, snapshot: Snapshot, look: Look, rows: int) -> Draft:
        large = rows > GROUP_ROWS and not look.again and not look.null_rows
        self._reach[part.app] = reach(part, look) if large else None
        return super()._draft(part, snapshot, look, rows)

    def _write(
        self,
        drafts: Sequence[Draft],
        table: target.Table,
        rows: pa.RecordBatchReader,
        txns: Txns,
        metadata: Mapping[str, str],
    ) -> int | None:
        """Where no key can be there yet rows are appended as they come; else they are in memory, a batch."""
        parts = [draft.part for draft in drafts]
        if all(part.extract.distinct and self._is_new(part, table) for part in parts):
            return super()._write(drafts, table, rows, txns, metadata)
        written = upsert(table, parts, rows.read_all(), txns=txns, metadata=metadata)
        if written or not any(draft.needed for draft in drafts):
            return written or None
        table.empty(txns=txns, metadata=metadata)
        return 0

    def _is_new(self, part: Part, table: target.Table) -> bool:
        """Whether the slice can hold no key of the window: it is empty, or no file of it reaches there."""
        if self._ledger.standing(part).position is None:
            return True
        within = self._reach[part.app]
        return within is not None and not table.may_hold(within)


def reach(part: Part, look: Look) -> target.Predicate | None:
    """The range of a window's keys in the slice, where the key is the rowid; None of any other."""
    extract = part.extract
    (field, *others) = (f for f in extract.fields if f.name in extract.key_fields)
    if others or field.source != extract.table.rowid_alias or field.type != "bigint":
        return None
    ends = look.window.rowids
    return ends and target.Predicate(equals=part.slice.equals, between=(field.name, *ends))


def keyed(part: Part, snapshot: Snapshot, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """`batches`.  Raises `UserError` for a row without a key."""
    names = part.extract.key_fields
    for batch in batches:
        if any(batch.column(batch.schema.get_field_index(name)).null_count for name in names):
            raise without_key(part, ev.count_without_key(snapshot.first, part.extract))
        yield batch
