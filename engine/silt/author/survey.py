"""What there is to replicate in a database: tables, how large, what they hold, by which cursor.

Bounded whatever a table's size: a census of a sample, three rows an index, a count that stops.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from silt import types
from silt.errors import SiltError, UserError
from silt.shapes import (
    Candidate,
    Column,
    CursorChoice,
    Database,
    Table,
    TableCensus,
    ascii_lower,
)
from silt.source.census import census, probed
from silt.source.clone import reflect
from silt.source.cursor import changes, creation, detect
from silt.source.open import connect
from silt.source.statement import col, relation

if TYPE_CHECKING:
    from silt.source.open import Connection

COUNTED: Final = 200_000
"""Rows are counted up to here: a table that has more says so."""

MEASURED: Final = 64_000_000
"""A database of more bytes is not measured page by page, which reads all of it; sizes are estimated."""

_WEIGHED: Final = 100
BUSY_TIMEOUT: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnSurvey:
    """A column with the lake's type for it, its format, and what there is to say about that."""

    column: Column
    type: str
    format: str | None
    warning: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """`columns` refer to `references` of `table`; `missing` where the database has no such table."""

    columns: tuple[str, ...]
    table: str
    references: tuple[str, ...]
    missing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Bytes of a table and of its indexes; `estimated` from a few of its rows, then without indexes."""

    table: int
    indexes: int | None
    estimated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSurvey:
    """A table: `rows` None where counting stopped at `at_least`; `about` is then what its ids amount to,
    None where they do not tell.

    `census` and `choice` are None for what cannot be replicated and where `error` says why.
    `created` is the time column that says when a row was added, `changed` those that say when it changed.
    """

    table: Table
    rows: int | None = None
    at_least: int = 0
    about: int | None = None
    size: Size | None = None
    census: TableCensus | None = None
    columns: tuple[ColumnSurvey, ...] = ()
    choice: CursorChoice | None = None
    created: Candidate | None = None
    changed: tuple[Candidate, ...] = ()
    foreign: tuple[ForeignKey, ...] = ()
    error: SiltError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A database: `bytes` on disk without its -wal; `names` of all its tables, though `tables` be fewer.

    `error` says why it could not be read.
    """

    database: Database
    bytes: int | None = None
    journal_mode: str = ""
    encoding: str = ""
    names: tuple[str, ...] = ()
    tables: tuple[TableSurvey, ...] = ()
    error: SiltError | None = None


def survey(database: Database, *, only: Iterable[str] = ()) -> Survey:
    """Everything that there is to say about `database`; `only` names tables (all of them where empty).

    What cannot be read is told as its `error`, never raised.
    """
    wanted = {ascii_lower(name) for name in only}
    try:
        with connect(database.path, busy_timeout=BUSY_TIMEOUT) as connection, connection.snapshot():
            tables = reflect(connection)
            sizes = _sizes(connection)
            names = {ascii_lower(t.name) for t in tables}
            seen = (t for t in tables if not wanted or ascii_lower(t.name) in wanted)
            return Survey(
                database=database,
                bytes=Path(database.path).stat().st_size,
                journal_mode=connection.journal_mode,
                encoding=connection.encoding,
                names=tuple(t.name for t in tables),
                tables=tuple(_table(connection, t, sizes, names) for t in seen),
            )
    except SiltError as error:
        return Survey(database=database, error=error)


def check_tables(surveys: Sequence[Survey], only: Iterable[str]) -> None:
    """Raise `UserError` for a table that was asked for and that no database has."""
    known = [name for seen in surveys for name in seen.names]
    for name in only:
        if ascii_lower(name) not in map(ascii_lower, known) and known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(dict.fromkeys(known))}"
            raise UserError(f"no table is called {name!r}", hint=hint)


def _table(
    connection: Connection, table: Table, sizes: Mapping[str, Size], names: Iterable[str]
) -> TableSurvey:
    if table.kind == "view":
        return TableSurvey(table=table, columns=_columns(table, None), choice=detect(table, None))
    if table.kind != "table" or table.note:
        return TableSurvey(table=table)
    known = TableSurvey(table=table, size=sizes.get(ascii_lower(table.name)))
    try:
        counts = probed(connection, table, census(connection, table))
        known = replace(
            known,
            census=counts,
            columns=_columns(table, counts),
            choice=detect(table, counts),
            created=creation(table, counts),
            changed=changes(table, counts),
            foreign=tuple(_foreign(connection, table, names)),
        )
        return _counted(connection, known)
    except SiltError as error:
        return replace(known, error=error)


def _columns(table: Table, counts: TableCensus | None) -> tuple[ColumnSurvey, ...]:
    def one(column: Column) -> ColumnSurvey:
        kind, form, warning = types.choose(column, counts.column(column.name) if counts else None)
        return ColumnSurvey(column=column, type=kind, format=form, warning=warning)

    return tuple(one(column) for column in table.columns)


# --- how many, how large --------------------------------------------------------------------------


def _counted(connection: Connection, known: TableSurvey) -> TableSurvey:
    rows = known.census.rows if known.census and known.census.complete else _count(connection, known.table)
    if rows > COUNTED:
        known = replace(known, at_least=COUNTED, about=_about(known.census))
    else:
        known = replace(known, rows=rows, at_least=rows, about=rows)
    if known.size is not None or known.about is None:
        return known
    return replace(known, size=_estimated(connection, known.table, known.about))


def _count(connection: Connection, table: Table) -> int:
    some = sa.select(sa.literal(1).label("one")).select_from(relation(table)).limit(COUNTED + 1).subquery()
    ((rows,),) = connection.rows(sa.select(sa.func.count()).select_from(some))
    return int(rows)


def _about(counts: TableCensus | None) -> int | None:
    """How many rows ids without gaps amount to; None where they leave gaps, or there are none."""
    ids = counts.ids if counts else None
    return ids.high - ids.low + 1 if ids and ids.step == 1 else None


def _sizes(connection: Connection) -> dict[str, Size]:
    """Bytes by table, its name folded; empty where SQLite was built without dbstat, or it would read much."""
    if connection.size() > MEASURED:
        return {}
    pages = sa.table("dbstat", sa.column("name"), sa.column("pgsize"), sa.column("aggregate"))
    schema = sa.table("sqlite_schema", sa.column("type"), sa.column("name"), sa.column("tbl_name"))
    of = sa.select(schema.c.type, schema.c.tbl_name, pages.c.pgsize).select_from(
        pages.join(schema, schema.c.name == pages.c.name)
    )
    try:
        found = connection.rows(of.where(pages.c.aggregate == sa.literal(1)))
    except SiltError:
        return {}
    sizes: dict[str, Size] = {}
    for kind, table, size in found:
        was = sizes.get(ascii_lower(table), Size(table=0, indexes=0, estimated=False))
        more = {"table": was.table + size} if kind == "table" else {"indexes": (was.indexes or 0) + size}
        sizes[ascii_lower(table)] = replace(was, **more)
    return sizes


def _estimated(connection: Connection, table: Table, rows: int) -> Size | None:
    """The bytes of a table by the mean length of its first rows."""
    rel = relation(table)
    lengths = (sa.func.coalesce(sa.func.octet_length(col(rel, c.name)), sa.literal(0)) for c in table.columns)
    first = sa.select(sum(lengths, sa.literal(0)).label("n")).select_from(rel).limit(_WEIGHED).subquery()
    ((mean,),) = connection.rows(sa.select(sa.func.avg(first.c.n)).select_from(first))
    return Size(table=int((mean or 0) * rows), indexes=None, estimated=True)


# --- foreign keys ---------------------------------------------------------------------------------


def _foreign(connection: Connection, table: Table, names: Iterable[str]) -> Iterator[ForeignKey]:
    fields = ("id", "seq", "table", "from", "to")
    listed = sa.func.pragma_foreign_key_list(table.name).table_valued(*fields)
    rows = connection.rows(sa.select(*(listed.c[f] for f in fields)).order_by(listed.c.id, listed.c.seq))
    for number in dict.fromkeys(row[0] for row in rows):
        mine = [row for row in rows if row[0] == number]
        other = str(mine[0][2])
        yield ForeignKey(
            columns=tuple(str(row[3]) for row in mine),
            table=other,
            references=tuple(str(row[4]) for row in mine if row[4] is not None),
            missing=ascii_lower(other) not in names,
        )
