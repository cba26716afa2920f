"""What a table's columns hold, by a bounded sample: first rows, last rows, and blocks spread between.

No table is scanned: rows are reached by rowid or primary key, so ten million take as long as ten
thousand.  No value leaves this module (a census may be printed, a masked value may not).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median_low
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from silt import types
from silt.shapes import (
    GREATEST_ROWID,
    LEAST_ROWID,
    Column,
    ColumnCensus,
    Ids,
    Probe,
    Table,
    TableCensus,
    Value,
    ascii_lower,
)
from silt.source.statement import Template, col, compiled, key_column, relation, rowid, template, written

if TYPE_CHECKING:
    from silt.source.open import Connection

SAMPLE: Final = 2_000
_BLOCKS: Final = 16
_SHOWN: Final = 48  # longer texts are cut: no format of time is as long


Row = tuple[Value, ...]


def census(
    connection: Connection,
    table: Table,
    sample: int = SAMPLE,
    expressions: Sequence[tuple[str, str]] = (),
) -> TableCensus:
    """A census of at most `sample` rows of `table`; complete when there are no more.

    `expressions` are (name in the lake, SQL over a row) of computed columns.  Raises what the connection
    raises.
    """
    read = _select(table, [sql for _, sql in expressions])
    rows, complete = _sampled(connection, table, sample, read)
    in_order = rowid(relation(table), table) is not None
    columns = (*table.columns, *(Column(name=name, declared=types.COMPUTED) for name, _ in expressions))
    values: Sequence[Sequence[Value]] = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    counted = [_column(c, v, in_order=in_order) for c, v in zip(columns, values, strict=True)]
    own = len(table.columns)
    return TableCensus(
        table=table.name,
        rows=len(rows),
        complete=complete,
        columns=tuple(counted[:own]),
        computed=tuple(counted[own:]),
        ids=next(
            (_ids(v) for c, v in zip(columns, values, strict=True) if c.name == table.rowid_alias), None
        ),
    )


def probed(connection: Connection, table: Table, census: TableCensus) -> TableCensus:
    """`census` with what each index says of its first column: three rows an index, whatever the table's size.

    A column that begins no index is not asked: reading past its values reads every row.
    """
    leads = {ascii_lower(i.columns[0]) for i in table.indexes if i.columns}
    if table.without_rowid:
        leads |= {ascii_lower(name) for name in table.primary_key[:1]}
    columns = (
        replace(c, probe=_probe(connection, table, c.name)) if ascii_lower(c.name) in leads else c
        for c in census.columns
    )
    return replace(census, columns=tuple(columns))


# --- the sample -----------------------------------------------------------------------------------


def _sampled(
    connection: Connection, table: Table, sample: int, read: sa.Select[Any]
) -> tuple[list[Row], bool]:
    """Rows in the order of the table's key (a view's as they come), and whether they are all."""
    keys = _keys(table)
    if not keys or not _more_than(connection, table, sample):
        rows = connection.rows(read.order_by(*keys).limit(sample + 1))
        return rows[:sample], len(rows) <= sample
    if len(keys) == 1 and table.kind == "table" and not table.without_rowid:
        return _by_rowids(connection, keys[0], sample, read), False
    ends = [connection.rows(read.order_by(*side).limit(sample // 2)) for side in _ends(keys)]
    return [*ends[0], *reversed(ends[1])], False


def _keys(table: Table) -> list[ColumnElement[Any]]:
    rel = relation(table)
    if table.kind == "view":
        return []
    number = rowid(rel, table)
    return [number] if number is not None else [key_column(rel, table, name) for name in table.primary_key]


def _ends(keys: Sequence[ColumnElement[Any]]) -> tuple[Sequence[ColumnElement[Any]], ...]:
    return keys, [key.desc() for key in keys]


def _more_than(connection: Connection, table: Table, count: int) -> bool:
    one = sa.literal(1).label("one")
    return bool(connection.rows(sa.select(one).select_from(relation(table)).limit(1).offset(count)))


def _select(table: Table, expressions: Sequence[str] = ()) -> sa.Select[Any]:
    rel = relation(table)
    values = [*(col(rel, c.name) for c in table.columns), *(written(sql) for sql in expressions)]
    return sa.select(*(_small(value).label(f"c{i}") for i, value in enumerate(values))).select_from(rel)


def _small(value: ColumnElement[Any]) -> ColumnElement[Any]:
    """The value by its class, without its bulk: an empty blob, the beginning of a text."""
    kind = sa.func.typeof(value)
    return sa.case(
        (kind == sa.literal_column("'blob'"), sa.literal_column("x''")),
        (
            sa.func.octet_length(value) > sa.literal_column(str(_SHOWN)),
            sa.func.substr(value, sa.literal_column("1"), sa.literal_column(str(_SHOWN))),
        ),
        else_=value,
    )


def _by_rowids(
    connection: Connection, key: ColumnElement[Any], sample: int, read: sa.Select[Any]
) -> list[Row]:
    """A quarter from each end, the rest in blocks at even steps of the rowid; one statement reads them.

    The rowids travel as one JSON text: SQLite then seeks each.
    """
    chosen = sa.literal(json.dumps(_rowids(connection, key, sample)))
    each = sa.func.json_each(chosen).table_valued("value")
    return connection.rows(read.where(key.in_(sa.select(each.c.value))).order_by(key))


def _rowids(connection: Connection, key: ColumnElement[Any], sample: int) -> list[int]:
    start: sa.BindParameter[int] = sa.bindparam("start", 0)
    limit: sa.BindParameter[int] = sa.bindparam("limit", 0)
    onward = template(sa.select(key.label("k")).where(key >= start).order_by(key).limit(limit))
    back = template(sa.select(key.label("k")).where(key <= start).order_by(key.desc()).limit(limit))

    def take(statement: Template, start: int, limit: int) -> list[int]:
        sql, names, known = statement
        values = {**known, "start": start, "limit": limit}
        batches = connection.execute(sql, tuple(values[name] for name in names))
        return [number for batch in batches for number in batch.column(0).to_pylist()]

    ends = sample // 4
    first, last = take(onward, LEAST_ROWID, ends), take(back, GREATEST_ROWID, ends)
    size = max((sample - 2 * ends) // _BLOCKS, 1)
    low, high = first[-1], last[-1]
    starts = [low + (high - low) * (i + 1) // (_BLOCKS + 1) for i in range(_BLOCKS)]
    return sorted({*first, *last, *(n for at in starts for n in take(onward, at, size))})


# --- counting -------------------------------------------------------------------------------------


def _column(column: Column, values: Sequence[Value], *, in_order: bool) -> ColumnCensus:
    classes = Counter(type(v) for v in values)
    there = [v for v in values if v is not None]
    formats = Counter(form for v in there if (form := types.value_format(v)) is not None)
    falls = _falls(there) if in_order else None
    return ColumnCensus(
        name=column.name,
        nulls=len(values) - len(there),
        integers=classes[int],
        reals=classes[float],
        texts=classes[str],
        blobs=classes[bytes],
        formats=tuple(sorted(formats.items(), key=lambda item: (-item[1], item[0]))),
        fits=types.fits(there, column) if _may_fit(column) else (),
        monotonic=falls == 0,
        falls=falls or 0,
        distinct=len(set(there)),
        fine=sum(map(types.is_fine, there)),
    )


def _may_fit(column: Column) -> bool:
    """Only where a narrower type would be chosen by it."""
    return types.family(column.declared) in ("boolean", "date", "timestamp", "decimal", "unknown")


def _falls(values: Iterable[Value]) -> int | None:
    """How often values of one class (numbers, or texts) fall in the order of the rowid; None for others."""
    found = list(values)
    kinds = {str if isinstance(v, str) else bytes if isinstance(v, bytes) else float for v in found}
    if len(found) < 2 or len(kinds) != 1 or bytes in kinds:
        return None
    return sum(a > b for a, b in pairwise(found))  # type: ignore[operator]  # one class


def _ids(values: Sequence[Value] | None) -> Ids | None:
    """The range of an INTEGER PRIMARY KEY; its step is a median, which blocks far apart do not move."""
    found = sorted(v for v in values or () if isinstance(v, int))
    if not found:
        return None
    steps = [b - a for a, b in pairwise(found)]
    return Ids(low=found[0], high=found[-1], step=median_low(steps) if steps else 1)


# --- probes ---------------------------------------------------------------------------------------

_INDEX: Final = re.compile(r"^SEARCH .* USING (?:(?:COVERING )?INDEX (?P<name>.+?)|PRIMARY KEY) \(")


def _probe(connection: Connection, table: Table, name: str) -> Probe:
    index = _index_used(connection, table, name)
    if not index:
        return Probe(index="")
    value = key_column(relation(table), table, name)
    there = sa.select(_small(value).label("v")).where(value.is_not(None)).limit(1)
    ends = [connection.rows(there.order_by(side)) for side in (value, value.desc())]
    one = sa.select(sa.literal(1).label("one")).select_from(relation(table)).where(value.is_(None)).limit(1)
    return Probe(
        index=index,
        nulls=bool(connection.rows(one)),
        ends=tuple((_class(row[0]), types.value_format(row[0])) for rows in ends for row in rows),
    )


def _index_used(connection: Connection, table: Table, name: str) -> str:
    """The index by which SQLite reads rows past a value in order; '' where it scans or sorts."""
    value = key_column(relation(table), table, name)
    statement = _select(table).where(value > sa.literal(0)).order_by(value)
    sql, values = compiled(statement)
    steps = [
        step
        for batch in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)
        for step in batch.column("detail").to_pylist()
    ]
    found = _INDEX.match(steps[0]) if len(steps) == 1 else None
    return "" if found is None else found["name"] or "PRIMARY KEY"


def _class(value: Value) -> str:
    names = {int: "integer", float: "real", str: "text", bytes: "blob"}
    return names.get(type(value), "null")
