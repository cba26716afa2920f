"""One database of an append stream inside its read transaction: evidence, verdict, what to read."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from silt import target
from silt.errors import Held, SchemaMoved
from silt.manifest.model import Stream
from silt.plan.model import Part, StreamPlan
from silt.plan.verdict import (
    GoOn,
    Hold,
    ReRead,
    Restart,
    Verdict,
    Wait,
    definition,
    mostly_there,
    rebuild,
    renamed,
    strayed,
    verdict,
)
from silt.plan.window import ceiling, shape, window_start
from silt.position import Position, decode, parse_app
from silt.shapes import Evidence, Key, Order
from silt.source import evidence as ev
from silt.source.evidence import Window
from silt.source.open import Connection, Snapshot, identity

NOTHING = Window(lo=None, hi=None, rows=0, scanned=0, last=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The position of another database of the same stream, or of a stream that is no more.

    `gone` where nothing fills that slice any more; `mine` where it is the same stream's, so that the
    very same file tells; `manifest` where it is that of a manifest of another name, for the same stream
    and database.
    """

    database: str
    position: Position
    gone: bool
    mine: bool = True
    manifest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the table says of one (stream, database): its batch number and position.

    `known` are, where it has no position, those of the stream's other databases.
    """

    batch: int
    position: Position | None
    known: tuple[Known, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """A window that holds rows, to be compared with the slice: `by_key` alone, else by key and content."""

    window: Window
    by_key: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What stands, what was seen, what to read.

    `window` holds the rows past the position; `again` what lies at or before it and is compared with
    the slice; `nulls` the rowids of new rows whose cursor
    is NULL, `null_rows` how many.  `usual`: that rows are read again is no news, of a merge.  After a
    hold or a wait there is nothing to read.
    """

    standing: Standing
    evidence: Evidence
    verdict: Verdict
    window: Window = NOTHING
    again: tuple[Again, ...] = ()
    nulls: tuple[int | None, int] | None = None
    null_rows: int = 0
    usual: bool = False

    @property
    def rows(self) -> int:
        """How many new rows the stream would read."""
        return self.window.rows + self.null_rows

    @property
    def moves(self) -> bool:
        """Whether the position would move, rows or not (a filter may let none through)."""
        begins = isinstance(self.verdict, Restart) or self.rebased
        return bool(self.window.scanned or self.null_rows) or begins

    @property
    def rebased(self) -> bool:
        """Whether the position's rows stand under other rowids, which the next position must know."""
        return isinstance(self.verdict, GoOn) and self.verdict.rebase

    @property
    def notes(self) -> tuple[str, ...]:
        """Facts worth a line."""
        said = self.verdict.note if isinstance(self.verdict, GoOn) else ""
        why = self.verdict.why if isinstance(self.verdict, ReRead | Restart) and not self.usual else ""
        late = (
            f"{self.evidence.deferred:,} rows lie in the future, deferred" if self.evidence.deferred else ""
        )
        return tuple(note for note in (said, why, late) if note)


def examine(
    part: Part,
    stream: Stream,
    snapshot: Snapshot,
    standing: Standing,
    *,
    now: float,
    max_rows: int,
    goal: Key | None = None,
) -> Look:
    """In the caller's snapshot: what a cycle would read next, at most `max_rows` new rows.

    `goal` bounds a cycle of several windows to the rows that were there when it began; `now` is in
    seconds since the epoch.  Raises `SchemaMoved` where the plan is of another schema.
    """
    connection = snapshot.first
    form = shape(part)
    evidence = ev.gather(
        connection,
        part.extract,
        standing.position,
        ceiling=ceiling(part, stream.cursor, now),
        shape=form,
    )
    check_schema(part, evidence.schema_version)
    check_slice(part, standing.position)
    judged = renamed_from(part, connection, standing) or verdict(
        standing.position,
        evidence,
        order_of(part),
        on_reset=stream.on_reset,
        include_nulls=stream.cursor.on_null == "include",
    )
    if isinstance(judged, Hold | Wait):
        return Look(standing=standing, evidence=evidence, verdict=judged)
    position = None if isinstance(judged, Restart) else standing.position
    lo = _start(part, stream, connection, judged, position)
    last_null = None if position is None or _reads_nulls_again(part, evidence) else position.nulls
    high = _high(part, connection, evidence, None if isinstance(judged, Restart) else goal)
    nulls, null_rows = _null_range(part, connection, evidence, last_null)
    window = ev.window(snapshot, part.extract, lo, high, max_rows=max_rows)
    if stray := ev.stray_in(connection, part.extract, window, form):
        return Look(standing=standing, evidence=evidence, verdict=strayed(stray))
    return Look(
        standing=standing,
        evidence=evidence,
        verdict=judged,
        window=window,
        again=_again(part, stream, connection, judged, position, lo),
        nulls=nulls,
        null_rows=null_rows,
        usual=order_of(part).moves and all(s.found != "differs" for s in evidence.sightings),
    )


def check_schema(part: Part, schema_version: int) -> None:
    """Raise `SchemaMoved` unless the source's schema is the one that `part` was planned from."""
    if part.schema_version is not None and part.schema_version != schema_version:
        raise SchemaMoved("the source's schema changed since it was planned", on=part.database.path)


def slice_columns(part: Part) -> tuple[str, ...]:
    """The lineage columns that tell the part's rows from others'."""
    return tuple(name for name, _ in part.slice.equals)


def check_slice(part: Part, position: Position | None) -> None:
    """Raise `Held` where the rows of a position were written under other lineage columns.

    Today's predicate would miss them, or take in rows of others.
    """
    if position is None or position.slice is None or position.slice == slice_columns(part):
        return
    was, now = (", ".join(names) or "the whole table" for names in (position.slice, slice_columns(part)))
    how = rebuild(position.definition)
    raise Held(
        f"the slice was told by {was}, is told by {now}: rows in the lake are written the old way",
        rule="9",
        on=part.database.path,
        hint=f"undo the edit of `lineage`, `into` or the source's path; or rebuild: {how}",
    )


def _high(part: Part, connection: Connection, evidence: Evidence, goal: Key | None) -> Key | None:
    """The last key to read up to: one that a row has, since it becomes the position's.

    The row of `goal` may have been deleted since, and its id be given to another row.
    """
    return evidence.high if goal is None else ev.last_upto(connection, part.extract, goal)


def known(table: target.Table, plan: StreamPlan, *, manifest: str, node: str) -> tuple[Known, ...]:
    """The positions in `table` of the stream's databases, and of streams that the manifest no longer has.

    Those of the same stream under another manifest's name, too: `name` may have been edited.
    """
    others = {name for planned in plan.tables for name in planned.shared}
    found = []
    for name in table.txns:
        app = parse_app(name)
        if app is None or app.node != node or app.stream in others:
            continue
        mine = app.stream == plan.stream.name
        edited = app.manifest if app.manifest != manifest else ""
        if edited and not (mine and app.database in plan.found):
            continue
        if (position := decode(table.position(name)[1])) is not None:
            if edited:
                found.append(
                    Known(database=app.database, position=position, gone=True, mine=False, manifest=edited)
                )
                continue
            gone = not mine or app.database not in plan.found
            shown = app.database if mine else f"{app.stream}/{app.database}"
            found.append(Known(database=shown, position=position, gone=gone, mine=mine))
    return tuple(found)


def renamed_from(part: Part, connection: Connection, standing: Standing) -> Hold | None:
    """A hold where file or rows are those of another database; asked once, before its first batch.

    Rows are known again by witnesses, which a part without an order has not.
    """
    order = part.extract.order
    file = identity(connection.path) if standing.known else None
    for other in standing.known:
        if other.manifest and other.database != part.database.name:
            continue
        same = file is not None and file.birth and other.position.file == astuple(file)
        if same and other.mine and other.position.rows:
            return renamed(other.database, "this very file was replicated")
        if other.gone and order is not None and other.position.definition == definition(order):
            seen = ev.gather(connection, part.extract, other.position, moved=False).sightings
            if mostly_there(seen):
                what = other.database if not other.manifest else ""
                return renamed(what, "its rows were replicated", manifest=other.manifest)
    return None


def order_of(part: Part) -> Order:
    """The order of an append stream's part."""
    if part.extract.order is None:
        raise ValueError(f"{part.extract.table.name}: an append stream has an order")
    return part.extract.order


def _start(
    part: Part, stream: Stream, connection: Connection, judged: Verdict, position: Position | None
) -> Key | None:
    """The key after which rows are new."""
    if position is None or position.key is None:
        initial = stream.cursor.initial_value
        return None if initial is None else ev.before(connection, part.extract, initial, inclusive=True)
    if isinstance(judged, GoOn) and judged.rebase:
        return ev.before(connection, part.extract, position.key[0], inclusive=True)
    if isinstance(judged, ReRead) and order_of(part).moves:  # a merge writes no row twice: the position moves
        return _first_in_doubt(part, connection, judged, position.key)
    return position.key


def _again(
    part: Part,
    stream: Stream,
    connection: Connection,
    judged: Verdict,
    position: Position | None,
    lo: Key | None,
) -> tuple[Again, ...]:
    """The rows before new ones to compare with the slice: those in doubt, then the lookback's.

    A merge reads what is in doubt with the new rows, past `lo`.
    """
    moves = order_of(part).moves
    if position is None or position.key is None or (moves and lo is None):
        return ()
    end, doubt = lo if moves else position.key, None
    if isinstance(judged, ReRead) and not moves:
        start = _first_in_doubt(part, connection, judged, position.key)
        doubt = Again(window=_upto(part, connection, start, position.key), by_key=judged.at_ties)
    late = None if end is None else _lookback(part, stream, connection, end, doubt)
    return tuple(again for again in (doubt, late) if again is not None and again.window.rows)


def _lookback(
    part: Part, stream: Stream, connection: Connection, key: Key, doubt: Again | None
) -> Again | None:
    """What `lookback` reads again and `doubt` does not: nothing where that begins earlier."""
    value = window_start(part, stream.cursor, key)
    end = doubt.window.lo if doubt else key
    if value is None or end is None:
        return None
    # the window's first value belongs to it, but not what `initial_value` left out
    start = ev.before(connection, part.extract, value, inclusive=value == stream.cursor.initial_value)
    return Again(window=_upto(part, connection, start, end), by_key=True)


def _first_in_doubt(part: Part, connection: Connection, judged: ReRead, key: Key) -> Key | None:
    """After which key to read again: where ties do not rise, rows may have come in below it, too."""
    after = key if judged.at_ties else judged.after
    if after is None or order_of(part).rises:
        return after
    return ev.before(connection, part.extract, after[0], inclusive=False)


def _upto(part: Part, connection: Connection, lo: Key | None, hi: Key) -> Window:
    rows = ev.count(connection, part.extract, lo, hi)
    return Window(lo=lo, hi=hi, rows=rows, scanned=rows, last=True)


def _reads_nulls_again(part: Part, evidence: Evidence) -> bool:
    """Whether a merge's last row with a NULL cursor is another one now: which others are, nothing tells."""
    return order_of(part).moves and evidence.null_row == "differs"


def _null_range(
    part: Part, connection: Connection, evidence: Evidence, after: int | None
) -> tuple[tuple[int | None, int] | None, int]:
    """Rowids of rows with a NULL cursor past `after`, and how many rows they are."""
    last = evidence.last_null
    if last is None or (after is not None and last <= after):
        return None, 0
    return (after, last), ev.count_nulls(connection, part.extract, after, last)
