"""SQLAlchemy Core statements to SQL and bound values; tables as Core sees them.

Names come quoted from SQLAlchemy, values are bound by position; nothing is concatenated.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.elements import ColumnElement, quoted_name

from silt.errors import UserError
from silt.shapes import Table, Value, ascii_lower

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlalchemy.sql.base import Executable
    from sqlalchemy.sql.selectable import FromClause, SelectBase


class _Compiler(sqlite.base.SQLiteCompiler):
    """SQLAlchemy's, which drops hints for SQLite; `NOT INDEXED` is the one that is used here."""

    def get_from_hint_text(self, table: Any, text: str | None) -> str | None:  # noqa: ARG002
        return text


@lru_cache(maxsize=1)
def _dialect() -> Any:
    dialect = sqlite.dialect(paramstyle="qmark")
    dialect.statement_compiler = _Compiler
    return dialect


def compiled(statement: Executable) -> tuple[str, tuple[Value, ...]]:
    """`statement` as SQL with `?` and the raw values to bind, in order."""
    sql, names, values = template(statement)
    return sql, tuple(values[name] for name in names)


Template = tuple[str, tuple[str, ...], dict[str, Value]]


def template(statement: Executable | SelectBase) -> Template:
    """`statement` as SQL with `?`, the parameters' names in order, and the values known by name."""
    clause: Any = statement  # an Executable compiles; its class does not say so
    made = clause.compile(dialect=_dialect(), compile_kwargs={"render_postcompile": True})
    return str(made), tuple(made.positiontup or ()), dict(made.params)


def bound(values: Sequence[Value]) -> pa.RecordBatchReader:
    """One row of parameters for ADBC; a str with surrogate escapes is bound as the bytes it was."""
    import pyarrow as pa

    arrays = [_parameter(value) for value in values]
    batch = pa.RecordBatch.from_arrays(arrays, names=[str(i) for i in range(len(arrays))])
    return pa.RecordBatchReader.from_batches(batch.schema, [batch])


def _parameter(value: Value) -> pa.Array:
    import pyarrow as pa

    match value:
        case bool() | int():
            return pa.array([int(value)], pa.int64())
        case float():
            return pa.array([value], pa.float64())
        case str():
            raw = pa.array([_bytes(value)], pa.binary())
            return pa.Array.from_buffers(pa.string(), 1, raw.buffers())
        case bytes():
            return pa.array([value], pa.binary())
        case _:
            return pa.array([None], pa.int64())


def _bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a pair out of a UTF-16 database
        return text.encode("utf-8", "surrogatepass")


@lru_cache(maxsize=1024)
def relation(table: Table) -> FromClause:
    """`table` with its columns, and its rowid where it has one, under their exact names.

    One object a table: to SQLAlchemy two of one name would be two items of a FROM.  A query stands in
    parentheses, under its stream's name; the line break is as in `written`.
    """
    if table.windows is not None:
        from silt.source.windows import grouped  # it stands above: its rows are those of a table

        return grouped(table)
    names = [c.name for c in table.columns]
    if table.rowid is not None and table.rowid not in names:
        names.append(table.rowid)
    columns: list[sa.ColumnClause[Any]] = [sa.column(exactly(name)) for name in names]
    if table.query is not None:
        text = quoted_name(f"({table.query}\n)", quote=False)
        return sa.table(text, *columns).alias(exactly(table.name))
    return sa.table(exactly(table.name), *columns)


def exactly(name: str) -> quoted_name:
    """`name` always quoted: reserved words, spaces and quotes need no list of exceptions."""
    return quoted_name(name, quote=True)


def col(rel: FromClause, name: str) -> ColumnElement[Any]:
    """The column `name` of `rel`: exact, else as SQLite folds it.  Raises `UserError` without one."""
    if name in rel.c:
        return rel.c[name]
    folded = ascii_lower(name)
    found = [c for c in rel.c if ascii_lower(c.name) == folded]
    if not found:
        raise UserError(f"no column {name!r} in {rel.description}", hint="`silt plan` lists the columns")
    return found[0]


def rowid(rel: FromClause, table: Table) -> ColumnElement[Any] | None:
    """The rowid by the name that reaches it: the INTEGER PRIMARY KEY, else rowid, _rowid_ or oid."""
    name = table.rowid_alias or table.rowid
    return None if name is None else col(rel, name)


_COLLATIONS = ("binary", "nocase", "rtrim")


def key_column(rel: FromClause, table: Table, name: str) -> ColumnElement[Any]:
    """A column to compare and order by: under its own collation, BINARY where that is an application's.

    A statement that needs a collation which only the application registers fails at prepare (FACTS).
    """
    column = table.column(name)
    if column is None or ascii_lower(column.collation) in _COLLATIONS:
        return col(rel, name)
    return col(rel, name).collate("BINARY")


def nullable(table: Table, name: str) -> bool:
    """Whether the order's column may hold NULL: not the rowid, not what is declared NOT NULL."""
    column = table.column(name)
    return column is not None and column.nullable and name != table.rowid_alias


def written(text: str) -> ColumnElement[Any]:
    """SQL that a user wrote, as one parenthesised term.

    Not `text()`, which would take `:a` inside a string for a parameter; the line break keeps a
    trailing `-- comment` from eating the parenthesis.
    """
    return sa.literal_column(f"({text}\n)")
