"""An aggregate's cycle over one Delta table: every window that is complete, whole, once.

It is an append stream whose rows are windows: what stands in a commit, how databases share one, and
how a lost race is run again are the same.  Windows of one end are never split over commits.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from silt.observe import Look, slice_columns
from silt.observe.windows import Opening, bounded, instant, micros, open_windows, under
from silt.plan import formats
from silt.plan.model import Part
from silt.plan.shaping import shaped
from silt.plan.verdict import Restart, definition
from silt.position import Position, Witness, advanced
from silt.replicate.append import AppendCycle, order_of, remembering
from silt.replicate.ledger import Draft, now_ms
from silt.shapes import Key
from silt.source.evidence import Window
from silt.source.open import Connection, Snapshot
from silt.source.read import stream

if TYPE_CHECKING:
    import pyarrow as pa


class AggregateCycle(AppendCycle):
    """One pass over one table; `run` returns when every window that was complete at its start is written."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._now = self._clock()

    @contextmanager
    def _snapshot(self, part: Part, connection: Connection, *, paired: bool | None) -> Iterator[Snapshot]:  # noqa: ARG002
        """One reader: SQLite sums up in one statement."""
        with super()._snapshot(part, connection, paired=False) as snapshot:
            yield snapshot

    def _bounded(self, part: Part, snapshot: Snapshot, goal: Key | None) -> Look | None:  # noqa: ARG002
        self._ledger.check_foreign([part])
        look = open_windows(
            part,
            self._stream,
            snapshot.first,
            self._ledger.standing(part),
            now=self._now,
            max_rows=self._most_rows(part),
        )
        self._heed(part, look)
        return look if look.moves else None

    def _lacking(self, part: Part, snapshot: Snapshot, look: Look) -> list[pa.RecordBatch]:  # noqa: ARG002
        """A window that was written stays as it is, whatever became of its rows."""
        return []

    def _batches(self, part: Part, snapshot: Snapshot, look: Look) -> Generator[pa.RecordBatch, None, None]:
        opening = _opening(look)
        if look.window.rows:
            extract = bounded(part, opening.what, _end(opening))
            yield from stream(snapshot, extract, None, None, look.window.rows)
        snapshot.first.check_same_file()

    def _draft(self, part: Part, snapshot: Snapshot, look: Look, rows: int) -> Draft:
        made = super()._draft(part, snapshot, look, rows)
        return replace(made, late=_opening(look).late)

    def _next_position(self, part: Part, connection: Connection, look: Look) -> Position:
        opening = _opening(look)
        old, evidence = look.standing.position, look.evidence
        base = old or Position(definition=definition(order_of(part)))
        anew = isinstance(look.verdict, Restart)
        end = _end(opening) if look.window.rows else None
        return advanced(
            base,
            key=base.key if end is None else (instant(end),),
            rows=base.rows + opening.made_of,
            incarnation=base.incarnation + anew,
            built_on=self._ledger.table.version,
            schema_version=evidence.schema_version,
            low=evidence.low,
            witnesses=self._rows_remembered(opening, connection, base),
            witness_columns=remembering(opening.base, base).witness,
            slice=slice_columns(part),
            file=(evidence.file.device, evidence.file.inode, evidence.file.birth),
            machine=evidence.machine,
            committed_at=now_ms(),
            shaped=shaped(base, part.extract),
            formats=formats.of(part, base.formats),
            seen=opening.seen,
            counted=opening.counted,
            late=base.late + opening.late,
            spelled=opening.spelled,
        )

    def _rows_remembered(
        self, opening: Opening, connection: Connection, base: Position
    ) -> tuple[Witness, ...]:
        """Witnesses of the table's own rows, up to the last that is there."""
        high, order = opening.evidence.high, opening.base.extract.order
        if order is None or high is None:
            return ()
        before = (
            Position(definition=()) if isinstance(opening.verdict, Restart) else under(base, opening.base)
        )
        before = before or Position(definition=())
        extract = remembering(opening.base, before)
        window = Window(lo=before.key, hi=high, rows=opening.came, scanned=opening.came, last=True)
        ordinal = (before.witnesses[0].ordinal if before.witnesses else 0) + max(opening.came, 1)
        look = Look(
            standing=opening.standing, evidence=opening.evidence, verdict=opening.verdict, window=window
        )
        return self._witnesses(extract, connection, look, before, ordinal)


def _opening(look: Look) -> Opening:
    if not isinstance(look, Opening):
        raise TypeError("an aggregate's look is an opening of windows")
    return look


def _end(opening: Opening) -> int:
    found = micros(Position(definition=(), key=opening.window.hi))
    if found is None:
        raise ValueError("windows that are written have an end")
    return found
