"""One database of an aggregate inside its read transaction: which windows are complete, which rows late.

A window is complete once `window_end + lateness` has passed by the wall clock: a source that is idle,
or holds history only, has its last window written, too, which no watermark of event times would do.
The position's key is the end of the last window that was written; nothing before it is written again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from silt import types
from silt.errors import Misfit, SchemaMoved
from silt.manifest.model import Aggregate, Stream
from silt.observe.look import (
    NOTHING,
    Look,
    Standing,
    check_schema,
    check_slice,
    order_of,
    renamed_from,
)
from silt.plan.model import Part
from silt.plan.verdict import (
    LOSS,
    REBUILD,
    GoOn,
    Hold,
    ReRead,
    Restart,
    Verdict,
    Wait,
    definition,
    moved,
    verdict,
)
from silt.position import Position
from silt.shapes import Evidence, Extract, Order, Table, Windows
from silt.source import evidence as ev
from silt.source import windows
from silt.source.evidence import Window
from silt.source.open import Connection, identity, machine_id

MAX_SKEW = 3600.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening(Look):
    """What stands, and which windows are next: those in [`start`, `end`) of `what`.

    `window` counts the rows to be written, `made_of` the table's rows that they are made of.  `late`
    rows came since the position into windows before it; `seen` and `counted` are what the next position
    remembers of the rows that were there, `spelled` of their texts.  `base` is the part as a stream of
    the table's own rows, where witnesses are.
    """

    base: Part
    what: Windows
    made_of: int = 0
    came: int = 0
    late: int = 0
    future: int = 0
    seen: int | None = None
    counted: int | None = None
    spelled: str = ""
    remembers: bool = False

    @property
    def moves(self) -> bool:
        """Whether the position would move: late rows are counted in it, windows or not."""
        return bool(self.window.rows or self.late or self.remembers)

    @property
    def notes(self) -> tuple[str, ...]:
        """Facts worth a line."""
        verdict_ = self.verdict
        said = verdict_.note if isinstance(verdict_, GoOn) else ""
        why = verdict_.why if isinstance(verdict_, ReRead | Restart) else ""
        before = self.standing.position.late if self.standing.position else 0
        late = (
            f"{self.late:,} rows came after their window was written: they are in none"
            f" ({self.late + before:,} so far)"
            if self.late
            else ""
        )
        ahead = f"{self.future:,} rows lie in the future" if self.future else ""
        return tuple(note for note in (said, why, late, ahead) if note)


def rule_of(stream: Stream) -> Aggregate:
    """The aggregate of an aggregate stream."""
    if stream.aggregate is None:
        raise ValueError(f"{stream.name}: not an aggregate")
    return stream.aggregate


def open_windows(
    part: Part, stream: Stream, connection: Connection, standing: Standing, *, now: float, max_rows: int
) -> Opening:
    """Inside the caller's snapshot: the windows that are complete at `now` (seconds since the epoch).

    At most about `max_rows` rows of them, whole windows.  Raises `Misfit` for rows without a time, and
    `SchemaMoved` where the plan is of another schema, or of no rows at all.
    """
    base = _base(part)
    position = standing.position
    evidence = _evidence(base, connection, position)
    check_schema(part, evidence.schema_version)
    check_slice(part, position)
    judged = _warned(_judged(part, base, stream, connection, standing, evidence))
    found = Opening(standing=standing, evidence=evidence, verdict=judged, base=base, what=_windows(part))
    if isinstance(judged, Hold | Wait):
        return found
    return _filled(found, stream, connection, position, now=now, max_rows=max_rows)


def instant(micros: int) -> str:
    """Microseconds since 1970 as a position's key spells them."""
    return (_EPOCH + timedelta(microseconds=micros)).isoformat()


def micros(position: Position | None) -> int | None:
    """The end of the last window written, in microseconds since 1970."""
    key = position.key if position else None
    return None if key is None else (datetime.fromisoformat(str(key[0])) - _EPOCH) // _MICROSECOND


def bounded(part: Part, what: Windows, end: int) -> Extract:
    """The extract that reads the rows of the windows of `what` up to `end`, whole and in no order."""
    table = replace(part.extract.table, windows=replace(what, end=end))
    return replace(part.extract, order=None, table=table)


def _windows(part: Part) -> Windows:
    if part.extract.table.windows is None:
        raise ValueError(f"{part.extract.table.name}: not an aggregate")
    return part.extract.table.windows


# --- the table under it ---------------------------------------------------------------------------


def _base(part: Part) -> Part:
    """The part as a stream of the table's rows in the order of their key: what witnesses are of."""
    what = _windows(part)
    shown = {f.source for f in part.extract.fields if f.mask is None}
    extract = Extract(
        table=what.table,
        fields=(),
        order=_rowid_order(what.table),
        witness=tuple(dict.fromkeys((what.time, *(name for name in what.by if name in shown)))),
        node=part.extract.node,
        database=part.extract.database,
    )
    return replace(part, extract=extract)


def _rowid_order(table: Table) -> Order | None:
    """Only an INTEGER PRIMARY KEY says which rows are new (DESIGN 4.3)."""
    return Order(kind="rowid", cursor=(table.rowid_alias,)) if table.rowid_alias else None


def under(position: Position | None, base: Part) -> Position | None:
    """The position, as one of a stream of the table's rows."""
    order = base.extract.order
    if position is None or order is None:
        return None
    key = None if position.seen is None else (position.seen,)
    return replace(position, key=key, definition=definition(order))


def _evidence(base: Part, connection: Connection, position: Position | None) -> Evidence:
    if base.extract.order is not None:
        return ev.gather(connection, base.extract, under(position, base))
    return Evidence(
        file=identity(connection.path),
        machine=machine_id(),
        schema_version=connection.schema_version(),
    )


def _judged(
    part: Part,
    base: Part,
    stream: Stream,
    connection: Connection,
    standing: Standing,
    evidence: Evidence,
) -> Verdict:
    position = standing.position
    pinned = definition(order_of(part))
    if position is not None and position.definition != pinned:
        return Hold(
            why=moved(position.definition, pinned), rule="4.1", hint=f"undo the edit, or rebuild: {REBUILD}"
        )
    if (renamed := _renamed(base, connection, standing, pinned)) is not None:
        return renamed
    if base.extract.order is None:
        return GoOn()
    if position is not None and _rewritten(position, evidence, base.extract.table):
        return GoOn(note="every row seen before is gone from the table; the windows written stay")
    if position is not None and position.counted is not None:
        evidence = replace(evidence, low=None)  # rows are counted, whatever their rowid
    return verdict(under(position, base), evidence, base.extract.order, on_reset=stream.on_reset)


def _renamed(base: Part, connection: Connection, standing: Standing, pinned: tuple[str, ...]) -> Hold | None:
    known = tuple(
        replace(other, position=under(other.position, base) or other.position)
        for other in standing.known
        if other.position.definition == pinned
    )
    return renamed_from(base, connection, replace(standing, known=known))


def _warned(judged: Verdict) -> Verdict:
    """A hold that names `silt reset` says what an aggregate loses by it."""
    if not isinstance(judged, Hold) or REBUILD not in judged.hint:
        return judged
    return replace(judged, hint=f"{judged.hint}; {LOSS}")


def _same(position: Position, evidence: Evidence) -> bool:
    """Whether it is the very same file; without a birth time nothing tells."""
    file = (evidence.file.device, evidence.file.inode, evidence.file.birth)
    return evidence.file.birth is not None and position.file == file


def _rewritten(position: Position, evidence: Evidence, table: Table) -> bool:
    """Whether the very same file lost all that was seen: retention, after which rowids may begin anew.

    No window is written twice by it, since windows go by time.
    """
    found = {s.found for s in evidence.sightings}
    gone = evidence.empty or found == {"absent"} or _anew(position, evidence, table)
    return gone and _same(position, evidence)


def _anew(position: Position, evidence: Evidence, table: Table) -> bool:
    """Whether rowids began anew: no row is left that was seen, and other rows have their ids.

    The greatest is less than one of those that were seen, or SQLite gives ids out again.
    """
    found = {s.found for s in evidence.sightings}
    high = evidence.high[0] if evidence.high else None
    fell = isinstance(high, int) and position.seen is not None and high < position.seen
    reused = "differs" in found and not table.autoincrement and _same(position, evidence)
    return bool(found) and "match" not in found and (fell or reused)


# --- the windows ----------------------------------------------------------------------------------


def _filled(
    found: Opening,
    stream: Stream,
    connection: Connection,
    position: Position | None,
    *,
    now: float,
    max_rows: int,
) -> Opening:
    what, key = found.what, micros(position)
    seen = _seen(found, position)
    spelled = position.spelled if position and position.spelled is not None else what.spelled
    horizon = round(now * 1_000_000)
    news = windows.news(
        connection,
        what,
        seen=seen,
        before=key,
        after=horizon + round(MAX_SKEW * 1_000_000),
        shape=types.shape_of(spelled) if spelled else None,
    )
    if what.format is None and news.rows:
        raise SchemaMoved("the table had no rows when it was planned", on=connection.path)
    if news.bad:
        raise _timeless(what, news, connection)
    low = _beneath(found, connection, position, seen)
    if low is not None and (low.strange or _more(position, low)):
        everything = windows.news(connection, what, seen=None, before=key, after=horizon, shape=None)
        if everything.bad:
            raise _timeless(what, everything, connection)
    spelled = "" if news.odd else spelled
    late, before = _late(found, position, news, low)
    what = replace(what, spelled=spelled, start=key, end=_closed(stream, what, horizon))
    batch = None
    if what.end is not None and (key is None or what.end > key):
        batch = windows.next_batch(connection, what, max_rows=max_rows)
    return replace(
        found,
        what=what,
        window=NOTHING if batch is None else _window(batch),
        made_of=batch.rows if batch else 0,
        came=news.rows,
        late=late,
        future=news.future,
        seen=_greatest(found),
        counted=None if before is None else before + (batch.rows if batch else 0),
        spelled=spelled,
        remembers=_remembers(found, position, before),
    )


def _window(batch: windows.Batch) -> Window:
    return Window(lo=None, hi=(instant(batch.end),), rows=batch.groups, scanned=batch.groups, last=batch.last)


def _closed(stream: Stream, what: Windows, horizon: int) -> int:
    """The end of the last window that is complete at `horizon`."""
    return (horizon - round(rule_of(stream).lateness * 1_000_000)) // what.size * what.size


def _seen(found: Opening, position: Position | None) -> int | None:
    """The rowid past which rows are new; None where all are."""
    if position is None or position.seen is None or isinstance(found.verdict, Restart):
        return None
    return None if _anew(position, found.evidence, found.base.extract.table) else position.seen


def _greatest(found: Opening) -> int | None:
    """The greatest rowid that is there; 0 of a table that was emptied, so that what comes next is new."""
    if found.base.extract.order is None:
        return None
    high = found.evidence.high
    return int(high[0] or 0) if high else 0


def _beneath(
    found: Opening, connection: Connection, position: Position | None, seen: int | None
) -> windows.Beneath | None:
    """The rows whose rowid is not new, where ids do not rise with the rows; None where they do."""
    table, greatest = found.what.table, _greatest(found)
    if greatest is None:
        return None
    counted = position.counted if position and seen is not None else None
    if counted is None and windows.risen(connection, table, seen=seen, low=found.evidence.low, high=greatest):
        return None
    if seen is None:
        return windows.Beneath(before=0, strange=0)
    return windows.beneath(connection, found.what, seen=seen, before=micros(position))


def _more(position: Position | None, low: windows.Beneath) -> int:
    """How many rows came in with a rowid that is not new, into windows that are over."""
    before = position.counted if position else None
    return 0 if before is None else max(0, low.before - before)


def _late(
    found: Opening, position: Position | None, news: windows.News, low: windows.Beneath | None
) -> tuple[int, int | None]:
    """(rows that came into windows before the position, how many lie there now where rows are counted)."""
    if low is not None:
        return news.late + _more(position, low), low.before + news.late
    if found.base.extract.order is not None:
        return news.late, None
    before = position.counted if position else None
    return (0 if before is None else max(0, news.late - before)), news.late


def _remembers(found: Opening, position: Position | None, before: int | None) -> bool:
    """Whether rows went away that would hide as many late ones: rowids are given out again, counts fall."""
    if position is None:
        return False
    if isinstance(found.verdict, Restart) or _anew(position, found.evidence, found.base.extract.table):
        return True
    if before is not None and found.base.extract.order is None:
        return position.counted is not None and before < position.counted
    greatest, reused = _greatest(found), not found.what.table.autoincrement
    return reused and greatest is not None and position.seen is not None and greatest < position.seen


def _timeless(what: Windows, news: windows.News, connection: Connection) -> Misfit:
    """Rows of no window would be lost without a word."""
    kinds = [
        *([f"{news.nulls:,} NULL"] if news.nulls else []),
        *([f"{news.bad - news.nulls:,} that are no time"] if news.bad > news.nulls else []),
    ]
    form = "ISO text" if what.format in ("text", None) else what.format
    return Misfit(
        f"{news.bad:,} rows of {what.table.name} have no window: {what.time} holds {' and '.join(kinds)}",
        on=connection.path,
        why=f"it is read as {form}",
        hint="mend the values; `where` leaves rows out; `aggregate: {format: ...}` reads them otherwise",
    )
