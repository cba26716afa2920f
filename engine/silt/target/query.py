"""SQL over a Delta table, built by SQLAlchemy and run by the engine that delta-rs embeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

from silt.target.model import Predicate

if TYPE_CHECKING:
    from deltalake import DeltaTable

_TABLE = "silt_rows"
_FIRST_YEAR, _LAST_YEAR = 1678, 2261


def predicate_sql(predicate: Predicate, *, of: str = "") -> str:
    """`predicate` as delta-rs wants it: SQL text with literals, its columns those of the relation `of`."""
    return _text(_condition(predicate, of))


def rows_sql(columns: Sequence[str], predicate: Predicate | None) -> str:
    """SELECT columns of the rows that match; all rows for None."""
    from sqlalchemy import select

    return _text(_matching(select(*map(_name, columns)), predicate))


def count_sql(predicate: Predicate | None) -> str:
    """SELECT count(*) of the rows that match."""
    from sqlalchemy import func, select

    return _text(_matching(select(func.count().label("n")), predicate))


def distinct_sql(column: str, predicate: Predicate | None) -> str:
    """SELECT DISTINCT column of the rows that match, in its own order."""
    from sqlalchemy import select

    return _text(_matching(select(_name(column)).distinct().order_by(_name(column)), predicate))


def _matching(statement: Any, predicate: Predicate | None) -> Any:
    from sqlalchemy import table

    found = statement.select_from(table(_TABLE))
    return found if predicate is None else found.where(_condition(predicate))


def _condition(predicate: Predicate, of: str = "") -> Any:
    from sqlalchemy import and_, true

    equal = (_name(name, of) == value for name, value in predicate.equals)
    return and_(true(), *equal, *_bounds(predicate, of))


def _bounds(predicate: Predicate, of: str) -> Iterator[Any]:
    if predicate.between is None:
        return
    name, least, greatest = predicate.between
    if (low := _literal(least)) is not None:
        yield _name(name, of) >= low
    if (high := _literal(greatest)) is not None:
        yield _name(name, of) <= high


def _literal(value: object) -> Any:
    from sqlalchemy import TIMESTAMP, Date, Double, cast, literal, literal_column

    if isinstance(value, datetime):
        if not _FIRST_YEAR <= value.year <= _LAST_YEAR:
            return None  # the engine's literals count nanoseconds in 64 bits: without a bound more is read
        return cast(literal(value.isoformat()), TIMESTAMP(timezone=True))
    if isinstance(value, date):
        return cast(literal(value.isoformat()), Date()) if value.year >= _FIRST_YEAR else None
    if isinstance(value, bytes):
        return literal_column(f"X'{value.hex()}'")
    if isinstance(value, float):
        return cast(literal(repr(value)), Double()) if isfinite(value) else None
    plain = isinstance(value, int | str) and not isinstance(value, bool)
    return literal(value) if plain else None


def _name(name: str, of: str = "") -> Any:
    from sqlalchemy import column, table
    from sqlalchemy.sql import quoted_name

    named: Any = column(quoted_name(name, quote=True))
    return table(of, named).c[name] if of else named


def _text(statement: Any) -> str:
    from sqlalchemy.engine.default import DefaultDialect

    dialect = DefaultDialect(paramstyle="named")  # the only one whose literals keep `%` as it is
    return str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def execute(delta: DeltaTable, sql: str) -> Any:
    """The answer as a pyarrow.RecordBatchReader, strings and binaries in their plain layout."""
    import pyarrow as pa
    from deltalake import QueryBuilder

    answer = pa.RecordBatchReader.from_stream(QueryBuilder().register(_TABLE, delta).execute(sql))
    return answer.cast(pa.schema([field.with_type(_plain(field.type)) for field in answer.schema]))


def _plain(kind: Any) -> Any:
    import pyarrow as pa

    return {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}.get(kind, kind)
