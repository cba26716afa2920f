"""What a table's columns hold, by a bounded sample: first rows, last rows, and blocks spread between.

No table is scanned: rows are reached by rowid or primary key, so ten million take as long as ten
thousand.  No value leaves this module (a census may be printed, a masked value may not).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from silt import types
from silt.shapes import Column, ColumnCensus, Table, TableCensus, Value
from silt.source.statement import Template, col, key_column, relation, rowid, template

if TYPE_CHECKING:
    from silt.source.open import Connection

SAMPLE: Final = 2_000
_BLOCKS: Final = 16
_SHOWN: Final = 48  # longer texts are cut: no format of time is as long

LEAST_ROWID: Final = -(2**63)
GREATEST_ROWID: Final = 2**63 - 1

Row = tuple[Value, ...]


def census(connection: Connection, table: Table, sample: int = SAMPLE) -> TableCensus:
    """A census of at most `sample` rows of `table`; complete when there are no more.

    Raises what the connection raises.
    """
    rows, complete = _sampled(connection, table, sample)
    in_order = rowid(relation(table), table) is not None
    values: Sequence[Sequence[Value]] = list(zip(*rows, strict=True)) if rows else [()] * len(table.columns)
    counted = (_column(c, v, in_order=in_order) for c, v in zip(table.columns, values, strict=True))
    return TableCensus(table=table.name, rows=len(rows), complete=complete, columns=tuple(counted))


# --- the sample -----------------------------------------------------------------------------------


def _sampled(connection: Connection, table: Table, sample: int) -> tuple[list[Row], bool]:
    """Rows in the order of the table's key (a view's as they come), and whether they are all."""
    keys = _keys(table)
    if not keys or not _more_than(connection, table, sample):
        rows = connection.rows(_select(table).order_by(*keys).limit(sample + 1))
        return rows[:sample], len(rows) <= sample
    if len(keys) == 1 and table.kind == "table" and not table.without_rowid:
        return _by_rowids(connection, table, keys[0], sample), False
    ends = [connection.rows(_select(table).order_by(*side).limit(sample // 2)) for side in _ends(keys)]
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


def _select(table: Table) -> sa.Select[Any]:
    rel = relation(table)
    return sa.select(*(_small(col(rel, c.name)).label(f"c{i}") for i, c in enumerate(table.columns)))


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


def _by_rowids(connection: Connection, table: Table, key: ColumnElement[Any], sample: int) -> list[Row]:
    """A quarter from each end, the rest in blocks at even steps of the rowid; one statement reads them.

    The rowids travel as one JSON text: SQLite then seeks each.
    """
    chosen = sa.literal(json.dumps(_rowids(connection, key, sample)))
    each = sa.func.json_each(chosen).table_valued("value")
    return connection.rows(_select(table).where(key.in_(sa.select(each.c.value))).order_by(key))


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
    return ColumnCensus(
        name=column.name,
        nulls=len(values) - len(there),
        integers=classes[int],
        reals=classes[float],
        texts=classes[str],
        blobs=classes[bytes],
        formats=tuple(sorted(formats.items(), key=lambda item: (-item[1], item[0]))),
        fits=types.fits(there, column) if _may_fit(column) else (),
        monotonic=in_order and _rises(there),
        distinct=len(set(there)),
    )


def _may_fit(column: Column) -> bool:
    """Only where a narrower type would be chosen by it."""
    return types.family(column.declared) in ("boolean", "date", "timestamp", "decimal", "unknown")


def _rises(values: Iterable[Value]) -> bool:
    """Whether values of one class (numbers, or texts) never fall in the order of the rowid."""
    found = list(values)
    kinds = {str if isinstance(v, str) else bytes if isinstance(v, bytes) else float for v in found}
    if len(found) < 2 or len(kinds) != 1 or bytes in kinds:
        return False
    return all(a <= b for a, b in pairwise(found))  # type: ignore[operator]  # one class
