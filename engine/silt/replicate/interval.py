"""An interval of a stream's rows, read again and written in their places (DESIGN 10, `reset --from --to`).

The position stays where it is: what is read again lies at or below it.  Each batch is one commit, made by
key, so that a row is there once however often it is sent: whatever is killed when, the same interval again
leads to the same rows.  Where no key tells rows apart in the lake, it is refused, or, asked for, appended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from silt import target, types
from silt.errors import Held, UserError
from silt.manifest.model import Stream
from silt.observe import (
    NOTHING,
    Handles,
    Standing,
    check_schema,
    check_slice,
    examine,
    ordered,
)
from silt.plan import interval as edges_of
from silt.plan.interval import Interval
from silt.plan.keys import merged
from silt.plan.model import Part, StreamPlan
from silt.plan.verdict import GoOn, Hold, ReRead, Wait
from silt.position import advanced, parse_app
from silt.replicate.append import AppendCycle
from silt.replicate.ledger import Draft, Txns, now_ms
from silt.replicate.merge import keyed
from silt.replicate.model import Listener, Stopping, StreamResult
from silt.replicate.stream import StreamCycle
from silt.replicate.upsert import span, upsert
from silt.shapes import Key
from silt.source import evidence as ev
from silt.source.cursor import unique_keys
from silt.source.open import Connection, Snapshot
from silt.source.read import stream

if TYPE_CHECKING:
    import pyarrow as pa

CYCLE = "`silt run --once` settles it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """What came of it: `read` rows were read again, `result.rows` of them written."""

    result: StreamResult
    read: int


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far an interval has come, by app: a table that is tried again goes on there.

    Rows that no key tells apart would be written once more by each try.
    """

    read: int = 0
    done: dict[str, Key | None] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)


def read_again(
    plan: StreamPlan, handles: Handles, interval: Interval, *, listen: Listener, stop: Stopping
) -> Again:
    """Read the rows of `interval` again in every database of the stream, and write them in their places.

    Raises `UserError` where the mode has no rows to be read so, or the stream is disabled; what stops the
    plan is raised as it is.
    """
    check_interval(plan.stream)
    if plan.error is not None:
        raise plan.error
    plan = replace(plan, tables=tuple(table for table in plan.tables if table.exists))
    if not plan.tables:
        raise UserError(f"no row of {plan.stream.name} was replicated yet", hint="silt run reads them all")
    progress = Progress()
    cycle = partial(IntervalCycle, interval=interval, progress=progress)
    result = StreamCycle(plan, handles, listen=listen, stop=stop, cycle=cycle).run()
    return Again(result=result, read=progress.read)


def check_interval(stream: Stream) -> None:
    """Raise `UserError` for a stream without rows that an interval could name."""
    whole = "`silt reset` without --from and --to begins anew"
    if stream.aggregate is not None:
        raise UserError(
            f"{stream.name} is an aggregate: a window that was written is never written again", hint=whole
        )
    if stream.mode == "overwrite":
        raise UserError(
            f"{stream.name} is replaced whole whenever its rows differ (mode overwrite)", hint=whole
        )
    if not stream.enabled:
        raise UserError(f"{stream.name} is disabled", hint="`enabled: true` lets it run")


class IntervalCycle(AppendCycle):
    """One pass over one table: of each database the rows of the interval, a commit a batch."""

    def __init__(self, *args: Any, interval: Interval, progress: Progress, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._interval = interval
        self._progress = progress
        self._keyed = True

    def _finish(self) -> None:
        """Every batch was committed on its own."""

    def _advance(self, part: Part) -> None:
        part = _in_order(part)
        if self._ledger.standing(part).position is None:
            self._note(f"{part.database.name}: nothing of it was replicated yet")
            return
        reason = self._untold(part)
        self._keyed = not reason
        if reason and not self._interval.duplicates:
            raise _refused(part, reason)
        while part.app not in self._progress.whole:
            self._batch(part)
            if part.app not in self._progress.whole and self._is_stopped():
                self._tally.midway = part.app
                return

    def _batch(self, part: Part) -> None:
        """The next rows of the interval, in a snapshot and a commit of their own."""
        opened = self._handles.connection(self._origin(), part.database.path)
        with opened as connection, connection.snapshot():
            standing = self._ledger.standing(part)
            self._ledger.check_foreign([part])
            check_schema(part, connection.schema_version())
            check_slice(part, standing.position)
            snapshot = Snapshot(readers=(connection,))
            window = NOTHING
            if self._is_the_same(part, snapshot, standing):
                window = self._window(part, snapshot, standing)
            batches = self._rows(part, snapshot, window) if window.rows else []
            connection.check_same_file()
        if batches:
            self._commit([self._again(part, standing, window)], lambda: iter(batches))
        self._progress.read += window.rows
        self._progress.done[part.app] = window.hi
        if window.last:
            self._progress.whole.add(part.app)

    def _rows(self, part: Part, snapshot: Snapshot, window: ev.Window) -> list[pa.RecordBatch]:
        """In memory.  Raises `UserError` for a row without a key."""
        with closing(stream(snapshot, part.extract, window.lo, window.hi, window.rows)) as batches:
            read = self._reported(part, batches, window.rows)
            return list(keyed(part, snapshot, read) if self._keyed else read)

    def _again(self, part: Part, standing: Standing, window: ev.Window) -> Draft:
        """The position as it is, by a batch of its own."""
        assert standing.position is not None
        rows = window.rows
        position = advanced(
            standing.position,
            built_on=self._ledger.table.version,
            committed_at=now_ms(),
            written=standing.position.written + (0 if self._keyed else rows),
        )
        return Draft(part=part, batch=standing.batch + 1, position=position, rows=rows, needed=False)

    def _write(
        self,
        drafts: Sequence[Draft],
        table: target.Table,
        rows: pa.RecordBatchReader,
        txns: Txns,
        metadata: Mapping[str, str],
    ) -> int | None:
        if not self._keyed:
            return super()._write(drafts, table, rows, txns, metadata)
        part, found = drafts[0].part, rows.read_all()
        twice = _twice(table, part, found)
        if twice and self._interval.duplicates:
            return super()._write(drafts, table, found.to_reader(), txns, metadata)
        if twice:
            raise _refused(part, f"{twice:,} rows of the slice have the key of another row in it")
        return upsert(table, [part], found, txns=txns, metadata=metadata) or None

    # --- which rows ---

    def _window(self, part: Part, snapshot: Snapshot, standing: Standing) -> ev.Window:
        """At most a batch of the rows that are left."""
        bounds = self._bounds(part, snapshot, standing)
        if bounds is None:
            return NOTHING
        lo, hi = bounds
        lo = self._progress.done.get(part.app) or lo
        sizes = self._handles.row_bytes
        if part.app not in sizes:
            sizes[part.app] = self._sampled(part, snapshot, _some(part, snapshot, lo, hi))
        return ev.window(snapshot, part.extract, lo, hi, max_rows=self._most_rows(part))

    def _bounds(self, part: Part, snapshot: Snapshot, standing: Standing) -> tuple[Key | None, Key] | None:
        """(the last key before the interval, its last one), none past the position; None without a row."""
        connection = snapshot.first
        column = self._column(part, connection)
        if column.example is None:
            return None
        low, high = edges_of.edges(self._interval, column)
        before = None if low is None else ev.before(connection, part.extract, low, inclusive=False)
        before = self._begins(part, snapshot, before)
        last = (
            ev.last_key(connection, part.extract)
            if high is None
            else ev.before(connection, part.extract, high, inclusive=True)
        )
        if last is None:
            return None
        return self._cut(part, snapshot, standing, before, last)

    def _begins(self, part: Part, snapshot: Snapshot, before: Key | None) -> Key | None:
        """`before`, or the last key that `initial_value` leaves out where that is later."""
        initial = self._stream.cursor.initial_value
        if initial is None:
            return before
        first = ev.before(snapshot.first, part.extract, initial, inclusive=True)
        later = first is not None and ev.window(snapshot, part.extract, before, first, max_rows=1).scanned
        return first if later else before

    def _cut(
        self, part: Part, snapshot: Snapshot, standing: Standing, before: Key | None, last: Key
    ) -> tuple[Key | None, Key] | None:
        """Without what lies past the position, which the next cycle reads; a mirror has no such."""
        position = standing.position
        if self._stream.mode == "mirror" or position is None:
            return before, last
        if position.key is None:
            return None
        if not ev.window(snapshot, part.extract, position.key, last, max_rows=1).scanned:
            return before, last
        if self._interval.end is not None:
            self._note(
                f"{part.database.name}: the interval ends at the position: rows past it were not read yet, "
                "the next cycle does it"
            )
        return before, position.key

    def _column(self, part: Part, connection: Connection) -> edges_of.Column:
        order = part.extract.order
        assert order is not None
        name = order.cursor[0]
        shown = next((f for f in part.extract.fields if f.source == name), None)
        form = part.cursor.time_format if part.cursor is not None else None
        if (
            form is None
            and shown is not None
            and types.base_format(shown.format or "") in types.NUMBER_FORMATS
        ):
            form = shown.format
        held = part.extract.table.column(name)
        return edges_of.Column(
            name=name,
            example=ev.first_value(connection, part.extract),
            form=form,
            timezone=shown.timezone if shown is not None else None,
            collation="BINARY" if held is None else held.collation,
            encoding=connection.encoding,
        )

    # --- is a row told from others ---

    def _untold(self, part: Part) -> str:
        """Why rows that are read again would be there twice; '' where a key tells them apart."""
        appends = self._stream.mode == "append"
        if appends and not (self._ledger.owns_slice(part) and _is_alone(part, self._ledger.table)):
            return "the slice holds rows of others, too"
        position = self._ledger.standing(part).position
        if appends and position is not None and position.incarnation:
            return "the slice holds rows of an earlier database, whose keys may be the same"
        return _without_key(part)

    # --- is it the same source ---

    def _is_the_same(self, part: Part, snapshot: Snapshot, standing: Standing) -> bool:
        """Whether there are rows of the source that the slice is of.

        Raises `Held` where it is another one, or its last rows are in doubt: they would take the places of
        rows that are gone from it.  A mirror becomes what its source is, whatever that is.
        """
        if self._stream.mode == "mirror":
            return True
        look = examine(part, self._stream, snapshot, standing, now=self._clock(), max_rows=1)
        moves = part.extract.order is not None and part.extract.order.moves
        match look.verdict:
            case Hold(why=why, rule=rule, hint=hint):
                raise Held(why, rule=rule, on=part.database.path, hint=hint)
            case Wait(why=why):
                self._tally.waiting.append(f"{part.database.name}: {why}")
                return False
            case GoOn() if not look.rebased:
                return True
            case ReRead() if moves or not self._keyed:
                return True
        why = getattr(look.verdict, "why", "rows stand under other rowids")
        raise Held(
            "the rows at the position must be settled before any is read again",
            rule="4.4",
            on=part.database.path,
            why=why,
            hint=CYCLE,
        )


def _some(part: Part, snapshot: Snapshot, lo: Key | None, hi: Key) -> ev.Window:
    return ev.window(snapshot, part.extract, lo, hi, max_rows=1_000)


def _in_order(part: Part) -> Part:
    """The part with the order that its interval is of, and with the key that its rows are told apart by."""
    extract = part.extract
    if extract.order is None:  # a mirror's is that of its key
        return replace(part, extract=ordered(extract))
    if extract.key:
        return part
    shown = {f.source for f in extract.fields if f.source is not None and f.mask is None}
    known = (key for key in unique_keys(extract.table) if shown.union(_rowids(part)).issuperset(key))
    key = next(known, extract.order.columns)
    return replace(part, extract=replace(extract, key=key, distinct=True))


def _without_key(part: Part) -> str:
    """Why no key of the lake tells the rows apart; '' where one does."""
    extract = part.extract
    by = {f.source: f for f in extract.fields if f.source is not None and f.mask is None}
    if missing := [name for name in extract.key if name not in by and name not in _rowids(part)]:
        return f"no column of the lake holds {', '.join(missing)}"
    if extract.order is not None and extract.order.renumbers and extract.table.rowid in extract.key:
        return f"{extract.table.name} has no INTEGER PRIMARY KEY, and VACUUM may give rows other rowids"
    reason = merged(extract.key, by.values(), extract.table)
    return f"two of them may have one key there: {reason}" if reason else ""


def _rowids(part: Part) -> set[str]:
    """The rowid's name, where the lake has it."""
    name = part.extract.table.rowid
    return {name for f in part.extract.fields if f.lineage == "rowid" and name is not None}


def _is_alone(part: Part, table: target.Table) -> bool:
    """Whether no other manifest, node or stream has a position by which rows of the slice may be its."""
    mine, told = parse_app(part.app), "_silt_node" in dict(part.slice.equals)
    for name in table.txns:
        app = parse_app(name)
        if app is None or mine is None or not table.position(name)[1]:
            continue
        same = (app.manifest, app.node, app.stream) == (mine.manifest, mine.node, mine.stream)
        if not same and not (told and app.node != mine.node):
            return False
    return True


def _refused(part: Part, why: str) -> UserError:
    return UserError(
        f"rows of {part.extract.table.name} that are read again would be in the lake twice",
        on=part.database.path,
        why=why,
        hint="--allow-duplicates appends them all the same; without --from and --to the stream begins anew",
    )


def _twice(table: target.Table, part: Part, rows: pa.Table) -> int:
    """How many rows of the slice have the key of one of `rows`, and are not the only one."""
    import pyarrow as pa

    names = list(part.extract.key_fields)
    keys = rows.select(names)
    within = target.Predicate(equals=part.slice.equals, between=span(rows, names[0]))
    met = [
        pa.Table.from_batches([batch]).cast(keys.schema).join(keys, keys=names, join_type="left semi")
        for batch in table.rows(names, within)
    ]
    if not met:
        return 0
    held = pa.concat_tables(met)
    return int(held.num_rows - held.group_by(names).aggregate([]).num_rows)
