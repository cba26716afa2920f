"""Resolved stream + what was seen -> StreamPlan: pure, so that the plan a person reads is what runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from silt import types
from silt.errors import Held, SiltError, UserError, Wrong
from silt.manifest.model import Stream
from silt.manifest.problems import did_you_mean
from silt.plan.changes import app_of
from silt.plan.cursor import check_exposed, check_rowid, settle
from silt.plan.exposure import exposed
from silt.plan.fields import (
    LINEAGE,
    build_fields,
    for_database,
    has_types,
    lineage,
    missing_names,
    own_formats,
    untyped,
)
from silt.plan.keys import check_lookback, check_shown
from silt.plan.keys import settle as settle_key
from silt.plan.model import (
    COMMENT,
    LakeColumn,
    Part,
    Seen,
    SeenDatabase,
    SeenLake,
    Setting,
    Slice,
    State,
    StreamPlan,
    TablePlan,
)
from silt.plan.window import check_unit
from silt.shapes import CursorChoice, Extract, Field, Order, Table
from silt.source.cursor import is_distinct


def build(seen: Seen) -> StreamPlan:
    """What would be done for one stream; errors in it become the plan's own, never an exception.

    Every error, not the first: a database with one stops no other, a stream with one stops whole.
    """
    if not seen.stream.enabled:
        return StreamPlan(stream=seen.stream, state="disabled")
    broken = [error for d in seen.databases for error in d.errors]
    usable = [d for d in seen.databases if d.table is not None and d.error is None]
    readable = usable or [d for d in seen.databases if d.table is not None]
    wrong = Wrong()
    with wrong:
        _check_names(seen, readable)
    settled = [_settled_or_not(d, seen, wrong) for d in readable]
    tables = [_table(seen, into, group, wrong) for into, group in _by_table(seen, settled)]
    if wrong.errors or (broken and not usable):
        return failed(seen.stream, (*wrong.errors, *broken))
    if not usable:
        return _nothing_to_read(seen)
    if timeless := _timeless(usable):
        return _waiting(seen, timeless, broken)
    if unknown := untyped(seen, usable):
        return _typeless(seen, unknown, broken)
    return StreamPlan(
        stream=seen.stream,
        state=state_of(broken[0]) if broken else "ok",
        cursor=settled[0].choice,
        tables=tuple(table for table, _ in filter(None, tables)),
        notes=tuple(dict.fromkeys(_notes(seen, tuple(filter(None, tables))))),
        error=broken[0] if broken else None,
        also=tuple(broken[1:]),
        found=tuple(d.database.name for d in seen.databases),
    )


def failed(stream: Stream, errors: Sequence[SiltError]) -> StreamPlan:
    """The plan of a stream that cannot be carried out: nothing is done, and the first error is told first."""
    first, *also = dict.fromkeys(errors)
    return StreamPlan(stream=stream, state=state_of(first), error=first, also=tuple(also))


def state_of(error: SiltError) -> State:
    """`held` where going on could lose or double a row, else `failing` (DESIGN 10)."""
    return "held" if isinstance(error, Held) else "failing"


def _nothing_to_read(seen: Seen) -> StreamPlan:
    if not seen.databases:
        return StreamPlan(stream=seen.stream, state="waiting", notes=("no file matches yet",))
    if seen.several:
        return StreamPlan(stream=seen.stream, state="waiting", notes=_missing(seen))
    (only,) = seen.databases
    missing = UserError(
        f"no table {seen.stream.table!r}",
        on=only.database.path,
        hint=did_you_mean(seen.stream.table, only.others) or "`silt plan` lists the streams of a pattern",
        setting="table",
    )
    return failed(seen.stream, (missing,))


def _typeless(seen: Seen, names: Sequence[str], broken: Sequence[SiltError]) -> StreamPlan:
    """A table made now would have text where numbers will come."""
    columns = "; ".join(f"{name}: {{type: ...}}" for name in names)
    note = f"no row yet shows the types of {', '.join(names)}; `columns: {{{columns}}}` says them"
    return _waiting(seen, note, broken)


def _timeless(usable: Sequence[SeenDatabase]) -> str:
    """Where no database shows how the time of an aggregate is written."""
    windows = [d.table.windows for d in usable if d.table is not None]
    if any(what is None or what.format is not None for what in windows):
        return ""
    time = next((what.time for what in windows if what), "")
    rows = sum(what.untimely for what in windows if what)
    if rows:
        return (
            f"{time} of {rows:,} rows looked at is no time in a format that is known by itself;"
            " `aggregate: {format: ...}` says how it is written"
        )
    return f"no row yet shows how {time} is written; `aggregate: {{format: ...}}` says it"


def _waiting(seen: Seen, note: str, broken: Sequence[SiltError]) -> StreamPlan:
    if broken:
        return replace(failed(seen.stream, broken), notes=(note,))
    return StreamPlan(stream=seen.stream, state="waiting", notes=(note,))


def _missing(seen: Seen) -> tuple[str, ...]:
    lacking = [d.database.name for d in seen.databases if d.table is None and d.error is None]
    return (f"no table {seen.stream.table!r} in {', '.join(lacking)}",) if lacking else ()


def _notes(seen: Seen, tables: Sequence[tuple[TablePlan, str]]) -> Iterator[str]:
    yield from _missing(seen)
    yield from (note for _, note in tables if note)
    for table, _ in tables:
        for part in table.parts:
            yield from exposed(part.extract.fields, part.extract.table)


def _check_names(seen: Seen, readable: Sequence[SeenDatabase]) -> None:
    tables = [d.table for d in readable if d.table is not None]
    known = [column.name for table in tables for column in table.columns]
    wrong = Wrong()
    for setting, name in missing_names(tables, seen.stream) if tables else ():
        written = re.split(r"[.\[]", setting)[0]
        words = f"{written} names column {name!r}, which table {seen.stream.table!r} does not have"
        wrong.add(UserError(words, hint=did_you_mean(name, known), setting=setting))
    wrong.raise_all()


def _settled_or_not(database: SeenDatabase, seen: Seen, wrong: Wrong) -> SeenDatabase:
    with wrong:
        return _settled(database, seen)
    return database


def _settled(database: SeenDatabase, seen: Seen) -> SeenDatabase:
    """`database` with the cursor that counts there; raises where none does."""
    if not seen.stream.has_cursor or database.table is None or database.choice is None:
        return replace(database, choice=None)
    lake = seen.lakes[seen.stream.path_for(database.database.name)]
    recorded = lake.definitions.get(app_of(seen, database), ())
    choice = settle(database.choice, recorded)
    if choice.order is None:
        raise UserError(
            f"no safe cursor in {seen.stream.table}",
            why=choice.why,
            hint=_what_to_declare(choice),
            setting="cursor",
        )
    check_unit(seen.stream.cursor, choice)
    return replace(database, choice=choice)


def _what_to_declare(choice: CursorChoice) -> str:
    if not choice.runners_up:
        return "`mode: overwrite` needs no cursor; or declare `cursor:`"
    names = "; ".join(f"{', '.join(c.columns)} ({c.why})" for c in choice.runners_up[:3])
    return f"declare `cursor:`, or `mode: overwrite`, which needs none; candidates: {names}"


def _by_table(
    seen: Seen, databases: Iterable[SeenDatabase]
) -> Iterable[tuple[str, tuple[SeenDatabase, ...]]]:
    groups: dict[str, list[SeenDatabase]] = {}
    for database in databases:
        groups.setdefault(seen.stream.path_for(database.database.name), []).append(database)
    return [(into, tuple(group)) for into, group in groups.items()]


def _table(
    seen: Seen, into: str, group: Sequence[SeenDatabase], wrong: Wrong
) -> tuple[TablePlan, str] | None:
    """One table's plan with its notes; None where something is wrong, which `wrong` keeps."""
    with wrong:
        return _planned(seen, into, group)
    return None


def _planned(seen: Seen, into: str, group: Sequence[SeenDatabase]) -> tuple[TablePlan, str]:
    lake = seen.lakes[into]
    built = build_fields(seen, lake, [d for d in group if has_types(d)] or group)
    built.changes.check(seen.stream)
    _check_partitions(seen, lake, built.fields)
    _check_feed(seen.stream, lake, built.fields)
    have = {c.name for c in lake.columns}
    # the column of misfits comes with the first of them (replicate.ledger)
    fields = (f for f in built.fields if f.lineage != "rescued" or f.name in have)
    columns = tuple(_lake_column(field, lake) for field in fields)
    plan = TablePlan(
        into=into,
        uri=lake.uri,
        target=seen.stream.target,
        exists=lake.exists,
        columns=columns,
        add=tuple(c for c in columns if c.name not in have) if lake.exists else (),
        partition_by=lake.partition_by if lake.exists else seen.stream.partition_by,
        settings=tuple(_settings(seen.stream, lake)),
        parts=tuple(_part(seen, lake, database, built.fields) for database in group),
        shared=seen.shared,
        pooled=seen.several and not seen.stream.separates_databases and "database" not in lineage(seen),
    )
    return plan, "; ".join(built.notes)


def _settings(stream: Stream, lake: SeenLake) -> Iterator[Setting]:
    """Comment and properties that the manifest names and the table does not have so."""
    if stream.description is not None and stream.description != lake.description:
        yield Setting(name=COMMENT, value=stream.description, was=lake.description or None)
    for name, value in stream.properties:
        if lake.properties.get(name) != value:
            yield Setting(name=name, value=value, was=lake.properties.get(name))


_FEED: Final = "delta.enableChangeDataFeed"
_OF_FEED: Final = ("_change_type", "_commit_version", "_commit_timestamp")


def _check_feed(stream: Stream, lake: SeenLake, fields: Sequence[Field]) -> None:
    """A change feed adds columns of its own: neither Spark nor delta-rs takes a second one of their names."""
    if {**lake.properties, **dict(stream.properties)}.get(_FEED) != "true":
        return
    taken = next((field for field in fields if field.name.lower() in _OF_FEED), None)
    if taken is not None:
        called = taken.source or taken.name
        raise UserError(
            f"column {taken.name} is called as one of the change feed's own",
            hint=f"`columns: {{{called}: {{rename: another_name}}}}`, or leave {_FEED} out",
            setting=f"columns.{called}.rename",
        )


def _check_partitions(seen: Seen, lake: SeenLake, fields: Sequence[Field]) -> None:
    wrong = Wrong()
    for index, name in enumerate(seen.stream.partition_by):
        with wrong:
            _check_partition(name, f"partition_by[{index}]", fields)
    if lake.exists and seen.stream.partition_by and lake.partition_by != seen.stream.partition_by:
        was, now = (", ".join(p) or "nothing" for p in (lake.partition_by, seen.stream.partition_by))
        wrong.add(
            Held(
                f"the table is partitioned by {was}, the manifest says {now}",
                rule="9",
                hint="undo the edit, or write `into` another table",
                setting="partition_by",
            )
        )
    wrong.raise_all()


def _check_partition(name: str, setting: str, fields: Sequence[Field]) -> None:
    by = {field.name: field for field in fields}
    if name not in by:
        raise UserError(
            f"partition_by names {name!r}, which is no column of the lake",
            hint=did_you_mean(name, by),
            setting=setting,
        )
    if by[name].type == "binary":
        raise UserError(
            f"partition_by {name!r} is binary, which readers corrupt",
            hint="partition by another column",
            setting=setting,
        )
    if types.parse(by[name].type).scale:
        raise UserError(
            f"partition_by {name!r} is {by[name].type}",
            why="delta-rs writes -0.5 as '0.-50' there, and nobody reads the table any more",  # measured
            hint=f"`columns: {{{name}: {{type: string}}}}`, or partition by another column",
            setting=setting,
        )


def _lake_column(field: Field, lake: SeenLake) -> LakeColumn:
    existing = next((c for c in lake.columns if c.name == field.name), None)
    return existing or LakeColumn(name=field.name, type=field.type, comment=_comment(field))


def _comment(field: Field) -> str:
    origin = field.expr or (f"{field.source} {field.declared}".strip() if field.source else "")
    return f"{origin}, mask {field.mask.kind}" if field.mask else origin


def _part(seen: Seen, lake: SeenLake, database: SeenDatabase, fields: tuple[Field, ...]) -> Part:
    table = database.table
    if table is None:
        raise ValueError("a part has a table")
    recorded = lake.formats.get(app_of(seen, database), ())
    own = own_formats(database, seen, lake, recorded) if has_types(database) else {}
    mine = for_database(fields, table, own)
    order = database.choice.order if database.choice else None
    check_rowid(mine, table)
    key = settle_key(seen.stream, table) if seen.stream.has_key else ()
    check_shown(key, mine, table)
    if order is not None:
        check_exposed(order, mine, table)
        check_lookback(seen.stream.cursor, order, mine, table)
    return Part(
        database=database.database,
        app=app_of(seen, database),
        extract=Extract(
            table=table,
            fields=mine,
            order=order,
            where=None if table.windows else seen.stream.where,  # it is part of what windows hold
            witness=_witness(mine, table, order),
            key=key,
            distinct=is_distinct(table, key),
            node=seen.node,
            database=database.database.name,
        ),
        slice=_slice(seen, database),
        cursor=database.choice,
        schema_version=database.schema_version,
    )


def _witness(fields: Sequence[Field], table: Table, order: Order | None) -> tuple[str, ...]:
    """Selected columns, the key's first; declared BLOBs last, since hashing them reads them whole.

    No masked ones.  Raises `UserError` where none is left: nothing would tell one row from another.
    """
    names = [field.source for field in fields if field.source is not None and field.mask is None]
    if order is not None and not names:
        raise UserError(
            f"every column of {table.name} is masked or left out: nothing tells whether its rows are the "
            "same as before",
            hint="leave one as it is, or `mode: overwrite`",
        )
    keys = [name for name in (order.columns if order else ()) if name in names]
    rest = sorted((n for n in names if n not in keys), key=lambda n: _is_blob(table, n))
    return (*keys, *rest)


def _is_blob(table: Table, name: str) -> bool:
    column = table.column(name)
    return column is not None and "BLOB" in column.declared.upper()


def _slice(seen: Seen, database: SeenDatabase) -> Slice:
    values = {"node": seen.node, "database": database.database.name}
    kinds = [kind for kind in lineage(seen) if kind in values]
    return Slice(equals=tuple((LINEAGE[kind][0], values[kind]) for kind in kinds))
