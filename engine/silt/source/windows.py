"""Aggregates over windows of time: a relation like a view, and what a cycle asks before it reads one.

A window is cut and summed up by SQLite itself, in one statement over the rows of open windows; so a
row of it is complete, and the same whoever reads it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import FromClause

from silt import types
from silt.errors import UserError
from silt.shapes import Column, Order, Table, TableCensus, TextShape, Windows, ascii_lower
from silt.source.condition import objection, said
from silt.source.expression import unsteady
from silt.source.instants import FIRST, TEXT, divided, microseconds, number, plausible, reach
from silt.source.open import Refused
from silt.source.questions import unlike
from silt.source.statement import compiled, exactly, key_column, relation, rowid, written

if TYPE_CHECKING:
    from silt.source.open import Connection

START: Final = "window_start"
END: Final = "window_end"
SAMPLE: Final = 1_000
LARGE: Final = 100_000
MOST: Final = 1_000_000
"""Windows that one batch takes at most."""

_PLAIN: Final = re.compile(r"\s*(\w+)\s*\(\s*(\*|\w+|\"[^\"]+\")\s*\)\s*")


# --- the relation ---------------------------------------------------------------------------------


def grouped(table: Table) -> FromClause:
    """The rows of an aggregate: bounds in microseconds, group, measures; a row for each window and group.

    Grouped by place, not by name: a measure may be called as a column is.
    """
    what = table.windows
    if what is None:
        raise ValueError(f"{table.name}: not an aggregate")
    groups = [_index(what), *(_key(what, name) for name in what.by)]
    named = [g.label(exactly(f"silt_{i}")) for i, g in enumerate(groups)]
    sums = [written(text).label(exactly(f"silt_m{i}")) for i, (_, text) in enumerate(what.measures)]
    places = [number(i + 1) for i in range(len(groups))]
    rows = sa.select(*named, *sums).select_from(_rows(what)).where(*_within(what)).group_by(*places)
    inner = rows.subquery("silt_windows")
    start = inner.c[0] * number(what.size) - number(_shift(what.size))
    names = [*what.by, *(name for name, _ in what.measures)]
    rest = [c.label(exactly(name)) for c, name in zip(list(inner.c)[1:], names, strict=True)]
    made = sa.select(start.label(exactly(START)), (start + number(what.size)).label(exactly(END)), *rest)
    return made.subquery(exactly(table.name))


@lru_cache(maxsize=256)
def _rows(what: Windows) -> FromClause:
    """The table, or its first rows: enough to tell types by."""
    base = relation(what.table)
    if what.sample is None:
        return base
    return sa.select(*base.c).limit(what.sample).subquery(exactly(what.table.name))


def _time(what: Windows) -> ColumnElement[Any]:
    return key_column(_rows(what), what.table, what.time)


def _key(what: Windows, name: str) -> ColumnElement[Any]:
    """A group's column: values that the lake tells apart are two groups, whatever the column's collation."""
    column, key = what.table.column(name), key_column(_rows(what), what.table, name)
    plain = column is None or ascii_lower(column.collation) not in ("nocase", "rtrim")
    return key if plain else key.collate("BINARY")


def _moment(what: Windows) -> ColumnElement[Any]:
    made = microseconds(_time(what), what.format or TEXT, what.timezone)
    return plausible(made) if what.seen and what.format != TEXT else made


def _shift(size: int) -> int:
    """What makes every time positive, in whole windows: SQLite divides towards zero."""
    return -(FIRST // size) * size


def _index(what: Windows) -> ColumnElement[Any]:
    """The number of a row's window: windows are counted from 1970, an integer division floors."""
    return divided(_moment(what) + number(_shift(what.size)), number(what.size))


def _within(what: Windows) -> list[ColumnElement[Any]]:
    """Rows of the windows in [start, end) that the stream takes."""
    moment = _moment(what)
    near = reach(_time(what), what.format or TEXT, what.spelled, what.timezone, what.start, what.end)
    exact = [
        *([moment.is_not(None)] if what.start is None and what.end is None else []),
        *([] if what.start is None else [moment >= number(what.start)]),
        *([] if what.end is None else [moment < number(what.end)]),
    ]
    return [*near, *exact, *_filter(what)]


def _filter(what: Windows) -> list[ColumnElement[Any]]:
    return [] if what.where is None else [written(what.where)]


# --- what it is made of ---------------------------------------------------------------------------


def derive(connection: Connection, what: Windows, name: str) -> Table:
    """The relation of `what`, called `name`.  Raises `UserError`."""
    base = what.table
    what = replace(what, time=_existing(base, what.time, "time"))
    what = replace(what, by=tuple(_existing(base, n, "by") for n in what.by))
    for measure, text in what.measures:
        _check_measure(connection, what, measure, text)
    columns = (
        Column(name=START, declared="TIMESTAMP", nullable=False),
        Column(name=END, declared="TIMESTAMP", nullable=False),
        *(c for n in what.by if (c := base.column(n)) is not None),
        *(Column(name=n, declared=_declared(base, text)) for n, text in what.measures),
    )
    return Table(name=name, kind="view", columns=columns, windows=what)


def _existing(base: Table, name: str, key: str) -> str:
    column = base.column(name)
    if column is not None:
        return column.name
    from difflib import get_close_matches

    near = get_close_matches(name, [c.name for c in base.columns], 1)
    meant = f"did you mean {near[0]!r}?" if near else ""
    raise UserError(
        f"aggregate.{key} names column {name!r}, which table {base.name!r} does not have",
        hint=meant,
        setting="aggregate",
    )


def _check_measure(connection: Connection, what: Windows, name: str, text: str) -> None:
    """A measure stands where SQLite takes an aggregate, and nowhere else does it take one."""
    on = f"{name}: {text}"
    if why := objection(text) or unsteady(text):
        raise UserError(f"a measure is not one expression: {why}", on=on, setting="aggregate")
    rel = relation(what.table)
    term = written(text)
    try:
        connection.names(*compiled(sa.select(term.label("m")).select_from(rel).limit(0)))
    except Refused as error:
        raise UserError(
            f"a measure is refused by SQLite: {said(error)}", on=on, setting="aggregate"
        ) from error
    try:
        connection.names(*compiled(sa.select(number(1)).select_from(rel).where(term).limit(0)))
    except Refused as error:
        if "misuse of aggregate" in said(error):
            return
    raise UserError(
        "a measure has no aggregate function, so a window has many values of it",
        on=on,
        hint=f"such as avg({text}), max({text}) or count(*); or name the column under `by`",
        setting="aggregate",
    )


def _declared(base: Table, text: str) -> str:
    """The declared type of a measure: that of a plain aggregate of a plain column; else its values say."""
    found = _PLAIN.fullmatch(text)
    function, name = (found[1].lower(), found[2].strip('"')) if found else ("", "")
    if function == "count":
        return "INTEGER"
    if function in ("avg", "total"):
        return "REAL"
    column = base.column(name) if function in ("min", "max", "sum") else None
    if column is None or (function == "sum" and types.family(column.declared) not in ("integer", "real")):
        return "ANY"
    return column.declared or "ANY"


def order(what: Windows) -> Order:
    """How a position is pinned: by all that says what a window holds.  `lateness` may change."""
    parts = (what.table.name, what.time, what.timezone, what.size, what.by, what.measures, what.where)
    made = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
    return Order(kind="columns", cursor=(END,), relation=f"aggregate:{made}:{what.format}")


def pinned_format(recorded: Sequence[str]) -> str | None:
    """How times are written, as a position recorded it."""
    last = recorded[-1] if recorded else ""
    return last.rpartition(":")[2] if last.startswith("aggregate:") else None


def kind_of(form: str) -> str:
    """`text` for every format of texts, which tells itself; the format of a number as it is."""
    base = types.base_format(form)
    return TEXT if base in types.TEXT_FORMATS else base


def time_format(census: TableCensus, name: str) -> tuple[str | None, str]:
    """(how a column's times are written, the one text format of all or ''); None where no value shows it."""
    counts = census.column(name)
    forms = [form for form, _ in counts.formats] if counts else []
    times = [form for form in forms if types.base_format(form) in types.TIME_FORMATS]
    if not times:
        return None, ""
    kind = kind_of(times[0])
    return kind, times[0] if kind == TEXT and len(forms) == 1 else ""


def large_without_index(connection: Connection, what: Windows) -> bool:
    """Whether a cycle reads all of many rows: nothing leads to those of open windows."""
    table = what.table
    leads = [i.columns[0] for i in table.indexes] + list(table.primary_key[:1])
    if table.kind == "view" or ascii_lower(what.time) in map(ascii_lower, leads):
        return False
    one = sa.literal(1).label("one")
    return bool(connection.rows(sa.select(one).select_from(relation(table)).limit(1).offset(LARGE)))


# --- what a cycle asks ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """The rows that came since a position: `late` lie before `before`, `future` after `after`.

    `bad` have no time (`nulls` of them NULL); `odd` are texts of another format than all before.
    """

    rows: int
    bad: int
    nulls: int
    late: int
    future: int
    odd: int


def news(
    connection: Connection,
    what: Windows,
    *,
    seen: int | None,
    before: int | None,
    after: int,
    shape: TextShape | None,
) -> News:
    """Rows with a rowid past `seen` (None: all); one pass over them."""
    number_of = rowid(relation(what.table), what.table)
    past = [] if seen is None or number_of is None else [number_of > number(seen)]
    inner = (
        sa.select(_moment(what).label("silt_at"), _time(what).label("silt_raw"))
        .select_from(relation(what.table))
        .where(*past, *_filter(what))
        .limit(number(-1))  # SQLite then keeps it apart, and works out each time once
        .subquery("silt_news")
    )
    at, raw = inner.c
    none: ColumnElement[Any] = number(0)
    terms = (
        at.is_(None),
        raw.is_(None),
        none if before is None else at < number(before),
        at > number(after),
        none if shape is None else sa.and_(at.is_not(None), unlike(raw, shape)),
    )
    counted = (sa.func.coalesce(sa.func.sum(term), none) for term in terms)
    ((rows, *counts),) = connection.rows(sa.select(sa.func.count(), *counted).select_from(inner))
    bad, nulls, late, future, odd = map(int, counts)
    return News(rows=int(rows), bad=bad, nulls=nulls, late=late, future=future, odd=odd)


def risen(connection: Connection, table: Table, *, seen: int | None, low: int | None, high: int) -> bool:
    """Whether each rowid past `seen` (None: from `low` on) is taken: no row can come in below `high`."""
    number_of = rowid(relation(table), table)
    if low is None or number_of is None:
        return True
    first = low - 1 if seen is None else max(seen, low - 1)
    counted = sa.select(sa.func.count()).select_from(relation(table)).where(number_of > number(first))
    return int(connection.rows(counted)[0][0]) >= high - first


@dataclass(frozen=True, slots=True, kw_only=True)
class Beneath:
    """The rows with a rowid that is not new: `before` lie before the open windows, `strange` are no time."""

    before: int
    strange: int


def beneath(connection: Connection, what: Windows, *, seen: int, before: int | None) -> Beneath:
    """Rows up to rowid `seen`: all are counted, and only those of open windows are looked at."""
    number_of = rowid(relation(what.table), what.table)
    if number_of is None:
        return Beneath(before=0, strange=0)
    classes = ("'text'",) if what.format == TEXT else ("'integer'", "'real'")
    known = sa.func.typeof(_time(what)).in_([sa.literal_column(name) for name in classes])
    counts = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(known), number(0)))
    upto = [number_of <= number(seen), *_filter(what)]
    ((rows, timed),) = connection.rows(counts.select_from(relation(what.table)).where(*upto))
    still = [number_of <= number(seen), *_within(replace(what, start=before, end=None))]
    opened = sa.select(sa.func.count()).select_from(relation(what.table)).where(*still)
    ((remaining,),) = connection.rows(opened)
    return Beneath(before=int(rows) - int(remaining), strange=int(rows) - int(timed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Windows that one commit takes: up to `end`, `groups` rows made of `rows`; `last`: all complete ones."""

    end: int
    groups: int
    rows: int
    last: bool


def next_batch(connection: Connection, what: Windows, *, max_rows: int) -> Batch | None:
    """The next whole windows in [start, end), about `max_rows` rows of them; None where there is no row."""
    groups = [_index(what).label("silt_at"), *(_key(what, n).label(None) for n in what.by)]
    places = [number(i + 1) for i in range(len(groups))]
    each = (
        sa.select(*groups, sa.func.count().label("silt_rows"))
        .select_from(relation(what.table))
        .where(*_within(what))
        .group_by(*places)
        .subquery("silt_groups")
    )
    at, rows = each.c[0], each.c["silt_rows"]
    listed = (
        sa.select(at.label("silt_at"), sa.func.count(), sa.func.sum(rows))
        .group_by(number(1))
        .order_by(number(1))
        .limit(number(MOST + 1))
    )
    return _cut(what, [tuple(map(int, row)) for row in connection.rows(listed)], max_rows)


def _cut(what: Windows, found: Sequence[tuple[int, ...]], max_rows: int) -> Batch | None:
    """At least one window, and never half of one."""
    taken = list(_fitting(found[:MOST], max_rows))
    if not taken:
        return None
    return Batch(
        end=(taken[-1][0] + 1) * what.size - _shift(what.size),
        groups=sum(groups for _, groups, _ in taken),
        rows=sum(rows for _, _, rows in taken),
        last=len(taken) == len(found),
    )


def _fitting(found: Sequence[tuple[int, ...]], max_rows: int) -> Iterator[tuple[int, ...]]:
    total = 0
    for window in found:
        total += window[1]
        if total > max_rows and total > window[1]:
            return
        yield window
